package main

import (
	"strings"
	"testing"
)

// faults returns the lines of the error of a file with that text.
func faults(t *testing.T, text string, env ...string) []string {
	t.Helper()
	_, _, err := parseConfig("/somewhere/config.yml", []byte(text), env)
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "config.yml is empty"},
		{"# nothing\n", "config.yml is empty"},
		{"version: 0.1\n---\nversion: 0.1\n", "config.yml: it holds more than one document: take the --- lines out"},
		{"just words\n", "config.yml:1: it must be a list of keys and values, such as version: 0.1"},
		{"log: {level: info\n", "config.yml:2: did not find expected ',' or '}'"},
		{"version: 0.2\n", `config.yml:1: version: "0.2" is none of 0.1`},

		{"version: 0.1\nauht: {}\n", "config.yml:2: unknown key auht, did you mean auth?"},
		{"http:\n  addres: x\n", "config.yml:2: unknown key http.addres, did you mean addr?"},
		{"http:\n  Addr: x\n", "config.yml:2: unknown key http.Addr, did you mean addr?"},
		{"storage:\n  filesystem:\n    rootdirectry: x\n", "config.yml:3: unknown key storage.filesystem.rootdirectry, did you mean rootdirectory?"},
		{"access:\n  - name: bob\n    actions: pull\n", "config.yml:3: unknown key access.0.actions, did you mean action?"},
		{"wholly: different\n", "config.yml:1: unknown key wholly"},
		{"http:\n  addr: a\n  net: tcp\n  addr: b\n", "config.yml:4: http.addr is given twice, first at config.yml:2"},
		{"log: {fields: {a: 1, a: 2}}\n", "config.yml:1: log.fields.a is given twice, first at config.yml:1"},

		{"http: text\n", "config.yml:1: http must hold keys and values"},
		{"http: {addr: [a]}\n", "config.yml:1: http.addr must be one value"},
		{"access: {name: bob}\n", "config.yml:1: access must be a list"},
		{"auth: {groups: [a]}\n", "config.yml:1: auth.groups must hold keys and values"},
		{"http: {relativeurls: maybe}\n", "config.yml:1: http.relativeurls must be true or false"},
		{"http: {draintimeout: soon}\n", "config.yml:1: http.draintimeout must be a duration such as 10s or 24h"},
		{"tags: {maxtags: many}\n", "config.yml:1: tags.maxtags must be a whole number"},
		{"http: {trustedproxies: [proxy]}\n", "config.yml:1: http.trustedproxies.0 must be a network such as 10.0.0.0/8"},
		{"accesstests: [{from: here}]\n", "config.yml:1: accesstests.0.from must be an address such as 10.0.0.1"},

		{"log: {level: loud}\n", `config.yml:1: log.level: "loud" is none of error, warn, info, debug`},
		{"log: {formatter: xml}\n", `config.yml:1: log.formatter: "xml" is none of text, json, logstash`},
		{"http: {net: udp}\n", `config.yml:1: http.net: "udp" is none of tcp, unix`},
		{"http: {host: registry}\n", "config.yml:1: http.host: it must be a URL such as https://registry.example.org"},
		{"http: {draintimeout: -1s}\n", "config.yml:1: http.draintimeout: it must not be negative"},
		{"http:\n  tls: {certificate: a}\n", "config.yml:2: http.tls: certificate and key go together"},
		{"http: {tls: {minimumtls: tls1.0}}\n", `config.yml:1: http.tls.minimumtls: "tls1.0" is none of tls1.2, tls1.3`},
		{"http: {tls: {ciphersuites: [TLS_RSA_WITH_RC4_128_SHA]}}\n", `config.yml:1: http.tls.ciphersuites: "TLS_RSA_WITH_RC4_128_SHA" is not known or not secure`},
		{"backup: {interval: 1ms}\n", "config.yml:1: backup.interval: it must be at least 1s"},
		{"backup: {keep: -1}\n", "config.yml:1: backup.keep: it must be from 1 to 10000"},
		{"scrub: {interval: 1ms}\n", "config.yml:1: scrub.interval: it must be at least 1s"},
		{"scrub: {rate: 1}\n", "config.yml:1: scrub.rate: it must be at least 1024 bytes a second"},
		{"scrub: {from: {filesystem: {}}}\n", "config.yml:1: scrub.from.filesystem: rootdirectory is missing"},
		{"scrub: {from: {filesystem: {rootdirectory: /var/lib/registry}}}\n", "config.yml:1: scrub.from.filesystem.rootdirectory: it is that of storage.filesystem: name a copy of it"},
		{"tags: {maxtags: -1}\n", "config.yml:1: tags.maxtags: it must not be negative"},
		{"storage:\n  inmemory:\n  filesystem: {}\n", "config.yml:1: storage: it names more than one driver: filesystem, inmemory"},
		{"storage: {inmemory: {}}\nmetadata: {postgres: {url: 'postgres://h/d'}}\n", "config.yml:2: metadata.postgres: with storage.inmemory the metadata goes with the process too: leave it out"},
		{"metadata: {postgres: {maxconnections: 5}}\n", "config.yml:1: metadata.postgres: url is missing"},
		{"metadata: {postgres: {url: 'postgres://h/d', maxconnections: 2}}\n", "config.yml:1: metadata.postgres.maxconnections: it must be 3 or more"},
		{"metadata: {postgres: {url: 'postgres://u:secret@h:x/d'}}\n", "config.yml:1: metadata.postgres.url: the URL of the PostgreSQL database must be as libpq takes it, such as postgres://berth@db.example.org/berth?sslmode=verify-full"},
		{"storage: {inmemory: {}}\nmetadata: {sqlite: {path: /db/b.db}}\n", "config.yml:2: metadata.sqlite: with storage.inmemory the metadata goes with the process too: leave it out"},

		{"auth:\n", "config.yml:1: auth: no backend is on: name one, such as accounts: {enabled: true}, or write auth: none"},
		{"auth: {accounts: {enabled: false}}\n", "config.yml:1: auth: no backend is on: name one, such as accounts: {enabled: true}, or write auth: none"},
		{"auth: {htpasswd: {realm: a}, accounts: {enabled: true}}\n", "config.yml:1: auth.htpasswd: path is missing"},
		{"auth: {htpasswd: , accounts: {enabled: true}}\n", "config.yml:1: auth.htpasswd: path is missing"},
		{"auth: {none: {}, accounts: {enabled: true}}\n", "config.yml:1: auth: none excludes every other backend"},
		{"access: [{name: a, type: registry, action: pull, effect: maybe}]\n", `config.yml:1: access.0.effect: "maybe" is none of allow, deny`},
	} {
		got := faults(t, tt.text)
		if len(got) != 1 || got[0] != tt.want {
			t.Errorf("%q:\n got %q\nwant %q", tt.text, got, tt.want)
		}
	}
}

