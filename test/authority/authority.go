// Package authority makes certificates for tests: of authorities, of servers and
// of clients, good ones and all kinds of bad ones.
package authority

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"
)

// An Authority signs certificates, and lists of those that it revoked.
type Authority struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// New returns an authority that signed itself.
func New(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{Key: NewKey(t, "P-256")}
	a.Cert = Sign(t, authorityTemplate(name), nil, a.Key.Public(), a.Key)
	return a
}

// Below returns an authority that a vouches for.
func (a *Authority) Below(t testing.TB, name string) *Authority {
	t.Helper()
	b := &Authority{Key: NewKey(t, "P-256")}
	b.Cert = a.Issue(t, authorityTemplate(name), b.Key.Public())
	return b
}

func authorityTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(1000 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// Issue signs a certificate of a public key.
func (a *Authority) Issue(t testing.TB, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	return Sign(t, template, a.Cert, public, a.Key)
}

// Client returns the certificate and the key of a client of that common name,
// and whatever change makes of them.
func (a *Authority) Client(t testing.TB, name string, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	key := NewKey(t, "P-256")
	cert := a.Issue(t, template, key.Public())
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// List returns a list of revoked certificates in PEM, for a day from now.
func (a *Authority) List(t testing.TB, change func(*x509.RevocationList), revoked ...*x509.Certificate) []byte {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(24 * time.Hour)}
	for _, c := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: now})
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.Cert, a.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// Sign makes a certificate; without a parent it is signed by itself. Where the
// template does not say, it is good from an hour ago for a day, with a serial
// number of its own.
func Sign(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(23 * time.Hour)
	}
	if template.SerialNumber == nil {
		serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
		if err != nil {
			t.Fatal(err)
		}
		template.SerialNumber = serial.Add(serial, big.NewInt(1))
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// NewKey returns a key of a kind: RSA (of 2048 bits), P-256, P-384 or P-521.
func NewKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "RSA":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "P-256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "P-521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	default:
		t.Fatalf("there is no kind %s of keys", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// PEM returns certificates in PEM.
func PEM(chain ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range chain {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.Bytes()
}

// Write writes certificates and, unless it is nil, the key of the first of them
// into two files.
func Write(t testing.TB, certFile, keyFile string, key crypto.PrivateKey, chain ...*x509.Certificate) {
	t.Helper()
	if err := os.WriteFile(certFile, PEM(chain...), 0o600); err != nil {
		t.Fatal(err)
	}
	if key == nil {
		return
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
