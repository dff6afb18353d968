package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"berth/auth"
	"berth/blob/bucket"
)

// MinPart is how many bytes S3 asks of every part but the last.
const MinPart = 5 << 20

const (
	attempts     = 7 // of each request, while it may still come off: some seconds
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
	defaultPlace = "us-east-1" // the region that stores call themselves which have none
)

// Options say where the bucket is and how objects are kept there.
type Options struct {
	Bucket string
	// Region is what the environment or the machine says, when empty; with an
	// Endpoint us-east-1.
	Region string
	// Endpoint is the address of a store other than Amazon's: a URL, or a host.
	Endpoint string
	// RedirectEndpoint is the address under which clients reach the store, in
	// the addresses that URL returns; Endpoint when empty.
	RedirectEndpoint string
	// PathStyle puts the bucket into the path instead of the host name.
	PathStyle bool
	// Without keys, those of the environment, of a shared file or of the
	// machine's role are used.
	AccessKey, SecretKey, SessionToken auth.Secret
	// RootDirectory stands in front of all keys.
	RootDirectory string
	// Encrypt has the store encrypt what it keeps: with the key KeyID of its
	// key management, or with one of its own.
	Encrypt bool
	KeyID   string
	// PlainHTTP is for an Endpoint without a scheme.
	PlainHTTP  bool
	SkipVerify bool // of the store's certificate
	// PartSize is how many bytes are sent at a time: from MinPart to
	// bucket.MaxPart, which is what 0 means.
	PartSize     int
	StorageClass string // that of the bucket when empty
	ACL          string // a canned one; none is asked for when empty
	UserAgent    string // added to that of the library
	Accelerate   bool   // Amazon's endpoints near the caller
	DualStack    bool   // Amazon's endpoints for IPv6 too
	FIPS         bool   // Amazon's validated endpoints
	LogRequests  bool
	Log          *slog.Logger // slog.Default()
	// Transport sends requests, unless it is nil.
	Transport http.RoundTripper
	maxPause  time.Duration // the longest between two attempts
}

// Check says what is wrong, in the words of Distribution's parameters, and fills
// in what is left open.
func (o *Options) Check() error {
	switch {
	case o.Bucket == "":
		return errors.New("no bucket is named")
	case (o.AccessKey == "") != (o.SecretKey == ""):
		return errors.New("accesskey and secretkey go together")
	case o.KeyID != "" && !o.Encrypt:
		return errors.New("keyid is of no use without encrypt: true")
	case o.PartSize != 0 && (o.PartSize < MinPart || o.PartSize > bucket.MaxPart):
		return fmt.Errorf("chunksize must be from %d to %d", MinPart, bucket.MaxPart)
	case o.Endpoint != "" && o.Accelerate:
		return errors.New("accelerate is for Amazon's endpoints, and regionendpoint names another one")
	}
	for key, endpoint := range map[string]string{"regionendpoint": o.Endpoint, "redirectendpoint": o.RedirectEndpoint} {
		if endpoint == "" {
			continue
		}
		u, err := url.Parse(*o.address(endpoint))
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("%s must be an address such as https://store.example.org:9000", key)
		}
	}
	if o.PartSize == 0 {
		o.PartSize = bucket.MaxPart
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.maxPause == 0 {
		o.maxPause = longestPause
	}
	if o.Region == "" && o.Endpoint != "" {
		o.Region = defaultPlace
	}
	return nil
}

// address returns an endpoint as a URL, nil for Amazon's.
func (o *Options) address(endpoint string) *string {
	if endpoint == "" {
		return nil
	}
	if !strings.Contains(endpoint, "://") {
		scheme := "https://"
		if o.PlainHTTP {
			scheme = "http://"
		}
		endpoint = scheme + endpoint
	}
	return &endpoint
}

// config reads what the options leave to the environment.
func (o *Options) config(ctx context.Context) (aws.Config, error) {
	load := []func(*config.LoadOptions) error{
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(r *retry.StandardOptions) {
				// What one request may cost is bounded; that others have failed is
				// no reason to give up sooner.
				r.MaxAttempts, r.Backoff, r.RateLimiter = attempts, retry.BackoffDelayerFunc(o.pause), ratelimit.None
			})
		}),
		// Many stores know no checksums but Amazon's oldest.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.AccessKey != "" {
		keys := credentials.NewStaticCredentialsProvider(o.AccessKey.Reveal(), o.SecretKey.Reveal(), o.SessionToken.Reveal())
		load = append(load, config.WithCredentialsProvider(keys))
	}
	if o.DualStack {
		load = append(load, config.WithUseDualStackEndpoint(aws.DualStackEndpointStateEnabled))
	}
	if o.FIPS {
		load = append(load, config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err == nil && cfg.Region == "" {
		err = errors.New("no region is given, and neither the environment nor the machine names one")
	}
	return cfg, err
}

// pause returns how long to wait after so many attempts: half of it is chance.
func (o *Options) pause(attempt int, _ error) (time.Duration, error) {
	half := min(firstPause<<attempt, o.maxPause) / 2
	return half + rand.N(half), nil
}

// transport has cfg send requests with a transport that also knows what was
// learned from the environment: proxies and authorities.
func (o *Options) transport(cfg *aws.Config) *transport {
	next := o.Transport
	if client, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok && next == nil {
		next = client.WithTransportOptions(func(h *http.Transport) {
			h.MaxIdleConnsPerHost = 100
			if o.SkipVerify {
				h.TLSClientConfig.InsecureSkipVerify = true
			}
		}).GetTransport()
	}
	t := &transport{next: bucket.Over(next)}
	if o.LogRequests {
		t.log = o.Log
	}
	cfg.HTTPClient = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a signature is good for one host
	}}
	return t
}

// client returns the client for one of the endpoints.
func (o *Options) client(cfg aws.Config, endpoint string) *s3.Client {
	return s3.NewFromConfig(cfg, func(c *s3.Options) {
		if address := o.address(endpoint); address != nil {
			c.BaseEndpoint = address
		}
		c.UsePathStyle = o.PathStyle
		c.UseAccelerate = o.Accelerate
		c.DisableLogOutputChecksumValidationSkipped = true
		if o.UserAgent != "" {
			c.APIOptions = append(c.APIOptions, middleware.AddUserAgentKey(o.UserAgent))
		}
	})
}
