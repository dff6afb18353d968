package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// maxDeviceAnswer bounds what is read of an answer, in bytes.
	maxDeviceAnswer = 64 << 10
	// maxFailures is how many polls in a row may come to nothing.
	maxFailures = 5
	leastPoll   = time.Second
	grantDevice = "urn:ietf:params:oauth:grant-type:device_code" // RFC 8628, section 3.4
)

// begunLogin is the answer to the beginning of a login (RFC 8628, section 3.2).
type begunLogin struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	ExpiresIn       int    `json:"expires_in"`
	Interval        int    `json:"interval"`
}

// granted is what a confirmed login brings.
type granted struct {
	AccessToken string `json:"access_token"`
	Username    string `json:"username"`
}

// A deviceError is the registry's refusal.
type deviceError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (e *deviceError) Error() string {
	if e.Description != "" {
		return printable(e.Description)
	}
	return printable(e.Code)
}

// A deviceClient logs a command line in to one registry.
type deviceClient struct {
	base  *url.URL
	http  *http.Client
	pause func(context.Context, time.Duration) error
}

func newDeviceClient(base *url.URL, cafile string) (*deviceClient, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if cafile != "" {
		pem, err := os.ReadFile(cafile)
		if err != nil {
			return nil, fmt.Errorf("read --cafile: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--cafile %s holds no certificate in PEM", cafile)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	client := &http.Client{Transport: t, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("the registry redirects: name the host that it redirects to")
	}}
	return &deviceClient{base, client, pause}, nil
}

func (c *deviceClient) close() { c.http.CloseIdleConnections() }

// settle finds out how a registry on this machine is spoken to, where that is
// not said: over TLS, or in the clear where it does not speak TLS at all.
func (c *deviceClient) settle(ctx context.Context) error {
	if c.base.Scheme != "" {
		return nil
	}
	c.base.Scheme = "https"
	ctx, cancel := context.WithTimeout(ctx, c.http.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.String()+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Transport.RoundTrip(r) // which answers, a redirect too
	if err == nil {
		return resp.Body.Close()
	}
	var untrusted *tls.CertificateVerificationError
	var op *net.OpError
	if errors.As(err, &untrusted) || errors.As(err, &op) && op.Op == "remote error" {
		return unreachable(c.base.Host, err) // it speaks TLS, and has refused or is not believed
	}
	c.base.Scheme = "http"
	return nil
}

// begin opens a login of that name.
func (c *deviceClient) begin(ctx context.Context, name string) (begunLogin, error) {
	var b begunLogin
	err := c.post(ctx, "/auth/device", url.Values{"client_id": {"berth"}, "client_name": {name}}, &b)
	if err != nil {
		return b, err
	}
	address, err := url.Parse(b.VerificationURI)
	if err != nil || address.Scheme != "https" && address.Scheme != "http" || b.UserCode == "" || b.DeviceCode == "" ||
		b.UserCode != printable(b.UserCode) || b.VerificationURI != printable(b.VerificationURI) {
		return b, fmt.Errorf("%s answers with what is no login", c.base.Host)
	}
	return b, nil
}

// await polls until the login is confirmed or refused, or nobody has done either
// in time.
func (c *deviceClient) await(ctx context.Context, b begunLogin) (granted, error) {
	interval := max(time.Duration(b.Interval)*time.Second, leastPoll)
	failures := 0
	for waited := time.Duration(0); waited <= time.Duration(b.ExpiresIn)*time.Second; waited += interval {
		if err := c.pause(ctx, interval); err != nil {
			return granted{}, err
		}
		var g granted
		var refused *deviceError
		err := c.post(ctx, "/auth/device/token", url.Values{"grant_type": {grantDevice}, "device_code": {b.DeviceCode}, "client_id": {"berth"}}, &g)
		switch {
		case err == nil && g.AccessToken != "" && g.Username != "" && g.Username == printable(g.Username):
			return g, nil
		case err == nil:
			return g, fmt.Errorf("%s answers with what is no token", c.base.Host)
		case !errors.As(err, &refused):
			if failures++; failures >= maxFailures || ctx.Err() != nil {
				return g, err
			}
			continue
		case refused.Code == "slow_down":
			interval += 5 * time.Second
		case refused.Code == "expired_token":
			return g, errTooLate
		case refused.Code == "access_denied":
			return g, errors.New("the login was denied")
		case refused.Code != "authorization_pending":
			return g, fmt.Errorf("%s: %w", c.base.Host, refused)
		}
		failures = 0
	}
	return granted{}, errTooLate
}

// post sends a form and decodes the answer. Errors: *deviceError when the
// registry refuses.
func (c *deviceClient) post(ctx context.Context, path string, form url.Values, result any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.String()+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(r)
	if err != nil {
		return unreachable(c.base.Host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDeviceAnswer))
	if err != nil {
		return unreachable(c.base.Host, err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, result); err != nil {
			return fmt.Errorf("%s answers with what is no login: is it a berth?", c.base.Host)
		}
		return nil
	}
	refused := new(deviceError)
	if json.Unmarshal(body, refused) == nil && refused.Code != "" && resp.StatusCode < http.StatusInternalServerError {
		return refused
	}
	if resp.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%s knows no logins by way of a browser: is it a berth with authentication?", c.base.Host)
	}
	return fmt.Errorf("%s answers with %s", c.base.Host, resp.Status)
}
