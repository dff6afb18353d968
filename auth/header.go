package auth

import (
	"encoding/base64"
	"strings"
)

// ParseBasic parses the value of an Authorization header of the scheme Basic
// (RFC 7617): the base64 of a user name, a colon and a password. Whether the
// two can be anybody's is for the Verifier to say. The name of a robot holds a
// colon itself, and is whole where the secret of a robot follows.
func ParseBasic(header string) (c Credentials, ok bool) {
	encoded, ok := cutScheme(header, "Basic")
	if !ok {
		return Credentials{}, false
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return Credentials{}, false
	}
	user, password, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return Credentials{}, false
	}
	if name, secret, ok := strings.Cut(password, ":"); ok && user+":" == RobotPrefix && RobotForm.Begins(Secret(secret)) {
		user, password = RobotPrefix+name, secret
	}
	return Credentials{User: user, Password: Secret(password)}, true
}

// ParseBearer returns the token in the value of an Authorization header of the
// scheme Bearer (RFC 6750, section 2.1).
func ParseBearer(header string) (token string, ok bool) {
	token, ok = cutScheme(header, "Bearer")
	if !ok || strings.ContainsFunc(token, notToken68) {
		return "", false
	}
	return token, true
}

// cutScheme returns what follows the scheme, whose case does not matter, and
// the spaces after it.
func cutScheme(header, scheme string) (string, bool) {
	name, rest, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(name, scheme) {
		return "", false
	}
	rest = strings.Trim(rest, " ")
	return rest, rest != ""
}

// notToken68 reports whether r cannot be in a token68 (RFC 9110, section 11.2).
func notToken68(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("-._~+/=", r)
}
