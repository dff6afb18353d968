package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"berth/auth"
	"berth/blob/bucket"
	"berth/blob/s3"
)

const beside = ", metadata: {sqlite: {path: /data/berth.db}}"

func TestFaultsOfObjectStores(t *testing.T) {
	for _, tt := range []struct{ text, key, want string }{
		{"storage: {gcs: {bucket: b}}", "storage", "metadata.sqlite.path"},
		{"storage: {azure: {accountname: a, accountkey: d3Jvbmc=, container: c}}", "storage", "metadata.sqlite.path"},
		{"storage: {s3: {bucket: b}}", "storage", "metadata.sqlite.path"},
		{"{storage: s3" + beside + "}", "storage.s3", "no bucket is named"},
		{"{storage: {s3aws: {bucket: b, secretkey: canary}}" + beside + "}", "storage.s3aws", "accesskey and secretkey"},
		{"{storage: {s3: {bucket: b, keyid: k}}" + beside + "}", "storage.s3", "encrypt"},
		{"{storage: {s3: {bucket: b, chunksize: 1000}}" + beside + "}", "storage.s3", "5242880"},
		{"{storage: {s3: {bucket: b, accelerate: true, regionendpoint: e}}" + beside + "}", "storage.s3", "accelerate"},
		{"{storage: {s3: {bucket: b, regionendpoint: 'ftp://e'}}" + beside + "}", "storage.s3", "regionendpoint"},
		{"{storage: {s3: {bucket: b, v4auth: false}}" + beside + "}", "storage.s3.v4auth", "version 4"},
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
		"storage: {s3: {bucket: b, region: us-east-1, accesskey: a, secretkey: b, secure: true, v4auth: true, encrypt: true, keyid: k, storageclass: STANDARD_IA, objectacl: private}}",
		"storage: {s3aws: {bucket: b, regionendpoint: 'http://store:9000', redirectendpoint: 'https://s.example.org', forcepathstyle: true, chunksize: 5242880, multipartcopychunksize: 33554432, multipartcopymaxconcurrency: 100, multipartcopythresholdsize: 33554432, rootdirectory: /r}}",
		"storage: {s3: {bucket: b, sessiontoken: t, accesskey: a, secretkey: b, useragent: u, usedualstack: true, accelerate: true, usefipsendpoint: false, loglevel: debugwithsigning, logs3apirequests: true, logs3apiresponseheaders: {a: b}}}",
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

func TestS3Options(t *testing.T) {
	no, yes := false, true
	for _, tt := range []struct {
		c    s3Config
		want func(s3.Options) bool
	}{
		{s3Config{}, func(o s3.Options) bool { return !o.PathStyle && !o.PlainHTTP && !o.LogRequests && o.PartSize == 0 }},
		{s3Config{RegionEndpoint: "store:9000"}, func(o s3.Options) bool { return o.PathStyle }},
		{s3Config{RegionEndpoint: "store:9000", ForcePathStyle: &no}, func(o s3.Options) bool { return !o.PathStyle }},
		{s3Config{ForcePathStyle: &yes, Secure: &no}, func(o s3.Options) bool { return o.PathStyle && o.PlainHTTP }},
		{s3Config{StorageClass: "NONE", LogLevel: "off"}, func(o s3.Options) bool { return o.StorageClass == "" && !o.LogRequests }},
		{s3Config{LogLevel: "debug", ChunkSize: 100 << 20}, func(o s3.Options) bool { return o.LogRequests && o.PartSize == bucket.MaxPart }},
	} {
		if o := tt.c.options(nil); !tt.want(o) {
			t.Errorf("%+v makes %+v", tt.c, o)
		}
	}
	c := s3Config{ChunkSize: 100 << 20, SkipVerify: true}
	if got := c.warnings("storage.s3"); len(got) != 2 || !strings.Contains(got[0], "8388608") {
		t.Errorf("warnings: %q", got)
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
