package token

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/auth"
)

const service = "registry.test"

func (f *fixture) login(t *testing.T) auth.Secret {
	t.Helper()
	raw, err := f.NewRefresh(context.Background(), alice, service, "docker", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestRefresh(t *testing.T) {
	f := newFixture(t)
	raw := f.login(t)
	if strings.Contains(string(f.store.tokens[0].Hash), raw.Reveal()) || !strings.HasPrefix(raw.Reveal(), "bth_rt_") {
		t.Errorf("token %s is kept as %x", raw.Reveal(), f.store.tokens[0].Hash)
	}
	for range 3 { // it does not rotate
		f.time = f.time.Add(20 * 24 * time.Hour)
		id, err := f.Refresh(context.Background(), raw, service)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(alice, id); diff != "" {
			t.Error(diff)
		}
	}
	if other := f.login(t); other == raw {
		t.Error("two logins have one token")
	}
}

func TestRefreshVoid(t *testing.T) {
	with := func(id auth.Identity, change func(*auth.Identity)) auth.Identity { change(&id); return id }
	tests := map[string]func(f *fixture){
		"removed":          func(f *fixture) { delete(f.users, "alice") },
		"another password": func(f *fixture) { f.users["alice"] = with(alice, func(id *auth.Identity) { id.Version = "v2" }) },
		"another provider": func(f *fixture) { f.users["alice"] = with(alice, func(id *auth.Identity) { id.Provider = "htpasswd" }) },
		"disabled":         func(f *fixture) { f.down = auth.ErrBadCredentials },
		"idle":             func(f *fixture) { f.time = f.time.Add(idleLife + time.Second) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			ctx := context.Background()
			raw := f.login(t)
			start := f.time
			change(f)
			if _, err := f.Refresh(ctx, raw, service); !errors.Is(err, auth.ErrBadCredentials) {
				t.Errorf("void: %v", err)
			}
			f.users["alice"], f.down, f.time = alice, nil, start
			if _, err := f.Refresh(ctx, raw, service); !errors.Is(err, auth.ErrBadCredentials) {
				t.Errorf("came back to life: %v", err)
			}
		})
	}
}

func TestRefreshRefuses(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	raw := f.login(t)
	access := auth.Secret(f.issue(t))
	for name, wrong := range map[string]auth.Secret{
		"empty":        "",
		"prefix":       auth.Secret(auth.RefreshForm),
		"access token": access,
		"mistyped":     raw[:20] + "A" + raw[21:] + "A",
		"lower case":   auth.Secret(strings.ToLower(raw.Reveal())),
		"unknown":      auth.RefreshForm.New(),
	} {
		if _, err := f.Refresh(ctx, wrong, service); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Refresh(ctx, raw, "other"); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("other service: %v", err)
	}
	f.down = errors.New("directory does not answer")
	if _, err := f.Refresh(ctx, raw, service); !errors.Is(err, f.down) {
		t.Errorf("backend down: %v", err)
	}
	f.down = nil
	if _, err := f.Refresh(ctx, raw, service); err != nil {
		t.Errorf("after all that: %v", err)
	}
	if _, err := f.NewRefresh(ctx, auth.Identity{}, service, "", ""); err == nil {
		t.Error("a refresh token for nobody")
	}
}

func TestListRevoke(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	raw := f.login(t)
	f.time = f.time.Add(time.Hour)
	if _, err := f.Refresh(ctx, raw, service); err != nil {
		t.Fatal(err)
	}
	list, err := f.List(ctx, "alice")
	if err != nil || len(list) != 1 || !list[0].LastUsed.Equal(f.time) || list[0].Client != "docker" {
		t.Fatalf("listed %+v, %v", list, err)
	}
	if err := f.Revoke(ctx, list[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := f.Revoke(ctx, list[0].ID); !errors.Is(err, ErrNotExist) {
		t.Errorf("revoked twice: %v", err)
	}
	if _, err := f.Refresh(ctx, raw, service); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("after it was revoked: %v", err)
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		i := f.another(t, Options{Now: time.Now})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { i.Run(ctx); close(done) }()
		raw, err := i.NewRefresh(ctx, alice, service, "", "")
		if err != nil {
			t.Fatal(err)
		}
		use := func() time.Time {
			t.Helper()
			time.Sleep(time.Second)
			if _, err := i.Refresh(ctx, raw, service); err != nil {
				t.Fatal(err)
			}
			return time.Now()
		}
		expect := func(want time.Time) {
			t.Helper()
			list, err := f.store.RefreshTokens(ctx, "")
			if err != nil || len(list) != 1 || !list[0].LastUsed.Equal(want) {
				t.Errorf("stored %+v, want one last used at %v; %v", list, want, err)
			}
		}

		created := time.Now()
		used := use()
		expect(created) // a use is not written at once,
		f.store.fail(errors.New("disk full"))
		time.Sleep(time.Minute)
		synctest.Wait()
		f.store.fail(nil)
		expect(created)
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(used) // but after a minute that goes well
		used = use()
		cancel()
		<-done
		expect(used) // and at the end

		time.Sleep(idleLife + time.Second)
		if err := i.tidy(t.Context()); err != nil || len(f.store.tokens) != 0 {
			t.Errorf("idle tokens are kept: %d, %v", len(f.store.tokens), err)
		}
	})
}
