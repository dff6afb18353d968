package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/blob"
	"berth/blob/blobtest"
)

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return openStore(t, t.TempDir()) })
}

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func create(t testing.TB, s *Store, key, data string) blob.Writer {
	t.Helper()
	w, err := s.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	return w
}

func put(t testing.TB, s *Store, key, data string) blob.Info {
	t.Helper()
	info, err := create(t, s, key, data).Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// infoOf returns what Open says of key now.
func infoOf(t *testing.T, s *Store, key string) blob.Info {
	t.Helper()
	o, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	return o.Info()
}

func checkContent(t *testing.T, s *Store, key string, info blob.Info, want string) {
	t.Helper()
	o, err := s.Open(t.Context(), key)
	if err != nil {
		t.Errorf("%s is lost: %v", key, err)
		return
	}
	defer o.Close()
	if o.Info() != info {
		t.Errorf("%s is %+v, was %+v", key, o.Info(), info)
	}
	f, _ := o.File()
	if got, err := io.ReadAll(f); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", key, got, err, want)
	}
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "for", "us")
	s := openStore(t, dir)
	w := create(t, s, "2f/2f8c", "abc")
	path := filepath.Join(dir, "2f", "2f8c")
	if got := modeOf(t, path); got != modeWriting {
		t.Errorf("mode while writing is %v, want %v", got, modeWriting)
	}
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := modeOf(t, path); got != modeCommitted {
		t.Errorf("mode after Commit is %v, want %v", got, modeCommitted)
	}
	for _, folder := range []string{dir, filepath.Dir(dir), filepath.Join(dir, "2f")} {
		if got := modeOf(t, folder); got != modeFolder|fs.ModeDir {
			t.Errorf("mode of folder %s is %v", folder, got)
		}
	}
}

// TestOtherOpens goes on with a stream in a second Store over the same folder,
// as the next process does.
func TestOtherOpens(t *testing.T) {
	dir := t.TempDir()
	first := openStore(t, dir)
	put(t, first, "done", "abc")
	state, err := create(t, first, "2f/begun", "abc").Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	create(t, first, "2f/lost", "abc")

	second := openStore(t, dir)
	w, err := second.Resume(t.Context(), "2f/begun", state)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := w.Commit(t.Context()); err != nil || info.Size != 3 {
		t.Errorf("Commit = %+v, %v", info, err)
	}
	if _, err := second.Open(t.Context(), "2f/lost"); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("Open of what the first process had not committed: %v, want %v", err, blob.ErrNotExist)
	}
	if got, want := infoOf(t, second, "done"), infoOf(t, first, "done"); got != want {
		t.Errorf("the second process sees %+v, the first %+v", got, want)
	}
}

// TestAdopted opens a file that another registry has left.
func TestAdopted(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := infoOf(t, openStore(t, dir), "data").Size; got != 3 {
		t.Errorf("size is %d, want 3", got)
	}
}

// TestStampTellsOfChanges changes files behind the Store's back, through a file
// that was opened for writing while that was allowed.
func TestStampTellsOfChanges(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	overwrite := func(f *os.File) error {
		_, err := f.WriteAt([]byte("X"), 1)
		return err
	}
	disguise := func(f *os.File) error { // the bytes change, size and modification time do not
		before, err := f.Stat()
		if err != nil {
			return err
		}
		return errors.Join(overwrite(f), os.Chtimes(f.Name(), time.Time{}, before.ModTime()))
	}
	replace := func(f *os.File) error {
		return errors.Join(os.WriteFile(f.Name()+".new", []byte("abc"), 0o400), os.Rename(f.Name()+".new", f.Name()))
	}
	tests := []struct {
		name   string
		change func(*os.File) error
	}{
		{"truncated", func(f *os.File) error { return f.Truncate(1) }},
		{"overwritten", overwrite},
		{"overwritten, old time", disguise},
		{"replaced by a copy", replace},
	}
	for _, test := range tests {
		w := create(t, s, "k", "abc")
		f, err := os.OpenFile(filepath.Join(dir, "k"), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := w.Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // the kernel's clock for times of files may be that coarse
		if err := test.change(f); err != nil {
			t.Fatal(err)
		}
		if got := infoOf(t, s, "k"); got.Stamp == info.Stamp {
			t.Errorf("%s: the stamp is still %q", test.name, got.Stamp)
		}
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPlantedFiles plants what a Store never makes in its folder.
func TestPlantedFiles(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o400); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir)
	put(t, s, "real", "abc")
	for name, target := range map[string]string{"file": secret, "folder": outside, "up": "../" + filepath.Base(outside), "circle": "circle"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lost+found", ".hidden", "white space"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"file", "folder/secret", "up/secret", "folder", "pipe", "circle"} {
		if _, err := s.Open(t.Context(), key); !errors.Is(err, blob.ErrNotExist) {
			t.Errorf("Open(%q): %v, want %v", key, err, blob.ErrNotExist)
		}
	}
	for _, key := range []string{"file", "folder/new", "up/new"} {
		if _, err := s.Create(t.Context(), key); err == nil {
			t.Errorf("Create(%q) follows it out", key)
		}
		if _, err := s.Resume(t.Context(), key, []byte(`{"size":0}`)); err == nil {
			t.Errorf("Resume(%q) follows it out", key)
		}
	}
	if err := s.Delete(t.Context(), "folder/secret"); err == nil {
		t.Errorf("Delete follows a link out")
	}
	var keys []string
	if err := s.List(t.Context(), "", func(e blob.Entry) bool { keys = append(keys, e.Key); return true }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(keys, []string{"real"}) {
		t.Errorf("keys are %q, want only the real one", keys)
	}
	if data, err := os.ReadFile(secret); err != nil || string(data) != "secret" {
		t.Errorf("the file outside holds %q, %v", data, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("the folder outside holds %v, %v", entries, err)
	}
}

// TestLargeStream writes more than is held back from the disk at a time.
func TestLargeStream(t *testing.T) {
	s := openStore(t, t.TempDir())
	piece := func(i int) string { return strings.Repeat(string(rune('a'+i)), window/2+1) }
	var want strings.Builder
	w := create(t, s, "k", "")
	for i := range 7 {
		if _, err := io.WriteString(w, piece(i)); err != nil {
			t.Fatal(err)
		}
		want.WriteString(piece(i))
		if i == 3 {
			state, err := w.Suspend(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if w, err = s.Resume(t.Context(), "k", state); err != nil {
				t.Fatal(err)
			}
		}
	}
	if info, err := w.Commit(t.Context()); err != nil || info.Size != int64(want.Len()) {
		t.Fatalf("Commit = %+v, %v", info, err)
	}
	data, err := os.ReadFile(filepath.Join(s.root.Name(), "k"))
	if err != nil || string(data) != want.String() {
		t.Errorf("%d bytes, %v; want %d others", len(data), err, want.Len())
	}
}

func TestOpenRefusesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "open blob store") {
		t.Errorf("Open of a file: %v", err)
	}
}
