package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	keysAge   = time.Hour        // after which keys are asked for again
	keysRetry = 10 * time.Second // between two questions for them
)

// algorithms are those that an ID token may be signed with: never none, and
// never with a secret that is shared.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

var (
	errSignature = errors.New("the signature is not by a key of the provider")
	errNoKeys    = errors.New("the keys of the provider cannot be had")
)

// A keySet holds the public keys of a provider. It asks for them again when it
// meets one that it does not know, and from time to time, as keys are
// withdrawn; while there is no answer, those that it has serve. It implements
// oidc.KeySet and is safe for concurrent use.
type keySet struct {
	client  *http.Client
	address string
	now     func() time.Time

	mu    sync.Mutex // held while the provider is asked: the others want the same answer
	keys  []jose.JSONWebKey
	asked time.Time
	had   time.Time
}

var _ oidc.KeySet = (*keySet)(nil)

func newKeySet(client *http.Client, address string, now func() time.Time) *keySet {
	return &keySet{client: client, address: address, now: now}
}

// VerifySignature returns the payload of a token. Errors: errSignature,
// errNoKeys.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSignature, err)
	}
	id := signed.Signatures[0].Header.KeyID
	keys, err := k.find(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if payload, err := signed.Verify(key); err == nil {
			return payload, nil
		}
	}
	return nil, errSignature
}

// find returns the keys of that ID, or all when it is empty.
func (k *keySet) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if found := k.known(id); len(found) > 0 && now.Sub(k.had) < keysAge {
		return found, nil
	}
	var err error
	if k.asked.IsZero() || now.Sub(k.asked) >= keysRetry {
		err = k.ask(ctx, now)
	}
	found := k.known(id)
	if len(found) == 0 && (err != nil || k.had.IsZero() || k.asked.After(k.had)) {
		return nil, errors.Join(errNoKeys, err)
	}
	return found, nil
}

func (k *keySet) known(id string) []jose.JSONWebKey {
	var found []jose.JSONWebKey
	for _, key := range k.keys {
		if id == "" || key.KeyID == id {
			found = append(found, key)
		}
	}
	return found
}

// ask replaces the keys by those of now.
func (k *keySet) ask(ctx context.Context, now time.Time) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.address, nil)
	if err != nil {
		return err
	}
	k.asked = now
	resp, err := k.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the provider answers with status %d", resp.StatusCode)
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	keys, err := parseKeys(data)
	if err != nil {
		return err
	}
	k.keys, k.had = keys, now
	return nil
}

// parseKeys returns the public keys of a key set. Those of kinds that are not
// known, and secrets, are left out.
func parseKeys(data []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New("what the provider publishes is no key set")
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if err := json.Unmarshal(raw, &key); err == nil && key.Valid() && key.IsPublic() && key.Use != "enc" {
			keys = append(keys, key)
		}
	}
	return keys, nil
}
