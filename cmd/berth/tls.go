package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// A keyPair is a certificate and its key, two files that are read again when
// they change. A pair that cannot be used leaves the one before in force.
type keyPair struct {
	section           string // of the configuration
	certFile, keyFile string
	use               func(*tls.Certificate) error // takes each pair before it is in force; may be nil
	current           atomic.Pointer[tls.Certificate]
	problem           atomic.Pointer[string]
}

func loadKeyPair(section, certFile, keyFile string, use func(*tls.Certificate) error) (*keyPair, error) {
	c := &keyPair{section: section, certFile: certFile, keyFile: keyFile, use: use}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *keyPair) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err == nil && c.use != nil {
		err = c.use(&pair)
	}
	if err != nil {
		return fmt.Errorf("load %s.certificate and key: %w", c.section, err)
	}
	c.current.Store(&pair)
	return nil
}

func (c *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// Degraded says what is wrong with the files on disk, or that the certificate
// in force is about to expire; "" when all is well.
func (c *keyPair) Degraded(now time.Time) string {
	if p := c.problem.Load(); p != nil {
		return *p
	}
	leaf := c.current.Load().Leaf
	if leaf != nil && now.Add(certificateAlarm).After(leaf.NotAfter) {
		return "the certificate expires on " + leaf.NotAfter.UTC().Format(time.DateOnly)
	}
	return ""
}

// certificateAlarm is how long before its end a certificate shows as degraded.
const certificateAlarm = 14 * 24 * time.Hour

// watch reads the pair again whenever one of the files changes, until ctx ends.
func (c *keyPair) watch(ctx context.Context, log *slog.Logger) {
	watchFiles(ctx, []string{c.certFile, c.keyFile}, func() {
		if err := c.load(); err != nil {
			text := "the new certificate cannot be used, the old one stays"
			c.problem.Store(&text)
			log.Error(text, "section", c.section, "error", err)
			return
		}
		c.problem.Store(nil)
		log.Info("certificate reloaded", "file", c.certFile)
	})
}

// tlsConfig returns what http.tls asks for.
func tlsConfig(c *keyPair, minimum string, suites []string, http2 bool) (*tls.Config, error) {
	cfg := &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if http2 {
		cfg.NextProtos = []string{"h2", "http/1.1"}
	}
	if minimum == "tls1.3" {
		cfg.MinVersion = tls.VersionTLS13
	}
	known := make(map[string]uint16)
	for _, s := range tls.CipherSuites() {
		known[s.Name] = s.ID
	}
	for _, name := range suites {
		id, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("http.tls.ciphersuites: %q is not known or not secure", name)
		}
		cfg.CipherSuites = append(cfg.CipherSuites, id)
	}
	return cfg, nil
}

// fileStamp tells whether a file is still the same one, through symlinks.
func fileStamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

// secure gives hs the certificate of the configuration, and keeps it current.
func (r *running) secure(ctx context.Context, hs *http.Server) error {
	c := r.cfg.HTTP
	cert, err := loadKeyPair("http.tls", c.TLS.Certificate, c.TLS.Key, nil)
	if err != nil {
		return err
	}
	if hs.TLSConfig, err = tlsConfig(cert, c.TLS.MinimumTLS, c.TLS.CipherSuites, !c.HTTP2.Disabled); err != nil {
		return err
	}
	r.health.watch("http.tls", func() string { return cert.Degraded(time.Now()) })
	r.work.Go(func() { cert.watch(ctx, r.log) })
	r.askForCertificates(ctx, hs.TLSConfig)
	return nil
}
