package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"berth/audit"
	"berth/auth"
	"berth/auth/robot"
	"berth/oci"
	"berth/server"
)

// openAudit opens the audit log, where one is to be kept.
func (c *core) openAudit(cfg *Config, log *slog.Logger) (err error) {
	path := cfg.auditPath()
	if path == "" {
		return nil
	}
	a := cfg.Audit
	c.audit, err = audit.Open(path, audit.Options{MaxSize: int64(a.MaxSize), MaxFiles: a.MaxFiles, MaxAge: a.MaxAge, Log: log})
	if err != nil {
		return fmt.Errorf("%w: name another audit.path, or set audit.disabled", err)
	}
	c.closers = append(c.closers, c.audit.Close)
	return nil
}

// attempted records that somebody tried to log in.
func (c *core) attempted(ctx context.Context, a auth.Attempt) {
	if errors.Is(a.Err, context.Canceled) {
		return // he has not waited for the answer
	}
	r := audit.RequestOf(ctx)
	e := audit.Of(audit.Login, a.Identity)
	e.Result, e.Method, e.Address, e.Agent, e.Ref = audit.OK, r.Method, a.Addr, r.Agent, r.Ref
	if a.Err != nil {
		e.User = a.User
		e.Result, e.Status, e.Reason = failedLogin(a.Err)
	}
	c.audit.Record(e)
}

// ended records what was ended because of its owner, by nobody's command.
func (c *core) ended(o robot.Owned, reason string) {
	e := audit.Event{Kind: audit.TokenRevoke, Result: audit.OK, Target: o.Token, Owner: o.Owner.Name, Reason: reason}
	if o.Robot != "" {
		e.Kind, e.Target = audit.RobotDisable, auth.RobotPrefix+o.Robot
	}
	c.audit.Record(e)
}

// failedLogin says how a login failed, what the client was answered, and why, for
// the audit alone.
func failedLogin(err error) (result audit.Result, status int, reason string) {
	var (
		rejected  *auth.RejectedError
		throttled *auth.ThrottledError
	)
	switch {
	case errors.As(err, &rejected) && rejected.Reason != "":
		return audit.Failed, http.StatusUnauthorized, rejected.Reason
	case errors.Is(err, auth.ErrBadCredentials):
		return audit.Failed, http.StatusUnauthorized, err.Error()
	case errors.As(err, &throttled):
		return audit.Throttled, http.StatusTooManyRequests, err.Error()
	}
	return audit.Error, http.StatusServiceUnavailable, err.Error()
}

// audited returns the refusal or the failed login of a reference. Errors:
// audit.ErrNotFound.
func (c *core) audited(ctx context.Context, ref string) (audit.Event, error) {
	return audit.Find(ctx, c.audit.Path(), audit.Filter{Ref: ref, Denied: true, Failed: true})
}

// watchAudit shows how the audit log is in health and metrics.
func (r *running) watchAudit() {
	a := r.core.audit
	if a == nil {
		return
	}
	r.health.watch("audit", a.Degraded)
	r.metrics.count("berth_audit_events_total", "Events for the audit log.", func() uint64 { return a.Stats().Recorded })
	r.metrics.count("berth_audit_dropped_total", "Events that the audit log has lost.", func() uint64 { return a.Stats().Dropped })
}

// auditOptions gives a server what it tells the audit log.
func (r *running) auditOptions(o *server.Options) {
	a := r.core.audit
	if a == nil {
		return
	}
	o.Audit, o.AuditPulls = a.Record, r.cfg.Audit.Pulls
	if r.cfg.Audit.Required {
		o.Blocked = func() string {
			if a.Degraded() == "" {
				return ""
			}
			return "nothing can be changed now: the audit log cannot be written"
		}
	}
}

// auditRegistry records what happened to the registry itself, and which rules are
// in force then.
func (r *running) auditRegistry(kind audit.Kind, err error) {
	e := audit.Event{
		Kind: kind, Result: audit.OK, User: audit.LocalUser, Method: audit.Local,
		Target: r.src.name(), Digest: r.ruling.rulesDigest(), Reason: "berth " + version,
	}
	if err != nil {
		e.Result, e.Reason = audit.Failed, err.Error()
	}
	r.core.audit.Record(e)
}

// rulesDigest returns a digest that differs when rules, quotas, limits or groups do.
func (c *Config) rulesDigest() oci.Digest {
	data, err := json.Marshal([]any{c.accessGiven, c.Access, c.Auth.Groups, c.Immutable, c.Quotas, c.Limits})
	if err != nil {
		return "" // texts, networks and truth values can always be encoded
	}
	return oci.DigestOf(oci.SHA256, data)
}
