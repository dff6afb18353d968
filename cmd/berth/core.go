package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"

	"berth/access"
	"berth/admin"
	"berth/audit"
	"berth/auth"
	"berth/auth/account"
	"berth/auth/certificate"
	"berth/auth/htpasswd"
	"berth/auth/oidc"
	"berth/auth/robot"
	"berth/auth/session"
	"berth/auth/token"
	"berth/auth/trust"
	"berth/blob"
	"berth/blob/azure"
	"berth/blob/disk"
	"berth/blob/gcs"
	"berth/blob/memory"
	"berth/blob/s3"
	"berth/local"
	"berth/meta"
)

// A core is what a configuration stands for, without a server: the data, and
// the gate in front of it. It holds the lock of the data until close.
type core struct {
	dir      string   // of the lock, the local socket and, unless configured, the database
	disks    []string // folders on them, of blobs and database
	lock     *os.File
	db       *meta.DB
	shared   bool      // other nodes have the database too
	follower *follower // nil unless it is shared
	registry *local.Registry
	// storeDegraded says what is wrong with the blob store; nil where it cannot
	// tell.
	storeDegraded func() string
	closers       []func() error
	// hashWorker makes processes that hash passwords; nil in a command that
	// hashes one.
	hashWorker func() *exec.Cmd
	adopting   bool // data of Distribution are opened too

	audit     *audit.Log // nil where none is kept
	collector *collector
	backer    *backer
	scrubber  *scrubber
	accounts  *account.Accounts
	// accountsOnly: there are no other users.
	accountsOnly atomic.Bool
	robots       *robot.Robots
	htpasswd     *htpasswd.File // nil without auth.htpasswd
	trust        *trust.Trust   // in nobody without auth.trust
	outside      *token.Outside // nil without auth.token
	sso          *oidc.Directory
	sessions     *session.Sessions
	// authorities are those of clients' certificates, nil without
	// http.tls.clientcas; certificates are users, nil without auth.certificate.
	authorities  *authorities
	certificates *certificate.Users

	// The backends: the first ones, those of the lineup, and the last ones.
	first, last []auth.Authenticator
	lineup      atomic.Pointer[lineup]
	changed     chan struct{} // has an element when the lineup is another one
	hasher      *auth.Hasher
	address     string // of clients: http.host
	log         *slog.Logger

	verifier *auth.Verifier
	issuer   *token.Issuer
	signing  *keyPair // of tokens for other services; nil without auth.issuer.certificate
	policy   atomic.Pointer[access.Policy]
}

// openCore opens the data that cfg names, and what stands in front of it.
// Errors: errLocked, while another process has the data.
func openCore(ctx context.Context, cfg *Config, log *slog.Logger, hashWorker func() *exec.Cmd) (*core, error) {
	c := &core{dir: cfg.dataDir(), hashWorker: hashWorker, changed: make(chan struct{}, 1), address: cfg.HTTP.Host, log: log}
	c.lineup.Store(new(lineup))
	if err := c.open(ctx, cfg, log); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *core) open(ctx context.Context, cfg *Config, log *slog.Logger) error {
	policy, err := cfg.policy()
	if err != nil {
		return err
	}
	c.policy.Store(policy)
	if err := c.openData(ctx, cfg, log); err != nil {
		return err
	}
	if err := c.openAudit(cfg, log); err != nil {
		return err
	}
	c.collector = newCollector(c, cfg, log)
	c.backer = newBacker(c, cfg, log)
	c.scrubber = newScrubber(c, cfg, log)
	if err := c.openGate(ctx, cfg, log); err != nil {
		return err
	}
	c.follower = c.newFollower(log)
	return nil
}

func (c *core) openData(ctx context.Context, cfg *Config, log *slog.Logger) (err error) {
	database := cfg.databasePath()
	if cfg.storageDriver() == "inmemory" {
		// Names outlive their bytes no more than the bytes do the process.
		if c.dir, err = os.MkdirTemp("", "berth-"); err != nil {
			return fmt.Errorf("make a folder for what goes with the process: %w", err)
		}
		c.closers = append(c.closers, func() error { return os.RemoveAll(c.dir) })
		database = filepath.Join(c.dir, dbName)
	} else if cfg.Metadata.Postgres != nil {
		database = "" // it is elsewhere
	}
	c.disks = []string{c.dir}
	if database != "" {
		c.disks = append(c.disks, filepath.Dir(database))
	}
	if c.lock, err = lockData(c.dir); err != nil {
		return err
	}
	c.closers = append(c.closers, c.lock.Close)
	store, closeStore, err := openStore(ctx, cfg, log)
	if err != nil {
		return err
	}
	c.closers = append(c.closers, closeStore)
	if s, ok := store.(interface{ Degraded() string }); ok {
		c.storeDegraded = s.Degraded
	}
	if err := c.openMetadata(ctx, cfg, database); err != nil {
		return err
	}
	rules, err := cfg.contentRules()
	if err != nil {
		return err
	}
	o := cfg.registryOptions(log)
	o.Adopting = c.adopting
	c.registry, err = local.Open(ctx, store, c.db, o)
	switch {
	case errors.Is(err, local.ErrNotAdopted):
		return fmt.Errorf("%w: run `berth import` once, which copies no blob, or name another place in storage", err)
	case errors.Is(err, local.ErrInstance):
		return fmt.Errorf("%w: where the database was lost, `berth restore` puts the newest backup in its place", err)
	}
	if err != nil {
		return err
	}
	c.registry.SetRules(rules)
	return nil
}

