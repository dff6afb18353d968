package auth

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sizes of credentials, in bytes. A password may be a signed token, which is
// longer than any password that is kept as a hash.
const (
	MaxName       = 255
	maxCredential = 8192
)

// CheckName says why a name can be no user's: it is empty, reserved
// ("anonymous" and "*" mean everybody in rules), longer than MaxName, or not
// clean text.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case name == "anonymous" || name == "*":
		return fmt.Errorf("the name %q is reserved", name)
	case len(name) > MaxName:
		return fmt.Errorf("the name is longer than %d bytes", MaxName)
	case !utf8.ValidString(name):
		return errors.New("the name is not valid UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("the name holds a control character")
	}
	return nil
}

// CheckPassword says why a password cannot be set: it is empty, longer than
// the 72 bytes that bcrypt looks at, or holds what no client can send.
func CheckPassword(p Secret) error {
	if p == "" {
		return errors.New("the password is empty")
	}
	if len(p) > maxPassword {
		return fmt.Errorf("the password is longer than %d bytes", maxPassword)
	}
	return checkText(p)
}

func checkText(p Secret) error {
	if !utf8.ValidString(string(p)) {
		return errors.New("the password is not valid UTF-8")
	}
	if strings.ContainsRune(string(p), 0) {
		return errors.New("the password holds a NUL byte")
	}
	return nil
}

// plausible reports whether c could be right at all. What could not is refused
// before a backend, and a directory behind it, hears of it.
func plausible(c Credentials) bool {
	return CheckName(c.User) == nil && c.Password != "" && len(c.Password) <= maxCredential && checkText(c.Password) == nil
}
