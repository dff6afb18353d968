package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// defaultRoot is where Distribution's images keep their data.
	defaultRoot = "/var/lib/registry"
	// defaultDrain is how long requests may go on after the signal to stop.
	defaultDrain = 30 * time.Second
	// maxPage is the most entries that a page of a listing has.
	maxPage = 1000
)

// setGiven notes which sections there are, empty ones included.
func (c *Config) setGiven(d *document) {
	c.authGiven = d.at("auth") != nil
	c.accessGiven = d.at("access") != nil
	c.issuerGiven = d.at("auth.issuer") != nil
	for i, n := range nodesOf(d.at("access")) {
		c.Access[i].line = n.Line
	}
	for i, n := range nodesOf(d.at("accesstests")) {
		c.AccessTests[i].line = n.Line
	}
}

// setDefaults fills in what the file leaves open.
func (c *Config) setDefaults() {
	setDefault(&c.Version, "0.1")
	setDefault(&c.Log.Level, c.LogLevel)
	setDefault(&c.Log.Level, "info")
	c.Log.Level, c.LogLevel = strings.ToLower(c.Log.Level), ""
	setDefault(&c.Log.Formatter, "text")
	setDefault(&c.HTTP.Addr, ":5000")
	setDefault(&c.HTTP.Net, "tcp")
	setDefault(&c.HTTP.TLS.MinimumTLS, "tls1.2")
	setDefault(&c.HTTP.DrainTimeout, defaultDrain)
	if c.HTTP.Debug.Prometheus.Enabled {
		setDefault(&c.HTTP.Debug.Prometheus.Path, "/metrics")
	}
	if len(c.driversGiven()) == 0 {
		c.Storage.Filesystem = new(filesystemConfig)
	}
	if f := c.Storage.Filesystem; f != nil {
		setDefault(&f.RootDirectory, defaultRoot)
	}
	if p := c.Metadata.Postgres; p != nil {
		setDefault(&p.MaxConnections, defaultConnections)
	} else if c.Storage.Filesystem != nil {
		c.Metadata.SQLite.Path = c.databasePath()
	}
	if p := c.Storage.Maintenance.UploadPurging; p != nil {
		p.setDefaults()
	}
	c.Health.setDefaults()
	if c.Auth.Htpasswd.Path != "" {
		setDefault(&c.Auth.Htpasswd.Realm, "registry")
	}
	for i := range c.Auth.LDAP {
		c.Auth.LDAP[i].setDefaults()
	}
	if t := c.Auth.Token; t != nil && t.AutoRedirect {
		setDefault(&t.AutoRedirectPath, "/auth/token")
	}
	if a := c.Auth.Certificate; a != nil {
		a.setDefaults()
	}
	if len(c.HTTP.TLS.ClientCAs) > 0 {
		setDefault(&c.HTTP.TLS.ClientAuth, requireAndVerify)
	}
	setDefault(&c.Auth.Issuer.Service, "berth")
	setDefault(&c.Auth.Issuer.Expiration, 15*time.Minute)
	c.setAuditDefaults()
	c.GC.setDefaults()
	c.Backup.setDefaults()
	c.Scrub.setDefaults()
	if c.Catalog.MaxEntries <= 0 || c.Catalog.MaxEntries > maxPage {
		c.Catalog.MaxEntries = maxPage
	}
	if c.Tags.MaxTags == 0 || c.Tags.MaxTags > maxPage {
		c.Tags.MaxTags = maxPage
	}
}

