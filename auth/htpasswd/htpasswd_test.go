package htpasswd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"berth/auth"
)

// A fixture is a File in a folder of its own.
type fixture struct {
	*File
	path string
	log  bytes.Buffer
}

func write(t *testing.T, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// line returns a line of the file as htpasswd -B writes it.
func line(t *testing.T, user, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return user + ":$2y$" + string(hash[4:])
}

func open(t *testing.T, lines ...string) *fixture {
	t.Helper()
	f := &fixture{path: filepath.Join(t.TempDir(), "htpasswd")}
	write(t, f.path, lines...)
	file, err := Open(f.path, auth.NewHasher(auth.HasherOptions{Cost: bcrypt.MinCost}), Options{
		Log: slog.New(slog.NewTextHandler(&f.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.File = file
	return f
}

// expect logs a user in, and resolves him.
func (f *fixture) expect(t *testing.T, user, password string, want, resolve error) {
	t.Helper()
	id, err := f.Authenticate(t.Context(), auth.Credentials{User: user, Password: auth.Secret(password)})
	if !errors.Is(err, want) {
		t.Errorf("%s with password %q: %v, want %v", user, password, err, want)
	}
	now, err := f.Resolve(t.Context(), auth.Subject{Name: user})
	if !errors.Is(err, resolve) {
		t.Errorf("%s resolves to %v, want %v", user, err, resolve)
	}
	if want == nil && (id.Version == "" || id.Version != now.Version || id.Subject != auth.Subject{Provider: "htpasswd", Name: user}) {
		t.Errorf("%s logs in as %+v and is %+v", user, id, now)
	}
}

func TestAuthenticate(t *testing.T) {
	apache := line(t, "user1", "secret")
	f := open(t,
		"# a comment", "", apache, "  "+line(t, "spaces", "s p")+" \r",
		line(t, "twice", "first"), line(t, "twice", "last"),
		"md5:$apr1$GcWEXLKx$HS6Zz6Y9Q.4yW2mJ3sJYh1", "sha1:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
		"crypt:rqXexS6ZhobKA", "plain:plain", "cut:"+apache[6:40], "anonymous:"+apache[6:],
	)
	tests := []struct {
		user, password string
		want, resolve  error
	}{
		{"user1", "secret", nil, nil},
		{"user1", "Secret", auth.ErrBadCredentials, nil},
		{"spaces", "s p", nil, nil},
		{"twice", "last", nil, nil},
		{"twice", "first", auth.ErrBadCredentials, nil},
		{"md5", "secret", auth.ErrBadCredentials, auth.ErrBadCredentials},
		{"sha1", "password", auth.ErrBadCredentials, auth.ErrBadCredentials},
		{"crypt", "x", auth.ErrBadCredentials, auth.ErrBadCredentials},
		{"plain", "plain", auth.ErrBadCredentials, auth.ErrBadCredentials},
		{"cut", "secret", auth.ErrBadCredentials, auth.ErrBadCredentials},
		{"User1", "secret", auth.ErrNoMatch, auth.ErrNoMatch},
		{"anonymous", "secret", auth.ErrNoMatch, auth.ErrNoMatch},
		{"# a comment", "x", auth.ErrNoMatch, auth.ErrNoMatch},
	}
	for _, test := range tests {
		f.expect(t, test.user, test.password, test.want, test.resolve)
	}
	if _, err := f.Resolve(t.Context(), auth.Subject{Provider: "accounts", Name: "user1"}); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("the user of another provider: %v", err)
	}
	for _, want := range []string{"line=6 user=twice", "line=7 user=md5", "MD5 (apr1)", "line=8 user=sha1", "SHA-1",
		"line=9 user=crypt", "line=10 user=plain", "line=11 user=cut", "line=12 user=anonymous"} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	for _, secret := range []string{apache[10:30], "GcWEXLKx", "5en6G6"} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("the log holds a hash: %s", &f.log)
		}
	}
	if d := f.Degraded(); d != "" {
		t.Errorf("degraded: %s", d)
	}
}

func TestOpenRefuses(t *testing.T) {
	hasher := auth.NewHasher(auth.HasherOptions{Cost: bcrypt.MinCost})
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	if _, err := Open(missing, hasher, Options{}); err == nil || !strings.Contains(err.Error(), "htpasswd -Bc "+missing) {
		t.Errorf("missing: %v", err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("the missing file was made")
	}
	if _, err := Open(dir, hasher, Options{}); err == nil {
		t.Error("a folder was opened")
	}
	for name, content := range map[string]string{
		"no colon":  "user1",
		"no user":   ":$2y$",
		"long line": strings.Repeat("a", maxLine) + ":x",
		"large":     strings.Repeat("#\n", maxFile/2) + "#",
	} {
		path := filepath.Join(dir, "htpasswd")
		write(t, path, line(t, "good", "secret"), content)
		if _, err := Open(path, hasher, Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	empty := open(t, "# nobody yet")
	if empty.Degraded() == "" {
		t.Error("a file without users is not shown as degraded")
	}
	empty.expect(t, "user1", "secret", auth.ErrNoMatch, auth.ErrNoMatch)
}

func TestReload(t *testing.T) {
	f := open(t, line(t, "user1", "secret"))
	before, _ := f.Resolve(t.Context(), auth.Subject{Name: "user1"})
	ok := func(change func()) {
		t.Helper()
		change()
		if err := f.Reload(); err != nil || f.Degraded() != "" {
			t.Errorf("%v; degraded: %s", err, f.Degraded())
		}
	}
	broken := func(change func()) {
		t.Helper()
		change()
		if err := f.Reload(); err == nil || f.Degraded() == "" {
			t.Errorf("%v; degraded: %q", err, f.Degraded())
		}
		f.expect(t, "user1", "changed", nil, nil)
	}
	ok(func() { write(t, f.path, line(t, "user1", "changed")) })
	f.expect(t, "user1", "secret", auth.ErrBadCredentials, nil)
	if after, _ := f.Resolve(t.Context(), auth.Subject{Name: "user1"}); after.Version == before.Version {
		t.Error("another password has the same version")
	}
	broken(func() { write(t, f.path, "user2") })
	broken(func() { write(t, f.path, "") })
	broken(func() { write(t, f.path, "# all gone") })
	broken(func() { os.Remove(f.path) })
	ok(func() { write(t, f.path, line(t, "user2", "secret")) })
	f.expect(t, "user1", "changed", auth.ErrNoMatch, auth.ErrNoMatch)
	f.expect(t, "user2", "secret", nil, nil)
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, line(t, "user1", "secret"), "md5:$apr1$x$y")
		warned := f.log.Len()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go f.Run(ctx)
		look := func() { time.Sleep(interval + settle + time.Millisecond); synctest.Wait() }

		look()
		if f.log.Len() != warned {
			t.Error("an unchanged file is reported again")
		}
		info, err := os.Stat(f.path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, f.path, line(t, "user2", "secret"), "md5:$apr1$x$y")
		if err := os.Chtimes(f.path, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		look() // same size, same time
		f.expect(t, "user2", "secret", nil, nil)
		f.expect(t, "user1", "secret", auth.ErrNoMatch, auth.ErrNoMatch)

		os.Remove(f.path)
		look()
		reported := f.log.Len()
		look()
		if f.Degraded() == "" || f.log.Len() != reported {
			t.Errorf("a missing file: degraded %q, reported %d times", f.Degraded(), strings.Count(f.log.String(), "ERROR"))
		}
		f.expect(t, "user2", "secret", nil, nil)

		// As a ConfigMap changes: a link is exchanged.
		other := f.path + ".2"
		write(t, other, line(t, "user3", "secret"))
		if err := os.Symlink(other, f.path); err != nil {
			t.Fatal(err)
		}
		look()
		f.expect(t, "user3", "secret", nil, nil)
		if d := f.Degraded(); d != "" {
			t.Errorf("degraded: %s", d)
		}
	})
}

// TestRunHalfWritten: what does not stand still does not count.
func TestRunHalfWritten(t *testing.T) {
	f := open(t, line(t, "user1", "secret"), line(t, "user2", "secret"))
	write(t, f.path, line(t, "user1", "new"))
	if again := f.poll(); again != settle {
		t.Errorf("looks again after %v", again)
	}
	f.expect(t, "user2", "secret", nil, nil)
	write(t, f.path, line(t, "user1", "new"), line(t, "user2", "new"))
	f.poll()
	f.expect(t, "user2", "secret", nil, nil)
	f.poll()
	f.expect(t, "user2", "new", nil, nil)
}

// TestSettled: who is gone is told of a content that has stood still, once, and
// never of one that is cut, broken or empty.
func TestSettled(t *testing.T) {
	f := open(t, line(t, "user1", "secret"), line(t, "user2", "secret"), "old:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=")
	var told []string
	f.Settled = func(gone func(auth.Subject) bool) {
		var names []string
		for _, s := range []auth.Subject{{Provider: "htpasswd", Name: "user1"}, {Provider: "htpasswd", Name: "user2"}, {Provider: "htpasswd", Name: "old"}, {Provider: "corp", Name: "x"}, {}} {
			if gone(s) {
				names = append(names, s.Name)
			}
		}
		told = append(told, strings.Join(names, " "))
	}
	want := func(what string, want ...string) {
		t.Helper()
		for range 3 {
			f.poll()
		}
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %q, want %q", what, told, want)
		}
	}
	f.poll()
	if told != nil {
		t.Errorf("told of what may not stand still: %q", told)
	}
	want("at the start", "")
	write(t, f.path, line(t, "user1", "secret"))
	if err := f.Reload(); err != nil { // its users count at once, who is gone does not
		t.Fatal(err)
	}
	f.poll()
	write(t, f.path, line(t, "user1", "secret"), line(t, "user2", "secret"))
	want("half written", "", "old")
	for _, content := range []string{"", "# nobody", "user1"} {
		write(t, f.path, content)
		want("not of use", "", "old")
	}
	os.Remove(f.path)
	want("not there", "", "old")
	write(t, f.path, line(t, "user2", "secret"))
	want("another edit", "", "old", "user1 old")
}

func TestEntry(t *testing.T) {
	f := open(t, "# a comment", line(t, "alice", "secret"), "", "old:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", line(t, "alice", "secret2"))
	if e, ok := f.Entry("alice"); !ok || e != (Entry{Line: 5, Scheme: "bcrypt", Cost: bcrypt.MinCost}) {
		t.Errorf("alice: %+v, %v", e, ok)
	}
	if e, ok := f.Entry("old"); !ok || e.Line != 4 || e.Scheme != "SHA-1" || !strings.Contains(e.Problem, "htpasswd -B") {
		t.Errorf("old: %+v, %v", e, ok)
	}
	if e, ok := f.Entry("nobody"); ok || f.Users() != 2 {
		t.Errorf("nobody: %+v, among %d", e, f.Users())
	}
}
