package account

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"berth/auth"
)

// memory is a Store.
type memory struct {
	mu   sync.Mutex
	list []Account
	err  error // what every call returns, when set
}

func (m *memory) index(name string) int {
	return slices.IndexFunc(m.list, func(a Account) bool { return a.Name == name })
}

func (m *memory) Accounts(context.Context) ([]Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.list), m.err
}

func (m *memory) CreateAccount(_ context.Context, a Account) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if m.index(a.Name) >= 0 {
		return ErrExists
	}
	m.list = append(m.list, a)
	return nil
}

func (m *memory) UpdateAccount(_ context.Context, name string, change func(*Account) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.index(name)
	if i < 0 {
		return ErrNotExist
	}
	a := m.list[i]
	if err := errors.Join(change(&a), m.err); err != nil {
		return err
	}
	m.list[i] = a
	return nil
}

func (m *memory) DeleteAccount(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.index(name)
	if i < 0 {
		return ErrNotExist
	}
	m.list = slices.Delete(m.list, i, i+1)
	return m.err
}

func newAccounts(t *testing.T, store *memory) *Accounts {
	t.Helper()
	a, err := New(context.Background(), store, auth.NewHasher(auth.HasherOptions{Cost: bcrypt.MinCost}))
	if err != nil {
		t.Fatal(err)
	}
	fixed := time.Unix(1_800_000_000, 123_456_789)
	a.Now = func() time.Time { return fixed }
	return a
}

func login(a *Accounts, name string, password auth.Secret) (auth.Identity, error) {
	return a.Authenticate(context.Background(), auth.Credentials{User: name, Password: password})
}

