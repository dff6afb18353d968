package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"berth/access"
	"berth/admin"
	"berth/audit"
	"berth/auth"
	"berth/auth/account"
	"berth/guard"
	"berth/registry"
	"berth/server"
)

const (
	// keptUploads is how many uploads wait in memory for their next request,
	// and saveInterval how long they do before they are made durable. One on its
	// way to an object store waits with up to 8 MiB of it.
	keptUploads       = 256
	keptRemoteUploads = 16
	saveInterval      = 10 * time.Second
	// urlLifetime is how long an address is good that a client is sent to for a
	// blob in an object store: whoever has it has the blob.
	urlLifetime = 20 * time.Minute
)

func newServeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve [CONFIG]",
		Short: "Run the registry",
		Long: "Runs the registry until it is told to stop by SIGTERM or SIGINT. Without CONFIG it reads\n" +
			"$REGISTRY_CONFIGURATION_PATH, else /etc/berth/config.yml, else /etc/docker/registry/config.yml,\n" +
			"else /etc/distribution/config.yml; where there is none, it listens on 127.0.0.1:5000 and keeps\n" +
			"its data in $BERTH_DATA or ./berth-data. SIGHUP reads the configuration again.",
		Example: "  berth serve\n  berth serve /etc/docker/registry/config.yml",
		Args:    cobra.MaximumNArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			src, err := sourceOf(cmd, args)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), src, cmd.OutOrStdout(), cmd.ErrOrStderr())
		}),
	}
}

// serve runs the registry until ctx ends.
func serve(ctx context.Context, src source, stdout, stderr io.Writer) error {
	cfg, warnings, err := src.load()
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(logLevel(string(cfg.Log.Level)))
	log := newLogger(stderr, level, cfg.Log)
	for _, w := range warnings {
		log.Warn(w)
	}
	core, err := openCore(ctx, cfg, log, newHashWorker)
	if errors.Is(err, errLocked) {
		return fmt.Errorf("%w: stop it, or name another %s", err, cfg.dataKey())
	}
	if err != nil {
		return err
	}
	r := &running{src: src, cfg: cfg, ruling: cfg, core: core, level: level, log: log, stdout: stdout, stderr: stderr,
		metrics: newMetrics(core.verifier.Stats), space: newSpace(core.disks...)}
	r.metrics.gauge("berth_credentials_expiring", "Robots and personal tokens that expire within 14 days.", core.robots.Expiring)
	r.watchAudit()
	r.watchGC()
	limits, err := cfg.limits()
	if err != nil {
		return errors.Join(err, core.close())
	}
	r.limits.Store(limits)
	r.watchBackups()
	r.watchScrubs()
	ballast := collectEvenly()
	defer runtime.KeepAlive(ballast)
	return errors.Join(r.run(ctx), core.close())
}

// A listening is a server and the socket that it will accept on.
type listening struct {
	*http.Server
	socket net.Listener
}

// running is a registry that serves.
type running struct {
	src            source
	cfg            *Config // as it was at the start
	ruling         *Config // whose rules are in force
	core           *core
	level          *slog.LevelVar
	log            *slog.Logger
	stdout, stderr io.Writer

	health   health
	limits   atomic.Pointer[server.Limits] // nil: none
	refusals admin.Refusals
	metrics  *metrics
	space    *space
	servers  []listening
	failed   chan error
	work     sync.WaitGroup
	draining atomic.Bool // it was told to stop
}

func (r *running) run(ctx context.Context) error {
	told := ctx.Done()
	// What goes on beside the requests ends after them.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer r.work.Wait()
	defer stop()
	r.health.watch("storage", r.space.degraded)
	if degraded := r.core.storeDegraded; degraded != nil {
		r.health.watch("storage."+r.cfg.storageDriver(), degraded)
	}
	r.health.watch("metadata", r.core.db.Degraded)
	if r.core.follower != nil {
		r.health.watch("nodes", r.core.follower.degraded)
	}
	if r.core.htpasswd != nil {
		r.health.watch("auth.htpasswd", r.core.htpasswd.Degraded)
	}
	r.health.watchAll(r.core.problems)
	r.health.watch("auth.trust", r.core.trust.Degraded)
	if r.core.outside != nil {
		r.health.watch("auth.token", r.core.outside.Degraded)
	}
	if signing := r.core.signing; signing != nil {
		r.health.watch("auth.issuer", func() string { return signing.Degraded(time.Now()) })
	}
	if !r.cfg.authenticates() {
		r.log.Warn("no authentication is configured: everybody may push, pull and delete; add an auth: section")
	}
	err := r.listen(ctx)
	if err == nil {
		err = r.firstAdmin(ctx)
	}
	if err != nil {
		for _, s := range r.servers {
			err = errors.Join(err, s.socket.Close())
		}
		return err
	}
	r.auditRegistry(audit.Start, nil)
	defer r.auditRegistry(audit.Stop, nil)
	r.accept()
	r.startWork(ctx)
	select {
	case <-told:
	case err := <-r.failed:
		r.shutDown()
		return err
	}
	r.log.Info("stopping", "delay", r.cfg.HTTP.DrainDelay, "drain", r.cfg.HTTP.DrainTimeout)
	r.leave()
	r.shutDown()
	ctx = context.WithoutCancel(ctx)
	return errors.Join(r.core.registry.SaveUploads(ctx, 0), r.core.registry.WritePulls(ctx))
}

