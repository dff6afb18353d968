package ldap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"berth/auth"
)

// tlsConfig returns how the certificate of a server is checked.
func (d *Directory) tlsConfig(s *server) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.name}
	if d.cas != nil {
		pool, err := d.cas.get()
		if err != nil {
			return nil, fmt.Errorf("read cafile: %w", err)
		}
		config.RootCAs = pool
	}
	if d.o.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(d.o.CertFile, d.o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read certfile and keyfile: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// verify checks the certificates of a connection, as package tls does by itself.
func verify(config *tls.Config, state tls.ConnectionState) error {
	options := x509.VerifyOptions{Roots: config.RootCAs, DNSName: config.ServerName, Intermediates: x509.NewCertPool()}
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	for _, cert := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := state.PeerCertificates[0].Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

func parseCAs(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("it holds no certificate in PEM")
	}
	return pool, nil
}

func parsePassword(data []byte) (auth.Secret, error) {
	password := auth.Secret(strings.TrimRight(string(data), "\r\n"))
	if password == "" {
		return "", errors.New("it is empty")
	}
	return password, nil
}

// maxFile is how long a file of passwords or certificates may be, in bytes.
const maxFile = 4 << 20

// A watched file is read again when it has changed. What cannot be read leaves
// the value before in force. It is safe for concurrent use.
type watched[T any] struct {
	path  string
	parse func([]byte) (T, error)

	mu     sync.Mutex
	known  bool
	value  T
	size   int64
	time   time.Time
	failed error // why the file as it is now cannot be used
}

// watch returns the file, which must be good now; nil without a path.
func watch[T any](path string, parse func([]byte) (T, error)) (*watched[T], error) {
	if path == "" {
		return nil, nil
	}
	w := &watched[T]{path: path, parse: parse}
	_, err := w.get()
	return w, err
}

func (w *watched[T]) get() (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	info, err := os.Stat(w.path)
	if err == nil && w.known && w.failed == nil && info.Size() == w.size && info.ModTime().Equal(w.time) {
		return w.value, nil
	}
	var value T
	if err == nil {
		value, err = w.load(info)
	}
	w.failed = err
	if err != nil {
		if w.known {
			return w.value, nil
		}
		return value, err
	}
	w.known, w.value, w.size, w.time = true, value, info.Size(), info.ModTime()
	return value, nil
}

func (w *watched[T]) load(info os.FileInfo) (value T, err error) {
	if info.Size() > maxFile {
		return value, fmt.Errorf("%s: it is larger than %d bytes", w.path, maxFile)
	}
	data, err := os.ReadFile(w.path)
	if err != nil {
		return value, err
	}
	if value, err = w.parse(data); err != nil {
		return value, fmt.Errorf("%s: %w", w.path, err)
	}
	return value, nil
}

// problem says why the file as it is now cannot be used, or "".
func (w *watched[T]) problem() string {
	if w == nil {
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		return ""
	}
	return w.failed.Error()
}