// openMetadata opens the database: the file, or where that is "" PostgreSQL.
func (c *core) openMetadata(ctx context.Context, cfg *Config, file string) (err error) {
	if file == "" {
		if c.db, err = meta.OpenPostgres(ctx, cfg.Metadata.Postgres.options()); err != nil {
			return fmt.Errorf("metadata.postgres: %w", err)
		}
		c.shared = true
		c.closers = append(c.closers, c.db.Close)
		return checkNew(ctx, c.db, c.dir, cfg.databasePath())
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("make the folder of the database: %w", err)
	}
	if c.db, err = meta.OpenSQLite(ctx, file, meta.Options{}); err != nil {
		return err
	}
	c.closers = append(c.closers, c.db.Close)
	return nil
}

// openStore is the table of drivers.
func openStore(ctx context.Context, cfg *Config, log *slog.Logger) (store blob.Store, closeStore func() error, err error) {
	nothing := func() error { return nil }
	switch driver := cfg.storageDriver(); driver {
	case "filesystem":
		store, err := disk.Open(cfg.dataDir())
		if err != nil {
			return nil, nil, err
		}
		return store, store.Close, nil
	case "inmemory":
		return memory.New(), nothing, nil
	case "s3":
		section, _ := cfg.s3()
		s, err := s3.Open(ctx, section.options(log))
		if err != nil {
			return nil, nil, err
		}
		return s, s.Close, nil
	case "gcs":
		o, err := cfg.Storage.GCS.open(log)
		if err == nil {
			store, err = gcs.Open(ctx, o)
		}
		return store, nothing, err
	case "azure":
		store, err = azure.Open(ctx, cfg.Storage.Azure.options(log))
		return store, nothing, err
	default:
		return nil, nil, fmt.Errorf("storage.%s: not available yet", driver)
	}
}

// registryOptions returns how the registry uses its store.
func (c *Config) registryOptions(log *slog.Logger) local.Options {
	o := local.Options{Log: log, KeptUploads: keptUploads, Grace: c.GC.Grace, Shared: c.Metadata.Postgres != nil}
	if p := c.Storage.Maintenance.UploadPurging; p != nil {
		o.UploadIdle = p.Age
	}
	if c.isRemote() {
		o.KeptUploads = keptRemoteUploads
	}
	if !c.Storage.Redirect.Disable {
		o.URLLifetime = urlLifetime
	}
	return o
}

// openGate opens the authenticators: those of first stand before all others, in
// the order in which they are opened.
func (c *core) openGate(ctx context.Context, cfg *Config, log *slog.Logger) (err error) {
	c.hasher = auth.NewHasher(auth.HasherOptions{Worker: c.hashWorker, Log: log})
	if c.accounts, err = account.New(ctx, c.db.Accounts(), c.hasher); err != nil {
		return err
	}
	// An owner may be of any backend, which are all behind the verifier.
	owner := func(ctx context.Context, s auth.Subject) (auth.Identity, error) { return c.verifier.Resolve(ctx, s) }
	if c.robots, err = robot.New(ctx, c.db.Robots(), robot.Options{Owner: owner, Tokenless: c.tokenless, Ended: c.ended, Log: log}); err != nil {
		return err
	}
	c.accounts.Removed = c.robots.Forget
	c.accountsOnly.Store(cfg.accountsOnly())
	c.sso = &oidc.Directory{Store: c.db.SSO(), Providers: c.providers, Removed: c.robots.Forget}
	if err := c.openForeign(cfg, log); err != nil {
		return err
	}
	if cfg.authenticates() {
		c.first = append(c.first, c.robots)
	}
	if cfg.Auth.Accounts.Enabled {
		c.first = append(c.first, c.accounts)
	}
	if path := cfg.Auth.Htpasswd.Path; path != "" {
		if c.htpasswd, err = htpasswd.Open(path, c.hasher, htpasswd.Options{Log: log}); err != nil {
			return err
		}
		c.htpasswd.Settled = c.robots.ForgetAll
		c.first = append(c.first, c.htpasswd)
	}
	next, err := c.prepare(ctx, cfg)
	if err != nil {
		return err
	}
	c.lineup.Store(next)
	c.closers = append(c.closers, c.closeLineup)
	if err := c.openCertificates(cfg); err != nil {
		return err
	}
	if c.certificates != nil {
		c.last = append(c.last, c.certificates)
	}
	c.verifier = auth.NewVerifier(c.backends(), auth.Options{
		Hasher: c.hasher, Groups: cfg.Auth.Groups, Attempted: c.attempted, Current: c.isCurrent,
	})
	c.sessions = session.New(c.db.Sessions(), session.Options{Resolve: c.verifier.Resolve, Log: log})
	return c.openIssuer(ctx, cfg.Auth.Issuer, log)
}

