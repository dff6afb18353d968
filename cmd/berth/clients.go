package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"berth/auth/certificate"
)

// authorities are the files that say who vouches for clients. They are read
// again when they change; files that cannot be used leave those before in force.
type authorities struct {
	files   []string
	crl     string // of revoked certificates; may be empty
	current atomic.Pointer[certificate.Trust]
	problem atomic.Pointer[string]
}

func loadAuthorities(files []string, crl string) (*authorities, error) {
	a := &authorities{files: files, crl: crl}
	return a, a.load()
}

func (a *authorities) load() error {
	var roots bytes.Buffer
	for _, path := range a.files {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read http.tls.clientcas: %w", err)
		}
		roots.Write(data)
		roots.WriteByte('\n')
	}
	var lists []byte
	if a.crl != "" {
		var err error
		if lists, err = os.ReadFile(a.crl); err != nil {
			return fmt.Errorf("read auth.certificate.crlfile: %w", err)
		}
		if len(lists) == 0 {
			return fmt.Errorf("read auth.certificate.crlfile: %s is empty", a.crl)
		}
	}
	trust, err := certificate.NewTrust(roots.Bytes(), lists)
	if err != nil {
		return fmt.Errorf("use http.tls.clientcas and auth.certificate.crlfile: %w", err)
	}
	a.current.Store(trust)
	return nil
}

// watch reads the files again whenever one of them changes, until ctx ends, and
// tells use.
func (a *authorities) watch(ctx context.Context, log *slog.Logger, use func(*certificate.Trust)) {
	paths := a.files
	if a.crl != "" {
		paths = append(paths[:len(paths):len(paths)], a.crl)
	}
	watchFiles(ctx, paths, func() {
		if err := a.load(); err != nil {
			text := "the new authorities of clients, or their list of revoked certificates, cannot be used, the old ones stay"
			a.problem.Store(&text)
			log.Error(text, "error", err)
			return
		}
		a.problem.Store(nil)
		use(a.current.Load())
		log.Info("authorities of clients reloaded")
	})
}

// Degraded says what is wrong with the files on disk, or that the list of revoked
// certificates is an old one; "" when all is well.
func (a *authorities) Degraded(now time.Time) string {
	if p := a.problem.Load(); p != nil {
		return *p
	}
	if ends := a.current.Load().Ends(); !ends.IsZero() && now.After(ends) {
		return "the list of revoked certificates ran out on " + ends.UTC().Format(time.DateOnly) + " and still counts: replace it"
	}
	return ""
}

// verify makes cfg ask clients for certificates. Each connection begins with the
// authorities of its time, and a certificate that was revoked ends it there.
func (a *authorities) verify(cfg *tls.Config) {
	base := cfg.Clone()
	base.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.VerifiedChains) == 0 {
			return nil
		}
		_, err := a.current.Load().Verify(state.PeerCertificates, time.Now())
		return err
	}
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		c.ClientCAs = a.current.Load().Pool()
		return c, nil
	}
}

// askForCertificates makes cfg do what is configured about those of clients.
func (r *running) askForCertificates(ctx context.Context, cfg *tls.Config) {
	cfg.ClientAuth, _ = clientAuth(r.cfg.HTTP.TLS.ClientAuth)
	a := r.core.authorities
	if a == nil {
		return
	}
	a.verify(cfg)
	r.health.watch("http.tls.clientcas", func() string { return a.Degraded(time.Now()) })
	r.work.Go(func() {
		a.watch(ctx, r.log, func(t *certificate.Trust) {
			if r.core.certificates != nil {
				r.core.certificates.SetTrust(t)
			}
		})
	})
}
