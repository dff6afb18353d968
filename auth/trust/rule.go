package trust

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"berth/auth"
	"berth/auth/jwks"
)

// DefaultMaxAge is how long after it was issued a token is taken when a rule
// does not say.
const DefaultMaxAge = time.Hour

// What a rule may say about a token that comes again.
const (
	ReplayAddress = "address" // only from where it came first; the default
	ReplayOnce    = "once"    // not at all
	ReplayOff     = "off"     // for as long as it lives
)

// A Rule trusts the tokens of one issuer that fulfil all of its conditions.
type Rule struct {
	Name     string // which stands in front of the names of its users
	Kind     string // of the issuer: github, gitlab, kubernetes or other; by its address when empty
	Issuer   string // iss
	Audience string // one of aud
	// Match holds, by the paths of claims, the values that each may have,
	// letter for letter. Of a claim that is a list, one element must be such.
	// One of the claims must be immutable.
	Match  map[string][]string
	User   string   // the name, with {claim} for claims, behind a prefix that ends in ":"
	Groups []string // of the user
	MaxAge time.Duration
	Replay string
	// Keys is where the issuer's keys come from; by discovery when there is
	// nothing but a CAFile.
	Keys jwks.Source
}

// A Fault is what is wrong with one key of a rule, as a configuration spells it.
type Fault struct{ Key, Text string }

var nameForm = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*$`)

// Faults returns all that is wrong with r by itself.
func (r Rule) Faults() []Fault {
	var faults []Fault
	add := func(key, format string, args ...any) {
		faults = append(faults, Fault{key, fmt.Sprintf(format, args...)})
	}
	if !nameForm.MatchString(r.Name) || len(r.Name) > 64 {
		add("name", "it must be a word of small letters and digits, with single . _ or - between")
	}
	if r.Issuer == "" {
		add("issuer", "it is missing: the iss of the tokens, such as https://token.actions.githubusercontent.com")
	}
	if r.Audience == "" {
		add("audience", "it is missing: without one, a token for somebody else would do here")
	}
	if r.Kind != "" && !slices.Contains(kindNames(), r.Kind) {
		add("kind", "%q is none of %s", r.Kind, strings.Join(kindNames(), ", "))
	}
	if text := r.faultOfMatch(); text != "" {
		add("match", "%s", text)
	}
	if _, err := parseTemplate(r.User); err != nil {
		add("user", "%v", err)
	}
	for _, group := range r.Groups {
		if !clean(group) {
			add("groups", "a group must be clean text")
		}
	}
	if r.MaxAge < 0 {
		add("maxage", "it must not be negative")
	}
	if r.Replay != "" && !slices.Contains([]string{ReplayAddress, ReplayOnce, ReplayOff}, r.Replay) {
		add("replay", "%q is none of %s, %s, %s", r.Replay, ReplayAddress, ReplayOnce, ReplayOff)
	}
	if err := r.source().Check(); err != nil && r.Issuer != "" {
		add("jwks", "%v", err)
	}
	return faults
}

// faultOfMatch says what is wrong with the conditions, or "".
func (r Rule) faultOfMatch() string {
	k := kindOf(r.Kind, r.Issuer)
	fixed := false
	for path, values := range r.Match {
		if path == "" || len(values) == 0 {
			return fmt.Sprintf("the claim %q needs a value", path)
		}
		for _, value := range values {
			if value == "" {
				return fmt.Sprintf("a value of %s is empty", path)
			}
			if strings.Contains(value, "*") {
				return fmt.Sprintf("%s: there are no patterns, values are compared letter for letter: list what it may be", path)
			}
		}
		fixed = fixed || slices.Contains(k.immutable, path)
	}
	if fixed {
		return ""
	}
	return fmt.Sprintf("it needs one of the claims that nobody can take over: for an issuer of the kind %s that is %s",
		k.name, strings.Join(k.immutable, ", "))
}

// source returns where the keys come from.
func (r Rule) source() jwks.Source {
	s := r.Keys
	if len(s.JSON) == 0 && s.File == "" && s.Certificates == "" && s.URL == "" {
		s.Issuer = r.Issuer
	}
	return s
}

// A rule is a Rule in force.
type rule struct {
	Rule
	id       string // a hash of all that it says: another rule is another
	template template
	wanted   []string // the claims of Match, sorted
	keys     *jwks.Set
}

// compile returns r without its keys.
// Errors: what is wrong with r.
func compile(r Rule) (*rule, error) {
	var errs []error
	for _, f := range r.Faults() {
		errs = append(errs, fmt.Errorf("trust %s: %s: %s", r.Name, f.Key, f.Text))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	t, err := parseTemplate(r.User)
	if err != nil {
		return nil, err
	}
	if r.MaxAge == 0 {
		r.MaxAge = DefaultMaxAge
	}
	if r.Replay == "" {
		r.Replay = ReplayAddress
	}
	r.Groups = slices.Compact(slices.Sorted(slices.Values(r.Groups)))
	id, err := hash(r)
	if err != nil {
		return nil, fmt.Errorf("name a rule: %w", err)
	}
	return &rule{Rule: r, id: id, template: t, wanted: slices.Sorted(maps.Keys(r.Match))}, nil
}

// hash returns a short name for what v says.
func hash(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:16]), nil
}

// prefix is what the names of the users of r begin with.
func (r *rule) prefix() string { return r.Name + "/" + r.template.texts[0] }

// owns reports whether a name is of r: with claims in it, or as it stands.
func (r *rule) owns(name string) bool {
	if len(r.template.paths) == 0 {
		return name == r.prefix()
	}
	return strings.HasPrefix(name, r.prefix())
}

// identity returns who is called name by r.
func (r *rule) identity(name string) auth.Identity {
	return auth.Identity{Subject: auth.Subject{Provider: r.Name, Name: name}, Groups: slices.Clone(r.Groups)}
}
