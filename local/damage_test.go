package local

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/blob"
	"berth/oci"
)

// large is longer than what a verifier holds back.
var large = strings.Repeat("0123456789", 20_000)

var damages = map[string]func([]byte) []byte{
	"flipped first":  func(b []byte) []byte { b[0] ^= 1; return b },
	"flipped last":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	"flipped middle": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
	"one byte short": func(b []byte) []byte { return b[:len(b)-1] },
	"one byte more":  func(b []byte) []byte { return append(b, 'x') },
	"emptied":        func([]byte) []byte { return []byte{} },
	"deleted":        func([]byte) []byte { return nil },
}

func TestDamagedBlobIsNeverServedWhole(t *testing.T) {
	r, dir := onDisk(t, Options{})
	for name, change := range damages {
		for _, content := range []string{name, name + large} {
			d := push(t, r, repo, content)
			wantBlob(t, r, repo, content) // now in the cache
			damage(t, r, dir, d, change)
			if got, err := read(r, repo, d, 1, 1); err == nil {
				t.Errorf("%s: a part was served: %q", name, got)
			}
			got, err := read(r, repo, d, 0, -1)
			if err == nil || len(got) >= len(content) {
				t.Errorf("%s: %d bytes of %d were served, %v", name, len(got), len(content), err)
			}
			if _, err := r.Blob(t.Context(), repo, d); !errors.Is(err, oci.BlobUnknown) {
				t.Errorf("%s: Blob, when the damage is known: %v, want %v", name, err, oci.BlobUnknown)
			}
			if _, err := r.MountBlob(t.Context(), "team/new", repo, d); !errors.Is(err, oci.BlobUnknown) {
				t.Errorf("%s: MountBlob, when the damage is known: %v, want %v", name, err, oci.BlobUnknown)
			}
		}
	}
}

// TestUnknownDamageIsNotServed reads what nobody has read since it was damaged.
func TestUnknownDamageIsNotServed(t *testing.T) {
	r, dir := onDisk(t, Options{})
	for name, change := range damages {
		content := name + large
		d := push(t, r, repo, content)
		damage(t, r, dir, d, change)
		if got, err := read(r, repo, d, 0, -1); err == nil || len(got) >= len(content) {
			t.Errorf("%s: %d bytes of %d were served, %v", name, len(got), len(content), err)
		}
	}
}

func TestPushHeals(t *testing.T) {
	r, dir := onDisk(t, Options{})
	pushed := 0
	for name, change := range damages {
		for _, known := range []string{"known", "unknown"} {
			content := name + known + large
			d := push(t, r, repo, content)
			pushed++
			push(t, r, "team/other", content)
			old := row(t, r, d).Key
			damage(t, r, dir, d, change)
			if known == "known" {
				_, _ = read(r, "team/other", d, 0, -1)
			}
			push(t, r, repo, content)
			wantBlob(t, r, repo, content)
			wantBlob(t, r, "team/other", content)
			if healed := row(t, r, d).Key; healed == old {
				t.Errorf("%s: the damaged bytes are still named", name)
			}
			if n := len(keys(t, r.store)); n != pushed {
				t.Errorf("%s: %d objects in the store, want %d", name, n, pushed)
			}
		}
	}
}

