package azure

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	azblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"berth/auth"
	"berth/blob/bucket"
)

// Kinds of credentials, as Distribution names them.
const (
	SharedKey          = "shared_key"
	ClientSecret       = "client_secret"
	DefaultCredentials = "default_credentials"
)

// Options says which container, and who asks for it.
type Options struct {
	AccountName, Container string
	// ConnectionString has account, key and address in one.
	ConnectionString auth.Secret
	// Type is one of the kinds of credentials. When it is empty, what is given
	// decides: the key, the secret, or neither.
	Type               string
	AccountKey         auth.Secret
	ClientID, TenantID string
	ClientSecret       auth.Secret
	Realm              string        // core.windows.net when empty
	ServiceURL         string        // https://ACCOUNT.blob.REALM when empty
	RootDirectory      string        // stands before all names
	MaxRetries         int           // of a request, 5 when it is 0
	RetryDelay         time.Duration // before the first, 100 ms when it is 0
	SkipVerify         bool          // of the store's certificate
	Log                *slog.Logger  // slog.Default() when nil

	token azcore.TokenCredential // for tests
}

const (
	defaultRealm   = "core.windows.net"
	defaultRetries = 5
	defaultDelay   = 100 * time.Millisecond
	maxDelay       = 10 * time.Second
)

// Check returns an error unless the options can be used, and fills in what they
// leave open.
func (o *Options) Check() error {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Realm = cmp.Or(o.Realm, defaultRealm)
	o.MaxRetries = cmp.Or(o.MaxRetries, defaultRetries)
	o.RetryDelay = cmp.Or(o.RetryDelay, defaultDelay)
	o.ServiceURL = strings.TrimRight(cmp.Or(o.ServiceURL, "https://"+o.AccountName+".blob."+o.Realm), "/")
	if o.Type == "" {
		switch {
		case o.AccountKey != "" || o.ConnectionString != "":
			o.Type = SharedKey
		case o.ClientSecret != "":
			o.Type = ClientSecret
		default:
			o.Type = DefaultCredentials
		}
	}
	switch {
	case o.Container == "":
		return errors.New("no container is named")
	case o.ConnectionString != "":
	case o.AccountName == "":
		return errors.New("no account is named")
	case o.Type == SharedKey && o.AccountKey == "":
		return errors.New("shared_key needs accountkey")
	case o.Type == ClientSecret && (o.ClientID == "" || o.TenantID == "" || o.ClientSecret == ""):
		return errors.New("client_secret needs clientid, tenantid and secret")
	case o.Type != SharedKey && o.Type != ClientSecret && o.Type != DefaultCredentials:
		return fmt.Errorf("the type of credentials %q is none of %s, %s, %s", o.Type, SharedKey, ClientSecret, DefaultCredentials)
	}
	if u, err := url.Parse(o.ServiceURL); err != nil || u.Host == "" || u.RawQuery != "" {
		return errors.New("serviceurl must be a URL without a query, such as https://account.blob.core.windows.net")
	}
	return nil
}

// client returns how requests are made.
func (o *Options) client() azcore.ClientOptions {
	c := azcore.ClientOptions{
		Cloud:     cloud.AzurePublic,
		Transport: &http.Client{Transport: bucket.Transport(o.SkipVerify), CheckRedirect: noRedirect},
		Retry:     policy.RetryOptions{MaxRetries: int32(o.MaxRetries), RetryDelay: o.RetryDelay, MaxRetryDelay: maxDelay},
		Telemetry: policy.TelemetryOptions{ApplicationID: "berth"},
	}
	switch o.Realm {
	case "core.chinacloudapi.cn":
		c.Cloud = cloud.AzureChina
	case "core.usgovcloudapi.net":
		c.Cloud = cloud.AzureGovernment
	}
	return c
}

// noRedirect keeps credentials where they belong.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func newDriver(o *Options) (*driver, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	client := o.client()
	address := o.ServiceURL + "/" + url.PathEscape(o.Container)
	var d driver
	switch {
	case o.ConnectionString != "":
		c, err := container.NewClientFromConnectionString(o.ConnectionString.Reveal(), o.Container, &container.ClientOptions{ClientOptions: client})
		if err != nil {
			return nil, errors.New("the connection string is not to be used: it must name the account and its key")
		}
		d.container = c
		if key, err := sharedKeyOf(o.ConnectionString.Reveal()); err == nil {
			d.signer = &keySigner{container: o.Container, key: key}
		}
	case o.Type == SharedKey:
		key, err := azblob.NewSharedKeyCredential(o.AccountName, o.AccountKey.Reveal())
		if err != nil {
			return nil, errors.New("accountkey is not base64")
		}
		if d.container, err = container.NewClientWithSharedKeyCredential(address, key, &container.ClientOptions{ClientOptions: client}); err != nil {
			return nil, err
		}
		d.signer = &keySigner{container: o.Container, key: key}
	default:
		token, err := o.credential(client)
		if err != nil {
			return nil, err
		}
		if d.container, err = container.NewClient(address, token, &container.ClientOptions{ClientOptions: client}); err != nil {
			return nil, err
		}
		account, err := service.NewClient(o.ServiceURL, token, &service.ClientOptions{ClientOptions: client})
		if err != nil {
			return nil, err
		}
		d.signer = &delegatedSigner{container: o.Container, service: account, log: o.Log}
	}
	return &d, nil
}

// sharedKeyOf returns the key in a connection string.
func sharedKeyOf(connection string) (*azblob.SharedKeyCredential, error) {
	fields := make(map[string]string)
	for field := range strings.SplitSeq(connection, ";") {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = value
	}
	return azblob.NewSharedKeyCredential(fields["AccountName"], fields["AccountKey"])
}

// credential returns who logs in at Microsoft Entra.
func (o *Options) credential(client azcore.ClientOptions) (azcore.TokenCredential, error) {
	if o.token != nil {
		return o.token, nil
	}
	if o.Type == ClientSecret {
		return azidentity.NewClientSecretCredential(o.TenantID, o.ClientID, o.ClientSecret.Reveal(), &azidentity.ClientSecretCredentialOptions{ClientOptions: client})
	}
	return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: client})
}
