// Package web is the pages for people: to sign in, to make personal tokens, and
// to confirm the login of a command line.
//
// Every page is HTML made here, without a script, so that what a repository or a
// provider calls itself can never be one. A login is a session behind a cookie;
// pages change nothing but by POST, and a POST from another site is refused.
package web

import (
	"context"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"berth/auth"
	"berth/auth/oidc"
	"berth/auth/session"
	"berth/server"
)

// A Verifier says who somebody is. auth.Verifier is meant.
type Verifier interface {
	Verify(ctx context.Context, c auth.Credentials) (auth.Identity, error)
	Resolve(ctx context.Context, s auth.Subject) (auth.Identity, error)
}

// A Provider lets people sign in elsewhere. *oidc.Provider is meant.
type Provider interface {
	Name() string
	Issuer() string
	// Begin returns the address to send a browser to.
	Begin(ctx context.Context, redirect string) (oidc.Login, string, error)
	// Finish returns who has signed in. Errors: *auth.RejectedError; any other
	// when the provider does not answer.
	Finish(ctx context.Context, redirect string, l oidc.Login, code string) (auth.Identity, error)
}

// Tokens keeps the personal tokens of users.
type Tokens interface {
	// List returns the tokens of a user, newest first.
	List(ctx context.Context, owner auth.Subject) ([]Token, error)
	// New makes a token, and returns its secret: it is never to be had again.
	// Errors: *InvalidError.
	New(ctx context.Context, owner auth.Subject, t NewToken) (auth.Secret, error)
	// Revoke ends a token. Errors: ErrNoToken when it is not one of owner's.
	Revoke(ctx context.Context, owner auth.Subject, id string) error
}

// A Token is a personal token as its owner sees it.
type Token struct {
	ID           string
	Name         string
	Repositories []string // none is all of the owner's
	Actions      []string // likewise
	Created      time.Time
	Expires      time.Time
	LastUsed     time.Time // zero for never
}

// A NewToken is a token to be made.
type NewToken struct {
	Name         string
	Repositories []string
	Actions      []string
	Expires      time.Time
}

// Options configure a Handler. Verifier and Sessions are required.
type Options struct {
	Verifier  Verifier
	Sessions  *session.Sessions
	Providers func() []Provider // that there are now; nil is none
	Tokens    Tokens            // nil: personal tokens cannot be made
	// Devices keeps logins of command lines; required with Tokens.
	Devices session.DeviceStore
	// Passwords reports whether there are users who log in with one; nil is no.
	Passwords func() bool
	// Host is the configured address of the registry, scheme and host, or "".
	Host string
	// Secret is what sign-ins are sealed with, the same on all nodes; random
	// when nil.
	Secret []byte
	// Ledger lets a sign-in end once on all nodes; nil when there is one.
	Ledger auth.Ledger
	// Attempted is told of every sign-in that a Provider ended; nil is nobody.
	Attempted func(context.Context, auth.Attempt)
	Log       *slog.Logger     // slog.Default when nil
	Now       func() time.Time // time.Now when nil
}

// A Handler answers under /ui and /auth/device. It stands behind a
// server.Server, and is safe for concurrent use.
type Handler struct {
	o       Options
	pages   map[string]*template.Template
	box     *auth.Box // seals the cookies of sign-ins
	used    used
	devices *devices
	guesses *limiter // of user codes, by user
	mux     *http.ServeMux
	guard   *http.CrossOriginProtection
}

//go:embed page/*.html page/style.css
var files embed.FS

// New returns a Handler.
func New(o Options) (*Handler, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Providers == nil {
		o.Providers = func() []Provider { return nil }
	}
	if o.Passwords == nil {
		o.Passwords = func() bool { return false }
	}
	if o.Attempted == nil {
		o.Attempted = func(context.Context, auth.Attempt) {}
	}
	box, err := o.box()
	if err != nil {
		return nil, err
	}
	h := &Handler{o: o, box: box, mux: http.NewServeMux(), guard: http.NewCrossOriginProtection()}
	h.used.now, h.guesses = o.Now, newLimiter(maxGuesses, signInTime, o.Now)
	h.devices = newDevices(o.Devices, o.Now)
	if u, err := url.Parse(o.Host); err == nil && u.Host != "" {
		if err := h.guard.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, err
		}
	}
	if h.pages, err = parsePages(); err != nil {
		return nil, err
	}
	h.route()
	return h, nil
}

