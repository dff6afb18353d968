package web

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"berth/auth"
)

// localPath returns where to go after a login: the path of a page here, whatever
// was asked for. What a browser could take for another site is none.
func localPath(s string) string {
	const home, most = "/ui/", 512
	u, err := url.Parse(s)
	if err != nil || len(s) > most || !strings.HasPrefix(s, home) || strings.ContainsAny(s, "\\%") || strings.Contains(s, "//") {
		return home
	}
	if u.Scheme != "" || u.Host != "" || u.User != nil || u.Fragment != "" || !clean(s) || strings.Contains(s, "/.") {
		return home
	}
	return s
}

// clean reports whether a text has nothing but what is seen.
func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// shown returns what a client says of itself, as far as it can be shown.
func shown(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// word returns an error code of OAuth, or that it is none.
func word(s string) string {
	if s == "" || len(s) > 64 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "nothing that can be shown"
	}
	return s
}

// reason returns what the log says of a refusal.
func reason(err error) string {
	var rejected *auth.RejectedError
	if errors.As(err, &rejected) {
		return rejected.Reason
	}
	return err.Error()
}

func badForm(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	return &failure{http.StatusBadRequest, "The form is not well-formed", "Go back and send it again."}
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func decode(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }
