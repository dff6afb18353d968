package ldap

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	goldap "github.com/go-ldap/ldap/v3"

	"berth/auth"
)

// A DownError says that no server of a directory can be asked now.
type DownError struct {
	Directory string
	Err       error // of the first server
}

func (e *DownError) Error() string {
	return fmt.Sprintf("the directory %s does not answer: %v", e.Directory, e.Err)
}

func (e *DownError) Unwrap() error { return e.Err }

// What a user whose password was right is told.
const (
	toldExpired = "your password has expired: change it in the directory, and log in again"
	toldChange  = "your password must be changed in the directory before you can log in"
)

// subcode finds the number in the diagnostic of Active Directory:
// "… AcceptSecurityContext error, data 52e, v4563".
var subcode = regexp.MustCompile(`\bdata ([0-9a-fA-F]{3,8})\b`)

// reasons are what the numbers of Active Directory mean.
var reasons = map[string]auth.RejectedError{
	"525": {Reason: "no such user (525)"},
	"52e": {Reason: "wrong password (52e)"},
	"530": {Reason: "not at this time of the day (530)"},
	"531": {Reason: "not from this computer (531)"},
	"532": {Reason: "password expired (532)", Told: toldExpired},
	"533": {Reason: "account disabled (533)"},
	"701": {Reason: "account expired (701)"},
	"773": {Reason: "password must be changed (773)", Told: toldChange},
	"775": {Reason: "account locked (775)"},
}

// Errors of the password policy that a right password leads to or that lock
// (draft-behera-ldap-password-policy, 6.2).
const (
	policyExpired = 0
	policyLocked  = 1
	policyChange  = 2
)

// judge says what the answer to the bind of a user means: nil for a right
// password, a *auth.RejectedError, or another error when nothing is said about
// the password.
func judge(err error, policy *goldap.ControlBeheraPasswordPolicy) error {
	if policy != nil {
		switch {
		case policy.Error == policyChange:
			return &auth.RejectedError{Reason: "password must be changed (pwdReset)", Told: toldChange}
		case policy.Error == policyExpired && err != nil:
			return &auth.RejectedError{Reason: "password expired (ppolicy)", Told: toldExpired}
		case policy.Error == policyLocked && err != nil:
			return &auth.RejectedError{Reason: "account locked (ppolicy)"}
		}
	}
	var e *goldap.Error
	if err == nil || !errors.As(err, &e) || !isAnswer(err) {
		return err
	}
	switch e.ResultCode {
	case goldap.LDAPResultInvalidCredentials:
		return invalidCredentials(e)
	case goldap.LDAPResultNoSuchObject, goldap.LDAPResultInvalidDNSyntax, goldap.LDAPResultInappropriateAuthentication,
		goldap.LDAPResultInsufficientAccessRights, goldap.LDAPResultUnwillingToPerform, goldap.LDAPResultConstraintViolation:
		return &auth.RejectedError{Reason: explain(err).Error()}
	}
	return fmt.Errorf("the directory verifies no password: %w", explain(err))
}

func invalidCredentials(e *goldap.Error) error {
	if e.Err != nil {
		if m := subcode.FindStringSubmatch(e.Err.Error()); m != nil {
			code := strings.ToLower(m[1])
			if known, ok := reasons[code]; ok {
				return &known
			}
			return &auth.RejectedError{Reason: "refused (" + code + ")"}
		}
	}
	return &auth.RejectedError{Reason: "wrong password"}
}

// explain adds to a directory's answer what to do about it, and takes out of it
// what is no clean text.
func explain(err error) error {
	var e *goldap.Error
	if !errors.As(err, &e) {
		return err
	}
	text := goldap.LDAPResultCodeMap[e.ResultCode]
	if e.Err != nil && e.Err.Error() != "" {
		text += ": " + clean(e.Err.Error())
	}
	if hint := hintOf(e.ResultCode); hint != "" {
		text += "; " + hint
	}
	return &answerError{text, err}
}

// An answerError is a directory's answer in words for people.
type answerError struct {
	text string
	err  error
}

func (e *answerError) Error() string { return e.text }
func (e *answerError) Unwrap() error { return e.err }

// hintOf says what to do about a result code (RFC 4511, appendix A).
func hintOf(code uint16) string {
	switch code {
	case goldap.LDAPResultStrongAuthRequired, goldap.LDAPResultConfidentialityRequired:
		return "it wants TLS: use ldaps:// or starttls: true"
	case goldap.LDAPResultOperationsError, goldap.LDAPResultInsufficientAccessRights:
		return "who searches may not: set binddn to an account that may read users and groups"
	case goldap.LDAPResultReferral:
		return "the base is another server's: name that one in urls, or another base"
	case goldap.LDAPResultNoSuchObject:
		return "there is no such base, or who searches may not see it"
	case goldap.LDAPResultInappropriateMatching, goldap.LDAPResultUnavailableCriticalExtension:
		return "it has no such rule: is it Active Directory?"
	}
	return ""
}

// clean returns text that the directory sent as one line of bounded length.
func clean(s string) string {
	const most = 200
	return oneLine(strings.ToValidUTF8(s[:min(len(s), most)], ""))
}

// oneLine returns s without line breaks and other characters that control.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
}
