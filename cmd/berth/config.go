package main

import (
	"net/netip"
	"path/filepath"
	"time"

	"berth/auth"
)

// Config is the configuration of the program: config.yml with the variables
// REGISTRY_* on top and defaults for the rest. Every key of Distribution's
// versions 2.8 and 3 is here, so that none is taken for a typing error.
//
// What reads the file and the variables goes by these types: their keys are the
// keys that there are. The tag config says what is refused while it is in
// effect: "later" is not available yet, "never" is what berth will not have.
// The tag env is another spelling of a key in variables.
type Config struct {
	Version string    `yaml:"version"`
	Log     logConfig `yaml:"log"`
	// LogLevel is what log.level was once.
	LogLevel string         `yaml:"loglevel,omitempty"`
	HTTP     httpConfig     `yaml:"http"`
	Storage  storageConfig  `yaml:"storage"`
	Metadata metadataConfig `yaml:"metadata,omitempty"`
	Auth     authConfig     `yaml:"auth,omitempty"`
	Access   []accessRule   `yaml:"access,omitempty"`
	// AccessTests must hold at start, at reload and in `berth config check`.
	AccessTests []accessTest `yaml:"accesstests,omitempty"`
	// What may be written, and how often somebody may come, whoever he is.
	Immutable []immutableRule `yaml:"immutable,omitempty"`
	Quotas    []quotaRule     `yaml:"quotas,omitempty"`
	Limits    []limitRule     `yaml:"limits,omitempty"`
	Audit     auditConfig     `yaml:"audit"`
	Backup    backupConfig    `yaml:"backup"`
	Scrub     scrubConfig     `yaml:"scrub"`
	Mirrors   []any           `yaml:"mirrors,omitempty" config:"later"`
	GC        gcConfig        `yaml:"gc"`
	// Retention is what goes from repositories by itself.
	Retention []retentionConfig `yaml:"retention,omitempty"`

	Catalog struct {
		MaxEntries int `yaml:"maxentries"`
	} `yaml:"catalog"`
	Tags struct {
		MaxTags int `yaml:"maxtags"`
	} `yaml:"tags"`
	Health        healthConfig                  `yaml:"health,omitempty"`
	Notifications notificationsConfig           `yaml:"notifications,omitempty"`
	Redis         redisConfig                   `yaml:"redis,omitempty"`
	Proxy         proxyConfig                   `yaml:"proxy,omitempty"`
	Validation    validationConfig              `yaml:"validation,omitempty"`
	Policy        policyConfig                  `yaml:"policy,omitempty"`
	Compatibility compatibilityConfig           `yaml:"compatibility,omitempty"`
	Middleware    map[string][]middlewareConfig `yaml:"middleware,omitempty" config:"later"`
	Reporting     any                           `yaml:"reporting,omitempty" config:"never"`

	authGiven   bool // there is an auth: section
	accessGiven bool // there is an access: section, be it empty
	issuerGiven bool // there is an auth.issuer: section

	home string // for what a node keeps to itself, where no key names a folder
}

type logConfig struct {
	AccessLog struct {
		Disabled bool `yaml:"disabled"`
	} `yaml:"accesslog"`
	Level        string         `yaml:"level"`
	Formatter    string         `yaml:"formatter"`
	Fields       map[string]any `yaml:"fields,omitempty"`
	Hooks        []logHook      `yaml:"hooks,omitempty" config:"never"`
	ReportCaller bool           `yaml:"reportcaller"`
}

type httpConfig struct {
	Addr string `yaml:"addr"`
	Net  string `yaml:"net"`
	// Host is the address that clients use, as a URL.
	Host   string `yaml:"host,omitempty"`
	Prefix string `yaml:"prefix,omitempty"`
	// Secret signs the state of uploads in Distribution, and nothing here.
	Secret         auth.Secret         `yaml:"secret,omitempty"`
	RelativeURLs   bool                `yaml:"relativeurls"`
	DrainTimeout   time.Duration       `yaml:"draintimeout"`
	DrainDelay     time.Duration       `yaml:"draindelay,omitempty"`
	TrustedProxies []netip.Prefix      `yaml:"trustedproxies,omitempty"`
	TLS            tlsFiles            `yaml:"tls,omitempty"`
	Headers        map[string][]string `yaml:"headers,omitempty"`
	Debug          struct {
		Addr       string `yaml:"addr,omitempty"`
		Prometheus struct {
			Enabled bool   `yaml:"enabled"`
			Path    string `yaml:"path,omitempty"`
		} `yaml:"prometheus"`
	} `yaml:"debug,omitempty"`
	HTTP2 struct {
		Disabled bool `yaml:"disabled"`
	} `yaml:"http2"`
	H2C struct {
		Enabled bool `yaml:"enabled"`
	} `yaml:"h2c"`
}

