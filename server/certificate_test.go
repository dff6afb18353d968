package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"berth/access"
	"berth/audit"
	"berth/auth"
	"berth/auth/certificate"
	"berth/auth/token"
	"berth/test/authority"
)

// passwords makes a backend of the users of a fixture.
type passwords struct{ *users }

func (p passwords) Authenticate(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	return p.Verify(ctx, c)
}

func (p passwords) Resolve(ctx context.Context, s auth.Subject) (auth.Identity, error) {
	return p.users.Resolve(ctx, auth.Subject{Provider: "test", Name: s.Name})
}

// certified is a fixture over TLS, where a certificate is a way to be somebody.
type certified struct {
	*fixture
	root   *authority.Authority
	known  *certificate.Users
	events recorder // of the audit
}

func newCertified(t *testing.T, mode tls.ClientAuthType) *certified {
	t.Helper()
	c := &certified{root: authority.New(t, "root")}
	trust, err := certificate.NewTrust(authority.PEM(c.root.Cert), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.known, err = certificate.New(trust, certificate.Options{User: certificate.CommonName, Prefix: "cert/"}); err != nil {
		t.Fatal(err)
	}
	policy, err := access.Compile(append(rules(), access.Rule{
		Groups: []string{"builders"}, Type: access.TypeRepository, Repositories: []string{"team/**"}, Actions: []string{"pull", "push"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	var issuer *token.Issuer
	c.fixture = newFixture(t, func(o *Options) {
		v := auth.NewVerifier([]auth.Authenticator{passwords{o.Verifier.(*users)}, c.known}, auth.Options{
			Groups: map[string][]string{"builders": {"cert/bob"}},
		})
		o.Audit = c.events.record
		o.Verifier, o.Certificates, o.Policy = v, c.known, func() *access.Policy { return policy }
		issuer, err = token.NewIssuer(t.Context(), new(tokenStore), token.Options{Service: o.Service, Issuer: "berth", Resolve: v.Resolve})
		if err != nil {
			t.Fatal(err)
		}
		o.Tokens = issuer
	})
	plain := c.Server
	c.issuer = issuer
	c.Server = httptest.NewUnstartedServer(plain.Config.Handler)
	c.Config.ConnContext = plain.Config.ConnContext
	c.TLS = &tls.Config{ClientAuth: mode, ClientCAs: trust.Pool()}
	c.StartTLS()
	t.Cleanup(c.Close)
	return c
}

// with does a request over a connection of its own, which shows a certificate,
// or none.
func (c *certified) with(cert *tls.Certificate, method, path string, headers ...string) *answerOf {
	c.t.Helper()
	r, err := http.NewRequest(method, c.URL+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	config := &tls.Config{InsecureSkipVerify: true}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return &answerOf{resp, string(body)}
}

const (
	uploads = "/v2/team/app/blobs/uploads/"
	nobody  = "Authorization: Basic Og=="
)

// TestCertificate: a certificate is who is calling where no header says it.
func TestCertificate(t *testing.T) {
	c := newCertified(t, tls.VerifyClientCertIfGiven)
	c.seed("puller")
	bob, eve := c.root.Client(t, "bob", nil), c.root.Client(t, "eve", nil)
	unnamed := c.root.Client(t, "", func(x *x509.Certificate) { x.Subject.Organization = []string{"x"} })
	for _, test := range []struct {
		name         string
		cert         *tls.Certificate
		method, path string
		header       string
		status       int
	}{
		{"without one", nil, get, "/v2/", "", 401},
		{"with one", bob, get, "/v2/", "", 200},
		{"with one, and no credentials in so many words", bob, get, "/v2/", nobody, 200},
		{"may push by a group", bob, post, uploads, "", 202},
		{"may not delete", bob, remove, "/v2/team/app/manifests/v1", "", 403},
		{"another, who may nothing", eve, post, uploads, "", 403},
		{"another, who may what anybody may", eve, get, "/v2/docs/manifests/v1", "", 200},
		{"names a user: he it is", bob, post, uploads, as("puller"), 403},
		{"a wrong password", bob, get, "/v2/", "Authorization: Basic Ym9iOndyb25n", 401},
		{"a token for nobody", bob, post, uploads, c.bearer(""), 401},
		{"names nobody: not even anonymous", unnamed, get, "/v2/docs/manifests/v1", "", 401},
		{"names nobody: no token", unnamed, get, "/auth/token?scope=repository:docs:pull", "", 401},
		{"sent by another site", bob, post, uploads, "Sec-Fetch-Site: cross-site", 401},
		{"sent by its own site", bob, post, uploads, "Sec-Fetch-Site: same-origin", 202},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.t = t
			header := test.header
			if header == "" {
				header = "X-None: "
			}
			c.wantStatus(c.with(test.cert, test.method, test.path, header), test.status)
		})
	}
}

// TestCertificateAudit: the audit is told what was done with a certificate, and
// of one that names nobody.
func TestCertificateAudit(t *testing.T) {
	c := newCertified(t, tls.VerifyClientCertIfGiven)
	bob := c.root.Client(t, "bob", nil)
	c.with(bob, get, "/auth/token?scope=repository:team/app:push")
	c.with(bob, get, "/v2/") // which is no other login
	c.with(c.root.Client(t, "", func(x *x509.Certificate) { x.Subject.Organization = []string{"x"} }), get, "/v2/")
	e := c.events.take()
	if len(e) != 3 || e[0].Kind != audit.Login || e[0].Result != audit.OK || e[0].User != "cert/bob" || e[0].Method != audit.Certificate || e[0].Credential == "" ||
		e[1].Kind != audit.Token || e[1].User != "cert/bob" || e[1].Method != audit.Certificate ||
		e[2].Kind != audit.Login || e[2].Result != audit.Failed || e[2].Method != audit.Certificate || e[2].Reason == "" {
		t.Errorf("%+v", e)
	}
}

// TestCertificateUnverified: what nobody has verified is nobody's.
func TestCertificateUnverified(t *testing.T) {
	for _, mode := range []tls.ClientAuthType{tls.RequestClientCert, tls.RequireAnyClientCert} {
		c := newCertified(t, mode)
		for name, cert := range map[string]*tls.Certificate{
			"a stranger's": authority.New(t, "other").Client(t, "bob", nil),
			"a good one":   c.root.Client(t, "bob", nil),
		} {
			if a := c.with(cert, get, "/v2/"); a.StatusCode != http.StatusUnauthorized {
				t.Errorf("%v, %s: %d", mode, name, a.StatusCode)
			}
		}
	}
}

// TestCertificateToken: a token that was asked for with a certificate serves
// where none is shown, for as long as the certificate is good.
func TestCertificateToken(t *testing.T) {
	c := newCertified(t, tls.VerifyClientCertIfGiven)
	bob := c.root.Client(t, "bob", nil)
	answer := c.parseToken(c.with(bob, get, "/auth/token?offline_token=true&scope=repository:team/app:pull,push,delete"))
	if answer.Scope != "repository:team/app:pull,push" || answer.RefreshToken != "" {
		t.Errorf("%+v", answer)
	}
	bearer := "Authorization: Bearer " + answer.Token
	c.wantStatus(c.with(nil, post, uploads, bearer), http.StatusAccepted)
	c.wantStatus(c.with(c.root.Client(t, "eve", nil), post, uploads, bearer), http.StatusAccepted)
	if got := c.parseToken(c.with(nil, get, "/auth/token?scope=repository:team/app:push")); got.Scope != "" {
		t.Errorf("without a certificate: %+v", got)
	}

	trust, err := certificate.NewTrust(authority.PEM(c.root.Cert), c.root.List(t, nil, bob.Leaf))
	if err != nil {
		t.Fatal(err)
	}
	c.known.SetTrust(trust)
	c.wantStatus(c.with(nil, post, uploads, bearer), http.StatusUnauthorized)
	c.wantStatus(c.with(bob, get, "/v2/docs/manifests/v1"), http.StatusUnauthorized)
}
