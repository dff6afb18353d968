package trust

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/auth"
	"berth/auth/jwks"
)

// leeway is how far the clock of an issuer may be ahead.
const leeway = time.Minute

// A Check is one condition of a rule, and how a token fulfils it.
type Check struct {
	Condition string `json:"condition"` // issuer, signature, audience, expires …, or "claim" and its path
	Wanted    string `json:"wanted"`
	Found     string `json:"found"`
	OK        bool   `json:"ok"`
}

func (c Check) String() string {
	return fmt.Sprintf("%s is %s, and must be %s", c.Condition, c.Found, c.Wanted)
}

// Conditions with names of their own.
const (
	issuer    = "issuer"
	signature = "signature"
	audience  = "audience"
	expires   = "expires"
	issued    = "issued"
	notBefore = "not before"
	user      = "user"
)

// temporal reports whether time alone can fulfil the condition, or did.
func (c Check) temporal() bool {
	return c.Condition == expires || c.Condition == issued || c.Condition == notBefore
}

// nothing is found where a claim is not there.
const nothing = "nothing"

// checks returns all conditions of r but the signature, as claims fulfil them,
// and the name of the user when they fulfil that of the name.
func (r *rule) checks(claims jwks.Claims, now time.Time) (checks []Check, name string) {
	iss := claims.Text("iss")
	checks = append(checks, Check{issuer, r.Issuer, shown(iss), iss == r.Issuer})
	aud := claims.Audience()
	checks = append(checks, Check{audience, r.Audience, shown(aud...), slices.Contains(aud, r.Audience)})
	checks = append(checks, r.times(claims, now)...)
	for _, path := range r.wanted {
		value, _ := claims.Lookup(path)
		found, values := jwks.Texts(value), r.Match[path]
		ok := slices.ContainsFunc(found, func(s string) bool { return slices.Contains(values, s) })
		checks = append(checks, Check{"claim " + path, strings.Join(values, " or "), shown(found...), ok})
	}
	name, err := r.template.fill(claims)
	if err == nil {
		name = r.Name + "/" + name
		err = auth.CheckName(name)
	}
	found := name
	if err != nil {
		found, name = err.Error(), ""
	}
	return append(checks, Check{user, r.Name + "/" + r.User, found, err == nil}), name
}

// times checks exp, iat and nbf. The first two must be there.
func (r *rule) times(claims jwks.Claims, now time.Time) []Check {
	told := func(at time.Time, found bool, err error) string {
		switch {
		case err != nil:
			return "no time"
		case !found:
			return nothing
		}
		return at.Format(time.RFC3339)
	}
	exp, found, err := claims.Time("exp")
	checks := []Check{{expires, "later than " + now.UTC().Format(time.RFC3339), told(exp, found, err), found && err == nil && now.Before(exp)}}
	iat, found, err := claims.Time("iat")
	ok := found && err == nil && now.Sub(iat) <= r.MaxAge && !iat.After(now.Add(leeway))
	checks = append(checks, Check{issued, fmt.Sprintf("within the last %s", r.MaxAge), told(iat, found, err), ok})
	if nbf, found, err := claims.Time("nbf"); found {
		checks = append(checks, Check{notBefore, "not in the future", told(nbf, found, err), err == nil && !nbf.After(now.Add(leeway))})
	}
	return checks
}

// until returns when r stops to take a token whose times are right.
func (r *rule) until(claims jwks.Claims) time.Time {
	exp, _, _ := claims.Time("exp")
	iat, _, _ := claims.Time("iat")
	if end := iat.Add(r.MaxAge); end.Before(exp) {
		return end
	}
	return exp
}

// shown returns values for people, bounded.
func shown(values ...string) string {
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return nothing
	}
	const most = 256
	s := strings.Join(values, ", ")
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.Map(func(c rune) rune {
		if !clean(string(c)) {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}