// listen opens every address. Nothing is accepted yet: what can go wrong goes
// wrong before, and who is served finds everything in place.
func (r *running) listen(ctx context.Context) error {
	o := r.serverOptions()
	if r.cfg.authenticates() {
		pages, err := r.pages(ctx)
		if err != nil {
			return err
		}
		o.Pages = pages
	}
	s := server.New(o)
	if err := r.listenMain(ctx, s); err != nil {
		return err
	}
	if addr := r.cfg.HTTP.Debug.Addr; addr != "" {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("listen on http.debug.addr %q: %w", addr, err)
		}
		r.serveOn(l, server.NewHTTPServer(s.Debug(), r.log))
	}
	l, err := listenAdmin(r.core.dir)
	if err != nil {
		return err
	}
	r.serveOn(l, server.NewHTTPServer(admin.Handler(r.core.management(&r.refusals), r.log), r.log))
	return nil
}

func (r *running) listenMain(ctx context.Context, h http.Handler) error {
	c := r.cfg.HTTP
	l, err := listen(c.Net, c.Addr)
	if err != nil {
		return err
	}
	hs := server.NewHTTPServer(h, r.log)
	hs.Protocols = new(http.Protocols)
	hs.Protocols.SetHTTP1(true)
	hs.Protocols.SetHTTP2(!c.HTTP2.Disabled)
	hs.Protocols.SetUnencryptedHTTP2(c.H2C.Enabled)
	if c.TLS.Certificate != "" {
		if err := r.secure(ctx, hs); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	r.serveOn(l, hs)
	return nil
}

func (r *running) serveOn(l net.Listener, hs *http.Server) {
	r.servers = append(r.servers, listening{hs, l})
}

// accept begins to serve on every address.
func (r *running) accept() {
	r.failed = make(chan error, len(r.servers))
	for _, s := range r.servers {
		serve := s.Serve
		if s.TLSConfig != nil {
			serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
		}
		r.work.Go(func() {
			if err := serve(s.socket); !errors.Is(err, http.ErrServerClosed) {
				r.failed <- fmt.Errorf("serve on %s: %w", s.socket.Addr(), err)
			}
		})
		r.log.Info("listening", "addr", s.socket.Addr().String(), "tls", s.TLSConfig != nil, "version", version)
	}
}

func (r *running) serverOptions() server.Options {
	c := r.cfg
	o := server.Options{
		View:           r.view,
		Policy:         r.core.policy.Load,
		Service:        c.Auth.Issuer.Service,
		Services:       c.Auth.Issuer.Services,
		Realm:          c.Auth.Htpasswd.Realm,
		Prefix:         c.HTTP.Prefix,
		RelativeURLs:   c.HTTP.RelativeURLs,
		TrustedProxies: c.HTTP.TrustedProxies,
		Headers:        http.Header(c.HTTP.Headers),
		DeleteEnabled:  c.Storage.Delete.Enabled,
		ReadOnly:       func() bool { return c.Storage.Maintenance.ReadOnly.Enabled },
		MaxCatalog:     c.Catalog.MaxEntries,
		MaxTags:        c.Tags.MaxTags,
		Health:         r.ready,
		Refused:        r.refused,
		Meter:          r.space.meter(r.metrics),
		Metrics:        r.metrics.handler(),
		Limits:         r.limits.Load,
		Log:            r.log,
	}
	if c.authenticates() {
		o.Verifier = r.core.verifier
	}
	if r.core.certificates != nil {
		o.Certificates = r.core.certificates
	}
	if c.logsIn() && !c.basicOnly() {
		o.Tokens = r.core.issuer
	}
	if t := c.Auth.Token; t != nil {
		o.Outside = &server.Outside{Realm: t.Realm, Path: t.AutoRedirectPath, Service: t.Service, Tokens: r.core.outside}
		if t.AutoRedirect {
			o.Outside.Realm = ""
		}
	}
	if host, err := url.Parse(c.HTTP.Host); err == nil && c.HTTP.Host != "" {
		o.Host = host
	}
	if c.HTTP.Debug.Prometheus.Enabled {
		o.MetricsPath = c.HTTP.Debug.Prometheus.Path
	}
	if !c.Log.AccessLog.Disabled {
		o.AccessLog = r.stdout
	}
	r.auditOptions(&o)
	return o
}

// view returns the registry as the caller may use it.
func (r *running) view(c access.Caller) registry.Registry {
	return guard.New(r.core.registry, c, r.core.policy.Load())
}

// refused remembers a refusal and logs it.
func (r *running) refused(ctx context.Context, f server.Refusal) {
	r.refusals.Add(admin.Refused{
		Ref: f.Ref, Time: f.Time, Caller: f.Caller, Scope: f.Scope.String(), Tags: f.Tags, Reason: f.Reason, Status: f.Status,
	})
	r.log.InfoContext(ctx, "refused", "ref", f.Ref, "user", f.Caller.Subject.String(), "addr", f.Caller.Addr.String(),
		"scope", f.Scope.String(), "reason", f.Reason, "status", f.Status)
}

// startWork starts what goes on beside the requests.
func (r *running) startWork(ctx context.Context) {
	r.work.Go(func() { r.health.run(ctx, r.log) })
	if r.core.follower != nil {
		r.work.Go(func() { r.core.follower.run(ctx, r.core.db) })
	}
	r.work.Go(func() { r.core.issuer.Run(ctx) })
	r.work.Go(func() { r.core.robots.Run(ctx) })
	r.work.Go(func() { r.core.sessions.Run(ctx) })
	r.work.Go(func() { r.reap(ctx) })
	for _, c := range r.healthChecks() {
		r.work.Go(func() { c.run(ctx, &r.health, r.log) })
	}
	r.work.Go(func() { r.checkUsage(ctx) })
	r.work.Go(func() { r.saveUploads(ctx) })
	r.work.Go(func() { r.writePulls(ctx) })
	if *r.cfg.GC.Enabled && !r.cfg.Storage.Maintenance.ReadOnly.Enabled {
		r.work.Go(func() { r.core.collector.run(ctx) })
	}
	r.work.Go(func() { r.core.backer.run(ctx) })
	r.work.Go(func() { r.core.scrubber.run(ctx) })
	r.work.Go(func() { r.watchConfig(ctx) })
	r.work.Go(func() { r.core.trust.Run(ctx) })
	if r.core.outside != nil {
		r.work.Go(func() { r.core.outside.Run(ctx) })
	}
	if r.core.htpasswd != nil {
		r.work.Go(func() { r.core.htpasswd.Run(ctx) })
	}
	r.work.Go(func() { r.core.tendDirectories(ctx) })
	if r.core.signing != nil {
		r.work.Go(func() { r.core.signing.watch(ctx, r.log) })
	}
}

// saveUploads makes idle uploads durable, until ctx ends.
func (r *running) saveUploads(ctx context.Context) {
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := r.core.registry.SaveUploads(ctx, saveInterval); err != nil && ctx.Err() == nil {
			r.log.Error("save idle uploads", "error", err)
		}
	}
}

