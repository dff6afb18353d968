package main

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
)

// tailSize is how many bytes at the end of a blob make it differ from others.
const tailSize = 32

// A source makes blobs of one size that differ in their last bytes only, so
// that a new one costs the client a hash over these and not over all. No
// registry gains from what they have in common: it hashes and stores every one.
type source struct {
	size  int64
	block []byte // what the blobs repeat
	state []byte // of SHA-256 over all but the tail
	salt  uint64
	count atomic.Uint64
}

// A blob is one of them. It writes itself as often as wanted.
type blob struct {
	from   *source
	tail   [tailSize]byte
	digest string
}

// newSource returns a source of blobs of size bytes, at least tailSize. Seed
// tells its blobs from those of others.
func newSource(size int64, seed uint64) *source {
	s := &source{size: size, salt: seed, block: make([]byte, min(size-tailSize, 1<<20))}
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = random.Read(s.block) // as documented, it never fails
	h := sha256.New()
	_, _ = s.writeFront(h)
	s.state, _ = h.(encoding.BinaryMarshaler).MarshalBinary() // the hash of the standard library always can
	return s
}

func (s *source) writeFront(w io.Writer) (int64, error) {
	var done int64
	for front := s.size - tailSize; done < front; {
		n, err := w.Write(s.block[:min(front-done, int64(len(s.block)))])
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// next returns a blob that was not returned before.
func (s *source) next() (*blob, error) {
	b := &blob{from: s}
	binary.BigEndian.PutUint64(b.tail[:], s.salt)
	binary.BigEndian.PutUint64(b.tail[8:], s.count.Add(1))
	h := sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.state); err != nil {
		return nil, fmt.Errorf("go on with a hash: %w", err)
	}
	_, _ = h.Write(b.tail[:])
	b.digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return b, nil
}

// WriteTo implements [io.WriterTo].
func (b *blob) WriteTo(w io.Writer) (int64, error) {
	if len(b.from.block) < 1<<20 { // one write, and so one packet fewer
		n, err := w.Write(append(b.from.block[:len(b.from.block):len(b.from.block)], b.tail[:]...))
		return int64(n), err
	}
	n, err := b.from.writeFront(w)
	if err != nil {
		return n, err
	}
	m, err := w.Write(b.tail[:])
	return n + int64(m), err
}

// bytesBody is a body held in memory.
type bytesBody []byte

func (b bytesBody) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b)
	return int64(n), err
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"

	imageLayers = 10
	layerSize   = 64 << 10
	configSize  = 512
)

// emptyIndex is the smallest manifest: it needs no other content.
var emptyIndex = []byte(`{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[]}`)

// An image is what a client pushes: a configuration, layers and a manifest.
type image struct {
	blobs    []*blob // the configuration first
	manifest []byte
	digest   string
}

// newImage makes an image of layers that were in no image before.
func newImage(configs, layers *source, n int) (*image, error) {
	m := new(image)
	var descriptors []string
	for i := range n + 1 {
		from, mediaType := layers, typeLayer
		if i == 0 {
			from, mediaType = configs, typeConfig
		}
		b, err := from.next()
		if err != nil {
			return nil, err
		}
		m.blobs = append(m.blobs, b)
		descriptors = append(descriptors, fmt.Sprintf(`{"mediaType":"%s","digest":"%s","size":%d}`, mediaType, b.digest, from.size))
	}
	m.manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}`,
		typeManifest, descriptors[0], strings.Join(descriptors[1:], ","))
	m.digest = digestOf(m.manifest)
	return m, nil
}
