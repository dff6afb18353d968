package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/test/postgres"
)

// attempt runs berth with the configuration of s, and returns all that it says.
func (s *server) attempt(t *testing.T, args ...string) (string, error) {
	t.Helper()
	binary, err := shared.berth()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, append(args, "--config", s.args[1])...)
	cmd.Env = append(os.Environ(), s.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestPostgres is the story of a registry that begins with SQLite, moves to
// PostgreSQL, and lives through what happens to that.
func TestPostgres(t *testing.T) {
	db := postgres.Start(t, postgres.Options{})
	s := serve(t, "team.yml")
	c := &client{base: s.url(), user: "user1", password: "secret1"}
	pushed := make(map[string]image)
	push := func(tag string) (*response, error) {
		img := newImage(tag)
		resp, err := c.push("team/app", tag, img)
		if err == nil && resp.status == http.StatusCreated {
			pushed[tag] = img
		}
		return resp, err
	}
	mustPush := func(tag string) {
		t.Helper()
		if resp, err := push(tag); err != nil || resp.status != http.StatusCreated {
			t.Fatalf("push %s: %+v, %v", tag, resp, err)
		}
	}
	mustPull := func() {
		t.Helper()
		for tag, img := range pushed {
			if err := c.pull("team/app", tag, img); err != nil {
				t.Error(err)
			}
		}
	}
	mustPush("sqlite")

	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(postgres.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(db.URL(db.Database(t)), ":"+postgres.Password, "", 1)
	s.env = append(s.env, "REGISTRY_METADATA_POSTGRES_URL="+url, "REGISTRY_METADATA_POSTGRES_PASSWORDFILE="+secret)
	if out, err := s.attempt(t, "migrate"); err == nil || !strings.Contains(out, "stop it first") {
		t.Errorf("moved while it runs: %v\n%s", err, out)
	}
	s.stop()
	if err := s.restart(); err == nil || !strings.Contains(err.Error(), "berth migrate") {
		t.Fatalf("an empty database is served beside the old one: %v", err)
	}
	if out, err := s.attempt(t, "migrate"); err != nil || !strings.Contains(out, "repositories") {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	if out, err := s.attempt(t, "migrate"); err == nil || !strings.Contains(out, "no metadata to move") {
		t.Errorf("moved twice: %v\n%s", err, out)
	}
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
	mustPull()
	mustPush("postgres")
	if _, err := os.Stat(filepath.Join(s.dir, "data", "berth.db")); err == nil {
		t.Error("there is a SQLite file")
	}
	if out, err := s.attempt(t, "config", "show"); err != nil || strings.Contains(out, "postgres://") || strings.Contains(out, postgres.Password) {
		t.Errorf("config show: %v\n%s", err, out)
	}
	if out, err := s.attempt(t, "user", "list"); err != nil {
		t.Errorf("a command beside the server: %v\n%s", err, out)
	}

	t.Run("other bytes", func(t *testing.T) {
		other := &server{dir: t.TempDir(), args: []string{"serve", ""}, log: new(output)}
		if err := prepare(other.dir, "team.yml"); err != nil {
			t.Fatal(err)
		}
		other.args[1] = filepath.Join(other.dir, "team.yml")
		_, err := launch(other.dir, other.args, s.env)
		if err == nil || !strings.Contains(err.Error(), "do not belong together") {
			t.Errorf("a database is served with the bytes of another: %v", err)
		}
	})
	t.Run("killed", func(t *testing.T) {
		for round, end := range []func(){db.Kill, db.Stop} {
			ended := make(chan struct{})
			time.AfterFunc(300*time.Millisecond, func() {
				end()
				close(ended)
			})
			for i := 0; ; i++ {
				resp, err := push(fmt.Sprintf("r%d-%d", round, i))
				if err != nil {
					t.Fatal(err)
				}
				if resp.status == http.StatusCreated {
					continue
				}
				if resp.status != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" {
					t.Errorf("the database is gone: %d, %v", resp.status, resp.header)
				}
				break
			}
			<-ended
			db.Start(t)
			mustPush(fmt.Sprintf("back%d", round))
		}
		mustPull()
	})
	t.Run("frozen", func(t *testing.T) {
		db.Freeze()
		defer db.Thaw()
		begun := time.Now()
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				resp, err := c.send("HEAD", fmt.Sprintf("/v2/team/app/manifests/new%d", i), nil, nil)
				if i%2 == 0 {
					resp, err = c.push("team/app", "frozen", newImage(fmt.Sprint(i)))
				}
				if err != nil || resp.status != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" {
					t.Errorf("a database that stands still: %+v, %v", resp, err)
				}
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("that took %v", took)
				}
			})
		}
		all.Wait()
		if resp := c.expect(t, http.StatusOK, "GET", "/readyz"); !strings.Contains(string(resp.body), "metadata") {
			t.Errorf("/readyz: %s", resp.body)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		if resp, err := push("thawed"); err == nil && resp.status == http.StatusCreated {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not go on")
		}
	}
	mustPull()
	if log := s.log.String(); strings.Contains(log, postgres.Password) {
		t.Error("the password is logged")
	}
}
