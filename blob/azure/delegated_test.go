package azure

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"berth/blob"
	"berth/blob/bucket"
	"berth/test/authority"
	"berth/test/azurite"
)

// object names the identity.
const object = "00000000-0000-0000-0000-000000000002"

// An identity makes tokens as Microsoft Entra does, but for the signature, which
// Azurite does not look at. Its life is that of a token.
type identity struct{ refused bool }

func (i *identity) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if i.refused {
		return azcore.AccessToken{}, errors.New("canary")
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000001/",
		"iat": now.Unix() - 60, "nbf": now.Unix() - 60, "exp": now.Add(time.Hour).Unix(),
		"oid": object, "tid": "00000000-0000-0000-0000-000000000001", "ver": "1.0",
	})
	part := base64.RawURLEncoding.EncodeToString
	return azcore.AccessToken{Token: part([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + part(claims) + "." + part([]byte("x")), ExpiresOn: now.Add(time.Hour)}, err
}

// TestIdentity: whoever has no key signs with one that the store gives. Azurite
// does not know the newest form of such signatures, so that their fields are
// looked at and not their effect.
func TestIdentity(t *testing.T) {
	root, dir := authority.New(t, "root"), t.TempDir()
	key := authority.NewKey(t, "P-256")
	cert := root.Issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key.Public())
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	authority.Write(t, certFile, keyFile, key, cert)
	server := azurite.Start(t, "--oauth", "basic", "--cert", certFile, "--key", keyFile)
	who := new(identity)
	o := Options{
		AccountName: azurite.Account, Container: "berth", ServiceURL: strings.Replace(server.URL, "http:", "https:", 1),
		SkipVerify: true, RetryDelay: time.Millisecond, Log: slog.New(slog.DiscardHandler), token: who,
	}
	d := must[*driver](t)(newDriver(&o))
	must[container.CreateResponse](t)(d.container.Create(t.Context(), nil))
	s := must[*bucket.Store](t)(Open(t.Context(), o))
	put(t, s, "k", []byte("hello"))
	if got := read(t, s, "k"); string(got) != "hello" {
		t.Errorf("read %q", got)
	}
	for range 2 {
		address := must[*url.URL](t)(url.Parse(must[string](t)(s.URL(t.Context(), "k", time.Minute))))
		q := address.Query()
		until := must[time.Time](t)(time.Parse(time.RFC3339, q.Get("se")))
		if q.Get("sig") == "" || q.Get("sp") != "r" || q.Get("sr") != "b" || q.Get("skoid") != object || time.Until(until) > time.Minute || address.Path != "/"+azurite.Account+"/berth/k" {
			t.Errorf("the address is %s", address)
		}
	}

	d = must[*driver](t)(newDriver(&o)) // that has no key yet
	who.refused = true
	if address, err := d.URL(t.Context(), "k", time.Minute); address != "" || err != nil {
		t.Errorf("an identity that may not sign: %q, %v", address, err)
	}
	if _, err := Open(t.Context(), o); err == nil || errors.Is(err, blob.ErrNotExist) {
		t.Errorf("an identity without a token: %v", err)
	}
}
