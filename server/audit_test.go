package server

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/audit"
	"berth/auth"
	"berth/oci"
)

// A recorder keeps events.
type recorder struct {
	mu     sync.Mutex
	events []audit.Event
}

func (r *recorder) record(e audit.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// take returns the events since it was called last.
func (r *recorder) take() []audit.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// TestAudit: one request after the other, and what the audit is told of each.
func TestAudit(t *testing.T) {
	var r recorder
	f := newFixture(t, func(o *Options) { o.Audit = r.record })
	f.seed("pusher")
	f.reg.addManifest("team/app", "old")
	image := string(imageManifest("", "new"))
	d := oci.DigestOf(oci.SHA256, []byte(image))
	blob := oci.DigestOf(oci.SHA256, []byte("blob"))
	refresh, err := f.issuer.NewRefresh(t.Context(), auth.Identity{Subject: auth.Subject{Provider: "test", Name: "pusher"}, Version: "1"}, "registry.test", "docker", "")
	if err != nil {
		t.Fatal(err)
	}
	of := func(user string, e audit.Event) []audit.Event {
		if user != "" {
			e.User, e.Provider, e.Method = user, "test", audit.Basic
		}
		return []audit.Event{e}
	}
	const scope = "repository:team/app:pull,push"
	renew := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh.Reveal()}, "scope": {scope}}
	forged := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"bth_rt_forged"}}
	const form = "Content-Type: application/x-www-form-urlencoded"
	renewed := of("pusher", audit.Event{Kind: audit.Token, Result: audit.OK, Repository: "team/app", Scope: scope})
	renewed[0].Method = audit.Refresh
	byToken := of("pusher", audit.Event{Kind: audit.Push, Result: audit.OK, Repository: "team/app", Tags: []oci.Tag{"v3"}, Digest: d, Rule: 3})
	byToken[0].Method = audit.Bearer
	for _, step := range []struct {
		name               string
		method, path, body string
		header             string
		status             int
		want               []audit.Event
	}{
		{"a first look", get, "/v2/", "", "", 401, nil},
		{"a pull", get, "/v2/team/app/manifests/v1", "", as("puller"), 200, nil},
		{"a push", put, "/v2/team/app/manifests/v2", image, as("pusher"), 201,
			of("pusher", audit.Event{Kind: audit.Push, Result: audit.OK, Repository: "team/app", Tags: []oci.Tag{"v2"}, Digest: d, Rule: 3})},
		{"a push by digest", put, "/v2/team/app/manifests/" + string(d) + "?tag=a&tag=b", image, as("pusher"), 201,
			of("pusher", audit.Event{Kind: audit.Push, Result: audit.OK, Repository: "team/app", Tags: []oci.Tag{"a", "b"}, Digest: d, Rule: 3})},
		{"a push with a token", put, "/v2/team/app/manifests/v3", image, f.bearer("pusher", scope), 201, byToken},
		{"a push of what is no manifest", put, "/v2/team/app/manifests/v2", "{}", as("pusher"), 400, nil},
		{"a push that is not allowed", put, "/v2/team/app/manifests/v2", image, as("puller"), 403,
			of("puller", audit.Event{Kind: audit.Refused, Result: audit.Denied, Repository: "team/app", Tags: []oci.Tag{"v2"}, Scope: scope,
				Reason: "user puller may not push to team/app:v2", Status: 403})},
		{"a pull of nobody", get, "/v2/team/app/manifests/" + string(d), "", "", 401,
			of("", audit.Event{Kind: audit.Refused, Result: audit.Denied, Repository: "team/app", Digest: d, Scope: "repository:team/app:pull",
				Reason: "log in to pull from team/app", Status: 401})},
		{"an upload", post, "/v2/team/app/blobs/uploads/?digest=" + string(blob), "blob", as("pusher"), 201, nil},
		{"an upload that is not allowed", post, "/v2/team/app/blobs/uploads/", "", as("puller"), 403,
			of("puller", audit.Event{Kind: audit.Refused, Result: audit.Denied, Repository: "team/app", Scope: scope,
				Reason: "user puller may not push to team/app", Status: 403})},
		{"a tag removed", remove, "/v2/team/app/manifests/v2", "", as("deleter"), 202,
			of("deleter", audit.Event{Kind: audit.Delete, Result: audit.OK, Repository: "team/app", Tags: []oci.Tag{"v2"}, Rule: 5})},
		{"a manifest removed", remove, "/v2/team/app/manifests/" + string(d), "", as("deleter"), 202,
			of("deleter", audit.Event{Kind: audit.Delete, Result: audit.OK, Repository: "team/app", Digest: d, Rule: 5})},
		{"and once more", remove, "/v2/team/app/manifests/" + string(d), "", as("deleter"), 404, nil},
		{"a blob removed", remove, "/v2/team/app/blobs/" + string(blob), "", as("deleter"), 202,
			of("deleter", audit.Event{Kind: audit.DeleteBlob, Result: audit.OK, Repository: "team/app", Digest: blob, Rule: 5})},
		{"a token", get, "/auth/token?scope=" + scope, "", as("pusher"), 200,
			of("pusher", audit.Event{Kind: audit.Token, Result: audit.OK, Repository: "team/app", Scope: scope})},
		{"a token for nothing", get, "/auth/token", "", as("pusher"), 200, of("pusher", audit.Event{Kind: audit.Token, Result: audit.OK})},
		{"a token for nobody", get, "/auth/token?scope=repository:docs:pull", "", "", 200, nil},
		{"a token for a refresh token", post, "/auth/token", renew.Encode(), form, 200, renewed},
		{"a refresh token that is none", post, "/auth/token", forged.Encode(), form, 401,
			[]audit.Event{{Kind: audit.Login, Result: audit.Failed, Method: audit.Refresh, Reason: "wrong user name or password"}}},
		{"a token that is none", get, "/v2/", "", "Authorization: Bearer forged", 401,
			[]audit.Event{{Kind: audit.Login, Result: audit.Failed, Method: audit.Bearer,
				Reason: "verify a token: the access token is not valid: it is not a token signed with EdDSA"}}},
	} {
		headers := []string{"User-Agent: test/1", "X-Unused: 1"}
		if step.header != "" {
			headers[1] = step.header
		}
		a := f.do(step.method, step.path, step.body, headers...)
		if a.StatusCode != step.status {
			t.Fatalf("%s: %d, want %d: %s", step.name, a.StatusCode, step.status, a.body)
		}
		for i := range step.want {
			e := &step.want[i]
			e.Address, e.Agent, e.Ref = netip.MustParseAddr("127.0.0.1"), "test/1", a.Header.Get("X-Request-Id")
		}
		got := r.take()
		for _, e := range got {
			if time.Since(e.Time) > time.Minute {
				t.Errorf("%s: time %v", step.name, e.Time)
			}
		}
		if diff := cmp.Diff(step.want, got, cmpopts.IgnoreFields(audit.Event{}, "Time"), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
}

// TestAuditPulls: manifests that are read, and not those that are looked at.
func TestAuditPulls(t *testing.T) {
	var r recorder
	f := newFixture(t, func(o *Options) { o.Audit, o.AuditPulls = r.record, true })
	f.seed("")
	d := f.reg.addManifest("docs", "v1")
	f.do(head, "/v2/docs/manifests/v1", "")
	f.do(get, "/v2/docs/manifests/none", "")
	if events := r.take(); len(events) > 0 {
		t.Errorf("%+v", events)
	}
	f.do(get, "/v2/docs/manifests/v1", "")
	if e := r.take(); len(e) != 1 || e[0].Kind != audit.Pull || e[0].Repository != "docs" || e[0].Digest != d || len(e[0].Tags) != 1 || e[0].Rule != 1 {
		t.Errorf("%+v", e)
	}
}

// TestAuditFailure: what the registry could not do.
func TestAuditFailure(t *testing.T) {
	var r recorder
	f := newFixture(t, func(o *Options) { o.Audit = r.record })
	f.reg.fail = errors.New("disk on fire")
	for _, step := range []struct {
		method, path, user string
		kind               audit.Kind
	}{
		{put, "/v2/team/app/manifests/v1", "pusher", audit.Push},
		{remove, "/v2/team/app/manifests/v1", "deleter", audit.Delete},
		{remove, "/v2/team/app/blobs/" + string(someDigest), "deleter", audit.DeleteBlob},
		{get, "/v2/team/app/manifests/v1", "puller", ""},
		{post, "/v2/team/app/blobs/uploads/", "pusher", ""},
	} {
		a := f.do(step.method, step.path, string(imageManifest("", "")), as(step.user))
		f.wantStatus(a, http.StatusServiceUnavailable)
		events := r.take()
		if step.kind == "" && len(events) > 0 || step.kind != "" && (len(events) != 1 || events[0].Kind != step.kind || events[0].Result != audit.Error || events[0].Status != 503) {
			t.Errorf("%s %s: %+v", step.method, step.path, events)
		}
	}
}

// TestBlocked: while the audit cannot be written, where it has to be, nothing is
// changed. What is read goes on.
func TestBlocked(t *testing.T) {
	why := "the audit log cannot be written"
	f := newFixture(t, func(o *Options) { o.Blocked = func() string { return why } })
	for _, blocked := range []bool{true, false} {
		for _, s := range samples() {
			f.seed("root")
			if blocked == false {
				why = ""
			}
			a := f.do(s.method, s.path, s.body, as("root"))
			writes := s.method != get && s.method != head && s.kind >= kindManifest && s.kind != kindPage || s.kind == kindUpload
			if got := a.StatusCode == http.StatusServiceUnavailable; got != (blocked && writes) {
				t.Errorf("%s %s: %d while blocked is %v", s.method, s.path, a.StatusCode, blocked)
			}
		}
	}
}

// asked is a Verifier that keeps what the audit would know of a request.
type asked struct {
	Verifier
	request *audit.Request
}

func (a asked) Verify(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	*a.request = audit.RequestOf(ctx)
	return a.Verifier.Verify(ctx, c)
}

// TestLoginHasItsRequest: who records logins sees which request each was of.
func TestLoginHasItsRequest(t *testing.T) {
	var r recorder
	var got audit.Request
	f := newFixture(t, func(o *Options) {
		o.Audit = r.record
		o.Verifier = asked{o.Verifier, &got}
	})
	for _, path := range []string{"/v2/", "/auth/token"} {
		a := f.do(get, path, "", as("puller"), "User-Agent: test/1")
		if want := (audit.Request{Ref: a.Header.Get("X-Request-Id"), Agent: "test/1", Method: audit.Basic}); got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
}
