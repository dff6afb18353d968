package admin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"berth/access"
	"berth/auth"
	"berth/auth/account"
	"berth/auth/jwks"
	"berth/auth/robot"
	"berth/auth/token"
	"berth/auth/trust"
)

// accounts is an account.Store in memory.
type accounts map[string]account.Account

func (s accounts) Accounts(context.Context) ([]account.Account, error) {
	var all []account.Account
	for _, a := range s {
		all = append(all, a)
	}
	return all, nil
}

func (s accounts) CreateAccount(_ context.Context, a account.Account) error {
	if _, ok := s[a.Name]; ok {
		return account.ErrExists
	}
	s[a.Name] = a
	return nil
}

func (s accounts) UpdateAccount(_ context.Context, name string, change func(*account.Account) error) error {
	a, ok := s[name]
	if !ok {
		return account.ErrNotExist
	}
	if err := change(&a); err != nil {
		return err
	}
	s[name] = a
	return nil
}

func (s accounts) DeleteAccount(_ context.Context, name string) error {
	if _, ok := s[name]; !ok {
		return account.ErrNotExist
	}
	delete(s, name)
	return nil
}

// logins is a list of refresh tokens.
type logins []token.RefreshToken

func (l *logins) List(_ context.Context, name string) ([]token.RefreshToken, error) {
	var found []token.RefreshToken
	for _, t := range *l {
		if name == "" || t.Subject.Name == name {
			found = append(found, t)
		}
	}
	return found, nil
}

func (l *logins) Revoke(_ context.Context, id string) error {
	for i, t := range *l {
		if t.ID == id {
			*l = append((*l)[:i], (*l)[i+1:]...)
			return nil
		}
	}
	return token.ErrNotExist
}