func TestSwappedFiles(t *testing.T) {
	r, dir := onDisk(t, Options{})
	a, b := push(t, r, repo, "content a"), push(t, r, repo, "content b")
	pathA, pathB := filepath.Join(dir, row(t, r, a).Key), filepath.Join(dir, row(t, r, b).Key)
	for _, rename := range [][2]string{{pathA, pathA + "x"}, {pathB, pathA}, {pathA + "x", pathB}} {
		if err := os.Rename(rename[0], rename[1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []oci.Digest{a, b} {
		if got, err := read(r, repo, d, 0, -1); err == nil {
			t.Errorf("%s was served as %q", d, got)
		}
	}
}

// TestUntouchedBytesUnderAnotherStamp is what a restored backup looks like.
func TestUntouchedBytesUnderAnotherStamp(t *testing.T) {
	r, dir := onDisk(t, Options{})
	d := push(t, r, repo, large)
	damage(t, r, dir, d, func(b []byte) []byte { return b })
	c, err := r.Blob(t.Context(), repo, d)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.File(); ok {
		t.Error("a file that was not checked is handed out")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := read(r, repo, d, 3, 4); err != nil || got != large[3:7] {
		t.Errorf("a part: %q, %v", got, err)
	}
	if c, err = r.Blob(t.Context(), repo, d); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, ok := c.File(); !ok {
		t.Error("a file that was checked is not handed out")
	}
}

func TestFileIsHandedOut(t *testing.T) {
	r, _ := onDisk(t, Options{})
	c, err := r.Blob(t.Context(), repo, push(t, r, repo, "abc"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, ok := c.File()
	if !ok {
		t.Fatal("no file")
	}
	b := make([]byte, 4)
	if n, _ := f.Read(b); string(b[:n]) != "abc" {
		t.Errorf("the file holds %q", b[:n])
	}
}

func TestDamagedManifest(t *testing.T) {
	r, dir := onDisk(t, Options{})
	push(t, r, repo, "layer")
	m := image(t, r, repo, "layer")
	putManifest(t, r, repo, m, "latest")
	old := row(t, r, m.Digest).Key
	damage(t, r, dir, m.Digest, damages["flipped middle"])
	restarted := openRegistry(t, r.store, r.db, Options{}) // whose caches are empty
	for _, ref := range []oci.Reference{{Tag: "latest"}, {Digest: m.Digest}} {
		if got, err := readManifest(restarted, repo, ref); !errors.Is(err, oci.ManifestUnknown) {
			t.Errorf("%s: %q, %v", ref, got, err)
		}
	}
	putManifest(t, restarted, repo, m)
	if got, err := readManifest(restarted, repo, oci.Reference{Tag: "latest"}); err != nil || !bytes.Equal(got, m.Bytes) {
		t.Errorf("pushed again: %q, %v", got, err)
	}
	if row(t, r, m.Digest).Key == old {
		t.Error("the damaged bytes are still named")
	}
}

func TestDamageIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	r, dir := onDisk(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	d := push(t, r, repo, "abc")
	damage(t, r, dir, d, damages["emptied"])
	for range 3 {
		_, _ = r.Blob(t.Context(), repo, d)
	}
	if n := strings.Count(log.String(), string(d)); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}

func TestInstance(t *testing.T) {
	dir, db := t.TempDir(), openDB(t)
	s := openDisk(t, dir)
	r := openRegistry(t, s, db, Options{})
	openRegistry(t, s, db, Options{})
	push(t, r, repo, "abc")
	tests := map[string]func() (*Registry, error){
		"new database": func() (*Registry, error) { return Open(t.Context(), s, openDB(t), Options{}) },
		"new store":    func() (*Registry, error) { return Open(t.Context(), openDisk(t, t.TempDir()), db, Options{}) },
		"other database": func() (*Registry, error) {
			other, _ := onDisk(t, Options{})
			return Open(t.Context(), s, other.db, Options{})
		},
	}
	for name, open := range tests {
		if _, err := open(); !errors.Is(err, ErrInstance) {
			t.Errorf("%s: %v, want %v", name, err, ErrInstance)
		}
	}
	openRegistry(t, s, db, Options{})
	if err := os.Chmod(filepath.Join(dir, instanceKey), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, instanceKey), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), s, db, Options{}); err == nil {
		t.Error("opened with an empty mark")
	}
}

// TestMarkIsFinished is a crash between the two marks.
func TestMarkIsFinished(t *testing.T) {
	s, db := openDisk(t, t.TempDir()), openDB(t)
	openRegistry(t, s, db, Options{})
	empty := openDisk(t, t.TempDir())
	if _, err := empty.Create(t.Context(), instanceKey); err != nil {
		t.Fatal(err)
	}
	openRegistry(t, empty, db, Options{})
	if _, err := empty.Open(t.Context(), instanceKey); errors.Is(err, blob.ErrNotExist) {
		t.Error("the store has no mark")
	}
}

// clock is a clock that a test sets.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }
