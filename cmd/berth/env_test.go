package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// effective returns the values that a file and variables lead to before
// anything is checked, as a tree of Go values, and the warnings.
func effective(t *testing.T, text string, env ...string) (map[string]any, []string) {
	t.Helper()
	d, err := parseDocument("config.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	warnings, err := d.override(env)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := d.root.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	return tree, warnings
}

func TestEnvironment(t *testing.T) {
	const image = "{version: 0.1, storage: {filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}, cache: {blobdescriptor: inmemory}}}"
	for _, tt := range []struct {
		name, text string
		env        []string
		want       string // YAML
	}{
		{"a leaf", "log: {level: info}", []string{"REGISTRY_LOG_LEVEL=debug"}, "log: {level: debug}"},
		{"a section that is not there", "version: 0.1", []string{"REGISTRY_HTTP_TLS_KEY=k"}, `{version: "0.1", http: {tls: {key: k}}}`},
		{"a section that is empty", "http:", []string{"REGISTRY_HTTP_ADDR=:1"}, `http: {addr: ":1"}`},
		{"any case", "version: 0.1", []string{"REGISTRY_http_Addr=:1"}, `{version: "0.1", http: {addr: ":1"}}`},
		{"another prefix", "version: 0.1", []string{"registry_http_addr=:1", "REGISTRYX_HTTP_ADDR=:1", "HTTP_ADDR=:1"}, `version: "0.1"`},
		{"the path of the file", "version: 0.1", []string{"REGISTRY_CONFIGURATION_PATH=/x.yml"}, `version: "0.1"`},
		{"truth values", "version: 0.1", []string{"REGISTRY_HTTP_RELATIVEURLS=yes", "REGISTRY_HTTP_H2C_ENABLED='off'"}, `{version: "0.1", http: {relativeurls: true, h2c: {enabled: false}}}`},
		{"a section as YAML", "log: {level: info, formatter: json}", []string{"REGISTRY_LOG={level: debug}"}, "log: {level: debug}"},
		{"general before specific, in any order", "log: {level: info}", []string{"REGISTRY_LOG_LEVEL=debug", "REGISTRY_LOG={formatter: json}"}, "log: {formatter: json, level: debug}"},
		{"aliased keys", "version: 0.1", []string{"REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES=true"}, `{version: "0.1", notifications: {events: {includereferences: true}}}`},

		{"the parameter of a driver", image, []string{"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/x"},
			`{version: "0.1", storage: {filesystem: {rootdirectory: /x}, delete: {enabled: true}, cache: {blobdescriptor: inmemory}}}`},
		{"another driver", image, []string{"REGISTRY_STORAGE=s3", "REGISTRY_STORAGE_S3_BUCKET=b"}, `{version: "0.1", storage: {s3: {bucket: b}}}`},
		{"the same driver", image, []string{"REGISTRY_STORAGE=filesystem"}, `{version: "0.1", storage: {filesystem: {}}}`},
		{"another backend", "auth: {htpasswd: {realm: a, path: b}}", []string{"REGISTRY_AUTH=htpasswd", "REGISTRY_AUTH_HTPASSWD_PATH=/x"}, "auth: {htpasswd: {path: /x}}"},
		{"read only, as a leaf", image, []string{"REGISTRY_STORAGE=inmemory", "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED=true"},
			`{version: "0.1", storage: {inmemory: {}, maintenance: {readonly: {enabled: true}}}}`},
		{"read only, as a leaf of a section", "storage: {maintenance: {uploadpurging: {enabled: false}}}", []string{"REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED=true"},
			`storage: {maintenance: {uploadpurging: {enabled: false}, readonly: {enabled: true}}}`},
		{"read only, as a section", "storage: {maintenance: {readonly: {enabled: false}}}", []string{"REGISTRY_STORAGE_MAINTENANCE_READONLY={enabled: true}"},
			`storage: {maintenance: {readonly: {enabled: true}}}`},

		{"a header that is there", "http: {headers: {X-Foo: [bar]}}", []string{"REGISTRY_HTTP_HEADERS_X-FOO=[baz]"}, "http: {headers: {X-Foo: [baz]}}"},
		{"a new header", "http: {headers: {X-Foo: [bar]}}", []string{"REGISTRY_HTTP_HEADERS_X-Bar=baz"}, "http: {headers: {X-Foo: [bar], x-bar: [baz]}}"},
		{"all headers", "http: {headers: {X-Foo: [bar]}}", []string{"REGISTRY_HTTP_HEADERS={A: [b]}"}, "http: {headers: {A: [b]}}"},
		{"an element of a header", "http: {headers: {X-Foo: [a, b]}}", []string{"REGISTRY_HTTP_HEADERS_X-FOO_1=c", "REGISTRY_HTTP_HEADERS_X-FOO_2=d"}, "http: {headers: {X-Foo: [a, c, d]}}"},
		{"a group with _", "auth: {groups: {My_Team: [a]}}", []string{"REGISTRY_AUTH_GROUPS_MY_TEAM_1=b", "REGISTRY_AUTH_GROUPS_ALL_THE_OTHERS=[c, d]"},
			"auth: {groups: {My_Team: [a, b], all_the_others: [c, d]}}"},
		{"log fields", "log: {fields: {a: 1}}", []string{"REGISTRY_LOG_FIELDS_ENVIRONMENT=production", "REGISTRY_LOG_FIELDS_B_C=2"}, "log: {fields: {a: 1, environment: production, b: {c: 2}}}"},

		{"a list", "version: 0.1", []string{"REGISTRY_REDIS_ADDRS=[r:6379, 's']"}, `{version: "0.1", redis: {addrs: ["r:6379", s]}}`},
		{"one word for a list", "version: 0.1", []string{"REGISTRY_REDIS_ADDRS=r:6379"}, `{version: "0.1", redis: {addrs: ["r:6379"]}}`},
		{"a list by index", "version: 0.1", []string{"REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS_0=a.example", "REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS_1=b.example"},
			`{version: "0.1", http: {tls: {letsencrypt: {hosts: [a.example, b.example]}}}}`},
		{"more than ten elements", "redis: {addrs: [a, b, c, d, e, f, g, h]}",
			[]string{"REGISTRY_REDIS_ADDRS_10=k", "REGISTRY_REDIS_ADDRS_9=j", "REGISTRY_REDIS_ADDRS_8=i"}, "redis: {addrs: [a, b, c, d, e, f, g, h, i, j, k]}"},
		{"a list of sections", "notifications: {endpoints: [{name: a, url: u}]}", []string{"REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL=v", "REGISTRY_NOTIFICATIONS_ENDPOINTS_1_NAME=b"},
			"notifications: {endpoints: [{name: a, url: v}, {name: b}]}"},
		{"rules", "access: [{name: bob, type: registry}]", []string{"REGISTRY_ACCESS_0_NAME=*", "REGISTRY_ACCESS_0_ACTION=[pull, push]", "REGISTRY_ACCESS_1_REPOSITORIES={user}/**"},
			`access: [{name: ["*"], type: registry, action: [pull, push]}, {repositories: ["{user}/**"]}]`},
		{"all rules", "access: [{name: bob}]", []string{`REGISTRY_ACCESS=[{"name": "al", "from": "10.0.0.1"}]`}, "access: [{name: [al], from: [10.0.0.1/32]}]"},

		{"a key with _", "version: 0.1", []string{"REGISTRY_STORAGE_AZURE_MAX_RETRIES=3"}, `{version: "0.1", storage: {azure: {max_retries: 3}}}`},
		{"a free key with _", "version: 0.1", []string{"REGISTRY_STORAGE_GCS_CREDENTIALS_PROJECT_ID=p1"}, `{version: "0.1", storage: {gcs: {credentials: {project_id: p1}}}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, warnings := effective(t, tt.text, tt.env...)
			var want map[string]any
			if err := yaml.Unmarshal([]byte(tt.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if len(warnings) > 0 {
				t.Errorf("warnings: %q", warnings)
			}
		})
	}
}

// TestEnvironmentText sets text that YAML reads more into. It stays as it is,
// but for blanks around it and the quotes of those who knew.
func TestEnvironmentText(t *testing.T) {
	for value, want := range map[string]string{
		"0123": "0123", "1e5": "1e5", "yes": "yes", "null": "null", "~": "~", "#abc": "#abc", "x #y": "x #y",
		"@foo": "@foo", "*foo": "*foo", "a: b": "a: b", "{": "{", "[a]": "[a]", "": "", "'": "'", `"a" b`: `"a" b`,
		`"quoted"`: "quoted", "'it''s'": "it's", " padded\n": "padded", "2001-01-01": "2001-01-01", "%x": "%x", "!a": "!a",
	} {
		for _, key := range []string{"HTTP_SECRET", "STORAGE_S3_SECRETKEY", "STORAGE_GCS_CREDENTIALS_PRIVATE_KEY"} {
			d, err := parseDocument("config.yml", []byte("version: 0.1"))
			if err != nil {
				t.Fatal(err)
			}
			if warnings, err := d.override([]string{"REGISTRY_" + key + "=" + value}); err != nil || len(warnings) > 0 {
				t.Errorf("%s=%q: %v, %q", key, value, err, warnings)
			}
			var cfg Config
			if err := d.root.Decode(&cfg); err != nil {
				t.Errorf("%s=%q: %v", key, value, err)
				continue
			}
			got := cfg.HTTP.Secret
			if cfg.Storage.S3 != nil {
				got = cfg.Storage.S3.SecretKey
			}
			if cfg.Storage.GCS != nil {
				got = cfg.Storage.GCS.Credentials["private_key"]
			}
			if got.Reveal() != want {
				t.Errorf("%s=%q is %q", key, value, got.Reveal())
			}
		}
	}
}

// TestEnvironmentIgnored sets what names nothing, or what cannot be read: it
// changes nothing, and a warning says so without the value.
func TestEnvironmentIgnored(t *testing.T) {
	const text = "{log: {level: info}, http: {tls: {ciphersuites: [a]}}, access: []}"
	before, _ := effective(t, text)
	for _, tt := range []struct{ variable, want string }{
		{"REGISTRY_PORT=tcp://canary", "$REGISTRY_PORT: unknown key port"},
		{"REGISTRY_PORT_5000_TCP_ADDR=canary", "$REGISTRY_PORT_5000_TCP_ADDR: unknown key port"},
		{"REGISTRY_=canary", "$REGISTRY_: unknown key "},
		{"REGISTRY_HTTP_ADR=canary", "$REGISTRY_HTTP_ADR: unknown key http.adr, did you mean addr?"},
		{"REGISTRY_HTTP_ADDR_PORT=canary", "$REGISTRY_HTTP_ADDR_PORT: http.addr has no keys"},
		{"REGISTRY_HTTP_TLS_CIPHERSUITES_X=canary", `$REGISTRY_HTTP_TLS_CIPHERSUITES_X: http.tls.ciphersuites is a list, and "X" no number of an element`},
		{"REGISTRY_HTTP_TLS_CIPHERSUITES_2=canary", "$REGISTRY_HTTP_TLS_CIPHERSUITES_2: http.tls.ciphersuites has 1 elements, so the next is 1"},
		{"REGISTRY_HTTP_DRAINTIMEOUT=canary", "$REGISTRY_HTTP_DRAINTIMEOUT: http.draintimeout must be a duration such as 10s or 24h"},
		{"REGISTRY_STORAGE_S3_CHUNKSIZE=canary", "$REGISTRY_STORAGE_S3_CHUNKSIZE: storage.s3.chunksize must be a whole number"},
		{"REGISTRY_STORAGE=tcp://canary", "$REGISTRY_STORAGE: unknown key storage.tcp://canary"},
		{"REGISTRY_HTTP=canary", "$REGISTRY_HTTP: http must hold keys and values"},
		{"REGISTRY_HTTP={canary", "$REGISTRY_HTTP: the value of http is not YAML"},
		{"REGISTRY_HTTP={adr: canary}", "$REGISTRY_HTTP: unknown key http.adr, did you mean addr?"},
		{"REGISTRY_AUTH_PORT=canary", "$REGISTRY_AUTH_PORT: unknown key auth.port"},
		{"REGISTRY_ACCESS_SERVICE_HOST=canary", `$REGISTRY_ACCESS_SERVICE_HOST: access is a list, and "SERVICE" no number of an element`},
	} {
		got, warnings := effective(t, text, tt.variable)
		if diff := cmp.Diff(before, got); diff != "" {
			t.Errorf("%s changes %s", tt.variable, diff)
		}
		if len(warnings) != 1 || warnings[0] != tt.want+"; the variable is ignored" {
			t.Errorf("%s: warnings %q", tt.variable, warnings)
		}
	}
}

// TestEnvironmentRefused sets what cannot be read where ignoring it could open
// a door.
func TestEnvironmentRefused(t *testing.T) {
	for _, variable := range []string{
		"REGISTRY_AUTH=nothing", "REGISTRY_AUTH={", "REGISTRY_AUTH_ACCOUNTS_ENABLED=perhaps", "REGISTRY_ACCESS=[{", "REGISTRY_ACCESS=text",
		"REGISTRY_ACCESS_1_NAME=bob", "REGISTRY_ACCESS_0_FROM=here", "REGISTRY_ACCESS=[{nam: bob}]",
	} {
		_, _, err := parseConfig("config.yml", []byte("auth: {accounts: {enabled: true}}"), []string{variable})
		name, _, _ := strings.Cut(variable, "=")
		if err == nil || !strings.HasPrefix(err.Error(), "$"+name+": ") {
			t.Errorf("%s: %v", variable, err)
		}
	}
}

func TestEnvironmentDrivers(t *testing.T) {
	const file = "storage: {filesystem: {rootdirectory: /x}, delete: {enabled: true}}"
	for _, tt := range []struct {
		env  []string
		want string // driver, or part of the error
		warn bool
	}{
		{[]string{"REGISTRY_STORAGE_INMEMORY="}, "inmemory", true},
		{[]string{"REGISTRY_STORAGE_INMEMORY={}"}, "inmemory", true},
		{[]string{"REGISTRY_STORAGE_S3_BUCKET=b"}, "storage: s3 keeps no metadata", true},
		{[]string{"REGISTRY_STORAGE_FILESYSTEM_MAXTHREADS=50"}, "filesystem", false},
		{[]string{"REGISTRY_STORAGE_FILESYSTEM_MAXTHREADS=50", "REGISTRY_STORAGE_INMEMORY={}"}, "more than one driver: filesystem, inmemory", false},
		{[]string{"REGISTRY_STORAGE_S3_CHUNKSIZE=many"}, "filesystem", true},
	} {
		cfg, warnings, err := parseConfig("config.yml", []byte(file), tt.env)
		got := ""
		if err == nil {
			got = cfg.storageDriver()
			if !cfg.Storage.Delete.Enabled {
				t.Errorf("%q: the rest of storage is gone", tt.env)
			}
			if (len(warnings) > 0) != tt.warn {
				t.Errorf("%q: warnings %q", tt.env, warnings)
			}
		} else {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.env, got, tt.want)
		}
	}
}
