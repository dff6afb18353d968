// Package trust authenticates workloads that log in with a signed token of
// their own platform in place of a password: jobs of GitHub or GitLab, service
// accounts of Kubernetes. No secret has to be kept for them.
//
// A Rule trusts an issuer for tokens that fulfil all of its conditions, and says
// who their bearers are. Each rule is one unit: it has its own issuer, audience,
// keys, claims and names, and of several the first wins that a token fulfils as
// a whole. What a token is taken for is remembered by nobody; that it was there,
// and from where, is, so that a stolen one is of no use elsewhere.
//
// Whoever logged in by a rule is what that rule made of him: when the rule
// changes or goes, so do his bearers.
package trust

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"berth/auth"
	"berth/auth/jwks"
)

// Options configure a Trust. The zero value is for production.
type Options struct {
	Log *slog.Logger // slog.Default when nil
	Now func() time.Time
	// Ledger keeps for all nodes where tokens were presented; nil when there is
	// one node.
	Ledger auth.Ledger
}

// A Trust knows workloads by rules. It implements auth.Unremembered, and is
// safe for concurrent use.
type Trust struct {
	log *slog.Logger
	now func() time.Time

	ledger auth.Ledger

	state  atomic.Pointer[state]
	seen   *memory
	change sync.Mutex // around SetRules
}

// A state is the rules in force, and the keys of each source. It does not
// change.
type state struct {
	rules []*rule
	sets  map[string]*jwks.Set
}

var _ auth.Unremembered = (*Trust)(nil)

// New returns a Trust in those who fulfil the rules, of which there may be none.
// Issuers are not asked for anything yet.
// Errors: what is wrong with the rules, and key files that cannot be read.
func New(rules []Rule, o Options) (*Trust, error) {
	t := &Trust{log: o.Log, now: o.Now, ledger: o.Ledger, seen: newMemory()}
	if t.log == nil {
		t.log = slog.Default()
	}
	if t.now == nil {
		t.now = time.Now
	}
	t.state.Store(new(state))
	return t, t.SetRules(rules)
}

// SetRules puts other rules in the place of those before, all or, when it
// returns an error, none of them. Keys whose source stays are kept.
func (t *Trust) SetRules(rules []Rule) error {
	t.change.Lock()
	defer t.change.Unlock()
	old := t.state.Load()
	next := &state{sets: make(map[string]*jwks.Set)}
	for _, r := range rules {
		if err := t.add(next, old, r); err != nil {
			next.closeBut(old)
			return err
		}
	}
	t.state.Store(next)
	old.closeBut(next)
	return nil
}

// add puts a rule in force in s. Its keys are taken from s or old where they
// are there already.
func (t *Trust) add(s, old *state, r Rule) error {
	if slices.ContainsFunc(s.rules, func(other *rule) bool { return other.Name == r.Name }) {
		return fmt.Errorf("trust %s: name: another rule has it", r.Name)
	}
	c, err := compile(r)
	if err != nil {
		return err
	}
	source := r.source()
	id, err := hash(source)
	if err != nil {
		return fmt.Errorf("name a source of keys: %w", err)
	}
	set := s.sets[id]
	if set == nil {
		set = old.sets[id]
	}
	if set == nil {
		if set, err = jwks.NewSet(source, jwks.Options{Log: t.log.With("trust", r.Name), Now: t.now}); err != nil {
			return fmt.Errorf("trust %s: %w", r.Name, err)
		}
	}
	s.sets[id], c.keys = set, set
	s.rules = append(s.rules, c)
	return nil
}

// closeBut closes the keys of s that other does not have.
func (s *state) closeBut(other *state) {
	for id, set := range s.sets {
		if other.sets[id] != set {
			set.Close()
		}
	}
}

// Close ends what goes on for t.
func (t *Trust) Close() error {
	t.change.Lock()
	defer t.change.Unlock()
	t.state.Load().closeBut(new(state))
	return nil
}

