package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/audit"
	"berth/auth"
	"berth/auth/robot"
	"berth/oci"
	"berth/server"
	"berth/web"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "1000": "1000", "64MB": "64000000", "64 MiB": "67108864", "1kb": "1000", "2KiB": "2048", "3GB": "3000000000", "1GiB": "1073741824", "7B": "7",
		"": "", "MB": "", "-1": "", "1.5MB": "", "1TB": "1000000000000", "2TiB": "2199023255552", "1PB": "", "9223372036854775807KB": "", "0x10": "",
	} {
		got, ok := size(text)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: %s, %v, want %s", text, got, ok, want)
		}
	}
}

func TestAuditConfig(t *testing.T) {
	cfg := mustParse(t, "storage: {filesystem: {rootdirectory: /srv}}")
	want := auditConfig{Path: "/srv/audit/audit.log", MaxSize: 64 << 20, MaxFiles: 20, MaxAge: 90 * 24 * time.Hour}
	if diff := cmp.Diff(want, cfg.Audit); diff != "" {
		t.Error(diff)
	}
	cfg = mustParse(t, "audit: {path: /a/b.log, pulls: true, maxsize: 1MiB, maxfiles: 3, maxage: 7d, required: true}", "REGISTRY_AUDIT_MAXSIZE=2MiB")
	want = auditConfig{Path: "/a/b.log", Pulls: true, MaxSize: 2 << 20, MaxFiles: 3, MaxAge: 7 * 24 * time.Hour, Required: true}
	if diff := cmp.Diff(want, cfg.Audit); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{
		"storage: inmemory": "", "storage: inmemory\naudit: {path: /a}": "/a", "audit: {path: /a, disabled: true}": "",
	} {
		if got := mustParse(t, text).auditPath(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"audit: {required: true, disabled: true}":    "config.yml:1: audit.required: it cannot be both required and disabled",
		"storage: inmemory\naudit: {required: true}": "config.yml:2: audit.required: with storage.inmemory the audit log needs a path",
		"audit: {path: /a.gz}":                       "config.yml:1: audit.path: old files get such an ending: name it audit.log",
		"audit: {maxsize: 1KB}":                      "config.yml:1: audit.maxsize: it must be at least 256 KiB",
		"audit: {maxsize: large}":                    "config.yml:1: audit.maxsize must be a size such as 64MB or 64MiB",
		"audit: {maxfiles: -1}":                      "config.yml:1: audit.maxfiles: it must be from 1 to 10000",
		"audit: {maxage: 1m}":                        "config.yml:1: audit.maxage: it must be at least an hour",
		"audit: {maxage: 90 days}":                   "config.yml:1: audit.maxage must be a duration such as 10s or 24h",
		"audit: {disable: true}":                     "config.yml:1: unknown key audit.disable, did you mean disabled?",
	} {
		if got := faults(t, text); len(got) != 1 || got[0] != want {
			t.Errorf("%s:\n got %q\nwant %q", text, got, want)
		}
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                          {},
		"2h":                        now.Add(-2 * time.Hour),
		"7d":                        now.AddDate(0, 0, -7),
		"2026-11-01":                time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		"2026-11-01 16:30":          time.Date(2026, 11, 1, 16, 30, 0, 0, time.UTC),
		"2026-11-01 16:30:15":       time.Date(2026, 11, 1, 16, 30, 15, 0, time.UTC),
		"2026-11-01T16:30:00+02:00": time.Date(2026, 11, 1, 14, 30, 0, 0, time.UTC),
	} {
		if got, err := moment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"yesterday", "12", "2026-13-01", "xd"} {
		if got, err := moment(text, now); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// auditOf makes a log with those events, and a configuration that names it.
func auditOf(t *testing.T, events ...audit.Event) (config string) {
	t.Helper()
	dir := t.TempDir()
	l, err := audit.Open(filepath.Join(dir, "audit", "audit.log"), audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		l.Record(e)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return writeFile(t, filepath.Join(dir, "config.yml"), fmt.Sprintf("storage: {filesystem: {rootdirectory: %q}}\n", dir))
}

func TestAuditCommand(t *testing.T) {
	noon := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	addr := netip.MustParseAddr("10.1.2.3")
	path := auditOf(t,
		audit.Event{Time: noon, Kind: audit.Push, Result: audit.OK, User: "alice", Address: addr, Repository: "team/app", Tags: []oci.Tag{"v1", "v2"}, Digest: "sha256:0123456789abcdef0123", Rule: 2, Comment: "builds"},
		audit.Event{Time: noon.Add(time.Minute), Kind: audit.Refused, Result: audit.Denied, User: "bob", Repository: "team/app", Tags: []oci.Tag{"v1"}, Reason: "user bob may not push to team/app:v1", Ref: "ABCDEFGHIJ"},
		audit.Event{Time: noon.Add(2 * time.Minute), Kind: audit.Login, Result: audit.Failed, User: "e\x1b[2Jve", Address: netip.MustParseAddr("2001:db8::1"), Reason: "wrong"},
		audit.Event{Time: noon.Add(3 * time.Minute), Kind: audit.UserAdd, Result: audit.OK, User: audit.LocalUser, Target: "bob", Reason: "in dev"},
	)
	const (
		head  = "TIME (UTC)           EVENT          RESULT     USER              ADDRESS          WHAT\n"
		push  = "2026-11-25 12:00:00  push           ok         alice             10.1.2.3         team/app:v1,v2@sha256:0123456789ab  rule 2  # builds\n"
		deny  = "2026-11-25 12:01:00  refused        denied     bob               -                team/app:v1  user bob may not push to team/app:v1  ref ABCDEFGHIJ\n"
		login = "2026-11-25 12:02:00  login          failed     \"e\\x1b[2Jve\"      2001:db8::1      wrong\n"
		user  = "2026-11-25 12:03:00  user.add       ok         local             -                bob  in dev\n"
	)
	for _, tt := range []struct {
		args string
		want string
	}{
		{"", head + push + deny + login + user},
		{"--denied", head + deny},
		{"--failed --denied", head + deny + login},
		{"--user bob", head + deny + user},
		{"--event user", head + user},
		{"--repository team/*", head + push + deny},
		{"--address 10.0.0.0/8", head + push},
		{"--address 2001:db8::1", head + login},
		{"--ref abcdefghij", head + deny},
		{"--since 2026-11-25T12:01:00Z --until 2026-11-25T12:02:00Z", head + deny},
		{"--event push -o json", `{"time":"2026-11-25T12:00:00.000Z","event":"push","result":"ok","user":"alice","address":"10.1.2.3","repository":"team/app",` +
			`"tags":["v1","v2"],"digest":"sha256:0123456789abcdef0123","rule":2,"comment":"builds"}` + "\n"},
	} {
		stdout, stderr, code := command(t, append(strings.Fields("audit --config "+path), strings.Fields(tt.args)...)...)
		if code != 0 || stderr != "" || stdout != tt.want {
			t.Errorf("%s: exit %d\n%s%s", tt.args, code, stderr, cmp.Diff(tt.want, stdout))
		}
	}
	for args, want := range map[string]string{
		"--event bogus": "--event: there is no event bogus: it is one of backup, config, damage, delete, delete.blob, delete.repository, delete.retention, dropped, export, gc, import, login", "--since soon": "--since: ", "--until x": "--until: ", "--address here": "--address: ", "--repository A": "--repository: ",
	} {
		if _, stderr, code := command(t, append(strings.Fields("audit --config "+path), strings.Fields(args)...)...); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d: %s", args, code, stderr)
		}
	}
	if _, stderr, code := command(t, "audit", "--config", path, "extra"); code != 2 {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// TestNoAudit asks for a log where there is none, and where a line of it is
// damaged.
func TestNoAudit(t *testing.T) {
	dir := t.TempDir()
	path := writeFile(t, filepath.Join(dir, "config.yml"), fmt.Sprintf("storage: {filesystem: {rootdirectory: %q}}\n", dir))
	if _, stderr, code := command(t, "audit", "--config", path); code != 1 || !strings.Contains(stderr, "no registry has kept one there") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	memory := writeFile(t, filepath.Join(dir, "memory.yml"), "storage: inmemory\n")
	if _, stderr, code := command(t, "audit", "--config", memory); code != 1 || !strings.Contains(stderr, "audit.path") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	path = auditOf(t)
	writeFile(t, filepath.Join(filepath.Dir(path), "audit", "audit.log"), "damaged\n")
	if _, stderr, code := command(t, "audit", "--config", path); code != 0 || !strings.Contains(stderr, "1 lines or files") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestFailedLogin(t *testing.T) {
	for _, tt := range []struct {
		err    error
		result audit.Result
		status int
		reason string
	}{
		{auth.ErrBadCredentials, audit.Failed, 401, "wrong user name or password"},
		{fmt.Errorf("verify: %w", &auth.RejectedError{Reason: "account locked (775)"}), audit.Failed, 401, "account locked (775)"},
		{&auth.RejectedError{Told: "the robot ci expired on 2026-03-01"}, audit.Failed, 401, "the robot ci expired on 2026-03-01"},
		{&auth.ThrottledError{RetryAfter: time.Minute}, audit.Throttled, 429, "too many wrong passwords, try again in 1m0s"},
		{errors.New("no answer"), audit.Error, 503, "no answer"},
	} {
		result, status, reason := failedLogin(tt.err)
		if result != tt.result || status != tt.status || reason != tt.reason {
			t.Errorf("%v: %s, %d, %s", tt.err, result, status, reason)
		}
	}
}

// TestOwnTokensAreAudited: what somebody does to his tokens on the pages.
func TestOwnTokensAreAudited(t *testing.T) {
	dir := t.TempDir()
	cfg := mustParse(t, fmt.Sprintf("storage: {filesystem: {rootdirectory: %q}}\nauth: {accounts: {enabled: true}}\n", dir))
	core, err := openCore(t.Context(), cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer core.close()
	if err := core.accounts.Add(t.Context(), "alice", "correct horse", nil); err != nil {
		t.Fatal(err)
	}
	alice := auth.Subject{Provider: "accounts", Name: "alice"}
	ctx := audit.WithRequest(t.Context(), audit.Request{Ref: "REF", Agent: "browser", Method: audit.Page})
	ctx = server.WithOrigin(ctx, server.Origin{Addr: netip.MustParseAddr("10.1.2.3")})
	tokens := personalTokens{core.robots.Tokens(), core.audit}
	secret, err := tokens.New(ctx, alice, web.NewToken{Name: "laptop"})
	if err != nil {
		t.Fatal(err)
	}
	list, err := tokens.List(ctx, alice)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, want := range []error{nil, web.ErrNoToken} {
		if err := tokens.Revoke(ctx, alice, list[0].ID); err != want {
			t.Errorf("revoke: %v, want %v", err, want)
		}
	}
	if err := core.audit.Close(); err != nil {
		t.Fatal(err)
	}
	var got []audit.Event
	if _, err := audit.Query(t.Context(), cfg.Audit.Path, audit.Filter{}, func(e audit.Event) error {
		if strings.Contains(string(e.Line()), secret.Reveal()) {
			t.Error("the secret is told")
		}
		e.Time = time.Time{}
		got = append(got, e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	event := func(kind audit.Kind, result audit.Result, target, reason string) audit.Event {
		return audit.Event{
			Kind: kind, Result: result, User: "alice", Provider: "accounts", Method: audit.Page, Address: netip.MustParseAddr("10.1.2.3"),
			Agent: "browser", Target: target, Reason: reason, Ref: "REF",
		}
	}
	want := []audit.Event{
		event(audit.TokenAdd, audit.OK, "alice", "laptop"),
		event(audit.TokenRevoke, audit.OK, list[0].ID, ""),
		event(audit.TokenRevoke, audit.Failed, list[0].ID, robot.ErrNotExist.Error()),
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

// TestRulesDigest: it tells rules and groups from others, and nothing else.
func TestRulesDigest(t *testing.T) {
	const plain = "auth: {accounts: {enabled: true}, groups: {dev: [bob]}}\naccess: [{name: bob, type: registry, action: pull}]\n"
	digest := func(text string) oci.Digest { return mustParse(t, text).rulesDigest() }
	want := digest(plain)
	for text, same := range map[string]bool{
		"log: {level: debug}\n" + plain:               true,
		"\n\n" + plain:                                true,
		strings.ReplaceAll(plain, "pull", "push"):     false,
		strings.ReplaceAll(plain, "[bob]", "[alice]"): false,
		"auth: {accounts: {enabled: true}}\n":         false,
	} {
		if (digest(text) == want) != same {
			t.Errorf("%q: the same: %v", text, !same)
		}
	}
}