// tokenless says what the users of some names have in the place of a password,
// and of personal tokens; "" for all others.
func (c *core) tokenless(name string) string {
	switch {
	case c.trust.Owns(name):
		return "a workload gives the signed token (JWT) of its platform as the password; where it has none, make a robot: berth robot add"
	case c.certificates != nil && c.certificates.Owns(name):
		return "it is the name of a certificate, which its client shows each time; where it cannot, make a robot: berth robot add"
	}
	return ""
}

// openCertificates opens what is known of clients' certificates.
func (c *core) openCertificates(cfg *Config) (err error) {
	if len(cfg.HTTP.TLS.ClientCAs) == 0 {
		return nil
	}
	a := cfg.Auth.Certificate
	if c.authorities, err = loadAuthorities(cfg.HTTP.TLS.ClientCAs, cfg.crlFile()); err != nil || a == nil {
		return err
	}
	c.certificates, err = certificate.New(c.authorities.current.Load(), certificate.Options{
		User:   a.User,
		Prefix: a.Prefix,
		Units:  a.Groups != "",
		Owner: func(ctx context.Context, name string) (auth.Identity, error) {
			return c.verifier.Lookup(ctx, name)
		},
	})
	return err
}

// openIssuer opens the token server.
func (c *core) openIssuer(ctx context.Context, cfg issuerConfig, log *slog.Logger) (err error) {
	c.issuer, err = token.NewIssuer(ctx, c.db.Tokens(), token.Options{
		Service:        cfg.Service,
		Issuer:         cfg.Service,
		Services:       cfg.Services,
		ServicesIssuer: cfg.Issuer,
		Expiration:     cfg.Expiration,
		Resolve:        c.verifier.Resolve,
		Log:            log,
	})
	if err != nil || cfg.Certificate == "" {
		return err
	}
	c.signing, err = loadKeyPair("auth.issuer", cfg.Certificate, cfg.Key, func(pair *tls.Certificate) error {
		signer, err := cfg.signer(pair)
		if err != nil {
			return err
		}
		return c.issuer.SetSigner(signer)
	})
	return err
}

// openForeign opens what knows users by what others have signed. They stand
// before all other backends: nobody takes a name of theirs.
func (c *core) openForeign(cfg *Config, log *slog.Logger) (err error) {
	if c.trust, err = trust.New(cfg.trustRules(), trust.Options{Log: log, Ledger: c.ledger()}); err != nil {
		return fmt.Errorf("auth.trust: %w", err)
	}
	c.closers = append(c.closers, c.trust.Close)
	c.first = append(c.first, c.trust)
	if cfg.Auth.Token == nil {
		return nil
	}
	if c.outside, err = cfg.Auth.Token.open(log); err != nil {
		return err
	}
	c.closers = append(c.closers, c.outside.Close)
	c.first = append(c.first, c.outside)
	return nil
}

// management returns what manages the data of c.
func (c *core) management(refusals *admin.Refusals) *admin.Service {
	s := &admin.Service{
		Accounts: c.accounts, AccountsOnly: c.accountsOnly.Load,
		SSO:      c.sso,
		Logins:   c.issuer,
		Keys:     c.robots,
		Policy:   c.policy.Load,
		Lookup:   c.verifier.Lookup,
		Mover:    c.registry,
		Sweeper:  c.collector,
		Deleter:  c.registry,
		Usage:    c.registry,
		Backer:   c.backer,
		Scrubber: c.scrubber,
		Resolve:  c.verifier.Resolve,
		Trust:    c.trust,
		Refusals: refusals,
	}
	if c.audit != nil {
		s.Audit, s.Audited = c.audit.Record, c.audited
	}
	return s
}

// close gives everything back, the lock last.
func (c *core) close() error {
	var errs []error
	for i := len(c.closers) - 1; i >= 0; i-- {
		errs = append(errs, c.closers[i]())
	}
	return errors.Join(errs...)
}