// TestLife follows one account, whose changes are seen at once.
func TestLife(t *testing.T) {
	store := &memory{}
	a := newAccounts(t, store)
	ctx := context.Background()
	versions := make(map[string]bool)
	steps := []struct {
		what       string
		do         func() error
		password   auth.Secret // that is tried afterwards
		want       error       // of logging in
		resolve    error
		groups     []string
		newVersion bool
	}{
		{"add", func() error { return a.Add(ctx, "alice", "password1", []string{"web", "dev", "web"}) }, "password1", nil, nil, []string{"dev", "web"}, true},
		{"wrong password", func() error { return nil }, "password2", auth.ErrBadCredentials, nil, []string{"dev", "web"}, false},
		{"groups", func() error { return a.SetGroups(ctx, "alice", []string{"ops"}) }, "password1", nil, nil, []string{"ops"}, false},
		{"password", func() error { return a.SetPassword(ctx, "alice", "password2") }, "password2", nil, nil, []string{"ops"}, true},
		{"old password", func() error { return nil }, "password1", auth.ErrBadCredentials, nil, []string{"ops"}, false},
		{"disable", func() error { return a.SetDisabled(ctx, "alice", true) }, "password2", auth.ErrBadCredentials, auth.ErrBadCredentials, nil, false},
		{"enable", func() error { return a.SetDisabled(ctx, "alice", false) }, "password2", nil, nil, []string{"ops"}, true},
		{"enable again", func() error { return a.SetDisabled(ctx, "alice", false) }, "password2", nil, nil, []string{"ops"}, false},
		{"remove", func() error { return a.Remove(ctx, "alice") }, "password2", auth.ErrNoMatch, auth.ErrNoMatch, nil, false},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if _, err := login(a, "alice", step.password); !errors.Is(err, step.want) {
			t.Errorf("%s: log in: %v, want %v", step.what, err, step.want)
		}
		id, err := a.Resolve(ctx, auth.Subject{Name: "alice"})
		if !errors.Is(err, step.resolve) {
			t.Errorf("%s: resolve: %v, want %v", step.what, err, step.resolve)
		}
		if diff := cmp.Diff(step.groups, id.Groups); diff != "" {
			t.Errorf("%s: %s", step.what, diff)
		}
		if id.Version != "" && versions[id.Version] == step.newVersion {
			t.Errorf("%s: the version is new: %v, want %v", step.what, !versions[id.Version], step.newVersion)
		}
		if err == nil && id.Subject != (auth.Subject{Provider: "accounts", Name: "alice"}) {
			t.Errorf("%s: is %+v", step.what, id)
		}
		versions[id.Version] = true
		again := newAccounts(t, store)
		if got, _ := again.Resolve(ctx, auth.Subject{Name: "alice"}); !cmp.Equal(id, got) {
			t.Errorf("%s: after a restart: %s", step.what, cmp.Diff(id, got))
		}
	}
	if _, err := a.Resolve(ctx, auth.Subject{Provider: "htpasswd", Name: "alice"}); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("the user of another provider: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	a := newAccounts(t, &memory{})
	ctx := context.Background()
	if err := a.Add(ctx, "alice", "password1", nil); err != nil {
		t.Fatal(err)
	}
	long := auth.Secret(strings.Repeat("p", 72))
	for _, name := range []string{"", "anonymous", "*", "a/b", "a:b", "a b", "a\tb", "a\x00", "\xff", strings.Repeat("a", 256)} {
		if err := a.Add(ctx, name, "password1", nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, p := range []auth.Secret{"", "7bytes!", long + "p", "password\x00", "password\xff"} {
		if err := a.Add(ctx, "bob", p, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("password %q: %v", p.Reveal(), err)
		}
		if err := a.SetPassword(ctx, "alice", p); !errors.Is(err, ErrInvalid) {
			t.Errorf("new password %q: %v", p.Reveal(), err)
		}
	}
	for name, err := range map[string]error{
		"group":       a.SetGroups(ctx, "alice", []string{"dev", ""}),
		"first group": a.Add(ctx, "bob", "password1", []string{"a\n"}),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := a.Add(ctx, "alice", "password1", nil); !errors.Is(err, ErrExists) {
		t.Errorf("added twice: %v", err)
	}
	for what, err := range map[string]error{
		"password": a.SetPassword(ctx, "bob", "password1"),
		"disable":  a.SetDisabled(ctx, "bob", true),
		"groups":   a.SetGroups(ctx, "bob", nil),
		"remove":   a.Remove(ctx, "bob"),
	} {
		if !errors.Is(err, ErrNotExist) {
			t.Errorf("%s of nobody: %v", what, err)
		}
	}
	if err := a.Add(ctx, "bob", long, nil); err != nil {
		t.Errorf("72 bytes: %v", err)
	}
}

func TestStoreFails(t *testing.T) {
	store := &memory{}
	a := newAccounts(t, store)
	ctx := context.Background()
	if err := a.Add(ctx, "alice", "password1", nil); err != nil {
		t.Fatal(err)
	}
	store.err = errors.New("disk full")
	for what, err := range map[string]error{
		"add":      a.Add(ctx, "bob", "password1", nil),
		"password": a.SetPassword(ctx, "alice", "password2"),
		"disable":  a.SetDisabled(ctx, "alice", true),
		"reload":   a.Reload(ctx),
	} {
		if !errors.Is(err, store.err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := login(a, "alice", "password1"); err != nil {
		t.Errorf("what was not stored is in force: %v", err)
	}
	if _, err := login(a, "bob", "password1"); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("who was not stored: %v", err)
	}
}

func TestListReload(t *testing.T) {
	store := &memory{}
	a, other := newAccounts(t, store), newAccounts(t, store)
	ctx := context.Background()
	for _, name := range []string{"carol", "alice", "bob"} {
		if err := other.Add(ctx, name, "password1", []string{"dev"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, acc := range a.List() {
		names = append(names, acc.Name)
		if acc.Hash != "" || acc.Created.IsZero() {
			t.Errorf("listed %+v", acc)
		}
		acc.Groups[0] = "changed"
	}
	if diff := cmp.Diff([]string{"alice", "bob", "carol"}, names); diff != "" {
		t.Error(diff)
	}
	if id, err := login(a, "alice", "password1"); err != nil || id.Groups[0] != "dev" {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestNewPassword(t *testing.T) {
	p, q := NewPassword(), NewPassword()
	if p == q || len(p) < 20 || auth.CheckPassword(p) != nil {
		t.Errorf("passwords of %d bytes, the same: %v", len(p), p == q)
	}
}

// TestID: an account is the same for as long as it is there, and another than the
// one before of its name.
func TestID(t *testing.T) {
	ctx := t.Context()
	store := &memory{}
	a := newAccounts(t, store)
	id := func(a *Accounts) auth.ID {
		t.Helper()
		now, err := a.Resolve(ctx, auth.Subject{Name: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		return now.ID
	}
	add := func() {
		t.Helper()
		if err := a.Add(ctx, "alice", "password1", nil); err != nil {
			t.Fatal(err)
		}
	}
	add()
	first := id(a)
	later := a.now().Add(time.Microsecond)
	a.Now = func() time.Time { return later }
	if err := a.SetPassword(ctx, "alice", "password2"); err != nil {
		t.Fatal(err)
	}
	if id(a) != first || id(newAccounts(t, store)) != first || first == "" {
		t.Errorf("%q has become %q, and %q after a restart", first, id(a), id(newAccounts(t, store)))
	}
	if err := a.Remove(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	add()
	if id(a) == first {
		t.Error("another account is the same")
	}
}
