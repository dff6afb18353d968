package local

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"berth/blob/memory"
	"berth/oci"
	"berth/registry"
)

// TestOddSpacing: what was pushed is served, byte for byte, however its JSON is
// spaced and written.
func TestOddSpacing(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	push(t, r, repo, "layer")
	plain := image(t, r, repo, "layer").Bytes
	blank := rapid.StringMatching(`[ \t\r\n]{0,3}`)
	rapid.Check(t, func(rt *rapid.T) {
		var odd bytes.Buffer
		quoted := false
		for _, c := range plain {
			if c == '"' {
				quoted = !quoted
			}
			if quoted || c == '"' || c >= '0' && c <= '9' {
				odd.WriteByte(c)
				continue
			}
			odd.WriteString(blank.Draw(rt, "before") + string(c) + blank.Draw(rt, "after"))
		}
		data := odd.Bytes()
		parsed, err := oci.ParseManifest("", data)
		if err != nil {
			rt.Fatal(err)
		}
		algorithm := rapid.SampledFrom([]oci.Algorithm{oci.SHA256, oci.SHA512}).Draw(rt, "algorithm")
		m := registry.ManifestContent{Manifest: parsed, Digest: oci.DigestOf(algorithm, data), Bytes: bytes.Clone(data)}
		if _, err := r.PutManifest(rt.Context(), repo, m, registry.PutOptions{Tags: []oci.Tag{"odd"}}); err != nil {
			rt.Fatal(err)
		}
		for _, ref := range []oci.Reference{{Tag: "odd"}, {Digest: m.Digest}} {
			if got, err := readManifest(r, repo, ref); err != nil || !bytes.Equal(got, data) {
				rt.Fatalf("%s is\n%q, %v, and was pushed as\n%q", ref, got, err, data)
			}
		}
	})
}

// TestPagesOfWhatMoves: who pages through tags while others make and delete some
// sees each that stays, once.
func TestPagesOfWhatMoves(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	m := image(t, r, repo)
	var steady []oci.Tag
	for i := range 60 {
		steady = append(steady, oci.Tag(fmt.Sprintf("t%02d", i)))
	}
	putManifest(t, r, repo, m, steady...)
	stop := make(chan struct{})
	var others sync.WaitGroup
	for n := range 2 {
		others.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				tag := oci.Tag(fmt.Sprintf("t%02d-%d", (i*7)%60, n))
				if _, err := r.PutManifest(t.Context(), repo, m, registry.PutOptions{Tags: []oci.Tag{tag}}); err != nil {
					t.Error(err)
					return
				}
				if err := r.DeleteTag(t.Context(), repo, tag); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for limit := 1; limit < 10; limit++ {
		seen := make(map[oci.Tag]int)
		q := registry.TagQuery{Limit: limit}
		for {
			page, err := r.Tags(t.Context(), repo, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, info := range page {
				seen[info.Tag]++
			}
			if len(page) < limit {
				break
			}
			q.After = page[len(page)-1].Tag
		}
		for _, tag := range steady {
			if seen[tag] != 1 {
				t.Errorf("pages of %d: %s was seen %d times", limit, tag, seen[tag])
			}
		}
	}
	close(stop)
	others.Wait()
}
