package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"berth/auth"
	"berth/auth/jwks"
)

const (
	metadataAge   = time.Hour       // after which the metadata is asked for again
	metadataRetry = 5 * time.Second // after it could not be had
	maxRedirects  = 3
)

// metadata is what a provider says about itself.
type metadata struct {
	*oidc.Provider
	keys   *jwks.Set
	post   bool // the client's secret goes into the form
	until  time.Time
	broken error // why there is none; until then nobody asks again
}

// metadata returns what the provider says about itself. What was learned before
// serves while it is down.
func (p *Provider) metadata(ctx context.Context) (*metadata, error) {
	p.finding.Lock()
	defer p.finding.Unlock()
	now := p.o.Load().Now()
	if p.found != nil && now.Before(p.found.until) {
		return p.found, p.found.broken
	}
	found, err := p.discover(ctx)
	switch {
	case err == nil:
		found.until = now.Add(metadataAge)
		p.found = found
	case ctx.Err() != nil:
		return nil, ctx.Err() // of the caller: it says nothing about the provider
	case p.found != nil && p.found.broken == nil:
		p.found.until = now.Add(metadataRetry)
	default:
		p.found = &metadata{broken: err, until: now.Add(metadataRetry)}
	}
	return p.found, p.found.broken
}

func (p *Provider) discover(ctx context.Context) (*metadata, error) {
	provider, err := oidc.NewProvider(p.with(ctx), p.o.Load().Issuer)
	if err != nil {
		return nil, fmt.Errorf("read the metadata of the provider %s: %w", p.o.Load().Name, clipped{err})
	}
	var more struct {
		Keys    string   `json:"jwks_uri"`
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := provider.Claims(&more); err != nil {
		return nil, fmt.Errorf("read the metadata of the provider %s: %w", p.o.Load().Name, clipped{err})
	}
	endpoint := provider.Endpoint()
	for what, address := range map[string]string{
		"authorization_endpoint": endpoint.AuthURL, "token_endpoint": endpoint.TokenURL, "jwks_uri": more.Keys, "userinfo_endpoint": provider.UserInfoEndpoint(),
	} {
		if what == "userinfo_endpoint" && address == "" {
			continue
		}
		if err := CheckURL(address); err != nil {
			return nil, fmt.Errorf("metadata of the provider %s: %s: %w", p.o.Load().Name, what, err)
		}
	}
	m := &metadata{Provider: provider}
	m.post = len(more.Methods) > 0 && !slices.Contains(more.Methods, "client_secret_basic")
	if m.keys, err = p.keysAt(more.Keys); err != nil {
		return nil, fmt.Errorf("metadata of the provider %s: jwks_uri: %w", p.o.Load().Name, err)
	}
	return m, nil
}

// keysAt returns the keys that the provider publishes at an address: those that
// are known, or others in their place.
func (p *Provider) keysAt(address string) (*jwks.Set, error) {
	if p.keys != nil && p.keysFrom == address {
		return p.keys, nil
	}
	set, err := jwks.NewSet(jwks.Source{URL: address}, jwks.Options{Client: p.client.Load(), Log: p.o.Load().Log.With("provider", p.o.Load().Name), Now: p.o.Load().Now})
	if err != nil {
		return nil, err
	}
	if p.keys != nil {
		p.keys.Close()
	}
	p.keys, p.keysFrom = set, address
	return set, nil
}

// CheckURL says why an address of a provider cannot be trusted: it is no URL,
// or neither https nor on this machine.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("it must be a URL such as https://sso.example.org")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errors.New("it must begin with https://")
}

// loopback reports whether a host is this machine by its name or address.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// config returns the client of the provider, with the secret of now.
func (p *Provider) config(m *metadata, redirect string) (*oauth2.Config, error) {
	secret, err := p.o.Load().Secret()
	if err != nil {
		return nil, fmt.Errorf("read the client secret for %s: %w", p.o.Load().Name, err)
	}
	c := &oauth2.Config{ClientID: p.o.Load().ClientID, ClientSecret: secret.Reveal(), Endpoint: m.Endpoint(), RedirectURL: redirect, Scopes: p.scopes()}
	c.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if m.post || secret == "" {
		c.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return c, nil
}

func (p *Provider) scopes() []string {
	if slices.Contains(p.o.Load().Scopes, oidc.ScopeOpenID) {
		return p.o.Load().Scopes
	}
	return append([]string{oidc.ScopeOpenID}, p.o.Load().Scopes...)
}

// with makes the libraries use the bounded client.
func (p *Provider) with(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, p.client.Load())
}

// newClient returns a client whose answers are bounded in time and size, and
// that ends with ctx.
func newClient(ctx context.Context, cas *x509.CertPool) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: cas, MinVersion: tls.VersionTLS12}
	t.MaxIdleConnsPerHost = 2
	return &http.Client{Transport: &bounded{t, ctx}, Timeout: answerTime, CheckRedirect: checkRedirect}
}

// checkRedirect keeps secrets and trust at the host that was asked.
func checkRedirect(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case r.URL.Host != first.Host || r.URL.Scheme != first.Scheme:
		return errors.New("the provider redirects to another host")
	case len(via) > maxRedirects || r.Method != via[0].Method:
		return errors.New("the provider redirects too often")
	}
	return nil
}

// bounded cuts answers that are too long, and all of them when ctx ends.
type bounded struct {
	next *http.Transport
	ctx  context.Context
}

func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(b.ctx, cancel)
	resp, err := b.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	resp.Body = &boundedBody{resp.Body, maxAnswer, func() { stop(); cancel() }}
	return resp, nil
}

func (b *bounded) CloseIdleConnections() { b.next.CloseIdleConnections() }

type boundedBody struct {
	body io.ReadCloser
	left int
	end  func()
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	return n, err
}

func (b *boundedBody) Close() error {
	defer b.end()
	return b.body.Close()
}

// clipped shows the beginning of an error that may hold all that a provider
// sent, as one line.
type clipped struct{ error }

func (c clipped) Error() string {
	const most = 200
	s := c.error.Error()
	s = strings.ToValidUTF8(s[:min(len(s), most)], "")
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
}

func (c clipped) Unwrap() error { return c.error }

// refusal returns why the provider refuses what it was asked, or "" when err is
// that it could not be asked, or could not tell.
func refusal(err error) string {
	var e *oauth2.RetrieveError
	if !errors.As(err, &e) {
		return ""
	}
	switch e.ErrorCode {
	case "invalid_grant", "access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required":
		return e.ErrorCode
	}
	return ""
}

// retrieval is what may be logged of an error of the token endpoint: its answer
// may hold tokens.
func retrieval(err error) error {
	var e *oauth2.RetrieveError
	switch {
	case !errors.As(err, &e):
		return clipped{err}
	case e.ErrorCode != "":
		return clipped{fmt.Errorf("the provider answers %s", e.ErrorCode)}
	case e.Response != nil:
		return fmt.Errorf("the provider answers with status %d", e.Response.StatusCode)
	}
	return errors.New("the provider answers with an error")
}

// owner is whose a sealed refresh token is.
func (u User) owner() string { return u.Issuer + "\x00" + u.Subject }

func (p *Provider) seal(u User, token string) []byte {
	if token == "" {
		return nil
	}
	return p.box.Seal([]byte(token), u.owner())
}

func (p *Provider) open(u User) (auth.Secret, error) {
	text, err := p.box.Open(u.Refresh, u.owner())
	return auth.Secret(text), err
}