func (o *Options) box() (*auth.Box, error) {
	if o.Secret == nil {
		return auth.RandomBox(signInPurpose)
	}
	return auth.NewBox(o.Secret, signInPurpose)
}

// signInPurpose is what the cookies of sign-ins are sealed for.
const signInPurpose = "berth sign-in"

// route is the one table of pages.
func (h *Handler) route() {
	for pattern, show := range map[string]func(*visit) error{
		"GET /ui":                 (*visit).home,
		"GET /ui/{$}":             (*visit).home,
		"GET /ui/login":           (*visit).showLogin,
		"POST /ui/login":          (*visit).login,
		"GET /ui/login/{name}":    (*visit).signIn,
		"GET /ui/callback/{name}": (*visit).callback,
		"POST /ui/logout":         (*visit).logout,
		"GET /ui/tokens":          (*visit).showTokens,
		"POST /ui/tokens":         (*visit).newToken,
		"POST /ui/tokens/revoke":  (*visit).revokeToken,
		"GET /ui/device":          (*visit).showDevice,
		"POST /ui/device":         (*visit).confirmDevice,
		"/ui/":                    (*visit).nothing,
		"POST /auth/device":       (*visit).beginDevice,
		"POST /auth/device/token": (*visit).pollDevice,
		"/auth/device":            (*visit).nothing,
		"/auth/device/token":      (*visit).nothing,
		"GET /ui/style.css":       (*visit).style,
	} {
		h.mux.HandleFunc(pattern, h.serve(show))
	}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// A visit is one request and its answer.
type visit struct {
	*Handler
	w      http.ResponseWriter
	r      *http.Request
	origin server.Origin
}

// serve goes from the request to its page. What concerns all of them is here.
func (h *Handler) serve(show func(*visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Handler: h, w: w, r: r, origin: server.OriginOf(r.Context())}
		v.addHeaders()
		err := v.check()
		if err == nil {
			err = show(v)
		}
		if err != nil {
			v.fail(err)
		}
	}
}

func (v *visit) addHeaders() {
	h := v.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Referrer-Policy", "same-origin") // without any, browsers hide where a form comes from
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// check refuses what no page may answer: cookies and passwords in the clear, and
// changes that another site asks for.
func (v *visit) check() error {
	u, err := url.Parse(v.origin.Base)
	switch {
	case err != nil || u.Host == "":
		return &failure{http.StatusBadRequest, "The address of this registry is not known", "An administrator can set http.host."}
	case u.Scheme != "https" && !loopback(u.Hostname()):
		return &failure{http.StatusForbidden, "These pages need https",
			"Behind a proxy that speaks https, an administrator can set http.host to the https address, or http.trustedproxies."}
	}
	if err := v.guard.Check(v.r); err != nil {
		return &failure{http.StatusForbidden, "This came from another site", "Nothing was changed. Begin again from the pages of this registry."}
	}
	return nil
}

// home shows who is logged in.
func (v *visit) home() error {
	user, err := v.user()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "home", user, "Welcome", nil)
}

func (v *visit) nothing() error {
	return &failure{http.StatusNotFound, "There is no such page", "The address may be mistyped, or the page is gone."}
}

func (v *visit) style() error {
	h := v.w.Header()
	h.Set("Cache-Control", "max-age=3600")
	h.Set("Content-Type", "text/css; charset=utf-8")
	data, err := files.ReadFile("page/style.css")
	if err != nil {
		return err
	}
	_, _ = v.w.Write(data) // who has left is not there to be told
	return nil
}
