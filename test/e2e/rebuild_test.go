package e2e

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRebuild is the story of a registry that loses its database, and what was
// pushed after its last backup with it; and then all backups too.
func TestRebuild(t *testing.T) {
	s := serve(t, "team.yml", "REGISTRY_BACKUP_ENABLED=false")
	c := &client{base: s.url(), user: "user1", password: "secret1"}
	old, late := newImage("old"), newImage("late")
	mustPush := func(tag string, img image) {
		t.Helper()
		if resp, err := c.push("team/app", tag, img); err != nil || resp.status != http.StatusCreated {
			t.Fatalf("push %s: %+v, %v", tag, resp, err)
		}
	}
	mustPush("old", old)
	if out, err := s.attempt(t, "backup"); err != nil {
		t.Fatalf("backup: %v\n%s", err, out)
	}
	mustPush("late", late)
	if out, err := s.attempt(t, "rebuild"); err == nil || !strings.Contains(out, "stop it first") {
		t.Errorf("beside the server: %v\n%s", err, out)
	}
	lose := func() {
		t.Helper()
		s.kill()
		for _, suffix := range []string{"", "-wal", "-shm", "-reserve"} {
			if err := os.Remove(filepath.Join(s.dir, "data", "berth.db"+suffix)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
	lose()
	killed(t, s, "rebuild")
	out, err := s.attempt(t, "rebuild")
	if err != nil || !strings.Contains(out, "lost-and-found") {
		t.Fatalf("rebuild: %v\n%s", err, out)
	}
	mustRestart(t, s)
	if err := c.pull("team/app", "old", old); err != nil {
		t.Errorf("of the backup: %v", err)
	}
	if err := c.pull("lost-and-found", digestOf(late.manifest), late); err != nil {
		t.Errorf("of what came after it: %v", err)
	}
	mustPush("late", late)

	lose()
	if err := os.RemoveAll(filepath.Join(s.dir, "data", "backup")); err != nil {
		t.Fatal(err)
	}
	if out, err := s.attempt(t, "rebuild"); err != nil {
		t.Fatalf("rebuild without a backup: %v\n%s", err, out)
	}
	mustRestart(t, s)
	for _, img := range []image{old, late} {
		if err := c.pull("lost-and-found", digestOf(img.manifest), img); err != nil {
			t.Errorf("of bytes alone: %v", err)
		}
	}
}

// TestScrub finds damage beside the server, which shows it until it is healed: by a
// push, or from a copy.
func TestScrub(t *testing.T) {
	s := serve(t, "team.yml", "REGISTRY_SCRUB_INTERVAL=1s")
	c := &client{base: s.url(), user: "user1", password: "secret1"}
	img := newImage("v1")
	push := func() {
		t.Helper()
		if resp, err := c.push("team/app", "v1", img); err != nil || resp.status != http.StatusCreated {
			t.Fatalf("push: %+v, %v", resp, err)
		}
	}
	push()
	if out, err := s.attempt(t, "scrub"); err != nil && !strings.Contains(out, "at work already") {
		t.Errorf("all is well: %v\n%s", err, out)
	}
	blobs := filepath.Join(s.dir, "data", "blobs")
	files, err := filepath.Glob(filepath.Join(blobs, "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files: %v, %v", files, err)
	}
	for _, file := range files {
		spoil(t, file)
	}
	ready := func(want string) func() bool {
		return func() bool {
			resp, err := c.send("GET", "/readyz", nil, nil)
			return err == nil && strings.Contains(string(resp.body), want)
		}
	}
	eventually(t, "the scheduled scrub shows the damage", ready("scrub"))
	eventually(t, "scrub names the tag", func() bool {
		out, err := s.attempt(t, "scrub")
		return err != nil && strings.Contains(out, "team/app") && strings.Contains(out, "v1")
	})
	if err := c.pull("team/app", "v1", img); err == nil {
		t.Error("damaged bytes are served")
	}
	push()
	eventually(t, "all is well again", ready(`"ok"`))
	if out, err := s.attempt(t, "audit", "--event", "damage"); err != nil || !strings.Contains(out, "team/app") {
		t.Errorf("audit: %v\n%s", err, out)
	}
	s.stop()

	other := filepath.Join(s.dir, "copy")
	if out, err := exec.Command("cp", "-r", filepath.Join(s.dir, "data"), other).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if files, err = filepath.Glob(filepath.Join(blobs, "*", "*")); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	s.env = append(s.env, "REGISTRY_SCRUB_FROM_FILESYSTEM_ROOTDIRECTORY="+other)
	if out, err := s.attempt(t, "scrub"); err != nil || !strings.Contains(out, "yes") {
		t.Errorf("scrub with a copy: %v\n%s", err, out)
	}
	mustRestart(t, s)
	if err := c.pull("team/app", "v1", img); err != nil {
		t.Errorf("healed: %v", err)
	}
}

func mustRestart(t *testing.T, s *server) {
	t.Helper()
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
}

// spoil flips a bit of a file, as a disk may.
func spoil(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil || len(data) == 0 {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	data[len(data)/2] ^= 1
	if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, data, 0o600), os.Chmod(file, 0o400)); err != nil {
		t.Fatal(err)
	}
}
