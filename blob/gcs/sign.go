package gcs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxTTL is how long a signed address may be good for.
const maxTTL = 7 * 24 * time.Hour

// A signer signs addresses in the name of an account.
type signer interface {
	// email returns the account. Errors: errCannotSign.
	email(ctx context.Context) (string, error)
	// sign returns a signature of RSA with SHA-256. Errors: errCannotSign.
	sign(ctx context.Context, text []byte) ([]byte, error)
}

// errCannotSign means that the account may not sign: reads go through here.
var errCannotSign = errors.New("the account cannot sign addresses")

// URL implements bucket.Bucket: signature version 4.
func (d *driver) URL(ctx context.Context, name string, ttl time.Duration) (string, error) {
	if d.signer == nil {
		return "", nil
	}
	account, err := d.signer.email(ctx)
	if errors.Is(err, errCannotSign) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	base, err := url.Parse(d.base)
	if err != nil {
		return "", errors.New("the address of the store is none")
	}
	now := time.Now().UTC()
	stamp, scope := now.Format("20060102T150405Z"), now.Format("20060102")+"/auto/storage/goog4_request"
	query := url.Values{
		"X-Goog-Algorithm":     {"GOOG4-RSA-SHA256"},
		"X-Goog-Credential":    {account + "/" + scope},
		"X-Goog-Date":          {stamp},
		"X-Goog-Expires":       {strconv.Itoa(int(min(ttl, maxTTL) / time.Second))},
		"X-Goog-SignedHeaders": {"host"},
	}
	path := "/" + strictPath(d.bucket) + "/" + strictPath(name)
	encoded := strings.ReplaceAll(query.Encode(), "+", "%20")
	canonical := strings.Join([]string{http.MethodGet, path, encoded, "host:" + base.Host, "", "host", "UNSIGNED-PAYLOAD"}, "\n")
	sum := sha256.Sum256([]byte(canonical))
	signature, err := d.signer.sign(ctx, []byte("GOOG4-RSA-SHA256\n"+stamp+"\n"+scope+"\n"+hex.EncodeToString(sum[:])))
	if errors.Is(err, errCannotSign) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return d.base + path + "?" + encoded + "&X-Goog-Signature=" + hex.EncodeToString(signature), nil
}

// strictPath escapes all that RFC 3986 does not leave unreserved, but slashes.
func strictPath(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// newSigner returns who signs for the account whose key file that is: nobody for
// a person, Google itself for an account without a key.
func newSigner(file []byte, c *client, log *slog.Logger) (signer, error) {
	var account struct {
		Type          string `json:"type"`
		Email         string `json:"client_email"`
		Key           string `json:"private_key"`
		Impersonation string `json:"service_account_impersonation_url"`
	}
	if len(file) > 0 {
		if err := json.Unmarshal(file, &account); err != nil {
			return nil, errors.New("the credentials are not to be read")
		}
	}
	remote := &remoteSigner{client: c, endpoint: signingEndpoint, metadata: metadataAddress(), log: log}
	switch {
	case account.Key != "":
		key, err := parseKey(account.Key)
		return &keySigner{account.Email, key}, err
	case account.Impersonation != "":
		m := impersonated.FindStringSubmatch(account.Impersonation)
		if m == nil {
			return nil, nil
		}
		remote.account = m[1]
		return remote, nil
	case len(file) == 0:
		return remote, nil // the account of the machine
	}
	return nil, nil
}

var impersonated = regexp.MustCompile(`/serviceAccounts/([^/:]+):generateAccessToken$`)

func parseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("private_key of the credentials is not PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New("private_key of the credentials is no RSA key")
	}
	return key, nil
}

// A keySigner has the key.
type keySigner struct {
	account string
	key     *rsa.PrivateKey
}

func (s *keySigner) email(context.Context) (string, error) { return s.account, nil }

func (s *keySigner) sign(_ context.Context, text []byte) ([]byte, error) {
	sum := sha256.Sum256(text)
	return rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
}

// forbidden is how long an account that may not sign is not asked again.
const forbidden = 5 * time.Minute

// A remoteSigner has Google sign, for which the account must be allowed to sign
// as itself (iam.serviceAccounts.signBlob).
type remoteSigner struct {
	client   *client
	endpoint string
	metadata string // address of the machine's metadata
	log      *slog.Logger

	mu      sync.Mutex
	account string    // "" until the metadata were asked
	until   time.Time // it is not asked before
}

// refuse notes that the account may not sign.
func (s *remoteSigner) refuse(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Now().Add(forbidden)
	s.log.Warn("blobs go through this server, because addresses cannot be signed: give the account the role Service Account Token Creator on itself, or set storage.redirect.disable", "error", why)
	return errCannotSign
}

func (s *remoteSigner) email(ctx context.Context) (string, error) {
	s.mu.Lock()
	account, until := s.account, s.until
	s.mu.Unlock()
	if time.Now().Before(until) {
		return "", errCannotSign
	}
	if account != "" {
		return account, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	resp, err := s.client.once(ctx, s.client.plain, request{
		method: http.MethodGet,
		url:    s.metadata + "/computeMetadata/v1/instance/service-accounts/default/email",
		header: http.Header{"Metadata-Flavor": {"Google"}},
	})
	if err != nil {
		return "", s.refuse(fmt.Errorf("ask the machine for its account: %w", err))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	account = string(bytes.TrimSpace(text))
	if err != nil || !strings.Contains(account, "@") {
		return "", s.refuse(errors.New("the machine has no account"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account = account
	return account, nil
}

func (s *remoteSigner) sign(ctx context.Context, text []byte) ([]byte, error) {
	account, err := s.email(ctx)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string][]byte{"payload": text})
	if err != nil {
		return nil, err
	}
	var answer struct {
		SignedBlob []byte `json:"signedBlob"`
	}
	err = s.client.json(ctx, request{
		method: http.MethodPost,
		url:    s.endpoint + "/v1/projects/-/serviceAccounts/" + url.PathEscape(account) + ":signBlob",
		header: http.Header{"Content-Type": {"application/json"}},
		body:   body,
	}, &answer)
	if err != nil && ctx.Err() == nil {
		return nil, s.refuse(err)
	}
	return answer.SignedBlob, err
}

func metadataAddress() string {
	if host := os.Getenv("GCE_METADATA_HOST"); host != "" {
		return "http://" + host
	}
	return "http://169.254.169.254"
}
