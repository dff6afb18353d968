// Package oidc lets people in whom an OpenID Connect provider vouches for.
//
// They sign in with a browser (the authorization code flow, with PKCE), and get
// no password here: at a command line they use personal tokens. Who somebody is
// is decided by the issuer and the subject of his ID token, never by a name or
// an e-mail address. He keeps the name of his first sign-in, and nobody else
// gets it before an administrator has removed him.
//
// All users are in memory, so that a request asks nobody about them. What the
// provider has to say is asked again at an interval with the refresh token of
// the last sign-in: groups are those of today, and who is no longer vouched for
// is shut out. While the provider is down, what it said last holds for a time.
package oidc

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"berth/auth"
	"berth/auth/jwks"
)

// Defaults, and bounds of what a provider may say and how long it may take.
const (
	defaultInterval = 5 * time.Minute
	defaultStale    = time.Hour
	defaultLifetime = 30 * 24 * time.Hour

	answerTime = 5 * time.Second // for one answer of the provider, to its end
	maxAnswer  = 1 << 20         // bytes of it
	checkTime  = 8 * time.Second // for all that one check takes
	patience   = 3 * time.Second // of a request that waits for a check
	retryAfter = 30 * time.Second
	maxGroups  = 1000
	maxSubject = 255 // bytes
)

// Options configure a Provider. Name, Issuer and ClientID are required.
type Options struct {
	Name     string // of the provider here
	Issuer   string // a URL, as the provider spells it
	ClientID string
	// Secret returns the secret of the client, "" for a public one. It is
	// called whenever it is needed, so that a file can change.
	Secret   func() (auth.Secret, error)
	Scopes   []string // openid and profile when empty
	Prompt   string   // of the authorization request; "" leaves it out
	Username string   // claim that names a user; preferred_username when empty
	Groups   string   // claim that lists his groups; groups when empty
	// Plain: names and groups stand here as the provider spells them. Without
	// it they have the provider's name and a slash in front.
	Plain bool
	CAs   *x509.CertPool // who vouches for the provider's host; the system's when nil

	Interval time.Duration // between checks with a refresh token; 5 minutes when zero
	Stale    time.Duration // how long the last check holds when none is possible; 1 hour when zero
	Lifetime time.Duration // of a sign-in without a refresh token; 30 days when zero

	// Taken returns which other backend has a user of that name, or "".
	Taken func(ctx context.Context, name string) (string, error)
	// Address is how clients call this registry, such as
	// https://registry.example.org, or "".
	Address string
	// Shared: other nodes have the same store, and ask too. One at a time does.
	Shared bool
	Log    *slog.Logger     // slog.Default when nil
	Now    func() time.Time // time.Now when nil

	since time.Time // when what is asked of the provider became this
}

// A Provider is an OpenID Connect provider and the users that it vouches for.
// It implements auth.Authenticator and is safe for concurrent use.
type Provider struct {
	o      atomic.Pointer[Options]
	store  Store
	box    *auth.Box
	client atomic.Pointer[http.Client]
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	work   sync.WaitGroup

	finding  sync.Mutex // held by whoever asks for the metadata
	found    *metadata
	keys     *jwks.Set // nil until the metadata is there
	keysFrom string    // their address

	change    sync.Mutex // held by whoever changes the store, and then what follows
	mu        sync.RWMutex
	byName    map[string]entry
	bySubject map[string]string    // name of a subject
	checks    map[string]*check    // by subject, while they go on
	failed    map[string]time.Time // when the last check of a subject came to nothing
	down      string               // why the provider does not answer, "" when it does
}

// An entry is a user, and what is told of him on every request.
type entry struct {
	User
	identity auth.Identity
}

// A check asks the provider about one user.
type check struct{ done chan struct{} }

