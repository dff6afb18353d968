// Package issuer is an OpenID Connect provider for tests. It listens on
// loopback, knows the users that it is told of, lets whoever comes in as the
// current one, and misbehaves in every way that it is asked to.
package issuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The client that every Issuer knows.
const (
	ClientID     = "berth"
	ClientSecret = "secret-of-the-client"
)

// A User is somebody that the provider knows.
type User struct {
	Subject  string
	Claims   map[string]any // besides sub: preferred_username, groups, email …
	Disabled bool           // his refresh tokens are refused
}

// Faults are what an Issuer does wrong. The zero Faults are none.
type Faults struct {
	Down          bool                        // every connection is cut
	HugeKeys      bool                        // the key set is 10 MiB
	SlowKeys      bool                        // the key set comes at a byte a second
	NoRefresh     bool                        // no refresh tokens
	BareRefresh   bool                        // a refresh brings no ID token
	RefreshError  string                      // of every refresh: "invalid_grant", or "server_error" with a 500
	IDToken       func(claims map[string]any) // changes the claims of an ID token
	UserInfo      func(claims map[string]any) // changes the claims of the user's page
	Sign          func(claims map[string]any) string
	AccessToken   string // the one that is given out, whatever at_hash says
	IgnoreNonce   bool   // the nonce of the request is left out
	OnlyUserInfo  bool   // ID tokens hold sub alone, the rest is on the user's page
	WrongMetadata func(metadata map[string]any)
}

// An Issuer is a running provider. It is safe for concurrent use.
type Issuer struct {
	URL string // its issuer identifier
	CA  []byte // PEM of whom to trust, with TLS

	server *httptest.Server
	mu     sync.Mutex
	faults Faults
	key    *ecdsa.PrivateKey
	keyID  string
	user   string
	users  map[string]User
	codes  map[string]grant
	access map[string]string // access token: subject
	tokens map[string]grant  // refresh tokens
	counts map[string]int
	ahead  time.Duration // of its clock
	done   chan struct{}
}

// New starts an Issuer over plain HTTP, and stops it with the test.
func New(t testing.TB) *Issuer {
	i := prepare(t)
	i.server.Start()
	i.URL = i.server.URL
	return i
}

// NewTLS starts an Issuer whose certificate only its CA vouches for.
func NewTLS(t testing.TB) *Issuer {
	i := prepare(t)
	i.server.StartTLS()
	i.URL = i.server.URL
	i.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.server.Certificate().Raw})
	return i
}

func prepare(t testing.TB) *Issuer {
	i := &Issuer{
		users:  make(map[string]User),
		codes:  make(map[string]grant),
		access: make(map[string]string),
		tokens: make(map[string]grant),
		counts: make(map[string]int),
		done:   make(chan struct{}),
	}
	i.Rotate()
	i.server = httptest.NewUnstartedServer(i.handler())
	t.Cleanup(func() {
		close(i.done)
		i.server.Close()
	})
	return i
}

// Misbehave replaces the faults.
func (i *Issuer) Misbehave(f Faults) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = f
}

// Put adds a user or replaces him, and makes him the current one.
func (i *Issuer) Put(u User) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.users[u.Subject] = u
	i.user = u.Subject
}

// Advance sets the clock of the provider ahead.
func (i *Issuer) Advance(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ahead += d
}

// Rotate makes a new key, and forgets the one before.
func (i *Issuer) Rotate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // it never happens
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.keyID = key, rand.Text()
}

// Key returns the key that signs now, and its ID.
func (i *Issuer) Key() (*ecdsa.PrivateKey, string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key, i.keyID
}

// Requests returns how often a path has been asked for: "/keys", "/token" …
func (i *Issuer) Requests(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counts[path]
}

// Token returns a token that says claims, signed with the key of now. What is
// missing of iss, iat and exp is filled in: it is good for five minutes. A claim
// that is nil is left out.
func (i *Issuer) Token(claims map[string]any) string {
	i.mu.Lock()
	now := time.Now().Add(i.ahead)
	i.mu.Unlock()
	all := map[string]any{"iss": i.URL, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	key, id := i.Key()
	return Sign(jose.ES256, key, id, all)
}

// Sign returns claims as a signed token.
func Sign(alg jose.SignatureAlgorithm, key any, keyID string, claims map[string]any) string {
	options := new(jose.SignerOptions).WithType("JWT")
	if keyID != "" {
		options = options.WithHeader("kid", keyID)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		panic(err) // of a test that signs what cannot be signed
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}

// KeySet returns the key set as it is published.
func (i *Issuer) KeySet() []byte {
	key, id := i.Key()
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: id, Algorithm: string(jose.ES256), Use: "sig"}}}
	data, err := json.Marshal(set)
	if err != nil {
		panic(err) // of a literal
	}
	return data
}

// handler counts every request, and cuts its connection while the issuer is
// down.
func (i *Issuer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.metadata)
	mux.HandleFunc("GET /keys", i.keys)
	mux.HandleFunc("GET /authorize", i.authorize)
	mux.HandleFunc("POST /token", i.token)
	mux.HandleFunc("GET /userinfo", i.userInfo)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.counts[r.URL.Path]++
		down := i.faults.Down
		i.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		mux.ServeHTTP(w, r)
	})
}
