package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of keys.
const (
	leastRSA = 2048 // bits
	mostRSA  = 8192
	maxKeys  = 64  // in one set
	maxKeyID = 256 // bytes
)

// A Key is a public key that signs tokens.
type Key struct {
	// IDs are the names by which a token may call for the key: the one that it
	// was published under, else its Thumbprint and its LibtrustID.
	IDs []string
	// Public is an *rsa.PublicKey, an *ecdsa.PublicKey or an ed25519.PublicKey.
	Public crypto.PublicKey

	algorithms []jose.SignatureAlgorithm
}

// NewKey returns a public key that tokens may be signed with, under the names
// that it has by itself.
// Errors: its type, or its size, is not for that.
func NewKey(public crypto.PublicKey) (Key, error) { return newKey(public, "", "") }

// newKey returns a key of that ID, which may be empty, for one algorithm or,
// when that is empty, for all of its type.
func newKey(public crypto.PublicKey, id, algorithm string) (Key, error) {
	k := Key{IDs: []string{id}, Public: public, algorithms: algorithmsOf(public)}
	if len(k.algorithms) == 0 {
		return Key{}, errors.New("it is of a type, a curve or a size that is not for signing tokens")
	}
	if algorithm != "" {
		only := jose.SignatureAlgorithm(algorithm)
		if !slices.Contains(k.algorithms, only) {
			return Key{}, errors.New("its algorithm is not one of its type")
		}
		k.algorithms = []jose.SignatureAlgorithm{only}
	}
	if len(id) > maxKeyID {
		return Key{}, fmt.Errorf("its ID is longer than %d bytes", maxKeyID)
	}
	if id != "" {
		return k, nil
	}
	thumbprint, err := Thumbprint(public)
	if err != nil {
		return Key{}, err
	}
	libtrust, err := LibtrustID(public)
	if err != nil {
		return Key{}, err
	}
	k.IDs = []string{thumbprint, libtrust}
	return k, nil
}

// algorithmsOf returns what a key of that type signs with (RFC 7518, section
// 3.1, and RFC 8037), or nothing for a key that is not to be used.
func algorithmsOf(public crypto.PublicKey) []jose.SignatureAlgorithm {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= leastRSA && bits <= mostRSA {
			return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}
		}
	case *ecdsa.PublicKey:
		switch k.Curve.Params().Name {
		case "P-256":
			return []jose.SignatureAlgorithm{jose.ES256}
		case "P-384":
			return []jose.SignatureAlgorithm{jose.ES384}
		case "P-521":
			return []jose.SignatureAlgorithm{jose.ES512}
		}
	case ed25519.PublicKey:
		return []jose.SignatureAlgorithm{jose.EdDSA}
	}
	return nil
}

// Algorithms returns the names of all algorithms that tokens may be signed
// with. None of them is symmetric.
func Algorithms() []string {
	return []string{
		string(jose.RS256), string(jose.RS384), string(jose.RS512), string(jose.PS256), string(jose.PS384), string(jose.PS512),
		string(jose.ES256), string(jose.ES384), string(jose.ES512), string(jose.EdDSA),
	}
}

// Thumbprint returns the name that RFC 7638 and RFC 8037 give to a public key:
// the SHA-256 of its JSON form, in base64url.
func Thumbprint(public crypto.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("name a key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// LibtrustID returns the name that Docker's libtrust gives to a public key: the
// first 240 bits of the SHA-256 of its DER form, in base32, in groups of four
// characters: "ABCD:EFGH:…".
func LibtrustID(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("name a key: %w", err)
	}
	sum := sha256.Sum256(der)
	text := base32.StdEncoding.EncodeToString(sum[:30])
	groups := make([]string, 0, len(text)/4)
	for group := range slices.Chunk([]byte(text), 4) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, ":"), nil
}
