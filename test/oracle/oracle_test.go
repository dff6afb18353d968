package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
)

// The files that the cases start from.
const (
	minimal = `
version: 0.1
storage: {filesystem: {rootdirectory: /data}}
`
	image2 = `
version: 0.1
log: {fields: {service: registry}}
storage: {cache: {blobdescriptor: inmemory}, filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: ":5000", headers: {X-Content-Type-Options: [nosniff]}}
health: {storagedriver: {enabled: true, interval: 10s, threshold: 3}}
`
	image3 = `
version: 0.1
log: {level: debug, fields: {service: registry, environment: development}}
storage: {delete: {enabled: true}, cache: {blobdescriptor: inmemory}, filesystem: {rootdirectory: /var/lib/registry}, tag: {concurrencylimit: 5}}
http: {addr: ":5000", debug: {addr: ":5001", prometheus: {enabled: true, path: /metrics}}}
health: {storagedriver: {enabled: true, interval: 10s, threshold: 3}}
`
	full = `
version: 0.1
log: {accesslog: {disabled: true}, level: WARN, formatter: json, fields: {a: 1, b: {c: [x, 2]}}, reportcaller: true}
storage: {inmemory: {}, delete: {enabled: yes}, maintenance: {readonly: {enabled: true}}}
auth: {htpasswd: {realm: basic-realm, path: /etc/htpasswd}}
http:
  addr: localhost:5000
  net: tcp
  host: https://registry.example.org
  prefix: /registry/
  secret: asecret
  relativeurls: true
  draintimeout: 60s
  tls: {certificate: a.pem, key: b.pem, minimumtls: tls1.3, ciphersuites: [TLS_AES_128_GCM_SHA256]}
  headers: {X-One: [a, b]}
  debug: {addr: localhost:5001, prometheus: {enabled: true, path: /m}}
  http2: {disabled: true}
  h2c: {enabled: true}
catalog: {maxentries: 50}
tags: {maxtags: 60}
health: {storagedriver: {enabled: true, interval: 5000000000, threshold: 4}}
notifications: {events: {includereferences: true}, endpoints: [{name: a, disabled: true, timeout: 1s, threshold: 2, backoff: 2s, ignoredmediatypes: [m]}]}
`
)

