package e2e

import (
	"encoding/json"
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

// TestBackup is the story of a registry that loses its database: backed up while it
// is pushed to, restored by a command that is killed again and again, and moved to
// PostgreSQL by another restore.
func TestBackup(t *testing.T) {
	s := serve(t, "team.yml", "REGISTRY_BACKUP_INTERVAL=1s")
	c := &client{base: s.url(), user: "user1", password: "secret1"}
	pushed := pushWhile(c, func() {
		for range 3 {
			if out, err := s.attempt(t, "backup"); err != nil && !strings.Contains(out, "being made already") {
				t.Fatalf("backup: %v\n%s", err, out)
			}
		}
	})
	if len(pushed) < 3 {
		t.Fatalf("only %d pushes were acknowledged: this shows nothing", len(pushed))
	}
	out, err := s.attempt(t, "backup", "--to", filepath.Join(s.dir, "aside"))
	if err != nil {
		t.Fatalf("backup --to: %v\n%s", err, out)
	}
	eventually(t, "all is in a backup that the server made by itself", func() bool {
		out, err := s.attempt(t, "backup")
		return err == nil && strings.Contains(out, "nothing has changed")
	})
	if out, err := s.attempt(t, "restore"); err == nil || !strings.Contains(out, "stop it first") {
		t.Errorf("restored beside the server: %v\n%s", err, out)
	}
	wantModes(t, filepath.Join(s.dir, "data", "backup"))

	s.kill()
	database := filepath.Join(s.dir, "data", "berth.db")
	for _, suffix := range []string{"", "-wal", "-shm", "-reserve"} {
		if err := os.Remove(database + suffix); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := s.restart(); err == nil || !strings.Contains(err.Error(), "berth restore") {
		t.Fatalf("served without its database: %v", err)
	}
	killed(t, s, "restore", "--force")
	if out, err := s.attempt(t, "restore", "--force"); err != nil || !strings.Contains(out, "push again") {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	pullAll := func() {
		t.Helper()
		if err := s.restart(); err != nil {
			t.Fatal(err)
		}
		for tag, img := range pushed {
			if err := c.pull("team/app", tag, img); err != nil {
				t.Errorf("lost: %v", err)
			}
		}
	}
	pullAll()
	s.stop()
	if out, err := s.attempt(t, "restore"); err == nil || !strings.Contains(out, "--force") {
		t.Errorf("restored over a database in use: %v\n%s", err, out)
	}
	if out, err := s.attempt(t, "restore", "--from", "nothing"); err == nil || !strings.Contains(out, "--list") {
		t.Errorf("restored from nothing: %v\n%s", err, out)
	}
	if out, err := s.attempt(t, "restore", "--force", "--from", filepath.Join(s.dir, "aside")); err != nil || !strings.Contains(out, "berth.db.replaced-") {
		t.Errorf("restore from a file: %v\n%s", err, out)
	}
	pullAll()
	s.stop()

	db := postgres.Start(t, postgres.Options{})
	s.env = append(s.env, "REGISTRY_METADATA_POSTGRES_URL="+db.URL(db.Database(t)))
	if out, err := s.attempt(t, "restore"); err != nil {
		t.Fatalf("restore into PostgreSQL: %v\n%s", err, out)
	}
	pullAll()
	list, err := s.attempt(t, "restore", "--list", "-o", "json")
	var backups []map[string]any
	if err != nil || json.Unmarshal([]byte(list[strings.IndexByte(list, '['):]), &backups) != nil || len(backups) == 0 {
		t.Errorf("list: %v\n%s", err, list)
	}
	if out, err := s.attempt(t, "scrub"); err != nil || !strings.Contains(out, "damaged: 0") {
		t.Errorf("scrub: %v\n%s", err, out)
	}
	if resp := c.expect(t, http.StatusOK, "GET", "/readyz"); !strings.Contains(string(resp.body), `"ok"`) {
		t.Errorf("/readyz: %s", resp.body)
	}
	s.stop()

	s.env[len(s.env)-1] = "REGISTRY_METADATA_POSTGRES_URL=" + db.URL(db.Database(t))
	if out, err := s.attempt(t, "rebuild", "--from", "none", "--into", "team/found"); err != nil {
		t.Fatalf("rebuild in PostgreSQL: %v\n%s", err, out)
	}
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
	for _, img := range pushed {
		if err := c.pull("team/found", digestOf(img.manifest), img); err != nil {
			t.Errorf("lost: %v", err)
		}
	}
}

// pushWhile pushes images, and returns those that were acknowledged before it
// returned, which is after do.
func pushWhile(c *client, do func()) map[string]image {
	pushed := make(map[string]image)
	var mu sync.Mutex
	var pushing sync.WaitGroup
	stop := make(chan struct{})
	for p := range 2 {
		pushing.Go(func() {
			for i := 0; i < 200; i++ {
				select {
				case <-stop:
					return
				default:
				}
				tag := fmt.Sprintf("p%d-%d", p, i)
				img := newImage(tag)
				if resp, err := c.push("team/app", tag, img); err != nil || resp.status != http.StatusCreated {
					return
				}
				mu.Lock()
				pushed[tag] = img
				mu.Unlock()
			}
		})
	}
	do()
	close(stop)
	pushing.Wait()
	return pushed
}

// killed runs a command again and again, and kills it after a little longer each
// time.
func killed(t *testing.T, s *server, args ...string) {
	t.Helper()
	binary, err := shared.berth()
	if err != nil {
		t.Fatal(err)
	}
	for after := 10 * time.Millisecond; after < 160*time.Millisecond; after += 25 * time.Millisecond {
		cmd := exec.Command(binary, append(args, "--config", s.args[1])...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	}
}

// wantModes fails for whatever in dir others may read.
func wantModes(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Errorf("backups: %v, %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", e.Name(), info, err)
		}
	}
}
