package web

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"berth/auth"
	"berth/auth/oidc"
	"berth/auth/session"
)

const (
	sessionCookie = "berth"
	signInCookie  = "berth-login"
	signInTime    = 10 * time.Minute // between the way to a provider and the way back
)

// cookie returns a cookie of that name. Over https no other host and no page in
// the clear can have set it: that is what the prefix stands for.
func (v *visit) cookie(name, value string, age time.Duration) *http.Cookie {
	c := &http.Cookie{Name: v.cookieName(name), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: v.secure()}
	c.MaxAge = int(age.Seconds())
	if age == 0 {
		c.MaxAge = -1
	}
	return c
}

func (v *visit) cookieName(name string) string {
	if v.secure() {
		return "__Host-" + name
	}
	return name
}

func (v *visit) secure() bool { return strings.HasPrefix(v.origin.Base, "https://") }

// loopback reports whether a host is this machine by its name or address.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// read returns the value of a cookie, "" when it is not there exactly once.
func (v *visit) read(name string) string {
	if found := v.r.CookiesNamed(v.cookieName(name)); len(found) == 1 {
		return found[0].Value
	}
	return ""
}

// user returns who is logged in, or nobody.
func (v *visit) user() (auth.Identity, error) {
	secret := v.read(sessionCookie)
	if secret == "" {
		return auth.Identity{}, nil
	}
	id, err := v.o.Sessions.Find(v.r.Context(), auth.Secret(secret))
	if errors.Is(err, auth.ErrBadCredentials) {
		http.SetCookie(v.w, v.cookie(sessionCookie, "", 0))
		return auth.Identity{}, nil
	}
	return id, err
}

// errGone stops a page that needs a login: its visitor is on the way to one.
var errGone = errors.New("sent to the login")

// must returns who is logged in. Who is not is sent to the login, and errGone is
// returned.
func (v *visit) must() (auth.Identity, error) {
	user, err := v.user()
	if err != nil || !user.Anonymous() {
		return user, err
	}
	if v.r.Method == http.MethodPost {
		return user, &failure{http.StatusUnauthorized, "You are not signed in any more", "Sign in, and do it again."}
	}
	return user, errGone
}

// withUser adapts a page that needs a login.
func (v *visit) withUser(show func(auth.Identity) error) error {
	user, err := v.must()
	if errors.Is(err, errGone) {
		return v.redirect("/ui/login?return_to=" + url.QueryEscape(v.r.URL.Path))
	}
	if err != nil {
		return err
	}
	return show(user)
}

// A loginPage is what the page of logins shows.
type loginPage struct {
	Providers []string
	Passwords bool
	ReturnTo  string
	User      string // that was tried
	Wrong     string
}

func (v *visit) loginPage(returnTo string) loginPage {
	p := loginPage{Passwords: v.o.Passwords(), ReturnTo: returnTo}
	for _, provider := range v.o.Providers() {
		p.Providers = append(p.Providers, provider.Name())
	}
	return p
}

func (v *visit) showLogin() error {
	returnTo := localPath(v.r.URL.Query().Get("return_to"))
	if user, err := v.user(); err == nil && !user.Anonymous() {
		return v.redirect(returnTo)
	}
	return v.show(http.StatusOK, "login", auth.Identity{}, "Sign in", v.loginPage(returnTo))
}

// login is that with a password.
func (v *visit) login() error {
	if err := v.r.ParseForm(); err != nil {
		return badForm(err)
	}
	form := v.r.PostForm
	returnTo := localPath(form.Get("return_to"))
	c := auth.Credentials{User: form.Get("user"), Password: auth.Secret(form.Get("password")), Addr: v.origin.Addr}
	id, err := v.o.Verifier.Verify(v.r.Context(), c)
	if err == nil {
		err = v.begin(id, returnTo)
	}
	if err == nil {
		return nil
	}
	var rejected *auth.RejectedError
	page := v.loginPage(returnTo)
	page.User = c.User
	switch {
	case errors.Is(err, session.ErrNoPerson) && id.Limit == nil:
		page.Wrong = "These pages are for people. A workload has no personal tokens: it gives its signed token (JWT) as the password to docker login; " +
			"where it has none, an administrator makes a robot."
	case errors.Is(err, session.ErrNoPerson):
		page.Wrong = "Sign in with your user name and password: a token is not enough here."
	case errors.As(err, &rejected) && rejected.Told != "":
		page.Wrong = sentence(rejected.Told)
	case errors.Is(err, auth.ErrBadCredentials):
		page.Wrong = "The user name or the password is wrong."
	default:
		return err
	}
	return v.show(http.StatusUnauthorized, "login", auth.Identity{}, "Sign in", page)
}

// begin makes a session, in the place of the one that there may be.
func (v *visit) begin(id auth.Identity, returnTo string) error {
	secret, err := v.o.Sessions.Begin(v.r.Context(), id)
	if err != nil {
		return err
	}
	if old := v.read(sessionCookie); old != "" {
		if err := v.o.Sessions.End(v.r.Context(), auth.Secret(old)); err != nil {
			return err
		}
	}
	const browserSession = 7 * 24 * time.Hour // the server ends it earlier
	http.SetCookie(v.w, v.cookie(sessionCookie, secret.Reveal(), browserSession))
	return v.redirect(returnTo)
}

