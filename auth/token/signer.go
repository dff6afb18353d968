package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of what signs for other services.
const (
	leastRSA = 2048 // bits
	maxChain = 8    // certificates, all of which go into every token
)

// A KeyID is how a token names the key of a certificate.
type KeyID string

// The names of keys.
const (
	// Thumbprint is that of RFC 7638.
	Thumbprint KeyID = "thumbprint"
	// Libtrust is the one that Distribution had before version 3: of the SHA-256
	// of the public key, 240 bits in base32, in groups of four.
	Libtrust KeyID = "libtrust"
)

// A Signer signs tokens for other services with the key of a certificate. It
// does not change, and is safe for concurrent use.
type Signer struct {
	public jose.JSONWebKey
	signer jose.Signer
}

// A formerSigner is one whose last tokens may still be in use.
type formerSigner struct {
	public jose.JSONWebKey
	until  time.Time
}

// NewSigner returns a Signer with the key of pair: RSA of 2048 bits or more
// (RS256), or ECDSA on P-256 or P-384 (ES256, ES384). The chain of pair is in
// every token (x5c): who trusts what it ends in needs to know no key.
func NewSigner(pair *tls.Certificate, id KeyID) (*Signer, error) {
	if len(pair.Certificate) == 0 || len(pair.Certificate) > maxChain {
		return nil, fmt.Errorf("a chain has 1 to %d certificates, this one has %d: leave out what is not on the way to the root", maxChain, len(pair.Certificate))
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	algorithm, err := algorithmOf(leaf.PublicKey)
	if err != nil {
		return nil, err
	}
	name, err := keyID(leaf.PublicKey, id)
	if err != nil {
		return nil, err
	}
	chain := make([]string, len(pair.Certificate))
	for n, der := range pair.Certificate {
		chain[n] = base64.StdEncoding.EncodeToString(der)
	}
	key := jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: pair.PrivateKey, KeyID: name}}
	signer, err := jose.NewSigner(key, new(jose.SignerOptions).WithType("JWT").WithHeader("x5c", chain))
	if err != nil {
		return nil, fmt.Errorf("sign with the key of the certificate: %w", err)
	}
	return &Signer{
		public: jose.JSONWebKey{Key: leaf.PublicKey, KeyID: name, Algorithm: string(algorithm), Use: "sig"},
		signer: signer,
	}, nil
}

// sign returns payload as a signed token in the compact form.
func (s *Signer) sign(payload []byte) (string, error) {
	signed, err := s.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed.CompactSerialize()
}

// algorithmOf returns the algorithm that is signed with by the owner of a key:
// one for each kind of key, so that Distribution 2 and 3 know it.
func algorithmOf(public crypto.PublicKey) (jose.SignatureAlgorithm, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < leastRSA {
			return "", fmt.Errorf("its RSA key has %d bits: make one of %d or more", k.N.BitLen(), leastRSA)
		}
		return jose.RS256, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		}
	}
	return "", errors.New("its key is of a kind that Distribution does not know: use RSA, or ECDSA on P-256 or P-384")
}

func keyID(public crypto.PublicKey, id KeyID) (string, error) {
	switch id {
	case Thumbprint:
		return thumbprintOf(public)
	case Libtrust:
		return libtrustOf(public)
	}
	return "", fmt.Errorf("a key is named by its %s or its %s, not %q", Thumbprint, Libtrust, string(id))
}

// libtrustOf returns the name of a key as Libtrust says.
func libtrustOf(public crypto.PublicKey) (string, error) {
	const bits, group = 240, 4
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("name a signing key: %w", err)
	}
	sum := sha256.Sum256(der)
	text := base32.StdEncoding.EncodeToString(sum[:bits/8])
	var groups []string
	for ; text != ""; text = text[group:] {
		groups = append(groups, text[:group])
	}
	return strings.Join(groups, ":"), nil
}
