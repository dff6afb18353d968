package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/audit"
	"berth/oci"
	"berth/registry"
)

// gcConfigured writes a configuration over a new folder of data.
func gcConfigured(t *testing.T, more string) string {
	t.Helper()
	dir := t.TempDir()
	return writeFile(t, filepath.Join(dir, "config.yml"),
		fmt.Sprintf("version: 0.1\nhttp: {addr: '127.0.0.1:0'}\nstorage: {filesystem: {rootdirectory: %q}}\n%s", filepath.Join(dir, "data"), more))
}

// inData calls do with the data of a configuration.
func inData(t *testing.T, config string, do func(*core)) {
	t.Helper()
	cfg, _, err := loadConfig(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := openCore(t.Context(), cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	do(c)
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
}

func pushBlob(t *testing.T, c *core, repo oci.Name, s string) {
	t.Helper()
	u, err := c.registry.StartUpload(t.Context(), repo, registry.UploadOptions{Owner: "alice"})
	if err == nil {
		_, err = u.Write([]byte(s))
	}
	if err == nil {
		_, err = u.Commit(t.Context(), oci.DigestOf(oci.SHA256, []byte(s)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// pushIndex pushes an index of nothing, which differs from others by its mark.
func pushIndex(t *testing.T, c *core, repo oci.Name, mark string, tags ...oci.Tag) {
	t.Helper()
	data := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"mark":%q}}`, oci.MediaTypeIndex, mark)
	m, err := oci.ParseManifest("", data)
	if err == nil {
		put := registry.ManifestContent{Manifest: m, Digest: oci.DigestOf(oci.SHA256, data), Bytes: data}
		_, err = c.registry.PutManifest(t.Context(), repo, put, registry.PutOptions{Tags: tags})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestGC is a story of the commands, without a server.
func TestGC(t *testing.T) {
	config := gcConfigured(t, "retention:\n  - {repositories: ['team/**'], tags: ['dev-*'], keep: 1, untagged: 0s}\n")
	inData(t, config, func(c *core) {
		pushBlob(t, c, "team/app", "loose blob")
		for _, tag := range []oci.Tag{"dev-1", "dev-2", "v1"} {
			pushIndex(t, c, "team/app", string(tag), tag)
		}
	})
	stdout, stderr, code := command(t, "gc", "--dry-run", config)
	for _, want := range []string{"team/app:dev-1", "not among the newest 1", "would be removed: 1 tags"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, stdout, stderr)
		}
	}
	stdout, _, code = command(t, "gc", "-d", "--grace", "0s", "-o", "json", config)
	var report registry.SweepReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 0 || report.Links != 1 || report.Bytes != 10 || !report.DryRun {
		t.Errorf("exit %d, %v: %s", code, err, stdout)
	}
	if stdout, _, code = command(t, "gc", config); code != 0 || !strings.Contains(stdout, "removed: 1 tags, 0 manifests, 0 blobs (0 B)") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	if stdout, _, code = command(t, "gc", "--grace", "0s", config); code != 0 || !strings.Contains(stdout, "removed: 0 tags, 1 manifests, 2 blobs") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	if _, stderr, code = command(t, "repo", "delete", "team/app", "--config", config); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, stderr, code = command(t, "repo", "delete", "team/app", "--config", config); code != 1 || !strings.Contains(stderr, "no repository team/app") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	wantAudited(t, config)
}

// wantAudited looks for the events of TestGC.
func wantAudited(t *testing.T, config string) {
	t.Helper()
	cfg, _, err := loadConfig(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	_, err = audit.Query(t.Context(), cfg.Audit.Path, audit.Filter{}, func(e audit.Event) error {
		got = append(got, fmt.Sprint(e.Kind, " ", e.Result, " ", e.Repository, " ", e.Tags, " ", e.Rule))
		return nil
	})
	want := []string{
		"delete.retention ok team/app [dev-1] 1", "gc ok  [] 0", "delete.retention ok team/app [] 1", "gc ok  [] 0",
		"delete.repository ok team/app [] 0", "delete.repository failed team/app [] 0",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %q", err, got)
	}
}

func TestGarbageCollect(t *testing.T) {
	config := gcConfigured(t, "")
	inData(t, config, func(c *core) { pushIndex(t, c, "a", "untagged") })
	for args, want := range map[string]string{
		"garbage-collect " + config:                                     "removed: 0 tags, 0 manifests",
		"garbage-collect -d -m " + config:                               "would be removed: 0 tags, 0 manifests", // within the grace
		"garbage-collect -q -m " + config:                               "",
		"garbage-collect --delete-untagged --dry-run --quiet " + config: "",
	} {
		root := newRegistryCommand()
		root.SetArgs(strings.Fields(args))
		var out strings.Builder
		root.SetOut(&out)
		if err := root.Execute(); err != nil || !strings.HasPrefix(out.String(), want) || want == "" && out.Len() > 0 {
			t.Errorf("%s: %v: %s", args, err, &out)
		}
	}
}

// TestGCAlarm: a database that is not that of the store must not cost its bytes.
func TestGCAlarm(t *testing.T) {
	config := gcConfigured(t, "")
	data := filepath.Join(filepath.Dir(config), "data")
	inData(t, config, func(c *core) { pushBlob(t, c, "a", "blob") })
	old := time.Now().Add(-48 * time.Hour)
	for i := range 30 {
		path := filepath.Join(data, "blobs", "00", fmt.Sprint("lost", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, "bytes")
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	stdout, stderr, code := command(t, "gc", config)
	if code != 1 || !strings.Contains(stderr, "30 of 31") || !strings.Contains(stderr, "--accept-unknown") || !strings.Contains(stdout, "nothing names 30") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	inData(t, config, func(c *core) {
		_, err := c.collector.Sweep(t.Context(), registry.SweepRequest{}, nil)
		if err == nil || c.collector.degraded() == "" || c.collector.snapshot().unknown != 30 {
			t.Errorf("Sweep = %v, degraded %q", err, c.collector.degraded())
		}
		if _, err := c.collector.Sweep(t.Context(), registry.SweepRequest{AcceptUnknown: true}, nil); err != nil || c.collector.degraded() != "" {
			t.Errorf("accepted: %v, degraded %q", err, c.collector.degraded())
		}
	})
}

func TestGCConfiguration(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"gc: {interval: 1ms}", "config.yml:1: gc.interval: it must be at least 10ms"},
		{"gc: {grace: 10ms}", "config.yml:1: gc.grace: it must be at least 1s"},
		{"gc: {aside: 1h}", "config.yml:1: gc.aside: it must not be shorter than gc.grace"},
		{"retention: [{keep: 1}]", `config.yml:1: retention.0: repositories is missing: write "**" for all`},
		{"retention: [{repositories: ['a//b'], keep: 1}]", `config.yml:1: retention.0.repositories: pattern "a//b": it holds an empty component: write no slash at its ends, and one between components`},
		{"retention: [{repositories: ['**'], tags: ['a/b'], keep: 1}]", `config.yml:1: retention.0.tags: pattern "a/b": '/' can be in no tag; besides tags, a pattern holds only *`},
		{"retention: [{repositories: ['**'], keep: 1001}]", "config.yml:1: retention.0.keep: it must be from 1 to 1000"},
		{"retention: [{repositories: ['**'], within: -1h}]", "config.yml:1: retention.0: a time must not be negative"},
		{"retention: [{repositories: ['**'], tags: [a], untagged: 1h}]", "config.yml:1: retention.0: it names tags, and does not say which of them to keep: add keep, within or pulled"},
		{"retention: [{repositories: ['**']}]", "config.yml:1: retention.0: it removes nothing: add keep, within, pulled or untagged"},
	} {
		if got := faults(t, tt.text); !slices.Contains(got, tt.want) {
			t.Errorf("%s:\n got %q\nwant %q", tt.text, got, tt.want)
		}
	}
	_, warnings, err := parseConfig("config.yml", []byte("gc: {enabled: false, grace: 1m}\nretention: [{repositories: ['**'], keep: 1}]\n"), nil)
	if err != nil || len(warnings) != 3 {
		t.Errorf("%v, %q", err, warnings)
	}
}

func TestRetentionRules(t *testing.T) {
	cfg := mustParse(t, "retention:\n  - {repositories: [team/**, tools/ci], tags: ['dev-*', 'pr-*'], keep: 10, pulled: 90d, untagged: 168h}\n  - {repositories: ['**'], within: 24h}\n")
	rules := cfg.retentionRules()
	if r := rules[0]; !r.Repository("team/a/b") || !r.Repository("tools/ci") || r.Repository("tools/cd") || !r.Tag("dev-1") || !r.Tag("pr-") || r.Tag("v1") ||
		r.Keep != 10 || r.Pulled != 90*24*time.Hour || *r.Untagged != 168*time.Hour {
		t.Errorf("the first rule: %+v", r)
	}
	if r := rules[1]; !r.Repository("any") || !r.Tag("any") || r.Within != 24*time.Hour || r.Untagged != nil {
		t.Errorf("the second rule: %+v", r)
	}
}
