package trust

import (
	"context"
	"fmt"
	"strings"

	"berth/auth"
	"berth/auth/jwks"
)

// An Explanation says what each rule makes of a token. It holds claims, and
// nothing that could be used as the token.
type Explanation struct {
	Rules []RuleExplanation `json:"rules"`
	User  string            `json:"user,omitempty"` // whom the first rule makes of its bearer that takes it
}

// A RuleExplanation is how a token fulfils the conditions of one rule.
type RuleExplanation struct {
	Rule   string  `json:"rule"`
	OK     bool    `json:"ok"`
	Checks []Check `json:"checks"`
}

// Explain says what each rule makes of a token. It is not presented by that.
// Errors: that it is no token.
func (t *Trust) Explain(ctx context.Context, raw auth.Secret) (Explanation, error) {
	token, err := jwks.ParseToken(strings.TrimSpace(raw.Reveal()))
	if err != nil {
		return Explanation{}, fmt.Errorf("this is no signed token (JWT): %w", err)
	}
	e := Explanation{Rules: []RuleExplanation{}}
	signed := make(signatures)
	for _, r := range t.state.Load().rules {
		checks, name := r.checks(token.Claims, t.now())
		checks = append(checks, signed.check(ctx, token, r))
		one := RuleExplanation{Rule: r.Name, OK: true, Checks: checks}
		for _, c := range checks {
			one.OK = one.OK && c.OK
		}
		if one.OK && e.User == "" {
			e.User = name
		}
		e.Rules = append(e.Rules, one)
	}
	return e, nil
}

// check is the condition of the signature. The keys of an issuer are not asked
// for a token that is of another.
func (s signatures) check(ctx context.Context, token *jwks.Token, r *rule) Check {
	c := Check{Condition: signature, Wanted: "of a key of " + r.Issuer, Found: "not looked at: it is of another issuer"}
	if token.Claims.Text("iss") != r.Issuer {
		return c
	}
	ok, err := s.verify(ctx, token, r)
	kid := "no key by name"
	if token.Header.KeyID != "" {
		kid = "key " + shown(token.Header.KeyID)
	}
	switch {
	case err != nil:
		c.Found = err.Error()
	case ok:
		c.Found, c.OK = token.Header.Algorithm+" by "+kid, true
	default:
		c.Found = "wrong: it says " + token.Header.Algorithm + " by " + kid
	}
	return c
}

// String returns e as lines of text.
func (e Explanation) String() string {
	var b strings.Builder
	for _, r := range e.Rules {
		answer := "does not take the token"
		if r.OK {
			answer = "takes the token"
		}
		fmt.Fprintf(&b, "trust %s %s\n", r.Rule, answer)
		for _, c := range r.Checks {
			mark := "no "
			if c.OK {
				mark = "ok "
			}
			fmt.Fprintf(&b, "  %s %s: wanted %s, found %s\n", mark, c.Condition, c.Wanted, c.Found)
		}
	}
	if e.User == "" {
		b.WriteString("no rule of trust takes the token\n")
	} else {
		fmt.Fprintf(&b, "its bearer is %s\n", e.User)
	}
	return b.String()
}