// ready is server.Options.Health.
func (r *running) ready(context.Context) (bool, []string) {
	return !r.draining.Load() && r.health.ready(), r.health.degraded()
}

// leave lets whoever sends requests here find out that this node is about to
// stop, and serves them meanwhile.
func (r *running) leave() {
	r.draining.Store(true)
	for _, s := range r.servers {
		s.SetKeepAlivesEnabled(false)
	}
	if r.cfg.HTTP.DrainDelay > 0 {
		time.Sleep(r.cfg.HTTP.DrainDelay)
	}
}

// shutDown lets requests end for the drain time, and then cuts them.
func (r *running) shutDown() {
	ctx, cancel := context.WithTimeout(context.Background(), r.cfg.HTTP.DrainTimeout)
	defer cancel()
	var ending sync.WaitGroup
	for _, hs := range r.servers {
		ending.Go(func() {
			if hs.Shutdown(ctx) != nil {
				hs.Close()
			}
		})
	}
	ending.Wait()
}

// firstAdmin makes the account that a registry begins with.
func (r *running) firstAdmin(ctx context.Context) error {
	if !r.cfg.accountsOnly() || len(r.core.accounts.List()) > 0 {
		return nil
	}
	password, file := auth.Secret(""), os.Getenv("BERTH_ADMIN_PASSWORD_FILE")
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read $BERTH_ADMIN_PASSWORD_FILE: %w", err)
		}
		password = auth.Secret(strings.TrimRight(string(data), "\r\n"))
	}
	generated := file == ""
	if generated {
		password = account.NewPassword()
	}
	err := r.core.management(nil).AddUser(ctx, admin.NewUser{Name: "admin", Password: password})
	if told := new(admin.Error); errors.As(err, &told) && told.Kind == admin.Exists {
		return r.core.accounts.Reload(ctx) // another node was quicker
	}
	if err != nil {
		if !generated {
			err = fmt.Errorf("$BERTH_ADMIN_PASSWORD_FILE: %w", err)
		}
		return fmt.Errorf("make the account admin: %w", err)
	}
	if generated {
		printWelcome(r.stderr, r.cfg.clientAddress(), password)
	}
	return nil
}
