package web

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/auth"
)

// A view is what a page is made of.
type view struct {
	Title  string
	Prefix string // in front of every path
	User   auth.Identity
	Tokens bool // personal tokens can be made
	Data   any
}

// parsePages returns every page in its frame, by name.
func parsePages() (map[string]*template.Template, error) {
	pages := make(map[string]*template.Template)
	for _, name := range []string{"home", "login", "tokens", "device", "error"} {
		t, err := template.New("frame.html").Funcs(template.FuncMap{"day": day, "join": join}).ParseFS(files, "page/frame.html", "page/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parse a page: %w", err)
		}
		pages[name] = t
	}
	return pages, nil
}

// day tells a moment as pages show it.
func day(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02")
}

// join lists words; all of them when none is named.
func join(words []string) string {
	if len(words) == 0 {
		return "all"
	}
	return strings.Join(words, ", ")
}

// show answers with a page. It is made whole before its first byte is sent.
func (v *visit) show(status int, page string, user auth.Identity, title string, data any) error {
	var b bytes.Buffer
	err := v.pages[page].Execute(&b, view{title, v.origin.Prefix, user, v.o.Tokens != nil, data})
	if err != nil {
		return fmt.Errorf("make the page %s: %w", page, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = b.WriteTo(v.w) // who has left is not there to be told
	return nil
}

// redirect sends the browser to a path of this handler, or to a whole address.
func (v *visit) redirect(to string) error {
	if strings.HasPrefix(to, "/") {
		to = v.origin.Prefix + to
	}
	v.w.Header().Set("Location", to)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// A failure is a page that says what went wrong, and what to do.
type failure struct {
	status        int
	Title, Advice string
}

func (f *failure) Error() string { return f.Title }

// ErrNoToken is returned for a personal token that is not there, or is another
// user's.
var ErrNoToken = errors.New("there is no such token")

// An InvalidError says why a token cannot be made.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return e.Reason }

// failureOf turns an error into what the visitor is told. The rest is for the
// log.
func (v *visit) failureOf(err error) *failure {
	var (
		told      *failure
		rejected  *auth.RejectedError
		throttled *auth.ThrottledError
		large     *http.MaxBytesError
	)
	switch {
	case errors.As(err, &told):
		return told
	case errors.As(err, &throttled):
		v.w.Header().Set("Retry-After", fmt.Sprint(int(throttled.RetryAfter.Seconds())+1))
		return &failure{http.StatusTooManyRequests, "Too many attempts", "Wait a minute, then try again."}
	case errors.As(err, &rejected) && rejected.Told != "":
		return &failure{http.StatusUnauthorized, "You cannot be signed in", sentence(rejected.Told) + v.reference()}
	case errors.Is(err, auth.ErrBadCredentials):
		return &failure{http.StatusUnauthorized, "You cannot be signed in", "The user name or the password is wrong." + v.reference()}
	case errors.Is(err, ErrNoToken):
		return &failure{http.StatusNotFound, "There is no such token", "It may have been revoked already."}
	case errors.As(err, &large):
		return &failure{http.StatusRequestEntityTooLarge, "The form is too large", "Shorten what you have written."}
	}
	v.o.Log.ErrorContext(v.r.Context(), "a page failed", "ref", v.origin.RequestID, "path", v.r.URL.Path, "error", err)
	return &failure{http.StatusServiceUnavailable, "This does not work now",
		"Try again in a minute. If it stays like this, tell an administrator the reference " + v.origin.RequestID + "."}
}

// reference is what a refusal ends in, by which an administrator finds it in the
// log and the audit.
func (v *visit) reference() string { return " (ref " + v.origin.RequestID + ")" }

// fail answers with an error.
func (v *visit) fail(err error) {
	f := v.failureOf(err)
	if strings.HasPrefix(v.r.URL.Path, "/auth/") {
		v.answer(f.status, map[string]any{"error": "invalid_request", "error_description": f.Title + ": " + f.Advice})
		return
	}
	if err := v.show(f.status, "error", auth.Identity{}, f.Title, f); err != nil {
		v.o.Log.ErrorContext(v.r.Context(), "the page of errors failed", "error", err)
		v.w.WriteHeader(http.StatusInternalServerError)
	}
}

// sentence returns s, which begins with a letter, as a sentence.
func sentence(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:] + "."
}
