package oci

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"strings"
)

// Limits of the names in the specification and in the clients that follow it.
const (
	MaxNameLength = 255 // characters of a repository name
	MaxTagLength  = 128 // characters of a tag
)

// A Name is the valid name of a repository: components of lower-case letters
// and digits, joined by single '.', one or two '_', or any number of '-',
// and separated by '/'. Distribution specification, "Pulling manifests".
type Name string

// ParseName returns s as a Name, or an error of code NameInvalid.
func ParseName(s string) (Name, error) {
	if len(s) == 0 || len(s) > MaxNameLength {
		return "", Errorf(NameInvalid, "repository name must have 1 to %d characters", MaxNameLength)
	}
	for rest := s; ; {
		component, tail, more := strings.Cut(rest, "/")
		if !ValidComponent(component) {
			return "", Errorf(NameInvalid, "repository name may hold lower-case letters, digits, and between them '.', '_', '__', '-' or '/'")
		}
		if !more {
			return Name(s), nil
		}
		rest = tail
	}
}

// ValidComponent reports whether s may stand between two slashes of a Name.
func ValidComponent(s string) bool {
	for i := 0; ; {
		start := i
		for i < len(s) && isLowerAlnum(s[i]) {
			i++
		}
		if i == start {
			return false
		}
		if i == len(s) {
			return true
		}
		n := separator(s[i:])
		if n == 0 {
			return false
		}
		i += n
	}
}

// separator returns the length of the separator that s begins with, 0 for none.
func separator(s string) int {
	switch s[0] {
	case '.':
		return 1
	case '_':
		if len(s) > 1 && s[1] == '_' {
			return 2
		}
		return 1
	case '-':
		return len(s) - len(strings.TrimLeft(s, "-"))
	}
	return 0
}

func isLowerAlnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// A Tag is a valid tag: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}.
type Tag string

// ParseTag returns s as a Tag, or an error of code TagInvalid.
func ParseTag(s string) (Tag, error) {
	if len(s) == 0 || len(s) > MaxTagLength {
		return "", Errorf(TagInvalid, "tag must have 1 to %d characters", MaxTagLength)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case isLowerAlnum(c), 'A' <= c && c <= 'Z', c == '_':
		case i > 0 && (c == '.' || c == '-'):
		default:
			return "", Errorf(TagInvalid, "tag may hold letters, digits, '_', and after the first also '.' and '-'")
		}
	}
	return Tag(s), nil
}

// An Algorithm names a digest algorithm that berth accepts.
type Algorithm string

// The algorithms registered by the image specification that berth accepts.
const (
	SHA256 Algorithm = "sha256"
	SHA512 Algorithm = "sha512"
)

// New returns a hash of the algorithm. Its state can be marshalled
// (encoding.BinaryMarshaler), so that an upload can go on elsewhere.
func (a Algorithm) New() hash.Hash {
	if a == SHA512 {
		return sha512.New()
	}
	return sha256.New()
}

func (a Algorithm) hexLength() int {
	switch a {
	case SHA256:
		return 2 * sha256.Size
	case SHA512:
		return 2 * sha512.Size
	}
	return 0
}

// A Digest is a valid digest: "sha256:" and 64, or "sha512:" and 128,
// lower-case hexadecimal digits.
type Digest string

// ParseDigest returns s as a Digest, or an error of code DigestInvalid.
func ParseDigest(s string) (Digest, error) {
	algorithm, encoded, _ := strings.Cut(s, ":")
	n := Algorithm(algorithm).hexLength()
	if n == 0 {
		return "", Errorf(DigestInvalid, "digest must be sha256:… or sha512:…")
	}
	if len(encoded) != n {
		return "", Errorf(DigestInvalid, "%s digest must have %d hexadecimal digits", algorithm, n)
	}
	for i := 0; i < len(encoded); i++ {
		if c := encoded[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", Errorf(DigestInvalid, "digest must be in lower-case hexadecimal digits")
		}
	}
	return Digest(s), nil
}

// Algorithm returns the part before the colon.
func (d Digest) Algorithm() Algorithm {
	algorithm, _, _ := strings.Cut(string(d), ":")
	return Algorithm(algorithm)
}

// Encoded returns the hexadecimal part.
func (d Digest) Encoded() string {
	_, encoded, _ := strings.Cut(string(d), ":")
	return encoded
}

// DigestOf returns the digest of data.
func DigestOf(a Algorithm, data []byte) Digest {
	h := a.New()
	h.Write(data)
	return SumDigest(a, h)
}

// SumDigest returns the digest of what was written to h, a hash made by a.New.
func SumDigest(a Algorithm, h hash.Hash) Digest {
	return Digest(string(a) + ":" + hex.EncodeToString(h.Sum(nil)))
}

// A Reference is what stands behind …/manifests/: a tag or a digest, never
// both. The zero Reference is neither.
type Reference struct {
	Tag    Tag
	Digest Digest
}

// ParseReference returns s as a Reference. What holds a colon is a digest.
// Errors are of code DigestInvalid or TagInvalid.
func ParseReference(s string) (Reference, error) {
	if strings.Contains(s, ":") {
		d, err := ParseDigest(s)
		return Reference{Digest: d}, err
	}
	t, err := ParseTag(s)
	return Reference{Tag: t}, err
}

func (r Reference) String() string {
	if r.Digest != "" {
		return string(r.Digest)
	}
	return string(r.Tag)
}
