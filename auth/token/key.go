package token

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// publish is how long a new key is published before it signs, so that nodes
// and others that verify know it by then.
const publish = 5 * time.Minute

// A keySet is what is known of the keys at one time. It does not change.
type keySet struct {
	keys    []Key // newest first
	public  map[string]ed25519.PublicKey
	private map[string]ed25519.PrivateKey
	headers map[string]string // of what a key signs, encoded
	jwks    []jose.JSONWebKey // the public ones
}

// newKey makes a key.
func newKey(now time.Time) (Key, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return Key{}, fmt.Errorf("encode a signing key: %w", err)
	}
	id, err := thumbprintOf(public)
	if err != nil {
		return Key{}, err
	}
	return Key{ID: id, Private: der, Created: now}, nil
}

// thumbprintOf returns the name of a key, RFC 7638.
func thumbprintOf(public crypto.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("name a signing key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// newKeySet decodes keys, newest first, of which there is at least one.
func newKeySet(keys []Key) (*keySet, error) {
	if len(keys) == 0 {
		return nil, errors.New("there is no signing key")
	}
	s := &keySet{
		keys:    slices.Clone(keys),
		public:  make(map[string]ed25519.PublicKey),
		private: make(map[string]ed25519.PrivateKey),
		headers: make(map[string]string),
	}
	for _, k := range keys {
		decoded, err := x509.ParsePKCS8PrivateKey(k.Private)
		if err != nil {
			return nil, fmt.Errorf("decode signing key %s: %w", k.ID, err)
		}
		private, ok := decoded.(ed25519.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("decode signing key %s: it is a %T, not of Ed25519", k.ID, decoded)
		}
		public := private.Public().(ed25519.PublicKey)
		s.public[k.ID], s.private[k.ID] = public, private
		header, err := json.Marshal(map[string]string{"alg": string(jose.EdDSA), "kid": k.ID, "typ": "JWT"})
		if err != nil {
			return nil, fmt.Errorf("encode the header of signing key %s: %w", k.ID, err)
		}
		s.headers[k.ID] = base64.RawURLEncoding.EncodeToString(header)
		s.jwks = append(s.jwks, jose.JSONWebKey{
			Key: public, KeyID: k.ID, Algorithm: string(jose.EdDSA), Use: "sig",
		})
	}
	return s, nil
}

// signing returns the key to sign with: the newest that has been published for
// long enough, else the oldest.
func (s *keySet) signing(now time.Time) (id string, key ed25519.PrivateKey) {
	for _, k := range s.keys {
		id = k.ID
		if now.Sub(k.Created) >= publish {
			break
		}
	}
	return id, s.private[id]
}

// sign returns payload as a signed token in the compact form: RFC 7515, section
// 7.1, and RFC 8037, section 3.1.
func (s *keySet) sign(payload []byte, now time.Time) string {
	id, key := s.signing(now)
	token := append([]byte(s.headers[id]), '.')
	token = base64.RawURLEncoding.AppendEncode(token, payload)
	signature := ed25519.Sign(key, token)
	token = append(token, '.')
	return string(base64.RawURLEncoding.AppendEncode(token, signature))
}

// spent returns the keys whose last token is of no more use: each key signs
// until the next has been published, and a token lives for life.
func (s *keySet) spent(now time.Time, life time.Duration) []Key {
	for i, k := range s.keys {
		if now.Sub(k.Created) > publish+life {
			return s.keys[i+1:]
		}
	}
	return nil
}

// Rotate makes a new key when the newest is older than the rotation interval,
// deletes those that are of no more use, and takes over what other nodes did.
// Run calls it.
func (i *Issuer) Rotate(ctx context.Context) error {
	i.rotating.Lock()
	defer i.rotating.Unlock()
	now := i.now()
	keys, err := i.currentKeys(ctx, now)
	for errors.Is(err, ErrOtherKey) { // which another node has made: there is one more each time
		keys, err = i.currentKeys(ctx, now)
	}
	if err != nil {
		return err
	}
	set, err := newKeySet(keys)
	if err != nil {
		return err
	}
	for _, k := range set.spent(now, i.expiration+expiredUse+leeway) {
		if err := i.store.DeleteKey(ctx, k.ID); err != nil && !errors.Is(err, ErrNotExist) {
			return fmt.Errorf("delete signing key %s: %w", k.ID, err)
		}
		delete(set.public, k.ID)
	}
	i.keys.Store(set)
	return i.publish()
}

// currentKeys returns the keys in the store, with a new one when that is due.
// Errors: ErrOtherKey, when somebody else was quicker.
func (i *Issuer) currentKeys(ctx context.Context, now time.Time) ([]Key, error) {
	keys, err := i.store.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the signing keys: %w", err)
	}
	newest := ""
	if len(keys) > 0 {
		newest = keys[0].ID
		if now.Sub(keys[0].Created) < i.rotation {
			return keys, nil
		}
	}
	k, err := newKey(now)
	if err != nil {
		return nil, err
	}
	if err := i.store.AddKey(ctx, k, newest); err != nil {
		return nil, fmt.Errorf("store a signing key: %w", err)
	}
	return slices.Insert(keys, 0, k), nil
}

// publish makes what JWKS returns. It is called under rotating.
func (i *Issuer) publish() error {
	var set jose.JSONWebKeySet
	set.Keys = slices.Clone(i.keys.Load().jwks)
	if s := i.signer.Load(); s != nil {
		set.Keys = append(set.Keys, s.public)
	}
	now := i.now()
	i.former = slices.DeleteFunc(i.former, func(f formerSigner) bool {
		return now.After(f.until) || slices.ContainsFunc(set.Keys, func(k jose.JSONWebKey) bool { return k.KeyID == f.public.KeyID })
	})
	for _, f := range i.former {
		set.Keys = append(set.Keys, f.public)
	}
	jwks, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("encode the public keys: %w", err)
	}
	i.jwks.Store(&jwks)
	return nil
}

// JWKS returns the public keys as a JSON Web Key Set (RFC 7517, section 5).
func (i *Issuer) JWKS() []byte { return slices.Clone(*i.jwks.Load()) }
