package certificate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// A Trust is who vouches for clients, and which of their certificates count no
// more. It does not change, and is safe for concurrent use.
type Trust struct {
	pool    *x509.CertPool
	revoked map[serial]bool
	ends    time.Time // when the first of the lists runs out; zero without one
}

// A serial names a certificate: who issued it, and its number.
type serial struct{ issuer, number string }

// Errors of Verify, besides those of the standard library.
var errRevoked = errors.New("it has been revoked")

// NewTrust reads authorities, certificates in PEM, and lists of revoked
// certificates, in PEM or one in DER; they may be empty. Each list must be
// signed by one of the authorities, and whole (RFC 5280, section 5).
func NewTrust(authorities, lists []byte) (*Trust, error) {
	roots, err := parseAuthorities(authorities)
	if err != nil {
		return nil, err
	}
	t := &Trust{pool: x509.NewCertPool(), revoked: make(map[serial]bool)}
	for _, root := range roots {
		t.pool.AddCert(root)
	}
	for _, der := range blocks(lists, "X509 CRL") {
		if err := t.addList(der, roots); err != nil {
			return nil, err
		}
	}
	if len(lists) > 0 && t.ends.IsZero() {
		return nil, errors.New("the file of revoked certificates holds no list that says until when it is good")
	}
	return t, nil
}

func parseAuthorities(data []byte) ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
	for _, der := range blocks(data, "CERTIFICATE") {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read the certificate of an authority: %w", err)
		}
		roots = append(roots, root)
	}
	if len(roots) == 0 {
		return nil, errors.New("there is no certificate of an authority in PEM")
	}
	return roots, nil
}

// blocks returns what is in the PEM blocks of a kind, or, where there is no PEM
// at all, the data itself.
func blocks(data []byte, kind string) [][]byte {
	var found [][]byte
	rest := data
	for {
		block, tail := pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type == kind {
			found = append(found, block.Bytes)
		}
		rest = tail
	}
	if len(rest) == len(data) && len(bytes.TrimSpace(data)) > 0 {
		return [][]byte{data}
	}
	return found
}

func (t *Trust) addList(der []byte, roots []*x509.Certificate) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("read a list of revoked certificates, which must be of version 2 (openssl ca makes it with crl_extensions): %w", err)
	}
	for _, e := range list.Extensions {
		if e.Critical {
			return fmt.Errorf("the list of revoked certificates of %q is not whole: ask its authority for one that is", list.Issuer)
		}
	}
	signed := false
	for _, root := range roots {
		signed = signed || bytes.Equal(root.RawSubject, list.RawIssuer) && list.CheckSignatureFrom(root) == nil
	}
	if !signed {
		return fmt.Errorf("the list of revoked certificates of %q is signed by none of the authorities: add the certificate of the one that signed it", list.Issuer)
	}
	for _, entry := range list.RevokedCertificateEntries {
		t.revoked[serial{string(list.RawIssuer), entry.SerialNumber.String()}] = true
	}
	if t.ends.IsZero() || !list.NextUpdate.IsZero() && list.NextUpdate.Before(t.ends) {
		t.ends = list.NextUpdate
	}
	return nil
}

// Pool returns the authorities, for a tls.Config. It must not be changed.
func (t *Trust) Pool() *x509.CertPool { return t.pool }

// Ends returns when the first list of revoked certificates is to be replaced by
// a newer one, and the zero Time without a list.
func (t *Trust) Ends() time.Time { return t.ends }

// Verify says why a client's certificate, the first of the chain that it sent,
// is not to be believed at a time, or until when it is.
func (t *Trust) Verify(sent []*x509.Certificate, now time.Time) (until time.Time, err error) {
	if len(sent) == 0 {
		return time.Time{}, errors.New("there is none")
	}
	between := x509.NewCertPool()
	for _, c := range sent[1:] {
		between.AddCert(c)
	}
	chains, err := sent[0].Verify(x509.VerifyOptions{
		Roots:         t.pool,
		Intermediates: between,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return time.Time{}, err
	}
	for _, chain := range chains {
		if ends, ok := t.good(chain); ok && ends.After(until) {
			until = ends
		}
	}
	if until.IsZero() {
		return time.Time{}, errRevoked
	}
	return until, nil
}

// good reports whether nothing of a verified chain has been revoked, and when
// the first of it runs out.
func (t *Trust) good(chain []*x509.Certificate) (ends time.Time, ok bool) {
	for i, c := range chain {
		if t.revoked[serial{string(c.RawIssuer), c.SerialNumber.String()}] {
			return time.Time{}, false
		}
		if i == 0 || c.NotAfter.Before(ends) {
			ends = c.NotAfter
		}
	}
	return ends, true
}
