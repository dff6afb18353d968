package main

import (
	"strings"
	"testing"
	"time"

	"berth/local"
	"berth/oci"
	"berth/registry"
)

func TestFaultsOfContentRules(t *testing.T) {
	const at = "config.yml:1: "
	for _, tt := range []struct{ text, want string }{
		{"immutable: [{tags: v*}]", at + `immutable.0: repositories is missing: write ["**"] for all`},
		{"immutable: [{repositories: Team/**}]", at + `immutable.0.repositories: pattern "Team/**": it can match nothing: names of repositories are in lower case`},
		{"immutable: [{repositories: '{user}/**'}]", at + `immutable.0.repositories: pattern "{user}/**" can match nothing: {user} stands for nobody here`},
		{"immutable: [{repositories: a, tags: ['.*']}]", at + `immutable.0.tags: pattern ".*": it can match nothing: a tag begins with a letter, a digit or _`},
		{"immutable: [{repositories: a, except: ['v/*']}]", at + `immutable.0.except: pattern "v/*": '/' can be in no tag; besides tags, a pattern holds only *`},
		{"quotas: [{bytes: 1GiB}]", at + `quotas.0: repositories is missing: write "**" for all together`},
		{"quotas: [{repositories: 'a*/**', bytes: 1GiB}]", at + `quotas.0.repositories: pattern "a*/**": "a*" is no name, and no * for each name: write team/app, team/**, or */** for each folder by itself`},
		{"quotas: [{repositories: a/**}]", at + "quotas.0: it bounds nothing: give bytes, count or tags"},
		{"quotas: [{repositories: a/**, count: -1}]", at + "quotas.0: count and tags must not be negative"},
		{"quotas: [{repositories: a/**, bytes: much}]", at + "quotas.0.bytes must be a size such as 64MB or 64MiB"},
		{"limits: [{of: pushes, per: identity, rate: 1/s}]", at + `limits.0.of: "pushes" is none of requests, pulls, tokens`},
		{"limits: [{of: pulls, per: user, rate: 1/s}]", at + `limits.0.per: "user" is none of identity, anonymous, address`},
		{"limits: [{of: tokens, per: identity, rate: 1/s}]", at + "limits.0.per: who asks for a token has not said who he is: tokens are counted per address"},
		{"limits: [{of: pulls, per: identity, rate: 100}]", at + "limits.0.rate: it must be a number, up to 1000000, and a time, such as 100/s or 200/6h"},
		{"limits: [{of: pulls, per: identity, rate: 1/y}]", at + `limits.0.rate: "1y" is not a time from 1s to 31d`},
		{"limits: [{of: pulls, per: identity, rate: 1/s, burst: -1}]", at + "limits.0.burst: it must be from 1 to 1000000"},
	} {
		got := faults(t, tt.text)
		if len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s:\n got %q\nwant %q", tt.text, got, tt.want)
		}
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]struct {
		n      int
		window time.Duration
	}{
		"100/s": {100, time.Second}, "200/6h": {200, 6 * time.Hour}, "5 / m": {5, time.Minute}, "1/d": {1, 24 * time.Hour}, "3/90s": {3, 90 * time.Second},
	} {
		if n, window, err := parseRate(text); err != nil || n != want.n || window != want.window {
			t.Errorf("%s: %d in %v, %v", text, n, window, err)
		}
	}
	for _, text := range []string{"", "/s", "0/s", "-1/s", "1/0s", "1/1ms", "1/60d", "9999999/s", "a/s"} {
		if n, window, err := parseRate(text); err == nil {
			t.Errorf("%q: %d in %v", text, n, window)
		}
	}
}

