package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/auth"
	"berth/auth/session"
)

// A begun is the answer to the beginning of a login.
type begun struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	ExpiresIn       int    `json:"expires_in"`
	Interval        int    `json:"interval"`
}

// A polled is the answer to a poll.
type polled struct {
	Error       string `json:"error"`
	AccessToken string `json:"access_token"`
	Username    string `json:"username"`
}

func begin(t *testing.T, f *fixture, client string) begun {
	t.Helper()
	p := f.browser().post("/auth/device", "client_name", client)
	var b begun
	if err := json.Unmarshal([]byte(p.body), &b); err != nil || p.status != http.StatusOK {
		t.Fatalf("%d %s", p.status, p.body)
	}
	return b
}

// poll waits for as long as a client has to, and asks.
func poll(t *testing.T, f *fixture, code string) polled {
	t.Helper()
	f.wait(pollInterval)
	return pollNow(t, f, code)
}

func pollNow(t *testing.T, f *fixture, code string) polled {
	t.Helper()
	r := f.browser().request("POST", "/auth/device/token", url.Values{"grant_type": {grantDevice}, "device_code": {code}})
	r.Header.Del("Sec-Fetch-Site") // it is no browser
	p := f.browser().do(r, false)
	var answer polled
	if err := json.Unmarshal([]byte(p.body), &answer); err != nil || (answer.Error != "") != (p.status == http.StatusBadRequest) {
		t.Fatalf("%d %s", p.status, p.body)
	}
	if got := p.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: %s", got)
	}
	return answer
}

// TestDevice lets a command line in.
func TestDevice(t *testing.T) {
	f := newFixture(t, "http")
	d := begin(t, f, "berth on laptop")
	if !regexp.MustCompile(`^[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}$`).MatchString(d.UserCode) || d.VerificationURI != f.URL+"/ui/device" || d.ExpiresIn != 600 || d.Interval != 5 {
		t.Errorf("%+v", d)
	}
	if got := poll(t, f, d.DeviceCode); got.Error != "authorization_pending" {
		t.Errorf("at once: %+v", got)
	}
	b := f.browser()
	b.login("bob")
	typed := strings.ToLower(strings.ReplaceAll(d.UserCode, "-", " "))
	b.post("/ui/device", "code", typed).has(t, http.StatusOK, d.UserCode, "berth on laptop", "127.0.0.1", "as <strong>bob</strong>")
	if got := poll(t, f, d.DeviceCode); got.Error != "authorization_pending" {
		t.Errorf("seen, and not confirmed: %+v", got)
	}
	b.post("/ui/device", "code", d.UserCode, "decision", "allow").has(t, http.StatusOK, "is signed in as bob")
	b.post("/ui/device", "code", d.UserCode, "decision", "deny").has(t, http.StatusBadRequest, "not known, or no longer")
	if got := poll(t, f, d.DeviceCode); got.AccessToken != "bth_pt_1" || got.Username != "bob" {
		t.Errorf("confirmed: %+v", got)
	}
	if got := poll(t, f, d.DeviceCode); got.Error != "expired_token" {
		t.Errorf("a second time: %+v", got)
	}
	list := f.tokens.list[auth.Subject{Provider: "test", Name: "bob"}]
	if len(list) != 1 || !strings.HasPrefix(list[0].Name, "berth on laptop ") || list[0].Expires.Sub(f.now()) > deviceLife {
		t.Errorf("%+v", list)
	}
}

