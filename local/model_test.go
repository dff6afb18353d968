package local

import (
	"errors"
	"io"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"berth/blob/memory"
	"berth/oci"
	"berth/registry"
)

// A writing is an upload in one request, as the model sees it.
type writing struct {
	registry.Upload
	content   string
	overtaken bool
}

// A model is what uploads are: text.
type model struct {
	t         *rapid.T
	r         *Registry
	writings  []*writing
	suspended map[string]string // by ID
	blobs     map[string]bool   // content
	lost      bool              // a restart left bytes that nothing names
}

// pick returns one of those who write; where nobody does, somebody begins.
func (m *model) pick() (int, *writing) {
	if len(m.writings) == 0 {
		m.start(m.t)
	}
	i := rapid.IntRange(0, len(m.writings)-1).Draw(m.t, "writing")
	return i, m.writings[i]
}

// end takes the writing from the model. It checks err, which has to be a
// conflict if the writing was overtaken, and reports whether it was not.
func (m *model) end(i int, err error) bool {
	w := m.writings[i]
	m.writings = slices.Delete(m.writings, i, i+1)
	if w.overtaken && !errors.Is(err, oci.Conflict) {
		m.t.Fatalf("the end of an upload that was overtaken: %v", err)
	}
	return !w.overtaken
}

func (m *model) start(t *rapid.T) {
	u, err := m.r.StartUpload(t.Context(), repo, mine)
	if err != nil {
		t.Fatal(err)
	}
	m.writings = append(m.writings, &writing{Upload: u})
}

func (m *model) write(t *rapid.T) {
	_, w := m.pick()
	s := rapid.StringMatching(`[ab]{0,3}`).Draw(t, "bytes")
	_, err := io.WriteString(w, s)
	switch {
	case w.overtaken && !errors.Is(err, oci.Conflict), !w.overtaken && err != nil:
		t.Fatalf("Write = %v, overtaken: %v", err, w.overtaken)
	case !w.overtaken:
		w.content += s
	}
}

func (m *model) suspend(t *rapid.T) {
	i, w := m.pick()
	err := w.Close(t.Context())
	if m.end(i, err) {
		if err != nil {
			t.Fatal(err)
		}
		m.suspended[w.ID()] = w.content
	}
}

func (m *model) resume(t *rapid.T) {
	if len(m.suspended) == 0 {
		return
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(m.suspended))).Draw(t, "id")
	want := m.suspended[id]
	if n, err := m.r.UploadStatus(t.Context(), repo, id, mine); err != nil || n != int64(len(want)) {
		t.Fatalf("UploadStatus = %d, %v; want %d", n, err, len(want))
	}
	u, err := m.r.ResumeUpload(t.Context(), repo, id, mine)
	if err != nil || u.Size() != int64(len(want)) {
		t.Fatalf("ResumeUpload = %v, %v", u, err)
	}
	for _, w := range m.writings {
		w.overtaken = w.overtaken || w.ID() == id
	}
	m.writings = append(m.writings, &writing{Upload: u, content: want})
}

func (m *model) commit(t *rapid.T) {
	i, w := m.pick()
	algorithm := rapid.SampledFrom([]oci.Algorithm{oci.SHA256, oci.SHA512}).Draw(t, "algorithm")
	right := rapid.IntRange(0, 3).Draw(t, "wrong if 0") > 0
	content := w.content
	if !right {
		content += "?"
	}
	_, err := w.Commit(t.Context(), oci.DigestOf(algorithm, []byte(content)))
	if !m.end(i, err) {
		return
	}
	delete(m.suspended, w.ID())
	if right && err != nil || !right && !errors.Is(err, oci.DigestInvalid) {
		t.Fatalf("Commit = %v, right: %v", err, right)
	}
	if right {
		m.blobs[string(oci.DigestOf(algorithm, []byte(content)))+content] = true
	}
}

func (m *model) cancel(t *rapid.T) {
	i, w := m.pick()
	err := w.Cancel(t.Context())
	if m.end(i, err) {
		delete(m.suspended, w.ID())
		if err != nil {
			t.Fatal(err)
		}
	}
}

// restart ends the process as it should end: what was suspended is saved. What
// was being written then is not asked for again; how much of it is there
// depends on when it was saved last.
func (m *model) restart(t *rapid.T) {
	if err := m.r.SaveUploads(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for _, w := range m.writings {
		delete(m.suspended, w.ID())
	}
	r, err := Open(t.Context(), m.r.store, m.r.db, m.r.o)
	if err != nil {
		t.Fatal(err)
	}
	m.r, m.writings, m.lost = r, nil, true
}

// check reads every blob.
func (m *model) check(t *rapid.T) {
	for blob := range m.blobs {
		d, err := oci.ParseDigest(blob[:min(len(blob), len("sha256:")+64)])
		if err != nil {
			d, err = oci.ParseDigest(blob[:len("sha512:")+128])
		}
		if err != nil {
			t.Fatal(err)
		}
		want := blob[len(d):]
		if got, err := read(m.r, repo, d, 0, -1); err != nil || got != want {
			t.Fatalf("blob %q is %q, %v", want, got, err)
		}
	}
}

// playUploads plays uploads at random, many of one text, and compares them with
// what they should be. It adds what it pushes to blobs.
func playUploads(t testing.TB, rt *rapid.T, r *Registry, blobs map[string]bool) {
	before, had := len(keys(t, r.store)), len(blobs)
	m := &model{t: rt, r: r, suspended: make(map[string]string), blobs: blobs}
	rt.Repeat(map[string]func(*rapid.T){
		"start": m.start, "write": m.write, "suspend": m.suspend, "resume": m.resume,
		"commit": m.commit, "cancel": m.cancel, "restart": m.restart, "": m.check,
	})
	for len(m.writings) > 0 {
		m.end(0, m.writings[0].Cancel(rt.Context()))
	}
	for id := range m.suspended {
		if u, err := m.r.ResumeUpload(rt.Context(), repo, id, mine); err == nil {
			if err = u.Cancel(rt.Context()); err != nil {
				rt.Fatal(err)
			}
		}
	}
	if got, want := len(keys(t, r.store))-before, len(blobs)-had; got != want && !m.lost {
		rt.Fatalf("%d new objects in the store, and %d new blobs", got, want)
	}
}

func TestUploadsModel(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{KeptUploads: 2})
	blobs := make(map[string]bool)
	rapid.Check(t, func(rt *rapid.T) { playUploads(t, rt, r, blobs) })
}
