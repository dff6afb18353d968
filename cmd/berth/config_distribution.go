package main

import (
	"time"

	"berth/auth"
)

// The sections of Distribution that berth reads so that it can say which of
// their keys it does not have.

type logHook struct {
	Disabled bool     `yaml:"disabled,omitempty"`
	Type     string   `yaml:"type,omitempty"`
	Levels   []string `yaml:"levels,omitempty"`
	Options  struct {
		SMTP struct {
			Addr     string      `yaml:"addr,omitempty"`
			Username string      `yaml:"username,omitempty"`
			Password auth.Secret `yaml:"password,omitempty"`
			Insecure bool        `yaml:"insecure,omitempty"`
		} `yaml:"smtp,omitempty"`
		From string   `yaml:"from,omitempty"`
		To   []string `yaml:"to,omitempty"`
	} `yaml:"options,omitempty" env:"mailoptions"`
}

type tokenAuthConfig struct {
	Realm             string   `yaml:"realm,omitempty"`
	Service           string   `yaml:"service,omitempty"`
	Issuer            string   `yaml:"issuer,omitempty"`
	RootCertBundle    string   `yaml:"rootcertbundle,omitempty"`
	JWKS              string   `yaml:"jwks,omitempty"`
	SigningAlgorithms []string `yaml:"signingalgorithms,omitempty"`
	AutoRedirect      bool     `yaml:"autoredirect,omitempty"`
	AutoRedirectPath  string   `yaml:"autoredirectpath,omitempty"`
}

type middlewareConfig struct {
	Name     string         `yaml:"name,omitempty"`
	Disabled bool           `yaml:"disabled,omitempty"`
	Options  map[string]any `yaml:"options,omitempty"`
}

type healthConfig struct {
	StorageDriver struct {
		Enabled   bool          `yaml:"enabled,omitempty"`
		Interval  time.Duration `yaml:"interval,omitempty"`
		Threshold int           `yaml:"threshold,omitempty"`
	} `yaml:"storagedriver,omitempty"`
	// File is a check that fails while the file is there.
	File []struct {
		File      string        `yaml:"file,omitempty"`
		Interval  time.Duration `yaml:"interval,omitempty"`
		Threshold int           `yaml:"threshold,omitempty"`
	} `yaml:"file,omitempty" env:"filecheckers"`
	HTTP []struct {
		URI        string                   `yaml:"uri,omitempty"`
		Headers    map[string][]auth.Secret `yaml:"headers,omitempty"`
		StatusCode int                      `yaml:"statuscode,omitempty"`
		Timeout    time.Duration            `yaml:"timeout,omitempty"`
		Interval   time.Duration            `yaml:"interval,omitempty"`
		Threshold  int                      `yaml:"threshold,omitempty"`
	} `yaml:"http,omitempty" env:"httpcheckers"`
	TCP []struct {
		Addr      string        `yaml:"addr,omitempty"`
		Timeout   time.Duration `yaml:"timeout,omitempty"`
		Interval  time.Duration `yaml:"interval,omitempty"`
		Threshold int           `yaml:"threshold,omitempty"`
	} `yaml:"tcp,omitempty" env:"tcpcheckers"`
}

type notificationsConfig struct {
	Events struct {
		IncludeReferences bool `yaml:"includereferences,omitempty"`
	} `yaml:"events,omitempty" env:"eventconfig"`
	Endpoints []struct {
		Name              string                   `yaml:"name,omitempty"`
		Disabled          bool                     `yaml:"disabled,omitempty"`
		URL               auth.Secret              `yaml:"url,omitempty"` // may hold a password
		Headers           map[string][]auth.Secret `yaml:"headers,omitempty"`
		Timeout           time.Duration            `yaml:"timeout,omitempty"`
		Threshold         int                      `yaml:"threshold,omitempty"`
		Backoff           time.Duration            `yaml:"backoff,omitempty"`
		IgnoredMediaTypes []string                 `yaml:"ignoredmediatypes,omitempty"`
		Ignore            struct {
			MediaTypes []string `yaml:"mediatypes,omitempty"`
			Actions    []string `yaml:"actions,omitempty"`
		} `yaml:"ignore,omitempty"`
	} `yaml:"endpoints,omitempty" config:"later"`
}

// redisConfig has the keys of both versions. Nothing here needs a Redis.
type redisConfig struct {
	Addr                  string        `yaml:"addr,omitempty"`
	Addrs                 []string      `yaml:"addrs,omitempty"`
	ClientName            string        `yaml:"clientname,omitempty"`
	DB                    int           `yaml:"db,omitempty"`
	Protocol              int           `yaml:"protocol,omitempty"`
	Username              string        `yaml:"username,omitempty"`
	Password              auth.Secret   `yaml:"password,omitempty"`
	SentinelUsername      string        `yaml:"sentinelusername,omitempty"`
	SentinelPassword      auth.Secret   `yaml:"sentinelpassword,omitempty"`
	MasterName            string        `yaml:"mastername,omitempty"`
	MaxRetries            int           `yaml:"maxretries,omitempty"`
	MinRetryBackoff       time.Duration `yaml:"minretrybackoff,omitempty"`
	MaxRetryBackoff       time.Duration `yaml:"maxretrybackoff,omitempty"`
	DialTimeout           time.Duration `yaml:"dialtimeout,omitempty"`
	ReadTimeout           time.Duration `yaml:"readtimeout,omitempty"`
	WriteTimeout          time.Duration `yaml:"writetimeout,omitempty"`
	ContextTimeoutEnabled bool          `yaml:"contexttimeoutenabled,omitempty"`
	PoolFIFO              bool          `yaml:"poolfifo,omitempty"`
	PoolSize              int           `yaml:"poolsize,omitempty"`
	PoolTimeout           time.Duration `yaml:"pooltimeout,omitempty"`
	MinIdleConns          int           `yaml:"minidleconns,omitempty"`
	MaxIdleConns          int           `yaml:"maxidleconns,omitempty"`
	MaxActiveConns        int           `yaml:"maxactiveconns,omitempty"`
	ConnMaxIdleTime       time.Duration `yaml:"connmaxidletime,omitempty"`
	ConnMaxLifetime       time.Duration `yaml:"connmaxlifetime,omitempty"`
	MaxRedirects          int           `yaml:"maxredirects,omitempty"`
	ReadOnly              bool          `yaml:"readonly,omitempty"`
	RouteByLatency        bool          `yaml:"routebylatency,omitempty"`
	RouteRandomly         bool          `yaml:"routerandomly,omitempty"`
	DisableIdentity       bool          `yaml:"disableidentity,omitempty"`
	IdentitySuffix        string        `yaml:"identitysuffix,omitempty"`
	UnstableResp3         bool          `yaml:"unstableresp3,omitempty"`
	Pool                  struct {
		MaxIdle     int           `yaml:"maxidle,omitempty"`
		MaxActive   int           `yaml:"maxactive,omitempty"`
		IdleTimeout time.Duration `yaml:"idletimeout,omitempty"`
	} `yaml:"pool,omitempty"`
	TLS struct {
		Enabled     bool     `yaml:"enabled,omitempty"`
		Certificate string   `yaml:"certificate,omitempty"`
		Key         string   `yaml:"key,omitempty"`
		RootCAs     []string `yaml:"rootcas,omitempty"`
	} `yaml:"tls,omitempty"`
}

type proxyConfig struct {
	RemoteURL string      `yaml:"remoteurl,omitempty" config:"later"`
	Username  string      `yaml:"username,omitempty"`
	Password  auth.Secret `yaml:"password,omitempty"`
	Exec      *struct {
		Command  string        `yaml:"command,omitempty"`
		Lifetime time.Duration `yaml:"lifetime,omitempty"`
	} `yaml:"exec,omitempty"`
	TTL               time.Duration `yaml:"ttl,omitempty"`
	CacheWriteTimeout time.Duration `yaml:"cachewritetimeout,omitempty"`
}

type validationConfig struct {
	Enabled   bool `yaml:"enabled,omitempty"`
	Disabled  bool `yaml:"disabled,omitempty" config:"later"`
	Manifests struct {
		URLs struct {
			Allow []string `yaml:"allow,omitempty" config:"later"`
			Deny  []string `yaml:"deny,omitempty" config:"later"`
		} `yaml:"urls,omitempty"`
		Indexes struct {
			// Platforms is all, which is what berth does, none or list.
			Platforms    string `yaml:"platforms,omitempty"`
			PlatformList []struct {
				Architecture string `yaml:"architecture,omitempty"`
				OS           string `yaml:"os,omitempty"`
			} `yaml:"platformlist,omitempty"`
		} `yaml:"indexes,omitempty"`
	} `yaml:"manifests,omitempty"`
}

type policyConfig struct {
	Repository struct {
		Classes []string `yaml:"classes,omitempty" config:"later"`
	} `yaml:"repository,omitempty"`
}

type compatibilityConfig struct {
	Schema1 struct {
		SigningKeyFile string `yaml:"signingkeyfile,omitempty" env:"trustkey"`
		Enabled        bool   `yaml:"enabled,omitempty" config:"never"`
	} `yaml:"schema1,omitempty"`
}