// newAPI returns a client of a service behind a handler: what holds through
// all three holds for each.
func newAPI(t *testing.T) (*Client, *Service) {
	t.Helper()
	hasher := auth.NewHasher(auth.HasherOptions{Cost: bcrypt.MinCost})
	users, err := account.New(t.Context(), accounts{}, hasher)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := access.Compile([]access.Rule{
		{Names: []string{"alice"}, Groups: []string{"dev"}, Type: access.TypeRepository, Repositories: []string{"team/**"}, Actions: []string{"push"}, Comment: "team builds"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var verifier *auth.Verifier
	keys, err := robot.New(t.Context(), new(keyStore), robot.Options{
		Owner: func(ctx context.Context, s auth.Subject) (auth.Identity, error) { return verifier.Resolve(ctx, s) },
	})
	if err != nil {
		t.Fatal(err)
	}
	trusting, err := trust.New(nil, trust.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { trusting.Close() })
	verifier = auth.NewVerifier([]auth.Authenticator{keys, trusting, users}, auth.Options{Hasher: hasher})
	service := &Service{
		Accounts: users,
		Keys:     keys,
		Logins: &logins{
			{ID: "ONE", Subject: auth.Subject{Provider: "accounts", Name: "alice"}, Client: "docker", Addr: "127.0.0.1"},
			{ID: "TWO", Subject: auth.Subject{Provider: "accounts", Name: "bob"}},
		},
		Policy:   func() *access.Policy { return policy },
		Lookup:   verifier.Lookup,
		Resolve:  verifier.Resolve,
		Trust:    trusting,
		Refusals: new(Refusals),
	}
	server := httptest.NewServer(Handler(service, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	client := NewClient(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", server.Listener.Addr().String())
	})
	t.Cleanup(client.Close)
	return client, service
}

// wantKind fails unless err is an Error of that kind, with words for people.
func wantKind(t *testing.T, what string, err error, kind Kind) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind || e.Message == "" {
		t.Errorf("%s: %v, want an error of kind %q", what, err, kind)
	}
}

func TestUsers(t *testing.T) {
	api, _ := newAPI(t)
	ctx := t.Context()
	if err := api.AddUser(ctx, NewUser{Name: "alice", Password: "correct horse", Groups: []string{"dev"}}); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "the same user", api.AddUser(ctx, NewUser{Name: "alice", Password: "correct horse"}), Exists)
	wantKind(t, "a short password", api.AddUser(ctx, NewUser{Name: "bob", Password: "short"}), Invalid)
	wantKind(t, "a name with a slash", api.AddUser(ctx, NewUser{Name: "a/b", Password: "correct horse"}), Invalid)
	wantKind(t, "a reserved name", api.AddUser(ctx, NewUser{Name: "anonymous", Password: "correct horse"}), Invalid)

	if err := api.SetDisabled(ctx, "alice", true); err != nil {
		t.Fatal(err)
	}
	if err := api.SetGroups(ctx, "alice", []string{"ops"}); err != nil {
		t.Fatal(err)
	}
	users, err := api.Users(ctx)
	if err != nil || len(users) != 1 {
		t.Fatalf("users: %+v, %v", users, err)
	}
	got := users[0]
	got.Created, got.Updated = time.Time{}, time.Time{}
	if diff := cmp.Diff(User{Name: "alice", Groups: []string{"ops"}, Disabled: true}, got); diff != "" {
		t.Error(diff)
	}
	if err := api.SetPassword(ctx, "alice", "another horse"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "password of nobody", api.SetPassword(ctx, "nobody", "another horse"), NotFound)
	if err := api.RemoveUser(ctx, "alice", false); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "removed twice", api.RemoveUser(ctx, "alice", false), NotFound)
}

// TestRemoveTheLast: a registry is not left without anybody to manage it.
func TestRemoveTheLast(t *testing.T) {
	api, service := newAPI(t)
	ctx := t.Context()
	policy, err := access.Compile([]access.Rule{
		{Names: []string{"root", "gone"}, Type: access.TypeRegistry, Actions: []string{"*"}},
		{Groups: []string{"ops"}, Type: access.TypeRegistry, Actions: []string{"admin"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	service.Policy = func() *access.Policy { return policy }
	for name, groups := range map[string][]string{"root": nil, "alice": {"ops"}, "bob": nil} {
		if err := api.AddUser(ctx, NewUser{Name: name, Password: "correct horse", Groups: groups}); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string, force bool) {
		t.Helper()
		if err := api.RemoveUser(ctx, name, force); err != nil {
			t.Error(err)
		}
	}
	remove("root", false) // as alice is left
	wantKind(t, "the last who manages", api.RemoveUser(ctx, "alice", false), Invalid)
	if err := api.SetDisabled(ctx, "bob", true); err != nil {
		t.Fatal(err)
	}
	service.AccountsOnly = func() bool { return true }
	service.Policy = func() *access.Policy { return new(access.Policy) }
	wantKind(t, "the last who can log in", api.RemoveUser(ctx, "alice", false), Invalid)
	remove("alice", true)
	wantKind(t, "nobody", api.RemoveUser(ctx, "alice", false), NotFound)
	service.AccountsOnly = nil
	remove("bob", false)
}

// TestDisableWhoIsNoAccount says what can be done about him.
func TestDisableWhoIsNoAccount(t *testing.T) {
	api, service := newAPI(t)
	users := map[string]string{"bob": "corp", "carol": "htpasswd", "robot:ci": "robots"}
	service.Lookup = func(_ context.Context, name string) (auth.Identity, error) {
		provider, ok := users[name]
		if !ok {
			return auth.Identity{}, auth.ErrNoMatch
		}
		return auth.Identity{Subject: auth.Subject{Provider: provider, Name: name}}, nil
	}
	for name, want := range map[string]string{
		"bob":      `a user of corp: shut him out there, or here with a rule: {name: "bob", type: registry, effect: deny, action: "*"}`,
		"carol":    "remove his line from the password file",
		"robot:ci": "berth robot disable",
		"nobody":   "there is no account of that name",
	} {
		err := api.SetDisabled(t.Context(), name, true)
		wantKind(t, name, err, NotFound)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rule := access.Rule{Names: []string{"bob"}, Type: access.TypeRegistry, Deny: true, Actions: []string{"*"}}
	if _, err := access.Compile([]access.Rule{rule}); err != nil {
		t.Error("the rule that is named cannot be used:", err)
	}
}

func TestTokens(t *testing.T) {
	api, _ := newAPI(t)
	tokens, err := api.Tokens(t.Context(), "alice")
	if err != nil || len(tokens) != 1 || tokens[0].ID != "ONE" || tokens[0].Client != "docker" {
		t.Fatalf("tokens of alice: %+v, %v", tokens, err)
	}
	if err := api.RevokeToken(t.Context(), "ONE"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "revoked twice", api.RevokeToken(t.Context(), "ONE"), NotFound)
	if tokens, err = api.Tokens(t.Context(), ""); err != nil || len(tokens) != 1 || tokens[0].User != "bob" {
		t.Errorf("all tokens: %+v, %v", tokens, err)
	}
}

func TestExplain(t *testing.T) {
	api, _ := newAPI(t)
	ctx := t.Context()
	e, err := api.Explain(ctx, Question{User: "alice", Groups: []string{"dev"}, Action: "push", Repository: "team/app:v1"})
	if err != nil || !e.Allowed || e.Rule == nil || e.Rule.Comment != "team builds" {
		t.Errorf("alice of dev: %+v, %v", e, err)
	}
	e, err = api.Explain(ctx, Question{User: "alice", Action: "push", Repository: "team/app"})
	if err != nil || e.Allowed || len(e.NearMisses) != 1 || e.NearMisses[0].Condition != "group" {
		t.Errorf("alice without her group: %+v, %v", e, err)
	}
	if !strings.Contains(e.String(), "no backend knows the name alice now") {
		t.Errorf("nobody is alice, and it is not said: %s", e)
	}
	if err := api.AddUser(ctx, NewUser{Name: "alice", Password: "correct horse"}); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"alice", "anonymous"} {
		if e, err = api.Explain(ctx, Question{User: user, Action: "pull", Repository: "team/app"}); err != nil || e.Note != "" {
			t.Errorf("%s: %+v, %v", user, e, err)
		}
	}
	for what, q := range map[string]Question{
		"an action that is none": {User: "alice", Action: "fly", Repository: "team/app"},
		"a bad repository":       {User: "alice", Action: "pull", Repository: "Team"},
		"a bad tag":              {User: "alice", Action: "pull", Repository: "team/app:.x"},
		"a bad digest":           {User: "alice", Action: "pull", Repository: "team/app@sha256:1"},
		"a bad address":          {User: "alice", Action: "pull", Repository: "team/app", Addr: "here"},
	} {
		_, err := api.Explain(ctx, q)
		wantKind(t, what, err, Invalid)
	}
}

func TestExplainOfADisabledUser(t *testing.T) {
	api, _ := newAPI(t)
	if err := api.AddUser(t.Context(), NewUser{Name: "alice", Password: "correct horse"}); err != nil {
		t.Fatal(err)
	}
	if err := api.SetDisabled(t.Context(), "alice", true); err != nil {
		t.Fatal(err)
	}
	_, err := api.Explain(t.Context(), Question{User: "alice", Action: "pull", Repository: "team/app"})
	wantKind(t, "a disabled user", err, Invalid)
}

// TestExplainToken: what each rule makes of a token, and what its bearer may do.
func TestExplainToken(t *testing.T) {
	api, service := newAPI(t)
	ctx := t.Context()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	token, err := jwt.Signed(signer).Claims(map[string]any{"iss": "https://ci.test", "aud": "hub", "sub": "7", "iat": now, "exp": now + 60}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	q := TokenQuestion{Token: auth.Secret(token), Action: "push", Repository: "team/app:v1"}
	_, err = api.ExplainToken(ctx, q)
	wantKind(t, "without rules", err, NotFound)
	rule := trust.Rule{Name: "ci", Issuer: "https://ci.test", Audience: "hub", Match: map[string][]string{"sub": {"7"}}, User: "job:{sub}", Keys: jwks.Source{JSON: set}}
	if err := service.Trust.SetRules([]trust.Rule{rule}); err != nil {
		t.Fatal(err)
	}
	e, err := api.ExplainToken(ctx, q)
	if err != nil || e.User != "ci/job:7" || len(e.Rules) != 1 || !e.Rules[0].OK || e.Decision == nil || e.Decision.Allowed {
		t.Errorf("%+v, %v", e, err)
	}
	if strings.Contains(e.String(), token[:20]) || !strings.Contains(e.String(), "push team/app:v1: denied") {
		t.Errorf("as text: %s", e)
	}
	e, err = api.ExplainToken(ctx, TokenQuestion{Token: auth.Secret(token)})
	if err != nil || e.User != "ci/job:7" || e.Decision != nil {
		t.Errorf("without an action: %+v, %v", e, err)
	}
	for what, q := range map[string]TokenQuestion{
		"no token":               {Token: "words", Action: "push", Repository: "team/app"},
		"an action that is none": {Token: auth.Secret(token), Action: "fly", Repository: "team/app"},
		"no action":              {Token: auth.Secret(token), Repository: "team/app"},
	} {
		_, err := api.ExplainToken(ctx, q)
		wantKind(t, what, err, Invalid)
	}
}

func TestExplainRef(t *testing.T) {
	api, service := newAPI(t)
	caller := access.Caller{Identity: auth.Identity{Subject: auth.Subject{Provider: "accounts", Name: "alice"}}, Addr: netip.MustParseAddr("10.1.2.3")}
	service.Refusals.Add(Refused{Ref: "ABCDEFGHIJ", Caller: caller, Scope: "repository:team/app:pull,push", Reason: "user alice may not push to team/app", Status: 403})
	r, err := api.ExplainRef(t.Context(), "abcdefghij")
	if err != nil {
		t.Fatal(err)
	}
	if r.User != "alice" || r.Addr != "10.1.2.3" || r.Status != 403 || r.Explanation == nil || r.Explanation.Allowed {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(r.Explanation.String(), "push") {
		t.Errorf("explains another action: %s", r.Explanation)
	}
	_, err = api.ExplainRef(t.Context(), "NOTTHERE")
	wantKind(t, "an unknown reference", err, NotFound)
}

func TestRefusalsForgetTheOldest(t *testing.T) {
	var s Refusals
	ref := func(i int) string {
		return strings.Repeat("x", i%7) + string(rune('A'+i%26)) + time.Duration(i).String()
	}
	for i := range keptRefusals + 5 {
		s.Add(Refused{Ref: ref(i), Status: i})
	}
	if _, ok := s.Find(ref(4)); ok {
		t.Error("the oldest is still there")
	}
	for _, i := range []int{5, keptRefusals - 1, keptRefusals + 4} {
		if r, ok := s.Find(ref(i)); !ok || r.Status != i {
			t.Errorf("refusal %d: %+v, %v", i, r, ok)
		}
	}
	if len(s.byRef) != keptRefusals {
		t.Errorf("%d references for %d refusals", len(s.byRef), keptRefusals)
	}
}

func TestHandlerTellsNothingOfFailures(t *testing.T) {
	service := &Service{Logins: failing{}}
	server := httptest.NewServer(Handler(service, slog.New(slog.DiscardHandler)))
	defer server.Close()
	resp, err := server.Client().Get(server.URL + "/api/v1/tokens")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusInternalServerError || strings.Contains(string(body), "disk on fire") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

type failing struct{}

func (failing) List(context.Context, string) ([]token.RefreshToken, error) {
	return nil, errors.New("disk on fire")
}
func (failing) Revoke(context.Context, string) error { return nil }
