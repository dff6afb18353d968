package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"berth/auth"
	"berth/blob/bucket"
)

const beside = ", metadata: {sqlite: {path: /data/berth.db}}"

func TestFaultsOfObjectStores(t *testing.T) {
	for _, tt := range []struct{ text, key, want string }{
		{"storage: {gcs: {bucket: b}}", "storage", "metadata.sqlite.path"},
		{"storage: {azure: {accountname: a, accountkey: d3Jvbmc=, container: c}}", "storage", "metadata.sqlite.path"},
		{"{storage: {gcs: {}}" + beside + "}", "storage.gcs", "no bucket is named"},
		{"{storage: {gcs: {bucket: b, chunksize: 1000}}" + beside + "}", "storage.gcs", "multiple of 262144"},
		{"{storage: {gcs: {bucket: b, keyfile: f, credentials: {type: authorized_user}}}" + beside + "}", "storage.gcs", "exclude each other"},
		{"{storage: {gcs: {bucket: b, credentials: {type: service_account, private_key: canary}}}" + beside + "}", "storage.gcs", "private_key"},
		{"{storage: {azure: {accountname: a}}" + beside + "}", "storage.azure", "no container is named"},
		{"{storage: {azure: {accountname: a, container: c, credentials: {type: client_secret, secret: canary}}}" + beside + "}", "storage.azure", "clientid, tenantid and secret"},
		{"{storage: {gcs: {bucket: b}, azure: {container: c}}" + beside + "}", "storage", "more than one driver"},
	} {
		got := faults(t, tt.text)
		if len(got) != 1 || !strings.HasPrefix(got[0], "config.yml:1: "+tt.key+": ") || !strings.Contains(got[0], tt.want) || strings.Contains(got[0], "canary") {
			t.Errorf("%s: got %q, want %s: %s", tt.text, got, tt.key, tt.want)
		}
	}
}

// TestObjectStores has the spellings of both versions of Distribution.
func TestObjectStores(t *testing.T) {
	for _, text := range []string{
		"storage: {gcs: {bucket: b, keyfile: /etc/gcs.json, rootdirectory: /r, chunksize: 5242880, maxconcurrency: 50, useragent: u}}",
		"storage: {gcs: {bucket: b, credentials: {type: authorized_user, client_id: a, client_secret: b, refresh_token: c}}}",
		"storage: {azure: {accountname: a, accountkey: d3Jvbmc=, container: c, realm: core.chinacloudapi.cn}}",
		"storage: {azure: {accountname: a, container: c, credentials: {type: default_credentials}, max_retries: 3, retry_delay: 200ms, copy_status_poll_max_retry: 10, copy_status_poll_delay: 100ms, serviceurl: 'https://a.example.org', skipverify: true}}",
		"storage: {azure: {accountname: a, container: c, credentials: {type: client_secret, clientid: i, tenantid: t, secret: s}}}",
	} {
		if got := faults(t, "{"+text+beside+"}"); got != nil {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestGCSOptions(t *testing.T) {
	g := gcsConfig{Bucket: "b", ChunkSize: 100 << 20}
	if o := g.options(nil); o.ChunkSize != bucket.MaxPart {
		t.Errorf("a chunk has %d bytes", o.ChunkSize)
	}
	if got := g.warnings(); len(got) != 1 || !slices.ContainsFunc(got, func(w string) bool { return strings.Contains(w, "8388608") }) {
		t.Errorf("warnings: %q", got)
	}
	g.Credentials = map[string]auth.Secret{"type": "authorized_user"}
	var file map[string]string
	if err := json.Unmarshal([]byte(g.options(nil).Credentials.Reveal()), &file); err != nil || file["type"] != "authorized_user" {
		t.Errorf("the credentials are %v, %v", file, err)
	}
}
