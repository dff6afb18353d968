package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// ErrSealed is returned for what was not sealed like this, or has been changed
// since.
var ErrSealed = errors.New("this was sealed with another key, for another purpose, or changed since")

// A Box seals small secrets that are kept or sent where others can reach them
// (AES-256-GCM). It is safe for concurrent use.
type Box struct{ aead cipher.AEAD }

// NewBox returns a Box whose key is derived from secret, of at least 16 random
// bytes, for one purpose: what one Box seals no Box of another purpose opens.
func NewBox(secret []byte, purpose string) (*Box, error) {
	if len(secret) < 16 {
		return nil, errors.New("the secret of a box is too short")
	}
	key, err := hkdf.Key(sha256.New, secret, nil, purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	return &Box{aead}, nil
}

// RandomBox returns a Box whose key dies with this process.
func RandomBox(purpose string) (*Box, error) {
	secret := make([]byte, sha256.Size)
	rand.Read(secret) // never fails
	return NewBox(secret, purpose)
}

// Seal returns text sealed. It opens only with the same owner, which says whose
// it is and is not kept.
func (b *Box) Seal(text []byte, owner string) []byte {
	return b.aead.Seal(nil, nil, text, []byte(owner))
}

// Open returns what was sealed for the owner. Errors: ErrSealed.
func (b *Box) Open(sealed []byte, owner string) ([]byte, error) {
	text, err := b.aead.Open(nil, nil, sealed, []byte(owner))
	if err != nil {
		return nil, ErrSealed
	}
	return text, nil
}
