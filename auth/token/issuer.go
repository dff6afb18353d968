package token

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/maypok86/otter/v2"

	"berth/auth"
)

// Times of tokens.
const (
	leastExpiration = time.Minute         // Docker takes less for a minute
	expiredUse      = time.Hour           // an expired token still serves its holder's upload
	leeway          = time.Minute         // how far another clock may be ahead
	keyLife         = 30 * 24 * time.Hour // until the next key
	idleLife        = 30 * 24 * time.Hour // of a refresh token
)

// Options configure an Issuer.
type Options struct {
	Service string // whom tokens are for (aud)
	Issuer  string // who signs them (iss)
	// Services are registries besides this one that tokens are issued for.
	Services []string
	// ServicesIssuer is who signs those for Services; Service when empty.
	ServicesIssuer string
	Expiration     time.Duration // of access tokens; 15 minutes when zero, never below one
	// Resolve says who a subject is today; auth.Verifier.Resolve is meant.
	// Without it no refresh token is of use.
	Resolve  func(context.Context, auth.Subject) (auth.Identity, error)
	Rotation time.Duration    // of signing keys; 30 days when zero
	Idle     time.Duration    // life of an unused refresh token; 30 days when zero
	Now      func() time.Time // time.Now when nil
	Log      *slog.Logger     // for what goes wrong in Run; slog.Default when nil
}

// An Issuer issues and verifies tokens. It is safe for concurrent use.
type Issuer struct {
	store      Store
	service    string
	issuer     string
	services   []string
	signedBy   string // iss of tokens for services
	expiration time.Duration
	rotation   time.Duration
	idle       time.Duration
	resolve    func(context.Context, auth.Subject) (auth.Identity, error)
	now        func() time.Time
	log        *slog.Logger

	keys     atomic.Pointer[keySet]
	signer   atomic.Pointer[Signer] // nil: keys sign for services too
	jwks     atomic.Pointer[[]byte]
	rotating sync.Mutex                     // around changes of the three
	former   []formerSigner                 // under rotating
	verified *otter.Cache[[32]byte, Claims] // by the SHA-256 of the token

	mu   sync.Mutex
	used map[string]time.Time // refresh tokens by ID, not yet written
}

// A Token is an access token as it goes to a client.
type Token struct {
	Value     string
	ExpiresIn int // seconds
	IssuedAt  time.Time
}

// NewIssuer returns an Issuer on the keys in store. It makes the first one.
func NewIssuer(ctx context.Context, store Store, o Options) (*Issuer, error) {
	if o.Service == "" || o.Issuer == "" {
		return nil, errors.New("a token issuer needs a service and a name of its own")
	}
	if slices.Contains(o.Services, o.Service) || slices.Contains(o.Services, "") {
		return nil, errors.New("a further service has a name, and another one than the first")
	}
	i := &Issuer{
		store:      store,
		service:    o.Service,
		issuer:     o.Issuer,
		services:   slices.Clone(o.Services),
		signedBy:   cmp.Or(o.ServicesIssuer, o.Service),
		expiration: max(leastExpiration, orElse(o.Expiration, 15*time.Minute)).Truncate(time.Second),
		rotation:   orElse(o.Rotation, keyLife),
		idle:       orElse(o.Idle, idleLife),
		resolve:    o.Resolve,
		now:        o.Now,
		log:        o.Log,
		verified:   otter.Must(&otter.Options[[32]byte, Claims]{MaximumSize: maxVerified}),
		used:       make(map[string]time.Time),
	}
	if i.now == nil {
		i.now = time.Now
	}
	if i.log == nil {
		i.log = slog.Default()
	}
	if err := i.Rotate(ctx); err != nil {
		return nil, err
	}
	return i, nil
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// payload is what an access token says. Names are those of RFC 7519, section
// 4.1, and of Distribution's token specification.
type payload struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"` // empty for anonymous
	Audience  jwt.Audience     `json:"aud"`
	Expires   *jwt.NumericDate `json:"exp"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	IssuedAt  *jwt.NumericDate `json:"iat"`
	ID        string           `json:"jti"`
	Access    []access         `json:"access"`
	Provider  string           `json:"berth_provider,omitempty"`
	Version   string           `json:"berth_version,omitempty"`
	// Credential is that of the subject: with it the token is for no more than
	// what that is for, on every request.
	Credential string `json:"berth_credential,omitempty"`
}

type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

func accessOf(scopes []auth.Scope) []access {
	list := make([]access, 0, len(scopes))
	for _, s := range scopes {
		list = append(list, access{Type: s.Type, Name: s.Name, Actions: append([]string{}, s.Actions...)})
	}
	return list
}

// Issue returns a new access token for id, for the scopes, which may be none.
func (i *Issuer) Issue(id auth.Identity, scopes []auth.Scope) (Token, error) {
	now := i.now().UTC().Truncate(time.Second)
	p := payload{
		Issuer:    i.issuer,
		Subject:   id.Name,
		Audience:  jwt.Audience{i.service},
		Expires:   jwt.NewNumericDate(now.Add(i.expiration)),
		NotBefore: jwt.NewNumericDate(now),
		IssuedAt:  jwt.NewNumericDate(now),
		ID:        rand.Text(),
		Access:    accessOf(scopes),
		Provider:  id.Provider,
		Version:   id.Version,

		Credential: id.Credential,
	}
	body, err := json.Marshal(p)
	if err != nil {
		return Token{}, fmt.Errorf("encode an access token: %w", err)
	}
	return Token{Value: i.keys.Load().sign(body, now), ExpiresIn: int(i.expiration / time.Second), IssuedAt: now}, nil
}

// Run keeps the store in order until ctx is done: it writes when refresh tokens
// were used, removes idle ones, and rotates the keys.
func (i *Issuer) Run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := i.tidy(ctx); err != nil && ctx.Err() == nil {
				i.log.Error("tokens are not kept in order", "error", err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := i.flush(last); err != nil {
				i.log.Error("last uses of refresh tokens are lost", "error", err)
			}
			return
		}
	}
}

// tidy does what Run does every minute.
func (i *Issuer) tidy(ctx context.Context) error {
	errs := []error{i.flush(ctx), i.Rotate(ctx)}
	if _, err := i.store.DeleteIdleRefreshTokens(ctx, i.now().Add(-i.idle)); err != nil {
		errs = append(errs, fmt.Errorf("remove idle refresh tokens: %w", err))
	}
	return errors.Join(errs...)
}
