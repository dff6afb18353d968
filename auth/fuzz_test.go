package auth

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParseScopes: whatever is asked for, a scope has a type that there is, a
// name of bounded length and sorted actions, stands there once, and is read
// again as what it is.
func FuzzParseScopes(f *testing.F) {
	f.Fuzz(func(t *testing.T, value string) {
		scopes := ParseScopes([]string{value})
		if len(scopes) > CountScopes([]string{value}) {
			t.Fatalf("%q: %d scopes, counted as %d", value, len(scopes), CountScopes([]string{value}))
		}
		var text []string
		seen := make(map[[2]string]bool)
		for _, s := range scopes {
			if s.Type != "repository" && s.Type != "registry" || s.Name == "" || len(s.Name) > 256 || seen[[2]string{s.Type, s.Name}] {
				t.Errorf("scope %q", s)
			}
			seen[[2]string{s.Type, s.Name}] = true
			if !slices.IsSorted(s.Actions) || len(slices.Compact(slices.Clone(s.Actions))) != len(s.Actions) || slices.Contains(s.Actions, "") {
				t.Errorf("actions %q", s.Actions)
			}
			for _, action := range s.Actions {
				if !strings.Contains(value, action) {
					t.Errorf("%q was not asked for in %q", action, value)
				}
			}
			text = append(text, s.String())
		}
		if diff := cmp.Diff(scopes, ParseScopes(text)); diff != "" {
			t.Errorf("parsed again: %s", diff)
		}
	})
}

// FuzzParseBasic: the credentials are all that the header says, and the header
// is the only way to say them.
func FuzzParseBasic(f *testing.F) {
	f.Fuzz(func(t *testing.T, header string) {
		c, ok := ParseBasic(header)
		if !ok {
			if c != (Credentials{}) {
				t.Errorf("ParseBasic(%q): credentials that are none", header)
			}
			return
		}
		again := "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password.Reveal()))
		if !strings.EqualFold(strings.Fields(again)[0], strings.Fields(header)[0]) ||
			strings.Fields(again)[1] != strings.Fields(header)[1] {
			t.Errorf("ParseBasic(%q) is what %q says", header, again)
		}
		if strings.Contains(c.User, ":") {
			t.Errorf("ParseBasic(%q): user %q", header, c.User)
		}
		if _, ok := ParseBearer(header); ok {
			t.Errorf("%q is of two schemes", header)
		}
	})
}

// FuzzParseBearer: a token is one word of the grammar, and all of the header.
func FuzzParseBearer(f *testing.F) {
	f.Fuzz(func(t *testing.T, header string) {
		token, ok := ParseBearer(header)
		if !ok {
			if token != "" {
				t.Errorf("ParseBearer(%q): a token that is none", header)
			}
			return
		}
		if token == "" || strings.ContainsFunc(token, notToken68) || !strings.HasSuffix(strings.TrimRight(header, " "), " "+token) {
			t.Errorf("ParseBearer(%q) = %q", header, token)
		}
		if again, ok := ParseBearer("Bearer " + token); !ok || again != token {
			t.Errorf("ParseBearer(%q) = %q, and then %q", header, token, again)
		}
	})
}

// FuzzCheckName: what may be a user's name is clean text, and none of the words
// that mean everybody.
func FuzzCheckName(f *testing.F) {
	f.Fuzz(func(t *testing.T, name, password string) {
		ok := plausible(Credentials{User: name, Password: Secret(password)})
		if named := CheckName(name) == nil; ok && !named {
			t.Errorf("%q is no name, and asked for", name)
		}
		if ok && (password == "" || len(password) > maxCredential || strings.Contains(password, "\x00")) {
			t.Errorf("the password %q is asked for", password)
		}
		if CheckName(name) == nil && (name == "" || name == "*" || name == "anonymous" || len(name) > MaxName || strings.ContainsAny(name, "\x00\r\n\x1b\x7f")) {
			t.Errorf("%q may be a user", name)
		}
		if CheckPassword(Secret(password)) == nil && (password == "" || len(password) > maxPassword) {
			t.Errorf("%q may be a password", password)
		}
	})
}
