package jwks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// Bounds of what is read from elsewhere.
const (
	maxBody      = 1 << 20         // bytes of a key set, a certificate file, a discovery document
	fetchTime    = 5 * time.Second // for all of one fetch, however slowly it comes
	maxRedirects = 3
)

// A Source is where keys come from: exactly one of JSON, File, Certificates,
// URL and Issuer.
type Source struct {
	JSON         []byte // a JSON Web Key Set
	File         string // that holds one
	Certificates string // file with certificates in PEM
	URL          string // of a JSON Web Key Set
	Issuer       string // whose OpenID discovery document names the URL
	CAFile       string // certificates in PEM that alone vouch for URL and Issuer; the system's when empty
}

// Check says what is wrong with s, without looking at files or the network.
func (s Source) Check() error {
	given := 0
	for _, part := range []string{string(s.JSON), s.File, s.Certificates, s.URL, s.Issuer} {
		if part != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return errors.New("no keys are given")
	case given > 1:
		return errors.New("keys are given in more than one way")
	case s.CAFile != "" && !s.remote():
		return errors.New("a CA file is only for keys that are fetched")
	case s.JSON != nil:
		_, err := parseSet(s.JSON)
		return err
	case s.remote():
		return checkURL(s.URL + s.Issuer)
	}
	return nil
}

// CheckCAs says why CAFile could vouch for nobody.
func (s Source) CheckCAs() error {
	_, err := s.client()
	return err
}

// remote reports whether the keys are fetched.
func (s Source) remote() bool { return s.URL != "" || s.Issuer != "" }

// file returns the path of the file that holds the keys, if one does.
func (s Source) file() string { return s.File + s.Certificates }

// String names the source for people.
func (s Source) String() string {
	switch {
	case s.remote():
		return "the keys of " + s.URL + s.Issuer
	case s.file() != "":
		return "the keys in " + s.file()
	}
	return "the keys of the configuration"
}

func (s Source) parse(data []byte) (*ring, error) {
	if s.Certificates != "" {
		return parseCertificates(data)
	}
	return parseSet(data)
}

// read returns what the source holds now. A client of its own fetches it where
// that is nil.
func (s Source) read(ctx context.Context, client *http.Client) ([]byte, error) {
	switch {
	case s.remote():
		return s.fetch(ctx, client)
	case s.file() != "":
		return readFile(s.file())
	}
	return s.JSON, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readBounded(file)
}

func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxBody {
		return nil, fmt.Errorf("it is larger than %d bytes", maxBody)
	}
	return data, nil
}

// fetch gets the keys from where they are published.
func (s Source) fetch(ctx context.Context, client *http.Client) (_ []byte, err error) {
	if client == nil {
		if client, err = s.client(); err != nil {
			return nil, err
		}
		defer client.CloseIdleConnections()
	}
	address := s.URL
	if s.Issuer != "" {
		if address, err = discover(ctx, client, s.Issuer); err != nil {
			return nil, err
		}
	}
	return get(ctx, client, address)
}

// client returns a client for one fetch. It follows a redirect only on the host
// that was asked: who answers for another was not configured.
func (s Source) client() (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CAFile != "" {
		data, err := readFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the CA file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("the CA file %s holds no certificate in PEM", s.CAFile)
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        config,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			first := via[0].URL
			if len(via) > maxRedirects || r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
				return errors.New("it redirects elsewhere")
			}
			return nil
		},
	}, nil
}

// discover returns where an issuer publishes its keys: OpenID Connect Discovery
// 1.0, section 4.
func discover(ctx context.Context, client *http.Client, issuer string) (string, error) {
	data, err := get(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	var document struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return "", errors.New("its discovery document is not JSON")
	}
	if document.Issuer != issuer {
		return "", fmt.Errorf("its discovery document is of another issuer, %.256q", document.Issuer)
	}
	if err := checkURL(document.Keys); err != nil {
		return "", fmt.Errorf("the jwks_uri of its discovery document: %w", err)
	}
	return document.Keys, nil
}

func get(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: it answered %s", address, response.Status)
	}
	data, err := readBounded(response.Body)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", address, err)
	}
	return data, nil
}

// checkURL refuses an address over which somebody between could send keys of
// his own: only this machine may be asked without TLS.
func checkURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("it must be a URL such as https://issuer.example.org")
	case u.User != nil:
		return errors.New("it must hold no user name and no password")
	case u.Fragment != "":
		return errors.New("it must have no fragment")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errors.New("it must begin with https://")
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