// TestDeviceIsRefused in every way that it can be.
func TestDeviceIsRefused(t *testing.T) {
	f := newFixture(t, "http")
	b := f.browser()
	b.login("bob")
	denied := begin(t, f, "")
	b.post("/ui/device", "code", denied.UserCode, "decision", "perhaps").has(t, http.StatusBadRequest)
	b.post("/ui/device", "code", denied.UserCode, "decision", "deny").has(t, http.StatusOK, "was not signed in")
	if got := poll(t, f, denied.DeviceCode); got.Error != "access_denied" {
		t.Errorf("denied: %+v", got)
	}
	hasty := begin(t, f, "")
	for _, want := range []string{"authorization_pending", "slow_down", "slow_down"} {
		if got := pollNow(t, f, hasty.DeviceCode); got.Error != want {
			t.Errorf("hasty: %+v, want %s", got, want)
		}
	}
	late := begin(t, f, "")
	f.wait(deviceTime + time.Second)
	if got := pollNow(t, f, late.DeviceCode); got.Error != "expired_token" {
		t.Errorf("late: %+v", got)
	}
	b.post("/ui/device", "code", late.UserCode).has(t, http.StatusBadRequest, "not known, or no longer")
	gone := begin(t, f, "")
	b.post("/ui/device", "code", gone.UserCode, "decision", "allow").has(t, http.StatusOK)
	f.users.remove("bob")
	if got := poll(t, f, gone.DeviceCode); got.Error != "access_denied" {
		t.Errorf("by a user who is no more: %+v", got)
	}
	if got := poll(t, f, "never given"); got.Error != "expired_token" {
		t.Errorf("never given: %+v", got)
	}
	f.browser().post("/auth/device/token", "grant_type", "password").has(t, http.StatusBadRequest, "unsupported_grant_type")
	if f.tokens.made != 0 {
		t.Errorf("%d tokens were made", f.tokens.made)
	}
}

// TestDeviceLimits: neither can codes be guessed, nor logins piled up.
func TestDeviceLimits(t *testing.T) {
	f := newFixture(t, "http")
	b := f.browser()
	b.login("bob")
	for range maxGuesses {
		b.post("/ui/device", "code", "BBBB-BBBB").has(t, http.StatusBadRequest)
	}
	d := begin(t, f, "")
	b.post("/ui/device", "code", d.UserCode, "decision", "allow").has(t, http.StatusTooManyRequests)
	for range maxBegun - 1 {
		begin(t, f, "")
	}
	p := f.browser().post("/auth/device")
	if p.has(t, http.StatusTooManyRequests, "slow_down"); p.header.Get("Retry-After") == "" {
		t.Error("nobody says when")
	}
	f.wait(deviceTime + time.Second)
	begin(t, f, "")
}

// full is a store of as many logins as there may be.
type full struct{ session.DeviceStore }

func (full) AddDevice(context.Context, session.Device, time.Time, int) error {
	return session.ErrTooMany
}

func TestDevicesAreBounded(t *testing.T) {
	ds := newDevices(full{}, time.Now)
	if _, _, wait, err := ds.begin(t.Context(), "", netip.Addr{}); wait == 0 || err != nil {
		t.Errorf("there is no end: %v", err)
	}
	for range 2 * maxLimited {
		ds.early(sha256.Sum256([]byte(rand.Text())))
	}
	if len(ds.polls) > maxLimited {
		t.Errorf("%d clients are remembered", len(ds.polls))
	}
}

func TestTokens(t *testing.T) {
	f := newFixture(t, "http")
	bob, carol := f.browser(), f.browser()
	bob.login("bob")
	carol.login("carol")
	host := mustURL(f.URL).Host
	bob.post("/ui/tokens", "name", " laptop ", "days", "30", "repositories", "team/**\r\ndocs", "action", "pull", "action", "push").
		has(t, http.StatusOK, "bth_pt_1", "docker login "+host+" -u bob", "team/**, docs", "pull, push")
	if p := bob.get("/ui/tokens"); strings.Contains(p.body, "bth_pt_1") {
		t.Error("the secret is shown again")
	}
	list := f.tokens.list[auth.Subject{Provider: "test", Name: "bob"}]
	if len(list) != 1 || list[0].Name != "laptop" || !slices.Equal(list[0].Repositories, []string{"team/**", "docs"}) {
		t.Errorf("%+v", list)
	}
	bob.post("/ui/tokens", "name", "", "days", "30").has(t, http.StatusBadRequest, "The name is empty")
	bob.post("/ui/tokens", "name", "x", "days", "10000").has(t, http.StatusBadRequest, "how long")
	carol.post("/ui/tokens/revoke", "id", "1").has(t, http.StatusNotFound)
	if p := bob.post("/ui/tokens/revoke", "id", "1"); p.path != "/ui/tokens" || !strings.Contains(p.body, "none yet") {
		t.Errorf("revoked: %s", p.body)
	}
}