// Run keeps the keys of the issuers as they are now, until ctx is done.
func (t *Trust) Run(ctx context.Context) {
	tick := time.NewTicker(jwks.TendEvery)
	defer tick.Stop()
	for {
		var tending sync.WaitGroup
		for _, set := range t.state.Load().sets {
			tending.Go(func() { set.Tend(ctx) })
		}
		tending.Wait()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Reload reads key files now. Where it returns an error, the keys stay as they
// were.
func (t *Trust) Reload() error {
	var errs []error
	for _, set := range t.state.Load().sets {
		errs = append(errs, set.Reload())
	}
	return errors.Join(errs...)
}

// Degraded says whose keys are not known, or not as they are now, or "".
func (t *Trust) Degraded() string {
	var problems []string
	for _, r := range t.state.Load().rules {
		if problem := r.keys.Degraded(); problem != "" && !slices.Contains(problems, problem) {
			problems = append(problems, problem)
		}
	}
	return strings.Join(problems, "; ")
}

// Unremembered implements auth.Unremembered.
func (t *Trust) Unremembered() {}

// Recognizes implements auth.Recognizer: whether the password has the form of a
// signed token that says to be of an issuer of a rule.
func (t *Trust) Recognizes(c auth.Credentials) bool {
	rules := t.state.Load().rules
	if len(rules) == 0 {
		return false
	}
	parts := strings.Split(c.Password.Reveal(), ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return false
	}
	return slices.ContainsFunc(rules, func(r *rule) bool { return r.Issuer == claims.Issuer })
}

// Authenticate implements auth.Authenticator. The user name is of no matter
// where the password is a token, and without one, names of the rules' users are
// nobody's.
// Errors: those of auth.Authenticator; any other is that the keys of an issuer
// are not known, or too many tokens are in use.
func (t *Trust) Authenticate(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	if !t.Recognizes(c) {
		if t.ownerOf(c.User) == nil {
			return auth.Identity{}, auth.ErrNoMatch
		}
		return auth.Identity{}, &auth.RejectedError{Reason: "a name of trust, without a token of its issuer"}
	}
	token, err := jwks.ParseToken(c.Password.Reveal())
	if err != nil {
		return auth.Identity{}, &auth.RejectedError{Reason: "the token is not valid: " + err.Error()}
	}
	r, name, err := t.find(ctx, token)
	if err != nil {
		return auth.Identity{}, err
	}
	if err := t.present(ctx, r, c, token.Claims); err != nil {
		return auth.Identity{}, err
	}
	id := r.identity(name)
	id.Credential = r.id
	return id, nil
}

// find returns the first rule that a token fulfils, and whom it makes of its
// bearer.
// Errors: *auth.RejectedError; any other where it could be a rule whose keys are
// not known.
func (t *Trust) find(ctx context.Context, token *jwks.Token) (*rule, string, error) {
	now := t.now()
	signed := make(signatures)
	var why []string
	told := ""
	for _, r := range t.state.Load().rules {
		if r.Issuer != token.Claims.Text("iss") {
			continue
		}
		ok, err := signed.verify(ctx, token, r)
		checks, name := r.checks(token.Claims, now)
		failed := slices.DeleteFunc(checks, func(c Check) bool { return c.OK })
		switch {
		case len(failed) == 0 && err != nil:
			return nil, "", err
		case len(failed) == 0 && ok:
			return r, name, nil
		case err != nil:
			why = append(why, r.Name+": "+failed[0].String())
			continue
		case !ok:
			why = append(why, r.Name+": no key of its issuer has signed it")
			continue
		case told == "" || !slices.ContainsFunc(failed, func(c Check) bool { return !c.temporal() }):
			told = tell(failed)
		}
		why = append(why, r.Name+": "+failed[0].String())
	}
	return nil, "", &auth.RejectedError{Reason: bounded("no rule of trust takes the token: " + strings.Join(why, "; ")), Told: told}
}

// tell says to the bearer of a token that its issuer signed why it is not taken:
// what time would mend, but nothing of a rule.
func tell(failed []Check) string {
	for _, c := range failed {
		if !c.temporal() {
			return "no rule of trust takes this token: berth access explain --jwt FILE tells an administrator why"
		}
	}
	return "the token is too old, or not valid yet: ask its issuer for a fresh one"
}

// present refuses a token that was here before, where its rule says so.
func (t *Trust) present(ctx context.Context, r *rule, c auth.Credentials, claims jwks.Claims) error {
	if r.Replay == ReplayOff {
		return nil
	}
	ok, err := t.presentHere(ctx, r, c, claims)
	switch {
	case err != nil:
		return err
	case !ok && r.Replay == ReplayOnce:
		return &auth.RejectedError{Reason: r.Name + ": replay of a token", Told: "the token has been used before: ask its issuer for a fresh one"}
	case !ok:
		return &auth.RejectedError{Reason: r.Name + ": replay of a token from another address",
			Told: "the token has been used from another address before: ask its issuer for a fresh one"}
	}
	return nil
}

// presentHere reports whether a token may be presented: on this node, and for the
// first time also on all others.
func (t *Trust) presentHere(ctx context.Context, r *rule, c auth.Credentials, claims jwks.Claims) (bool, error) {
	key, once, now, until := tokenKey(c.Password.Reveal(), claims), r.Replay == ReplayOnce, t.now(), r.until(claims)
	if t.ledger != nil && !t.seen.knows(key, now) {
		holder := auth.Network(c.Addr).String()
		if once {
			holder = rand.Text()
		}
		whose, err := t.ledger.Claim(ctx, key, holder, now, until)
		if err != nil {
			return false, fmt.Errorf("note the use of a token: %w", err)
		}
		if whose != holder {
			return false, nil
		}
	}
	return t.seen.present(key, c.Addr, once, now, until)
}

// signatures remembers by which keys one token is signed, as rules may share
// them.
type signatures map[*jwks.Set]verdict

type verdict struct {
	ok  bool
	err error
}

// verify reports whether a key of r has signed the token.
// Errors: those of jwks.Set.Lookup.
func (s signatures) verify(ctx context.Context, token *jwks.Token, r *rule) (bool, error) {
	v, known := s[r.keys]
	if !known {
		keys, err := r.keys.Lookup(ctx, token.Header.KeyID)
		if err != nil {
			err = fmt.Errorf("trust %s: %w", r.Name, err)
		}
		v = verdict{err == nil && token.VerifiedBy(keys...), err}
		s[r.keys] = v
	}
	return v.ok, v.err
}

// Resolve implements auth.Authenticator. A Subject with a Credential is known
// for as long as its rule is as it was.
func (t *Trust) Resolve(_ context.Context, s auth.Subject) (auth.Identity, error) {
	r := t.ownerOf(s.Name)
	if r == nil || s.Provider != "" && s.Provider != r.Name || s.Credential != "" && s.Credential != r.id {
		return auth.Identity{}, auth.ErrNoMatch
	}
	id := r.identity(s.Name)
	id.Credential = s.Credential
	return id, nil
}

// Owns reports whether a name is that of a workload.
func (t *Trust) Owns(name string) bool { return t.ownerOf(name) != nil }

// ownerOf returns the rule whose users have names like that, or nil.
func (t *Trust) ownerOf(name string) *rule {
	for _, r := range t.state.Load().rules {
		if r.owns(name) {
			return r
		}
	}
	return nil
}

// bounded cuts what an audit is told.
func bounded(s string) string {
	const most = 1024
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
