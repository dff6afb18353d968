package jwks

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// A ring is the keys of a Set at one time. It does not change.
type ring struct {
	keys         []Key
	byID         map[string][]Key
	certificates []*x509.Certificate // that the keys come from, if they do
}

func newRing(keys []Key) *ring {
	r := &ring{keys: keys, byID: make(map[string][]Key)}
	for _, k := range keys {
		for _, id := range k.IDs {
			r.byID[id] = append(r.byID[id], k)
		}
	}
	return r
}

// parseSet reads a JSON Web Key Set (RFC 7517, section 5). Keys that are not
// for verifying signatures, and those that cannot be understood, are left out,
// as that section has it; the error of a set without any other says why.
func parseSet(data []byte) (*ring, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New(`it is not a JSON Web Key Set, such as {"keys": [{"kty": "EC", …}]}`)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it has more than %d keys", maxKeys)
	}
	var keys []Key
	why := errors.New("it has no keys")
	for i, raw := range set.Keys {
		k, err := parseKey(raw)
		if err != nil {
			why = fmt.Errorf("none of its keys is of use; number %d: %w", i+1, err)
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, why
	}
	return newRing(keys), nil
}

func parseKey(raw []byte) (Key, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(raw); err != nil {
		return Key{}, errors.New("it is not a JSON Web Key of a known type")
	}
	if _, symmetric := jwk.Key.([]byte); symmetric {
		return Key{}, errors.New("it is symmetric: who verifies with it can sign with it too")
	}
	if jwk.Use != "" && jwk.Use != "sig" {
		return Key{}, errors.New("it is not for signatures")
	}
	public := jwk.Public() // of a private key, which should not be here
	return newKey(public.Key, jwk.KeyID, jwk.Algorithm)
}

// parseCertificates reads certificates in PEM: their keys, and themselves. Other
// blocks than certificates and public keys are passed over.
func parseCertificates(data []byte) (*ring, error) {
	var keys []Key
	var certificates []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		var public any
		switch block.Type {
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("certificate %d cannot be read: %w", len(keys)+1, err)
			}
			certificates = append(certificates, c)
			public = c.PublicKey
		case "PUBLIC KEY":
			var err error
			if public, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
				return nil, fmt.Errorf("public key %d cannot be read: %w", len(keys)+1, err)
			}
		default:
			continue
		}
		k, err := NewKey(public)
		if err != nil {
			return nil, fmt.Errorf("the key of certificate %d is not of use: %w", len(keys)+1, err)
		}
		if keys = append(keys, k); len(keys) > maxKeys {
			return nil, fmt.Errorf("it has more than %d certificates", maxKeys)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no certificate in PEM")
	}
	if len(bytes.TrimSpace(data)) > 0 {
		return nil, errors.New("it holds something after the last certificate")
	}
	r := newRing(keys)
	r.certificates = certificates
	return r, nil
}
