package ldap

import (
	"strconv"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"berth/auth"
)

// Flags of userAccountControl and msDS-User-Account-Control-Computed.
const (
	flagDisabled        = 0x2
	flagLocked          = 0x10
	flagNeverExpires    = 0x10000
	flagSmartcard       = 0x40000
	flagPasswordExpired = 0x800000
)

// lockedForGood is the pwdAccountLockedTime of who was locked by hand.
const lockedForGood = "000001010000Z"

// stateAttrs are read to know whether an account may be used.
var stateAttrs = []string{
	"userAccountControl", "msDS-User-Account-Control-Computed", "lockoutTime", "accountExpires", "pwdLastSet", // Active Directory
	"nsAccountLock", "krbPrincipalExpiration", // 389 and FreeIPA
	"pwdAccountLockedTime", "pwdReset", // OpenLDAP
}

// A refusal is why an account may not be used.
type refusal struct {
	reason string
	told   string
	// sure is false for what only the answer to a bind tells for certain: a lock
	// that may have ended, or a password that another has followed.
	sure bool
}

func (r *refusal) err() error { return &auth.RejectedError{Reason: r.reason} }

// refusalOf returns why the account of e may not be used now, or nil.
func refusalOf(e *goldap.Entry, now time.Time) *refusal {
	value := func(name string) string { return e.GetEqualFoldAttributeValue(name) }
	switch {
	case number(value("userAccountControl"))&flagDisabled != 0:
		return &refusal{reason: "account disabled (533)", sure: true}
	case strings.EqualFold(value("nsAccountLock"), "TRUE"):
		return &refusal{reason: "account disabled (nsAccountLock)", sure: true}
	case expired(value("accountExpires"), now):
		return &refusal{reason: "account expired (701)", sure: true}
	case before(value("krbPrincipalExpiration"), now):
		return &refusal{reason: "account expired (krbPrincipalExpiration)", sure: true}
	case value("pwdAccountLockedTime") != "":
		return &refusal{reason: "account locked (pwdAccountLockedTime)", sure: value("pwdAccountLockedTime") == lockedForGood}
	case strings.EqualFold(value("pwdReset"), "TRUE"):
		return &refusal{reason: "password must be changed (pwdReset)", told: toldChange}
	}
	return adRefusal(value)
}

// adRefusal is the rest of refusalOf for Active Directory, which computes some
// flags and has others to be computed.
func adRefusal(value func(string) string) *refusal {
	control := number(value("userAccountControl"))
	computed := value("msDS-User-Account-Control-Computed")
	flags := number(computed)
	switch {
	case flags&flagLocked != 0:
		return &refusal{reason: "account locked (775)", sure: true}
	case computed == "" && number(value("lockoutTime")) > 0:
		return &refusal{reason: "account locked (775)"}
	case value("pwdLastSet") == "0" && control&(flagNeverExpires|flagSmartcard) == 0:
		return &refusal{reason: "password must be changed (773)", told: toldChange}
	case flags&flagPasswordExpired != 0:
		return &refusal{reason: "password expired (532)", told: toldExpired}
	}
	return nil
}

// number returns the value of an attribute that is one, and 0 for any other.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// expired reports whether a time of Windows, in 100 ns since 1601, is over. 0
// and the largest number are never.
func expired(s string, now time.Time) bool {
	const ticks, epoch = int64(time.Second / 100), 11644473600
	n := number(s)
	return n > 0 && n/ticks-epoch <= now.Unix()
}

// before reports whether a generalized time (RFC 4517, 3.3.13) in UTC is over.
func before(s string, now time.Time) bool {
	t, err := time.Parse("20060102150405Z", s)
	return err == nil && !t.After(now)
}
