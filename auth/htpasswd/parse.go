package htpasswd

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"

	"berth/auth"
)

// Bounds of a password file, in bytes.
const (
	maxFile = 16 << 20
	maxLine = 4096
)

// A user is an entry of the file. An entry whose hash cannot be checked stands
// for a user who cannot log in: the name is taken all the same.
type user struct {
	hash    string // empty when it cannot be checked
	cost    int
	version string
	entry   Entry
}

// An Entry is what a password file says of a user, without the hash.
type Entry struct {
	Line   int
	Scheme string // in which the password is kept, such as bcrypt
	Cost   int    // of bcrypt
	// Problem says why the user cannot log in; "" when he can.
	Problem string
}

// A warning says what is wrong with one line; the others are of use.
type warning struct {
	line   int
	user   string
	reason string
}

// parse parses a password file: lines of a name, a colon and a hash; empty
// lines, and comments after '#' at the start. Of several lines for one name
// the last counts, as in Distribution. A line that is none of these makes the
// whole file broken.
func parse(data []byte) (map[string]user, []warning, error) {
	users := make(map[string]user)
	var warnings []warning
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if len(line) > maxLine {
			return nil, nil, fmt.Errorf("line %d is longer than %d bytes", n, maxLine)
		}
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(text, ":")
		if !ok || name == "" {
			return nil, nil, fmt.Errorf("line %d is not of the form user:hash", n)
		}
		if err := auth.CheckName(name); err != nil {
			warnings = append(warnings, warning{n, clean(name), err.Error()})
			continue
		}
		if _, ok := users[name]; ok {
			warnings = append(warnings, warning{n, name, "the user has an earlier line, which does not count"})
		}
		u, err := newUser(hash)
		u.entry = Entry{Line: n, Scheme: scheme(hash), Cost: u.cost}
		if err != nil {
			u.entry.Problem = err.Error()
			warnings = append(warnings, warning{n, name, err.Error()})
		}
		users[name] = u
	}
	return users, warnings, nil
}

func newUser(hash string) (user, error) {
	sum := sha256.Sum256([]byte("htpasswd\x00" + hash))
	u := user{version: base64.RawURLEncoding.EncodeToString(sum[:12])}
	cost, err := auth.HashCost(hash)
	if err != nil {
		return u, fmt.Errorf("the user cannot log in: the password is kept as %s: %w; make the line anew with htpasswd -B", scheme(hash), err)
	}
	u.hash, u.cost = hash, cost
	return u, nil
}

// scheme names the scheme of a hash, for people.
func scheme(hash string) string {
	for _, s := range []struct{ prefix, name string }{
		{"$2", "bcrypt"},
		{"$apr1$", "MD5 (apr1)"},
		{"$1$", "MD5 (crypt)"},
		{"$5$", "SHA-256 (crypt)"},
		{"$6$", "SHA-512 (crypt)"},
		{"{SHA}", "SHA-1"},
		{"{SSHA}", "salted SHA-1"},
		{"$argon2", "Argon2"},
		{"$y$", "yescrypt"},
	} {
		if strings.HasPrefix(hash, s.prefix) {
			return s.name
		}
	}
	if len(hash) == 13 {
		return "DES (crypt) or plain text"
	}
	return "plain text or an unknown scheme"
}

// clean makes a name fit to be shown.
func clean(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
	return name[:min(len(name), auth.MaxName)]
}