func (v *visit) logout() error {
	if err := v.o.Sessions.End(v.r.Context(), auth.Secret(v.read(sessionCookie))); err != nil {
		return err
	}
	http.SetCookie(v.w, v.cookie(sessionCookie, "", 0))
	return v.redirect("/ui/login")
}

// A signIn is one on its way to a provider and back, sealed in a cookie of the
// browser that began it.
type signIn struct {
	Login    oidc.Login
	ReturnTo string
	Until    time.Time
}

func (v *visit) provider() (Provider, error) {
	for _, p := range v.o.Providers() {
		if p.Name() == v.r.PathValue("name") {
			return p, nil
		}
	}
	return nil, v.nothing()
}

func (v *visit) callbackURL(p Provider) string { return v.origin.Base + "/ui/callback/" + p.Name() }

// signIn sends the browser to a provider.
func (v *visit) signIn() error {
	p, err := v.provider()
	if err != nil {
		return err
	}
	login, to, err := p.Begin(v.r.Context(), v.callbackURL(p))
	if err != nil {
		v.o.Log.ErrorContext(v.r.Context(), "a sign-in cannot begin", "ref", v.origin.RequestID, "provider", p.Name(), "error", err)
		return &failure{http.StatusServiceUnavailable, p.Name() + " does not answer", "Try again in a minute. Other ways to sign in still work." + v.reference()}
	}
	text, err := json.Marshal(signIn{login, localPath(v.r.URL.Query().Get("return_to")), v.o.Now().Add(signInTime)})
	if err != nil {
		return err
	}
	http.SetCookie(v.w, v.cookie(signInCookie, encode(v.box.Seal(text, p.Name())), signInTime))
	return v.redirect(to)
}

// callback ends a sign-in that this browser began, once.
func (v *visit) callback() error {
	p, err := v.provider()
	if err != nil {
		return err
	}
	s, err := v.returned(p)
	if err != nil {
		return err
	}
	http.SetCookie(v.w, v.cookie(signInCookie, "", 0))
	q := v.r.URL.Query()
	if q.Has("error") {
		v.attempted(p, auth.Identity{}, &auth.RejectedError{Reason: "the provider answers " + word(q.Get("error"))})
		return &failure{http.StatusUnauthorized, p.Name() + " did not let you in",
			"It says " + word(q.Get("error")) + ". Begin again, or ask whoever runs it." + v.reference()}
	}
	id, err := v.finish(p, s, q.Get("code"))
	if errors.As(err, new(*failure)) {
		return err
	}
	v.attempted(p, id, err)
	if err != nil {
		return err
	}
	return v.begin(id, s.ReturnTo)
}

// attempted tells the audit how a sign-in ended, and the log how it was refused.
func (v *visit) attempted(p Provider, id auth.Identity, err error) {
	v.o.Attempted(v.r.Context(), auth.Attempt{User: p.Name() + "/", Addr: v.origin.Addr, Identity: id, Err: err})
	if err != nil {
		v.o.Log.InfoContext(v.r.Context(), "a sign-in was refused", "ref", v.origin.RequestID, "provider", p.Name(), "error", reason(err))
	}
}

// finish ends a sign-in at its provider. Whoever was let in by it is so once.
func (v *visit) finish(p Provider, s signIn, code string) (auth.Identity, error) {
	if !v.used.begin(s.Login.State) {
		return auth.Identity{}, beginAgain()
	}
	in := false
	defer func() { v.used.end(s.Login.State, in, s.Until) }()
	id, err := p.Finish(v.r.Context(), v.callbackURL(p), s.Login, code)
	if err == nil {
		err = v.claim(s)
	}
	in = err == nil
	return id, err
}

// claim makes sure that no other node lets somebody in by the same sign-in.
func (v *visit) claim(s signIn) error {
	if v.o.Ledger == nil {
		return nil
	}
	visitor := rand.Text()
	whose, err := v.o.Ledger.Claim(v.r.Context(), sha256.Sum256([]byte("sign-in "+s.Login.State)), visitor, v.o.Now(), s.Until)
	if err == nil && whose != visitor {
		err = beginAgain()
	}
	return err
}

// beginAgain is the answer to a callback that ends no sign-in of this browser.
func beginAgain() error {
	return &failure{http.StatusBadRequest, "This sign-in cannot be ended",
		"It was begun in another browser, took longer than ten minutes, or has been ended before. Begin again."}
}

// returned returns the sign-in that a callback belongs to.
func (v *visit) returned(p Provider) (signIn, error) {
	var s signIn
	sealed, err := decode(v.read(signInCookie))
	if err != nil {
		return s, beginAgain()
	}
	text, err := v.box.Open(sealed, p.Name())
	if err != nil || json.Unmarshal(text, &s) != nil || !v.o.Now().Before(s.Until) {
		return s, beginAgain()
	}
	q, err := url.ParseQuery(v.r.URL.RawQuery)
	if err != nil || len(q["state"]) != 1 || len(q["code"]) > 1 || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(s.Login.State)) != 1 {
		return s, beginAgain()
	}
	if q.Has("iss") && q.Get("iss") != p.Issuer() {
		return s, beginAgain()
	}
	return s, nil
}