type tlsFiles struct {
	Certificate  string   `yaml:"certificate,omitempty"`
	Key          string   `yaml:"key,omitempty"`
	ClientCAs    []string `yaml:"clientcas,omitempty"`
	ClientAuth   string   `yaml:"clientauth,omitempty"`
	MinimumTLS   string   `yaml:"minimumtls,omitempty"`
	CipherSuites []string `yaml:"ciphersuites,omitempty"`
	LetsEncrypt  struct {
		CacheFile    string   `yaml:"cachefile,omitempty" config:"later"` // turns it on
		Email        string   `yaml:"email,omitempty"`
		Hosts        []string `yaml:"hosts,omitempty" config:"later"`
		DirectoryURL string   `yaml:"directoryurl,omitempty"`
	} `yaml:"letsencrypt,omitempty"`
}

type metadataConfig struct {
	SQLite struct {
		Path string `yaml:"path,omitempty"`
	} `yaml:"sqlite,omitempty"`
	Postgres *postgresConfig `yaml:"postgres,omitempty"`
}

type authConfig struct {
	Htpasswd struct {
		Realm string `yaml:"realm,omitempty"`
		Path  string `yaml:"path,omitempty"`
	} `yaml:"htpasswd,omitempty"`
	Accounts struct {
		Enabled bool `yaml:"enabled"`
	} `yaml:"accounts,omitempty"`
	Groups map[string][]string `yaml:"groups,omitempty"`

	Issuer      issuerConfig       `yaml:"issuer,omitempty"`
	Certificate *certificateConfig `yaml:"certificate,omitempty"`

	None  *struct{}        `yaml:"none,omitempty"`
	LDAP  []ldapConfig     `yaml:"ldap,omitempty"`
	OIDC  []oidcConfig     `yaml:"oidc,omitempty"`
	Trust []trustConfig    `yaml:"trust,omitempty"`
	Token *tokenAuthConfig `yaml:"token,omitempty"`
	Silly *struct {
		Realm   string `yaml:"realm,omitempty"`
		Service string `yaml:"service,omitempty"`
	} `yaml:"silly,omitempty" config:"never"`
}

type accessRule struct {
	Name         []string       `yaml:"name,omitempty"`
	Group        []string       `yaml:"group,omitempty"`
	Type         string         `yaml:"type,omitempty"`
	Repositories []string       `yaml:"repositories,omitempty"`
	Tags         []string       `yaml:"tags,omitempty"`
	From         []netip.Prefix `yaml:"from,omitempty"`
	Effect       string         `yaml:"effect,omitempty"`
	Action       []string       `yaml:"action,omitempty"`
	Comment      string         `yaml:"comment,omitempty"`
	line         int
}

type accessTest struct {
	User       string      `yaml:"user,omitempty"`
	Groups     []string    `yaml:"groups,omitempty"`
	Action     string      `yaml:"action,omitempty"`
	Repository string      `yaml:"repository,omitempty"`
	From       *netip.Addr `yaml:"from,omitempty"`
	Expect     string      `yaml:"expect,omitempty"`
	line       int
}

// authenticates reports whether anybody is asked who he is at all.
func (c *Config) authenticates() bool { return c.logsIn() || c.Auth.Token != nil }

// logsIn reports whether somebody can log in here, with more than a token of
// an outside token server.
func (c *Config) logsIn() bool {
	return c.hasPasswords() || len(c.Auth.OIDC)+len(c.Auth.Trust) > 0 || c.Auth.Certificate != nil
}

// ownProviders returns the names of what vouches for users and has no name of its
// own in the configuration. Others must not be called like one of them.
func ownProviders() map[string]bool {
	return map[string]bool{"accounts": true, "htpasswd": true, "robots": true, "certificate": true, "token": true}
}

// accountsOnly reports whether accounts are the only backend.
func (c *Config) accountsOnly() bool {
	a := c.Auth
	return a.Accounts.Enabled && a.Htpasswd.Path == "" && len(a.LDAP)+len(a.OIDC)+len(a.Trust) == 0 && a.Token == nil && a.Certificate == nil
}

// basicOnly reports whether the challenge is Basic, as Distribution sends it:
// with a password file, and nothing of berth's own.
func (c *Config) basicOnly() bool {
	a := c.Auth
	return a.Htpasswd.Path != "" && !a.Accounts.Enabled && len(a.LDAP)+len(a.OIDC)+len(a.Trust) == 0 && a.Token == nil &&
		!c.accessGiven && !c.issuerGiven
}

// dataDir returns where the lock, the local socket and, unless it has a place
// of its own or is PostgreSQL, the database are, or "" where all goes with the
// process. With the bytes in an object store, that is beside the database.
func (c *Config) dataDir() string {
	if f := c.Storage.Filesystem; f != nil {
		return f.RootDirectory
	}
	if c.Metadata.Postgres != nil && c.isRemote() {
		return c.home // nothing that belongs together is on this machine
	}
	if path := c.Metadata.SQLite.Path; path != "" && c.isRemote() {
		return filepath.Dir(path)
	}
	return ""
}

// databasePath returns the file of SQLite, or where it would be.
func (c *Config) databasePath() string {
	if path := c.Metadata.SQLite.Path; path != "" {
		return path
	}
	return filepath.Join(c.dataDir(), dbName)
}
