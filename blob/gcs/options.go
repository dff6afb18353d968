package gcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"berth/auth"
	"berth/blob/bucket"
)

// Options says which bucket, and who asks for it.
type Options struct {
	Bucket string
	// Credentials are those of an account, as the JSON of a key file. When they
	// are empty, those count that Google's tools find as well: the file that
	// $GOOGLE_APPLICATION_CREDENTIALS names, or the account of the machine.
	Credentials auth.Secret
	// RootDirectory stands before all names.
	RootDirectory string
	// ChunkSize is how many bytes of an upload go into one request: a multiple
	// of 256 KiB, at most bucket.MaxPart, which is what 0 means.
	ChunkSize int
	// MaxConcurrency is how many requests may wait for their answers, 50 when it
	// is 0. Bytes that flow do not count.
	MaxConcurrency int
	UserAgent      string
	// Emulator is the address of something that stands in for Google: it is
	// asked without a token.
	Emulator string
	Log      *slog.Logger // slog.Default() when nil

	pause func(ctx context.Context, n int, asked time.Duration) error // bucket.Pause when nil
}

const (
	endpoint           = "https://storage.googleapis.com"
	signingEndpoint    = "https://iamcredentials.googleapis.com"
	storageScope       = "https://www.googleapis.com/auth/devstorage.read_write"
	platformScope      = "https://www.googleapis.com/auth/cloud-platform" // to sign without a key
	defaultConcurrency = 50
	minConcurrency     = 25 // as in Distribution
)

// emulator returns the address that STORAGE_EMULATOR_HOST or the options name.
func (o *Options) emulator() string {
	address := o.Emulator
	if address == "" {
		address = os.Getenv("STORAGE_EMULATOR_HOST")
	}
	if address != "" && !strings.Contains(address, "://") {
		address = "http://" + address
	}
	return strings.TrimRight(address, "/")
}

// Check returns an error unless the options can be used, and fills in what they
// leave open.
func (o *Options) Check() error {
	switch {
	case o.Bucket == "":
		return errors.New("no bucket is named")
	case o.ChunkSize < 0 || o.ChunkSize > bucket.MaxPart || o.ChunkSize%chunk != 0:
		return fmt.Errorf("chunksize must be a multiple of %d and at most %d", chunk, bucket.MaxPart)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if len(o.Credentials) > 0 {
		if _, err := o.kind(); err != nil {
			return err
		}
	}
	if o.MaxConcurrency == 0 {
		o.MaxConcurrency = defaultConcurrency
	}
	o.MaxConcurrency = max(o.MaxConcurrency, minConcurrency)
	if o.pause == nil {
		o.pause = bucket.Pause
	}
	if o.UserAgent == "" {
		o.UserAgent = "berth"
	}
	return nil
}

func newDriver(ctx context.Context, o *Options) (*driver, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	transport := bucket.Transport(false)
	plain := &http.Client{Transport: transport, CheckRedirect: noRedirect}
	c := &client{base: endpoint, trusted: plain, plain: plain, userAgent: o.UserAgent, pause: o.pause, slots: make(chan struct{}, o.MaxConcurrency)}
	d := &driver{client: c, bucket: o.Bucket}
	if address := o.emulator(); address != "" {
		if u, err := url.Parse(address); err != nil || u.Host == "" {
			return nil, errors.New("the address of the emulator is none")
		}
		c.base = address
		if len(o.Credentials) == 0 {
			return d, nil
		}
	}
	credentials, err := o.credentials(ctx, plain)
	if err != nil {
		return nil, err
	}
	c.trusted = &http.Client{
		Transport:     &oauth2.Transport{Source: credentials.TokenSource, Base: transport},
		CheckRedirect: noRedirect,
	}
	d.signer, err = newSigner(credentials.JSON, c, o.Log)
	return d, err
}

// noRedirect keeps tokens where they belong; 308 is an answer of uploads.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// credentials returns the account.
func (o *Options) credentials(ctx context.Context, plain *http.Client) (*google.Credentials, error) {
	// The source outlives the call.
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, plain)
	if len(o.Credentials) == 0 {
		c, err := google.FindDefaultCredentials(ctx, storageScope, platformScope)
		if err != nil {
			return nil, errors.New("no credentials are to be found: give a keyfile, set GOOGLE_APPLICATION_CREDENTIALS, or run with the account of a machine")
		}
		return c, nil
	}
	kind, err := o.kind()
	if err != nil {
		return nil, err
	}
	scopes := []string{storageScope}
	if kind != google.ServiceAccount {
		scopes = append(scopes, platformScope)
	}
	c, err := google.CredentialsFromJSONWithType(ctx, []byte(o.Credentials.Reveal()), kind, scopes...)
	if err != nil {
		return nil, fmt.Errorf("the credentials of type %q are not to be used", kind)
	}
	return c, nil
}

// kind returns the type of the credentials, which can be used as far as is known
// without asking anybody.
func (o *Options) kind() (google.CredentialsType, error) {
	var file struct {
		Type google.CredentialsType `json:"type"`
	}
	if err := json.Unmarshal([]byte(o.Credentials.Reveal()), &file); err != nil || file.Type == "" {
		return "", errors.New("the credentials are not those of a key file: they have no type")
	}
	_, err := newSigner([]byte(o.Credentials.Reveal()), nil, nil)
	return file.Type, err
}