// TestWarningsOfContentRules names the rules that can never do anything.
func TestWarningsOfContentRules(t *testing.T) {
	const auth = "version: 0.1\nauth: {accounts: {enabled: true}}\n"
	for _, tt := range []struct{ text, want string }{
		{auth + "immutable: [{repositories: '**', tags: ['v1.*', dev], except: ['v*']}]", "immutable.0: the tags v1.* can never match: all of them are in except"},
		{auth + "immutable: [{repositories: '**', tags: ['v*'], except: ['v*-rc']}]", ""},
		{auth + "immutable: [{repositories: '**', tags: ['v*']}]\nretention: [{repositories: 'a/**', tags: ['v1.*'], keep: 1, untagged: 1d}]", "retention.0 can never remove a tag: all of them are immutable"},
		{auth + "immutable: [{repositories: 'a/**', tags: ['v*']}]\nretention: [{repositories: 'a/**', keep: 1, untagged: 1d}]", ""},
		{auth + "quotas: [{repositories: team/app, count: 2, bytes: 1GB}]", "quotas.0: count bounds nothing: team/app is one repository at a time; end it in /** for all that is in a folder"},
		{auth + "quotas: [{repositories: 'team/**', bytes: 1GB}, {repositories: 'team/a/**', bytes: 1GB}]", "quotas.1 can never be reached: team/a/** is within team/**, which has less"},
		{auth + "quotas: [{repositories: 'team/**', bytes: 1GB}, {repositories: 'team/a/**', bytes: 2GB, count: 1}]", ""},
		{auth + "quotas: [{repositories: '**', bytes: 1GB}, {repositories: 'team/a/**', bytes: 1MB}]", ""},
		{"version: 0.1\nlimits: [{of: pulls, per: identity, rate: 1/s}]", "limits.0 counts nobody: without auth nobody is logged in"},
		{"version: 0.1\nlimits: [{of: tokens, per: address, rate: 1/s}]", "limits.0 counts nothing: there is no token server here"},
		{auth + "limits: [{of: tokens, per: address, rate: 1/s}]", ""},
	} {
		_, warnings, err := parseConfig("/somewhere/config.yml", []byte(tt.text), nil)
		if got := strings.Join(warnings, "; "); err != nil || got != tt.want {
			t.Errorf("%s: %v\n got %q\nwant %q", tt.text, err, got, tt.want)
		}
	}
}

func TestContentRules(t *testing.T) {
	rules, err := mustParse(t, "version: 0.1\nimmutable: [{repositories: ['team/**', x], tags: ['v*', latest], except: '*-rc*'}, {repositories: all}]\n"+
		"quotas: [{repositories: 'team/**', bytes: 1TiB, count: 2, tags: 3}]").contentRules()
	if err != nil {
		t.Fatal(err)
	}
	of := func(r local.ImmutableRule, repo oci.Name, tag oci.Tag) bool { return r.Repository(repo) && r.Tag(tag) }
	one, two, quota := rules.Immutable[0], rules.Immutable[1], rules.Quotas[0]
	if !of(one, "team/app", "v1") || !of(one, "x", "latest") || of(one, "team/app", "v1-rc1") || of(one, "y", "v1") || of(one, "x", "dev") || !of(two, "all", "dev") {
		t.Error("the rules are about other tags than they say")
	}
	if one.Name != "immutable rule 1: team/**, x" || quota.Name != "quota 1 (team/**)" {
		t.Errorf("the rules are called %q, %q", one.Name, quota.Name)
	}
	if want := (registry.Usage{Bytes: 1 << 40, Repositories: 2, Tags: 3}); quota.Limit != want {
		t.Errorf("the quota is %+v, want %+v", quota.Limit, want)
	}
	if _, ok := quota.Span("team"); ok {
		t.Error("team is under the quota of team/**")
	}
}

func TestFullest(t *testing.T) {
	list := []registry.QuotaUsage{
		{Rule: "quota 1 (**)", Used: registry.Usage{Bytes: 1 << 30, Tags: 5}, Limit: registry.Usage{Bytes: 100 << 30}},
		{Rule: "quota 2 (a/**)", Used: registry.Usage{Repositories: 9}, Limit: registry.Usage{Bytes: 1, Repositories: 10}},
	}
	if got := fullest(list); got != "90%: 9 of 10 repositories, quota 2 (a/**)" {
		t.Errorf("got %q", got)
	}
	if got := fullest(list[:1]); got != "1%: 1.0 GiB of 100.0 GiB, quota 1 (**)" {
		t.Errorf("got %q", got)
	}
}
