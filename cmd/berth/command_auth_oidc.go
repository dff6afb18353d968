package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of what is asked of a provider.
const (
	maxProviderAnswer = 1 << 20
	providerPatience  = 5 * time.Second
	// Clocks that differ by more make tokens invalid, or nearly.
	clockWorry, clockLimit = 5 * time.Second, time.Minute
)

// A providerTrial tests a provider of OpenID Connect.
type providerTrial struct {
	*trial
	client *http.Client
	issuer string
	// discovered is what the provider says of itself.
	discovered struct {
		Issuer        string   `json:"issuer"`
		Authorization string   `json:"authorization_endpoint"`
		Token         string   `json:"token_endpoint"`
		Keys          string   `json:"jwks_uri"`
		Scopes        []string `json:"scopes_supported"`
	}
	skew time.Duration // the provider's clock less ours
}

// run does all that can be tested without a browser.
func (p *providerTrial) run(ctx context.Context) {
	ok := p.do("discovery", func() ([]string, string, error) { return p.discover(ctx) })
	ok = ok && p.do("issuer", p.compareIssuer)
	ok = ok && p.do("keys", func() ([]string, string, error) { return p.readKeys(ctx) })
	if ok {
		p.do("clock", p.compareClocks)
	}
}

func (p *providerTrial) discover(ctx context.Context) ([]string, string, error) {
	url := strings.TrimSuffix(p.issuer, "/") + "/.well-known/openid-configuration"
	detail, err := p.get(ctx, url, &p.discovered)
	if errors.As(err, new(x509.UnknownAuthorityError)) {
		return detail, "set cafile to the certificate that signed the provider's", err
	}
	if err != nil {
		return detail, "berth asks for " + url + ": the issuer must be written as the provider writes it, and be reachable from here", err
	}
	for name, endpoint := range map[string]string{"authorization_endpoint": p.discovered.Authorization, "token_endpoint": p.discovered.Token, "jwks_uri": p.discovered.Keys} {
		if endpoint == "" {
			return detail, "", fmt.Errorf("the provider names no %s", name)
		}
	}
	return append(detail, "logins at "+p.discovered.Authorization), "", nil
}

func (p *providerTrial) compareIssuer() ([]string, string, error) {
	if p.discovered.Issuer != p.issuer {
		return nil, "write issuer: " + p.discovered.Issuer + " if that is whom you trust", fmt.Errorf("the provider calls itself %q, and the configuration %q", p.discovered.Issuer, p.issuer)
	}
	return []string{p.issuer}, "", nil
}

func (p *providerTrial) readKeys(ctx context.Context) ([]string, string, error) {
	var set jose.JSONWebKeySet
	detail, err := p.get(ctx, p.discovered.Keys, &set)
	if err != nil {
		return detail, "", err
	}
	var kinds []string
	for _, k := range set.Keys {
		if k.Use == "enc" || !k.IsPublic() || !k.Valid() {
			continue
		}
		kind := k.Algorithm
		if kind == "" {
			kind = strings.TrimPrefix(fmt.Sprintf("%T", k.Key), "*")
		}
		kinds = append(kinds, kind)
	}
	if len(kinds) == 0 {
		return detail, "", errors.New("none of the keys is for signatures")
	}
	slices.Sort(kinds)
	return append(detail, fmt.Sprintf("keys for signatures: %d (%s)", len(kinds), strings.Join(slices.Compact(kinds), ", "))), "", nil
}

func (p *providerTrial) compareClocks() ([]string, string, error) {
	detail := []string{fmt.Sprintf("the provider's clock differs by %v", p.skew.Round(time.Second))}
	const advice = "let both machines take their time from the network"
	switch skew := p.skew.Abs(); {
	case skew > clockLimit:
		return detail, advice, fmt.Errorf("the clocks differ by more than %v: tokens are refused", clockLimit)
	case skew > clockWorry:
		return detail, advice, nil
	}
	return detail, "", nil
}

// get reads a document of the provider, and returns who it came from.
func (p *providerTrial) get(ctx context.Context, url string, into any) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, providerPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		p.skew = time.Until(at)
	}
	detail := tlsDetail(resp.TLS)
	if resp.StatusCode != http.StatusOK {
		return detail, fmt.Errorf("get %s: %s", url, resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxProviderAnswer+1))
	switch {
	case err != nil:
		return detail, fmt.Errorf("get %s: %w", url, err)
	case len(data) > maxProviderAnswer:
		return detail, fmt.Errorf("get %s: it is larger than %d bytes", url, maxProviderAnswer)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return detail, fmt.Errorf("read %s: %w", url, err)
	}
	return detail, nil
}

// tlsDetail says whom a connection leads to.
func tlsDetail(state *tls.ConnectionState) []string {
	if state == nil {
		return []string{"without TLS"}
	}
	detail := []string{tls.VersionName(state.Version)}
	for _, c := range state.PeerCertificates {
		detail = append(detail, fmt.Sprintf("certificate: %s, by %s, until %s", c.Subject, c.Issuer, c.NotAfter.UTC().Format(time.DateOnly)))
	}
	return detail
}

// tryOIDC tests a provider: its users can only be tested by themselves, in a
// browser.
func tryOIDC(ctx context.Context, cfg *Config, q trialQuestion) (*trial, error) {
	var names []string
	for _, o := range cfg.Auth.OIDC {
		names = append(names, o.Name)
	}
	i, err := chooseBackend("auth.oidc", names, q.name)
	if err != nil {
		return nil, err
	}
	options, err := cfg.Auth.OIDC[i].options()
	if err != nil {
		return nil, err
	}
	p := providerTrial{
		trial: &trial{Kind: "oidc", Name: names[i], User: q.user},
		client: &http.Client{Transport: &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: &tls.Config{RootCAs: options.CAs, MinVersion: tls.VersionTLS12},
		}},
		issuer: options.Issuer,
	}
	p.good = names[i] + " answers as it should; whom it lets in shows at /ui/login/" + names[i]
	p.run(ctx)
	return p.trial, nil
}