// New returns a Provider with the users in store. It does not speak to the
// provider yet. Close it.
func New(ctx context.Context, store Store, o Options) (*Provider, error) {
	o.setDefaults()
	secret, err := store.Secret(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the secret of refresh tokens: %w", err)
	}
	box, err := auth.NewBox(secret, "berth refresh token of a provider")
	if err != nil {
		return nil, err
	}
	p := &Provider{
		store:  store,
		box:    box,
		checks: make(map[string]*check),
		failed: make(map[string]time.Time),
	}
	p.ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	p.o.Store(&o)
	p.client.Store(newClient(p.ctx, o.CAs))
	if err := p.Reload(ctx); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (o *Options) setDefaults() {
	o.Username = cmp.Or(o.Username, "preferred_username")
	o.Groups = cmp.Or(o.Groups, "groups")
	o.Interval = cmp.Or(o.Interval, defaultInterval)
	o.Stale = max(cmp.Or(o.Stale, defaultStale), o.Interval)
	o.Lifetime = cmp.Or(o.Lifetime, defaultLifetime)
	o.Log = cmp.Or(o.Log, slog.Default())
	if len(o.Scopes) == 0 {
		o.Scopes = []string{"openid", "profile"}
	}
	if o.Secret == nil {
		o.Secret = func() (auth.Secret, error) { return "", nil }
	}
	if o.Taken == nil {
		o.Taken = func(context.Context, string) (string, error) { return "", nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// SetOptions puts other options in force for what is asked next. Name and Issuer
// must be those of New. What the provider said of groups is due to be asked again
// when it would say something else now.
func (p *Provider) SetOptions(o Options) {
	o.setDefaults()
	p.finding.Lock()
	defer p.finding.Unlock()
	old := p.o.Load()
	o.since = old.since
	if o.Groups != old.Groups || o.Plain != old.Plain || !slices.Equal(o.Scopes, old.Scopes) {
		o.since = p.now()
	}
	if !sameCAs(o.CAs, old.CAs) {
		p.client.Swap(newClient(p.ctx, o.CAs)).CloseIdleConnections()
		p.found = nil
		if p.keys != nil {
			p.keys.Close()
			p.keys = nil
		}
	}
	p.o.Store(&o)
}

// sameCAs reports whether two pools, or none, vouch for the same.
func sameCAs(a, b *x509.CertPool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(b)
}

// Name returns the name of the provider here.
func (p *Provider) Name() string { return p.o.Load().Name }

// Close ends what goes on in the background, and waits for it.
func (p *Provider) Close() error {
	p.stop()
	p.work.Wait()
	p.finding.Lock()
	defer p.finding.Unlock()
	if p.keys != nil {
		p.keys.Close()
	}
	p.client.Load().CloseIdleConnections()
	return nil
}

// Authenticate implements auth.Authenticator. No password is right: whoever
// comes with one is told what to do instead.
func (p *Provider) Authenticate(_ context.Context, c auth.Credentials) (auth.Identity, error) {
	if p.o.Load().Plain {
		if _, ok := p.get(c.User); !ok {
			return auth.Identity{}, auth.ErrNoMatch
		}
	} else if !strings.HasPrefix(c.User, p.o.Load().Name+"/") {
		return auth.Identity{}, auth.ErrNoMatch
	}
	return auth.Identity{}, &auth.RejectedError{Reason: "a password for a user of " + p.o.Load().Name, Told: p.advice()}
}

// advice says how users log in who have no password here. It says the same
// whether there is such a user or not.
func (p *Provider) advice() string {
	host := "HOST"
	if _, after, ok := strings.Cut(p.o.Load().Address, "://"); ok {
		host = after
	}
	return fmt.Sprintf("users of %s have no password here: make a personal token at %s/ui/tokens, or run: berth login %s", p.o.Load().Name, p.o.Load().Address, host)
}

// Resolve implements auth.Authenticator. It waits for the provider only when
// what it said last is older than the interval, and then for three seconds at
// most.
func (p *Provider) Resolve(ctx context.Context, s auth.Subject) (auth.Identity, error) {
	e, ok := p.get(s.Name)
	if !ok || s.Provider != "" && s.Provider != p.o.Load().Name {
		return auth.Identity{}, auth.ErrNoMatch
	}
	now := p.o.Load().Now()
	if len(e.Refresh) == 0 || e.Disabled || e.Suspended {
		return e.answer(now.Sub(e.LastLogin) < p.o.Load().Lifetime)
	}
	age := p.age(e, now)
	if age >= 0 && age < p.o.Load().Interval*4/5 {
		return e.answer(true)
	}
	done := p.begin(e.User)
	if done == nil || age >= 0 && age < p.o.Load().Interval {
		return p.old(e, age)
	}
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case <-done:
	case <-wait.C:
	case <-ctx.Done():
		return auth.Identity{}, ctx.Err()
	}
	if e, ok = p.get(s.Name); !ok {
		return auth.Identity{}, auth.ErrNoMatch
	}
	return p.old(e, p.age(e, p.o.Load().Now()))
}

// age returns how old is what the provider said of a user. When it was asked for
// something else, it is as old as that it is due again.
func (p *Provider) age(e entry, now time.Time) time.Duration {
	age, o := now.Sub(e.Checked), p.o.Load()
	if age >= 0 && e.Checked.Before(o.since) {
		return max(age, o.Interval)
	}
	return age
}

// old answers with what the provider said last, as long as that holds.
func (p *Provider) old(e entry, age time.Duration) (auth.Identity, error) {
	if age >= p.o.Load().Stale && !e.Disabled && !e.Suspended {
		return auth.Identity{}, fmt.Errorf("the provider %s has not vouched for %s since %s", p.o.Load().Name, e.Name, e.Checked.Format(time.RFC3339))
	}
	return e.answer(true)
}

func (e entry) answer(lives bool) (auth.Identity, error) {
	if e.Disabled || e.Suspended || !lives {
		return auth.Identity{}, auth.ErrBadCredentials
	}
	return e.identity, nil
}

// Degraded says why nobody can sign in: the secret of the client cannot be read,
// or the provider does not answer. It is "" when all is well.
func (p *Provider) Degraded() string {
	if _, err := p.o.Load().Secret(); err != nil {
		return "read the client secret: " + err.Error()
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.down
}