func TestFaultsOfRules(t *testing.T) {
	got := faults(t, "auth: {accounts: {enabled: true}}\naccess:\n  - {name: bob, type: registry, action: fly}\n")
	if len(got) != 1 || !strings.Contains(got[0], "access rule 1 (line 3)") || !strings.Contains(got[0], "fly") {
		t.Errorf("got %q", got)
	}
}

func TestAllFaultsAreNamed(t *testing.T) {
	if got := faults(t, "a: 1\nhttp: {b: 2}\nlog: {reportcaller: c}\n"); len(got) != 3 {
		t.Errorf("got %q", got)
	}
	if got := faults(t, "http: {net: x}\nauth: {silly: {}}\nmirrors: [{prefix: x}]\n"); len(got) != 3 {
		t.Errorf("got %q", got)
	}
}

// TestFaultsHideValues puts a secret where it does not belong.
func TestFaultsHideValues(t *testing.T) {
	for _, text := range []string{"http: {draintimeout: canary}", "http: canary", "http: {trustedproxies: canary}", "http: {secret: {a: canary}}"} {
		if got := faults(t, text); len(got) == 0 || strings.Contains(got[0], "canary") {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestRefused(t *testing.T) {
	const later, never = "not available yet", "berth will not have this"
	for _, tt := range []struct{ text, key, want string }{
		{"storage: {swift: {anything: goes}}", "storage.swift", never},
		{"storage: {oss: }", "storage.oss", never},
		{"auth: silly", "auth.silly", never},
		{"mirrors: [{prefix: docker.io}]", "mirrors", later},
		{"proxy: {remoteurl: u}", "proxy.remoteurl", later},
		{"notifications: {endpoints: [{name: a, url: u}]}", "notifications.endpoints", later},
		{"http: {tls: {letsencrypt: {hosts: [h]}}}", "http.tls.letsencrypt.hosts", later},
		{"http: {tls: {letsencrypt: {cachefile: f}}}", "http.tls.letsencrypt.cachefile", later},
		{"middleware: {storage: [{name: cloudfront}]}", "middleware", later},
		{"policy: {repository: {classes: [image]}}", "policy.repository.classes", later},
		{"validation: {disabled: true}", "validation.disabled", later},
		{"validation: {manifests: {urls: {allow: ['.*']}}}", "validation.manifests.urls.allow", later},
		{"validation: {manifests: {urls: {deny: ['.*']}}}", "validation.manifests.urls.deny", later},
		{"validation: {manifests: {indexes: {platforms: none}}}", "validation.manifests.indexes.platforms", later},
		{"compatibility: {schema1: {enabled: true}}", "compatibility.schema1.enabled", never},
		{"reporting: {bugsnag: {apikey: k}}", "reporting", never},
		{"log: {hooks: [{type: mail}]}", "log.hooks", never},
	} {
		got := faults(t, tt.text)
		if len(got) != 1 || !strings.HasPrefix(got[0], "config.yml:1: "+tt.key+": ") || !strings.HasSuffix(got[0], tt.want) {
			t.Errorf("%s: got %q, want %s: %s", tt.text, got, tt.key, tt.want)
		}
	}
}

// TestNotInEffect has what may stay in a file, as it asks for nothing.
func TestNotInEffect(t *testing.T) {
	for _, text := range []string{
		"notifications: {events: {includereferences: true}, endpoints: []}",
		"notifications: {endpoints: [{name: a, disabled: true, headers: {Authorization: [x]}}]}",
		"notifications:",
		"proxy: {remoteurl: '', username: u, ttl: 168h}",
		"http: {tls: {letsencrypt: {cachefile: '', email: e, hosts: []}}}",
		"middleware: {storage: [{name: redirect, disabled: true}], registry: []}",
		"health: {storagedriver: {enabled: true, interval: 10s, threshold: 3}, file: [], http: [], tcp: }",
		"validation: {enabled: true, manifests: {urls: {}, indexes: {platforms: All}}}",
		"compatibility: {schema1: {signingkeyfile: f, enabled: false}}",
		"reporting: {bugsnag: {apikey: ''}, newrelic: }",
		"log: {hooks: [{type: mail, disabled: true, options: {smtp: {addr: a, insecure: true}, to: [b]}}]}",
		"policy: {repository: {classes: []}}",
		"storage: {redirect: {disable: true}, cache: {layerinfo: inmemory, blobdescriptorsize: 10}, tag: {concurrencylimit: 8}, filesystem: {maxthreads: 100}}",
		"auth: {accounts: {enabled: true}, ldap: []}",
	} {
		if got := faults(t, text); got != nil {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"auth", "auth", 0}, {"auht", "auth", 1}, {"adr", "addr", 1}, {"addrs", "addr", 1},
		{"kitten", "sitting", 3}, {"abcd", "badc", 2},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := distance(tt.b, tt.a); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}