func TestEffectiveValues(t *testing.T) {
	berth := binary(t)
	logrus.SetOutput(io.Discard) // Distribution warns of variables there
	for _, tt := range []struct {
		name, file string
		env        []string
	}{
		{"minimal", minimal, nil},
		{"image of 2", image2, nil},
		{"image of 3", image3, nil},
		{"full", full, nil},
		{"the driver as a word", "version: 0.1\nstorage: inmemory\n", nil},
		{"the backend as a word", minimal + "auth: htpasswd\n", []string{"REGISTRY_AUTH_HTPASSWD_PATH=/p", "REGISTRY_AUTH_HTPASSWD_REALM=r"}},
		{"the old level", minimal + "loglevel: error\n", nil},
		{"both levels", minimal + "loglevel: error\nlog: {level: debug}\n", nil},
		{"a default for negative entries", minimal + "catalog: {maxentries: -1}\n", nil},

		{"a leaf", image2, []string{"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/x"}},
		{"leaves", image3, []string{"REGISTRY_LOG_LEVEL=error", "REGISTRY_LOG_FORMATTER=json", "REGISTRY_LOG_ACCESSLOG_DISABLED=true", "REGISTRY_HTTP_ADDR=:6000"}},
		{"what is not there", minimal, []string{"REGISTRY_HTTP_TLS_CERTIFICATE=c", "REGISTRY_HTTP_TLS_KEY=k", "REGISTRY_HTTP_DEBUG_PROMETHEUS_PATH=/p"}},
		{"truth values", minimal, []string{"REGISTRY_HTTP_RELATIVEURLS=yes", "REGISTRY_HTTP_HTTP2_DISABLED=on", "REGISTRY_HTTP_H2C_ENABLED=False"}},
		{"durations", minimal, []string{"REGISTRY_HTTP_DRAINTIMEOUT=90s", "REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL=1000000000"}},
		{"numbers", minimal, []string{"REGISTRY_CATALOG_MAXENTRIES=0x10", "REGISTRY_TAGS_MAXTAGS=7"}},
		{"quoted text", minimal, []string{`REGISTRY_HTTP_PREFIX="/a/"`, "REGISTRY_HTTP_HOST='https://a.example'"}},
		{"blanks around text", minimal, []string{"REGISTRY_HTTP_PREFIX= /a/ "}},
		{"the old level as a variable", minimal, []string{"REGISTRY_LOGLEVEL=warn"}},
		{"a section as YAML", image3, []string{"REGISTRY_LOG={level: warn, fields: {a: b}}"}},
		{"a section as JSON", image3, []string{`REGISTRY_HTTP={"addr": ":1", "debug": {"addr": ":2"}}`}},
		{"a list as YAML", full, []string{"REGISTRY_HTTP_TLS_CIPHERSUITES=[TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256]"}},
		{"general before specific", image3, []string{"REGISTRY_HTTP_DEBUG_ADDR=:3", "REGISTRY_HTTP={addr: ':1', debug: {addr: ':2'}}"}},
		{"read only, whole", image2, []string{"REGISTRY_STORAGE_MAINTENANCE_READONLY={enabled: true}"}},
		{"read only, as a leaf in a new section", image2, []string{"REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED=true"}},
		{"delete", image2, []string{"REGISTRY_STORAGE_DELETE_ENABLED=true"}},
		{"a driver replaces storage", image3, []string{"REGISTRY_STORAGE=inmemory"}},
		{"a driver and its parameter", image3, []string{"REGISTRY_STORAGE=filesystem", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/y"}},
		{"storage as YAML", image3, []string{"REGISTRY_STORAGE={filesystem: {rootdirectory: /z}, delete: {enabled: false}}"}},
		{"a backend and its parameters", image2, []string{"REGISTRY_AUTH=htpasswd", "REGISTRY_AUTH_HTPASSWD_REALM=r", "REGISTRY_AUTH_HTPASSWD_PATH=/p"}},
		{"parameters of a backend alone", image2, []string{"REGISTRY_AUTH_HTPASSWD_REALM=Registry Realm", "REGISTRY_AUTH_HTPASSWD_PATH=/p"}},
		{"headers as a whole", image2, []string{"REGISTRY_HTTP_HEADERS={X-Foo: [baz]}"}},
		{"log fields", image3, []string{"REGISTRY_LOG_FIELDS_SERVICE=other", "REGISTRY_LOG_FIELDS_N=5", "REGISTRY_LOG_FIELDS_A_B=c"}},
		{"elements of a list of sections", full, []string{"REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME=b", "REGISTRY_NOTIFICATIONS_ENDPOINTS_1_DISABLED=true", "REGISTRY_NOTIFICATIONS_ENDPOINTS_1_TIMEOUT=3s"}},
		{"the name of a field", minimal, []string{"REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES=true"}},
		{"variables of no key", image2, []string{"REGISTRY_PORT=tcp://10.0.0.1:5000", "REGISTRY_PORT_5000_TCP_ADDR=10.0.0.1", "REGISTRY_SERVICE_HOST=h", "REGISTRY_HTTP_DUCKS=quack"}},
		{"the path of the file", image2, []string{"REGISTRY_CONFIGURATION_PATH=/nowhere"}},
		{"another case of the prefix", image2, []string{"registry_http_addr=:7000"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			theirs := values(parse(t, tt.file, tt.env))
			ours := show(t, berth, tt.file, tt.env, theirs)
			if diff := cmp.Diff(plain(theirs), plain(ours)); diff != "" {
				t.Errorf("Distribution (-) and berth (+):\n%s", diff)
			}
		})
	}
}

// binary returns the path of $BERTH, or of a berth that it builds.
func binary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("BERTH"); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "berth")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/berth")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build berth: %v\n%s", err, out)
	}
	return path
}

// parse returns what Distribution makes of the file and the variables.
func parse(t *testing.T, file string, env []string) *configuration.Configuration {
	t.Helper()
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	c, err := configuration.Parse(strings.NewReader(file))
	if err != nil {
		t.Fatalf("Distribution: %v", err)
	}
	return c
}

