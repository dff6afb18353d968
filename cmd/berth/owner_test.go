package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"berth/audit"
	"berth/auth"
	"berth/auth/robot"
)

// TestOwnerOfPasswordFile: who is taken out of the password file loses his token
// and his robot for good, as the audit tells. Who gets his name gets neither. A
// file that is of no use ends nothing.
func TestOwnerOfPasswordFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	line := func(user string) string {
		hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		return user + ":" + string(hash) + "\n"
	}
	users := filepath.Join(dir, "htpasswd")
	alice, bob := line("alice"), line("bob")
	writeFile(t, users, alice+bob)
	r, url, _ := jobs(t, fmt.Sprintf(`
version: 0.1
storage: {filesystem: {rootdirectory: %s}}
auth: {htpasswd: {path: %s}}
`, filepath.Join(dir, "data"), users))
	begin := func() (end func()) {
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		work.Go(func() { r.core.htpasswd.Run(ctx) })
		work.Go(func() { r.core.robots.Run(ctx) })
		return func() { stop(); work.Wait() }
	}
	keys, owner := r.core.robots, auth.Subject{Provider: "htpasswd", Name: "alice"}
	token, err := keys.Tokens().New(t.Context(), owner, "laptop", nil, nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	others, err := keys.Tokens().New(t.Context(), auth.Subject{Provider: "htpasswd", Name: "bob"}, "laptop", nil, nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := keys.Add(t.Context(), "ci", robot.Settings{Owner: owner}, "local")
	if err != nil {
		t.Fatal(err)
	}
	list, _ := keys.Tokens().List(t.Context(), owner)
	want := func(what, user string, s auth.Secret, status int) {
		t.Helper()
		got, body := ask(t, http.MethodGet, url+"/v2/", func(q *http.Request) { q.SetBasicAuth(user, s.Reveal()) })
		if got != status {
			t.Errorf("%s: %s is answered %d %s, want %d", what, user, got, body, status)
		}
	}
	soon := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not within 10 s", what)
			}
		}
	}
	end := begin()
	writeFile(t, users, "")
	soon("an empty file", func() bool { return r.core.htpasswd.Degraded() != "" })
	want("an empty file", "alice", token, http.StatusOK)
	want("an empty file", "ci", secret, http.StatusOK)
	writeFile(t, users, bob)
	soon("alice is gone", func() bool { return keys.List()[0].Disabled })
	end()
	writeFile(t, users, line("alice")+bob)
	if err := r.core.htpasswd.Reload(); err != nil {
		t.Fatal(err)
	}
	want("the next alice", "alice", "secret", http.StatusOK)
	want("her token of before", "alice", token, http.StatusUnauthorized)
	want("her robot of before", "ci", secret, http.StatusUnauthorized)
	want("bob", "bob", others, http.StatusOK)
	if err := r.core.audit.Close(); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	_, err = audit.Query(t.Context(), r.cfg.Audit.Path, audit.Filter{}, func(e audit.Event) error {
		if e.Kind == audit.TokenRevoke || e.Kind == audit.RobotDisable {
			got[e.Target] = strings.Join([]string{string(e.Kind), string(e.Result), e.User, e.Owner, e.Reason}, "; ")
		}
		return nil
	})
	ended := map[string]string{
		list[0].ID: "token.revoke; ok; ; alice; its owner alice is no more",
		"robot:ci": "robot.disable; ok; ; alice; its owner alice is no more",
	}
	if diff := cmp.Diff(ended, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}