func setDefault[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// driversGiven returns the keys of the storage drivers that are configured.
func (c *Config) driversGiven() []string {
	var given []string
	v := reflect.ValueOf(c.Storage)
	for _, k := range keysOf(v.Type()) {
		if slices.Contains(drivers[:], k.name) && !v.Field(k.index).IsNil() {
			given = append(given, k.name)
		}
	}
	return given
}

// check returns an error that names, a line each, what cannot be served.
func (c *Config) check(d *document) error {
	errs := refused(d, reflect.ValueOf(c).Elem(), "")
	add := func(path, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s: %s", d.place(d.nearest(path)), path, fmt.Sprintf(format, args...)))
	}
	oneOf := func(path, value string, values ...string) {
		if !slices.Contains(values, value) {
			add(path, "%q is none of %s", value, strings.Join(values, ", "))
		}
	}
	oneOf("version", c.Version, "0.1")
	oneOf("log.level", c.Log.Level, "error", "warn", "info", "debug")
	oneOf("log.formatter", c.Log.Formatter, "text", "json", "logstash")
	if c.Tags.MaxTags < 0 {
		add("tags.maxtags", "it must not be negative")
	}
	if platforms := c.Validation.Manifests.Indexes.Platforms; platforms != "" && !strings.EqualFold(platforms, "all") {
		add("validation.manifests.indexes.platforms", "%s is not available yet", strconv.Quote(platforms))
	}
	c.checkStorage(add)
	c.checkMetadata(add)
	for i, r := range c.Access {
		if r.Effect != "" {
			oneOf(fmt.Sprintf("access.%d.effect", i), r.Effect, "allow", "deny")
		}
	}
	c.checkHTTP(add, oneOf)
	c.checkMaintenance(add)
	c.checkAuth(add, d.at("auth.htpasswd") != nil)
	c.checkLDAP(add)
	c.checkAudit(add)
	c.checkGC(add)
	c.checkRules(add)
	c.Backup.check(add)
	c.checkScrub(add)
	return errors.Join(errs...)
}

func (c *Config) checkHTTP(add func(path, format string, args ...any), oneOf func(path, value string, values ...string)) {
	h := c.HTTP
	oneOf("http.net", h.Net, "tcp", "unix")
	if u, err := url.Parse(h.Host); h.Host != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		add("http.host", "it must be a URL such as https://registry.example.org")
	}
	if (h.TLS.Certificate == "") != (h.TLS.Key == "") {
		add("http.tls", "certificate and key go together")
	}
	h.TLS.checkClients(add, oneOf)
	oneOf("http.tls.minimumtls", h.TLS.MinimumTLS, "tls1.2", "tls1.3")
	for _, name := range h.TLS.CipherSuites {
		if !slices.ContainsFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool { return s.Name == name }) {
			add("http.tls.ciphersuites", "%q is not known or not secure", name)
		}
	}
	if h.DrainTimeout < 0 {
		add("http.draintimeout", "it must not be negative")
	}
	if h.DrainDelay < 0 {
		add("http.draindelay", "it must not be negative")
	}
}

func (c *Config) checkAuth(add func(path, format string, args ...any), htpasswdGiven bool) {
	a := c.Auth
	switch {
	case a.None != nil && c.authenticates():
		add("auth", "none excludes every other backend")
	case htpasswdGiven && a.Htpasswd.Path == "":
		add("auth.htpasswd", "path is missing")
	case c.authGiven && a.None == nil && !c.authenticates() && a.Silly == nil:
		add("auth", "no backend is on: name one, such as accounts: {enabled: true}, or write auth: none")
	}
	a.Issuer.check(add)
	c.checkCertificate(add)
	c.checkOIDC(add)
	c.checkTrust(add)
	c.checkOutside(add)
}

// refused returns an error for each key under v that is in effect and that berth
// does not have.
func refused(d *document, v reflect.Value, path string) (errs []error) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	case reflect.Struct:
	default:
		return nil
	}
	if v.Kind() != reflect.Struct || isScalar(v.Type()) {
		return nil
	}
	for _, k := range keysOf(v.Type()) {
		field, at := v.Field(k.index), join(path, k.name)
		switch {
		case k.rule == "later" && inEffect(field):
			errs = append(errs, fmt.Errorf("%s: %s: not available yet", d.place(d.nearest(at)), at))
		case k.rule == "never" && inEffect(field):
			errs = append(errs, fmt.Errorf("%s: %s: berth will not have this", d.place(d.nearest(at)), at))
		case k.rule == "":
			errs = append(errs, refused(d, field, at)...)
		}
	}
	return errs
}

// inEffect reports whether a key that is set to v asks for anything: a section
// that is there and not disabled, a list or map with an element that does, or a
// value.
func inEffect(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Interface:
		return !v.IsNil() && inEffect(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			if inEffect(v.Index(i)) {
				return true
			}
		}
		return false
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if inEffect(v.MapIndex(key)) {
				return true
			}
		}
		return false
	case reflect.Struct:
		disabled := v.FieldByName("Disabled")
		return !disabled.IsValid() || !disabled.Bool()
	}
	return !v.IsZero()
}

// warnings returns what is accepted and has no effect, or not the one that one
// might expect.
func (c *Config) warnings() (warnings []string) {
	if !reflect.ValueOf(c.Redis).IsZero() {
		warnings = append(warnings, "redis is not used: what Distribution keeps there, berth's database holds")
	}
	if p := c.Storage.Maintenance.UploadPurging; p != nil && !*p.Enabled {
		warnings = append(warnings, "storage.maintenance.uploadpurging is off: uploads that nobody goes on with stay for good")
	}
	if s, key := c.s3(); s != nil {
		warnings = append(warnings, s.warnings(key)...)
	}
	if g := c.Storage.GCS; g != nil {
		warnings = append(warnings, g.warnings()...)
	}
	if c.accessGiven && len(c.Access) == 0 {
		warnings = append(warnings, "access is empty: nobody may do anything")
	}
	if c.accessGiven && !c.authenticates() {
		warnings = append(warnings, "access without auth: nobody can log in, so only what anonymous may is allowed")
	}
	warnings = append(warnings, c.metadataWarnings()...)
	warnings = append(warnings, c.gcWarnings()...)
	warnings = append(warnings, c.ruleWarnings()...)
	return append(warnings, c.ldapWarnings()...)
}
