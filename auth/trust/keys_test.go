package trust

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/auth"
	"berth/auth/jwks"
)

// An issuerServer publishes its keys by discovery, or is down.
type issuerServer struct {
	*httptest.Server
	signer
	down  atomic.Bool
	asked atomic.Int32
}

func serveIssuer(t *testing.T) *issuerServer {
	t.Helper()
	s := &issuerServer{signer: newSigner(t, "k1")}
	set := keys(t, s.signer)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		switch {
		case s.down.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/.well-known/openid-configuration":
			w.Write([]byte(`{"issuer":"` + s.URL + `","jwks_uri":"` + s.URL + `/keys"}`))
		default:
			w.Write(set)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// TestIssuerDown: an issuer that does not answer stops nothing but logins with
// its tokens, and those only until its keys are known.
func TestIssuerDown(t *testing.T) {
	server := serveIssuer(t)
	server.down.Store(true)
	f := newFixture(t)
	rule := f.state.Load().rules[0].Rule
	theirs := rule
	theirs.Name, theirs.Issuer, theirs.Keys = "theirs", server.URL, jwks.Source{}
	theirs.Kind = "github"
	theirs.Match = map[string][]string{"repository_id": {"1234"}}
	second := rule
	second.Name, second.Kind, second.Issuer, second.Keys = "second", "github", server.URL, jwks.Source{JSON: keys(t, f.signer)}
	f.Trust = newTrust(t, f, rule, theirs, second)
	if n := server.asked.Load(); n != 0 {
		t.Errorf("the issuer was asked %d times before anybody needed it", n)
	}
	if _, err := f.login(t, nil); err != nil {
		t.Errorf("another issuer's: %v", err)
	}
	login := func(s signer, addr string) error {
		_, err := f.Authenticate(context.Background(), from(addr, s.sign(t, f.now, claims{"iss": server.URL, "jti": "one"})))
		return err
	}
	// It may be the first rule's token: the second does not get its turn.
	for _, s := range []signer{server.signer, f.signer} {
		if err := login(s, "192.0.2.1"); err == nil || errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("while the keys are not known: %v", err)
		}
	}
	if f.Degraded() == "" {
		t.Error("all is well")
	}
	if _, err := f.Authenticate(context.Background(), from("192.0.2.1", server.sign(t, f.now, claims{"iss": server.URL, "aud": "x"}))); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("a token that no rule could take: %v", err)
	}
	server.down.Store(false)
	f.now = f.now.Add(time.Minute)
	if err := login(server.signer, "192.0.2.1"); err != nil {
		t.Errorf("when it is back: %v", err)
	}
	server.down.Store(true)
	f.now = f.now.Add(time.Minute)
	if err := login(server.signer, "192.0.2.1"); err != nil {
		t.Errorf("when it is down again: %v", err)
	}
}

// TestRun tends to the keys, of rules that came later too.
func TestRun(t *testing.T) {
	server := serveIssuer(t)
	path := filepath.Join(t.TempDir(), "keys.json")
	f := newFixture(t)
	if err := os.WriteFile(path, keys(t, f.signer), 0o600); err != nil {
		t.Fatal(err)
	}
	rule := f.state.Load().rules[0].Rule
	rule.Keys = jwks.Source{File: path}
	theirs := rule
	theirs.Name, theirs.Issuer, theirs.Kind, theirs.Keys = "theirs", server.URL, "github", jwks.Source{}
	if err := f.SetRules([]Rule{rule, theirs}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	deadline := time.Now().Add(10 * time.Second)
	for server.asked.Load() < 2 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	running.Wait()
	if n := server.asked.Load(); n != 2 {
		t.Errorf("the issuer was asked %d times, want for its document and its keys", n)
	}
	next := newSigner(t, "k2")
	if err := os.WriteFile(path, keys(t, next), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	f.signer = next
	if _, err := f.login(t, nil); err != nil {
		t.Errorf("with the next key: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f.Reload() == nil || f.Degraded() == "" {
		t.Error("a file without keys is well")
	}
	if err := f.SetRules([]Rule{rule, rule}); err == nil {
		t.Error("two rules have one name")
	}
	if _, err := f.login(t, nil); err != nil {
		t.Errorf("after a change that did not check: %v", err)
	}
}
