package ldap

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"berth/auth"
)

// From when on a step is slow, or so slow that clients give up.
const (
	slowStep = 500 * time.Millisecond
	badStep  = 2 * time.Second
	// soon is how long a certificate is still good for when it is worth a word.
	soon = 30 * 24 * time.Hour
)

// A Report says how a directory answers about one user, step by step. It holds
// nothing secret.
type Report struct {
	Directory string `json:"directory"`
	// OK is true when the user would get in, or is found when no password was
	// given.
	OK     bool     `json:"ok"`
	Name   string   `json:"name,omitempty"` // as rules and logs spell it
	Groups []string `json:"groups,omitempty"`
	Steps  []Step   `json:"steps"`
}

// A Step is one thing that was tried.
type Step struct {
	Name     string        `json:"name"`
	Duration time.Duration `json:"duration"` // in ns
	// Detail is what was found, a line each.
	Detail []string `json:"detail,omitempty"`
	// Warning is what is not as it should be and no error.
	Warning string `json:"warning,omitempty"`
	// Error is why the step failed, Hint what to do about it.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

func (s *Step) say(format string, args ...any) {
	s.Detail = append(s.Detail, fmt.Sprintf(format, args...))
}

// step runs f as the next step, and reports whether it succeeded.
func (r *Report) step(name string, f func(*Step) error) bool {
	s := Step{Name: name}
	began := time.Now()
	err := f(&s)
	s.Duration = time.Since(began)
	switch {
	case err != nil:
		s.Error, s.Hint = err.Error(), hint(err)
	case s.Duration > badStep:
		s.Warning = join(s.Warning, fmt.Sprintf("it took more than %v, clients may give up: is a nearer server in urls, and what is searched indexed?", badStep))
	case s.Duration > slowStep:
		s.Warning = join(s.Warning, fmt.Sprintf("it took more than %v: is what is searched indexed?", slowStep))
	}
	r.Steps = append(r.Steps, s)
	return err == nil
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// Diagnose tries every step of a login of user and says how it went. Nothing
// that is remembered is used, and a wrong password counts in the directory.
func (d *Directory) Diagnose(ctx context.Context, user string, password *auth.Secret) Report {
	r := Report{Directory: d.o.Name}
	var c *conn
	for _, s := range d.servers {
		if found := d.diagnoseServer(ctx, &r, s); found != nil && c == nil {
			c = found
		} else if found != nil {
			found.close()
		}
	}
	if c == nil {
		return r
	}
	defer c.close()
	if d.direct() {
		d.diagnoseDirect(ctx, &r, c, user, password)
	} else {
		d.diagnoseUser(ctx, &r, c, user, password)
	}
	return r
}

// diagnoseServer connects to a server and binds as the service account. It
// returns the connection, or nil.
func (d *Directory) diagnoseServer(ctx context.Context, r *Report, s *server) (c *conn) {
	ok := r.step("connect to "+s.url, func(step *Step) (err error) {
		if c, err = d.dial(ctx, s); err != nil {
			step.showChain(d.o.Now(), chainOf(err))
			return err
		}
		if state, ok := c.ldap.TLSConnectionState(); ok {
			step.say("%s, %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
			step.showChain(d.o.Now(), state.PeerCertificates)
		} else {
			step.Warning = "passwords go in clear text: use ldaps:// or starttls: true"
		}
		return nil
	})
	if !ok {
		return nil
	}
	if d.o.BindDN != "" {
		ok = r.step("bind as "+d.o.BindDN, func(*Step) error {
			password, err := d.servicePassword()
			if err != nil {
				return err
			}
			return d.bindService(ctx, c, password)
		})
	}
	ok = ok && r.step("ask "+s.url+" about itself", func(step *Step) error {
		if err := c.readFacts(ctx, d.o.ActiveDirectory); err != nil {
			return err
		}
		d.showFacts(step, c.facts)
		return nil
	})
	if !ok {
		c.close()
		return nil
	}
	return c
}

func (d *Directory) showFacts(step *Step, f facts) {
	if !f.known {
		step.Warning = "it does not say anything of itself: its rootDSE cannot be read"
		return
	}
	if f.vendor != "" {
		step.say("vendor: %s", clean(f.vendor))
	}
	step.say("Active Directory: %s, groups in groups in one search: %s, paged results: %s", yes(f.activeDirectory), yes(f.activeDirectory), yes(f.paged))
	if f.base != "" {
		step.say("base: %s", clean(f.base))
	}
	if len(f.domains) > 0 {
		step.say("domains: %s", clean(strings.Join(f.domains, ", ")))
	}
	switch {
	case f.activeDirectory && !d.o.ActiveDirectory:
		step.Warning = "it is an Active Directory: activedirectory: true knows its names and account states"
	case !f.activeDirectory && d.o.ActiveDirectory:
		step.Warning = "it is no Active Directory: leave activedirectory out, and set user and group"
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// diagnoseUser searches the user, and binds as him when there is a password.
func (d *Directory) diagnoseUser(ctx context.Context, r *Report, c *conn, user string, password *auth.Secret) {
	var found *record
	ok := r.step("search the user", func(step *Step) (err error) {
		if err := checkName(user); err != nil {
			return err
		}
		q, ok := d.userQuery(c.facts, user)
		if !ok {
			return errors.New("the name is of another domain")
		}
		step.say("base: %s", q.base)
		step.say("filter: %s", q.filter)
		found, err = d.findOnly(ctx, c, q, user)
		return err
	})
	if !ok || !d.diagnoseFound(ctx, r, c, found) {
		return
	}
	r.OK = found.refusal == nil
	if password == nil {
		return
	}
	r.OK = r.step("bind as the user", func(step *Step) error {
		step.say("dn: %s", found.dn)
		if err := checkPassword(*password); err != nil {
			return reasonOf(err)
		}
		return reasonOf(d.prove(ctx, found, *password))
	}) && r.OK
}

// findOnly returns the user of a search, without his groups but with the entry
// that they are read from.
func (d *Directory) findOnly(ctx context.Context, c *conn, q query, said string) (*record, error) {
	entries, err := c.search(ctx, q)
	switch {
	case errors.Is(err, errTooMany):
		return nil, errors.New("more than one entry has that name: narrow user.base or user.filter")
	case err != nil:
		return nil, explain(err)
	case len(entries) == 0:
		return nil, errors.New("no entry is found: check user.base and user.filter, and that binddn may read it")
	}
	name, _ := d.withoutDomain(c.facts, said)
	found, err := d.readUser(entries[0], name)
	if err != nil {
		return nil, reasonOf(err)
	}
	return found, nil
}

// diagnoseFound shows a user who was found, and his groups.
func (d *Directory) diagnoseFound(ctx context.Context, r *Report, c *conn, found *record) bool {
	r.Name = found.identity.Name
	r.step("look at the account", func(step *Step) error {
		step.say("dn: %s", found.dn)
		step.say("name: %s (%s: %s)", found.identity.Name, d.o.User.Name, found.spelled)
		if id := found.identity.ID; id != "" {
			step.say("identifier: %s", id)
		} else {
			step.Warning = "nothing tells him from the next user of his name, who would have his tokens and robots: let berth read entryUUID, objectGUID or nsUniqueId"
		}
		if found.refusal != nil {
			return errors.New(found.refusal.reason)
		}
		step.say("state: may log in")
		return nil
	})
	return r.step("search the groups", func(step *Step) (err error) {
		if r.Groups, err = d.groups(ctx, c, found); err != nil {
			return err
		}
		ways, err := d.ways(ctx, c, found, r.Groups)
		if err != nil {
			return err
		}
		for _, name := range r.Groups {
			step.say("%s: %s", name, cmp.Or(ways[name], "nested"))
		}
		if len(r.Groups) == 0 {
			step.Warning = "he is in no group: check group.base and group.filter"
		}
		return nil
	})
}

// ways says of each group how the user came into it.
func (d *Directory) ways(ctx context.Context, c *conn, found *record, groups []string) (map[string]string, error) {
	ways := make(map[string]string)
	if d.o.Group.Filter == "" {
		for _, name := range groups {
			ways[name] = "memberOf of the user"
		}
		return ways, nil
	}
	walked, err := d.walk(ctx, c, found, true)
	if err != nil {
		return nil, asked("search the groups level by level", err)
	}
	for _, m := range walked {
		switch {
		case ways[m.name] != "":
		case m.primary:
			ways[m.name] = "primary group"
		case m.via != "":
			ways[m.name] = "nested, via " + m.via
		default:
			ways[m.name] = "direct"
		}
	}
	return ways, nil
}

// diagnoseDirect binds as the user by the template.
func (d *Directory) diagnoseDirect(ctx context.Context, r *Report, c *conn, user string, password *auth.Secret) {
	if password == nil {
		r.step("search the user", func(*Step) error { return errNotSeen })
		return
	}
	var found *record
	ok := r.step("bind as the user", func(step *Step) (err error) {
		said, ok := d.inTemplate(user)
		if !ok || checkName(user) != nil {
			return errors.New("the name does not go into user.dn")
		}
		step.say("bind as: %s", d.bindName(said))
		if err := checkPassword(*password); err != nil {
			return reasonOf(err)
		}
		found, err = d.loginDirect(ctx, c, said, *password)
		return reasonOf(err)
	})
	r.OK = ok && d.diagnoseFound(ctx, r, c, found)
}

// reasonOf returns what the audit would be told.
func reasonOf(err error) error {
	var rejected *auth.RejectedError
	if errors.As(err, &rejected) {
		return errors.New(rejected.Reason)
	}
	return err
}

// chainOf returns the certificates that a connection failed for.
func chainOf(err error) []*x509.Certificate {
	var e *tls.CertificateVerificationError
	if errors.As(err, &e) {
		return e.UnverifiedCertificates
	}
	return nil
}

func (s *Step) showChain(now time.Time, chain []*x509.Certificate) {
	for _, cert := range chain {
		s.say("certificate: %s, signed by %s, good until %s", clean(cert.Subject.String()), clean(cert.Issuer.String()), cert.NotAfter.UTC().Format(time.DateOnly))
	}
	if len(chain) > 0 && len(chain[0].DNSNames)+len(chain[0].IPAddresses) > 0 {
		names := slices.Clone(chain[0].DNSNames)
		for _, ip := range chain[0].IPAddresses {
			names = append(names, ip.String())
		}
		s.say("for: %s", clean(strings.Join(names, ", ")))
	}
	first := soon
	for _, cert := range chain {
		if left := cert.NotAfter.Sub(now); left > 0 && left < first {
			first = left
			s.Warning = fmt.Sprintf("a certificate runs out in %d days", int(left.Hours()/24))
		}
	}
}

// hint says what to do about an error, or "".
func hint(err error) string {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		answer    *answerError
	)
	switch {
	case errors.As(err, &authority):
		return "set cafile to the certificate that signed the server's"
	case errors.As(err, &name):
		return "use a name of the certificate in urls, or set servername"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the certificate, and check the clocks"
	case errors.Is(err, errNoAnswer), errors.Is(err, context.DeadlineExceeded):
		return "is the server up, and does a firewall drop packets on the way?"
	case errors.As(err, &answer):
		return "" // it says so itself
	case goldap.IsErrorAnyOf(err, goldap.ErrorNetwork):
		return "the server ended the connection: does it speak TLS on that port, and LDAP at all?"
	}
	return ""
}
