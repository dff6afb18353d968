package azure

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	azblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

const (
	// early is how much before now a signature begins, for clocks that go wrong.
	early = 5 * time.Minute
	// keyLife is how long a key is asked for that signs for an identity: a week
	// is the most.
	keyLife = 24 * time.Hour
	// forbidden is how long an identity that may not sign is not asked again.
	forbidden = 5 * time.Minute
)

// A signer makes the query of an address that is good for ttl, "" when it
// cannot: reads go through here then.
type signer interface {
	sign(ctx context.Context, name string, ttl time.Duration) (string, error)
}

func values(container, name string, ttl time.Duration) sas.BlobSignatureValues {
	now := time.Now().UTC()
	return sas.BlobSignatureValues{
		Protocol:      sas.ProtocolHTTPSandHTTP, // as the address of the account has it
		StartTime:     now.Add(-early),
		ExpiryTime:    now.Add(ttl),
		Permissions:   to.Ptr(sas.BlobPermissions{Read: true}).String(),
		ContainerName: container,
		BlobName:      name,
	}
}

// A keySigner has the key of the account.
type keySigner struct {
	container string
	key       *azblob.SharedKeyCredential
}

func (s *keySigner) sign(_ context.Context, name string, ttl time.Duration) (string, error) {
	query, err := values(s.container, name, ttl).SignWithSharedKey(s.key)
	return query.Encode(), err
}

// A delegatedSigner signs with a key that the store gives to an identity.
type delegatedSigner struct {
	container string
	service   *service.Client
	log       *slog.Logger

	mu    sync.Mutex
	key   *service.UserDelegationCredential
	until time.Time // the key is good for, or none is asked for
}

func (s *delegatedSigner) sign(ctx context.Context, name string, ttl time.Duration) (string, error) {
	key, err := s.current(ctx, ttl)
	if err != nil || key == nil {
		return "", err
	}
	query, err := values(s.container, name, ttl).SignWithUserDelegation(key)
	return query.Encode(), err
}

// current returns a key that is good for ttl, or nil when none is to be had.
func (s *delegatedSigner) current(ctx context.Context, ttl time.Duration) (*service.UserDelegationCredential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().UTC()
	if s.key == nil && now.Before(s.until) || s.key != nil && now.Add(ttl).Before(s.until) {
		return s.key, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	until := now.Add(keyLife)
	key, err := s.service.GetUserDelegationCredential(ctx, service.KeyInfo{
		Start:  to.Ptr(now.Add(-early).Format(sas.TimeFormat)),
		Expiry: to.Ptr(until.Format(sas.TimeFormat)),
	}, nil)
	if err != nil {
		s.key, s.until = nil, now.Add(forbidden)
		s.log.Warn("blobs go through this server, because addresses cannot be signed: give the identity the role Storage Blob Delegator, or set storage.redirect.disable", "error", plain(ctx, err))
		return nil, nil
	}
	s.key, s.until = key, until
	return key, nil
}