// values returns the effective values of c, by their keys.
func values(c *configuration.Configuration) map[string]any {
	h := c.HTTP
	if h.DrainTimeout == 0 { // which is no draining in Distribution
		h.DrainTimeout = 30 * time.Second
	}
	m := map[string]any{
		"version":                                c.Version,
		"log.level":                              c.Log.Level,
		"log.formatter":                          or(c.Log.Formatter, "text"),
		"log.accesslog.disabled":                 c.Log.AccessLog.Disabled,
		"log.reportcaller":                       c.Log.ReportCaller,
		"log.fields":                             c.Log.Fields,
		"storage.delete.enabled":                 c.Storage["delete"]["enabled"],
		"storage.maintenance.readonly.enabled":   below(c.Storage["maintenance"], "readonly", "enabled"),
		"storage.filesystem.rootdirectory":       c.Storage["filesystem"]["rootdirectory"],
		"storage.cache.blobdescriptor":           c.Storage["cache"]["blobdescriptor"],
		"storage.tag.concurrencylimit":           c.Storage["tag"]["concurrencylimit"],
		"auth.htpasswd.realm":                    c.Auth["htpasswd"]["realm"],
		"auth.htpasswd.path":                     c.Auth["htpasswd"]["path"],
		"http.addr":                              or(h.Addr, ":5000"),
		"http.net":                               or(h.Net, "tcp"),
		"http.host":                              h.Host,
		"http.prefix":                            h.Prefix,
		"http.relativeurls":                      h.RelativeURLs,
		"http.draintimeout":                      h.DrainTimeout.String(),
		"http.tls.certificate":                   h.TLS.Certificate,
		"http.tls.key":                           h.TLS.Key,
		"http.tls.minimumtls":                    or(h.TLS.MinimumTLS, "tls1.2"),
		"http.tls.ciphersuites":                  h.TLS.CipherSuites,
		"http.headers":                           h.Headers,
		"http.debug.addr":                        h.Debug.Addr,
		"http.debug.prometheus.enabled":          h.Debug.Prometheus.Enabled,
		"http.debug.prometheus.path":             h.Debug.Prometheus.Path,
		"http.http2.disabled":                    h.HTTP2.Disabled,
		"http.h2c.enabled":                       h.H2C.Enabled,
		"catalog.maxentries":                     c.Catalog.MaxEntries,
		"tags.maxtags":                           c.Tags.MaxTags,
		"health.storagedriver.enabled":           c.Health.StorageDriver.Enabled,
		"health.storagedriver.interval":          c.Health.StorageDriver.Interval.String(),
		"health.storagedriver.threshold":         c.Health.StorageDriver.Threshold,
		"notifications.events.includereferences": c.Notifications.EventConfig.IncludeReferences,
	}
	for i, e := range c.Notifications.Endpoints {
		prefix := fmt.Sprintf("notifications.endpoints.%d.", i)
		m[prefix+"name"], m[prefix+"disabled"], m[prefix+"timeout"] = e.Name, e.Disabled, e.Timeout.String()
		m[prefix+"threshold"], m[prefix+"backoff"], m[prefix+"ignoredmediatypes"] = e.Threshold, e.Backoff.String(), e.IgnoredMediaTypes
	}
	return m
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// below returns the value under keys in maps and lists, or nil.
func below(v any, keys ...string) any {
	for _, key := range keys {
		switch container := v.(type) {
		case configuration.Parameters:
			v = container[key]
		case map[string]any:
			v = container[key]
		case map[any]any: // as YAML makes it for Distribution
			v = container[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(container) {
				return nil
			}
			v = container[i]
		default:
			return nil
		}
	}
	return v
}

// show returns what berth makes of the file and the variables, by keys.
func show(t *testing.T, berth, file string, env []string, keys map[string]any) map[string]any {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(berth, "config", "show", "-o", "json", path)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("berth config show: %v\n%s", err, &stderr)
	}
	var shown any
	if err := json.Unmarshal(out, &shown); err != nil {
		t.Fatal(err)
	}
	values := make(map[string]any)
	for key := range keys {
		values[key] = below(shown, strings.Split(key, ".")...)
	}
	return values
}

// plain returns v with the types that JSON has, and without what is empty,
// which either side may leave out.
func plain(v any) any {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Map:
		m := make(map[string]any)
		for _, key := range r.MapKeys() {
			if value := plain(r.MapIndex(key).Interface()); value != nil {
				m[fmt.Sprint(key.Interface())] = value
			}
		}
		if len(m) > 0 {
			return m
		}
	case reflect.Slice:
		var list []any
		for i := range r.Len() {
			list = append(list, plain(r.Index(i).Interface()))
		}
		if list != nil {
			return list
		}
	case reflect.Bool:
		if r.Bool() {
			return true
		}
	case reflect.Int:
		if r.Int() != 0 {
			return float64(r.Int())
		}
	case reflect.Float64:
		if r.Float() != 0 {
			return r.Float()
		}
	case reflect.String:
		if s := r.String(); s != "" && s != "0s" {
			return s
		}
	}
	return nil
}
