package ldap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"berth/auth"
)

// Authenticate implements auth.Authenticator. Further errors:
// *auth.ThrottledError when too many wrong passwords of the user have reached
// the directory, *DownError.
func (d *Directory) Authenticate(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	if checkName(c.User) != nil {
		return auth.Identity{}, auth.ErrNoMatch
	}
	authenticate := d.authenticate
	if d.direct() {
		authenticate = d.authenticateDirect
	}
	id, err := authenticate(ctx, c)
	if isWrong(err) && d.o.Hasher != nil {
		if err := d.o.Hasher.Dummy(ctx, c.Password); !errors.Is(err, auth.ErrBadCredentials) {
			return auth.Identity{}, err
		}
	}
	return id, err
}

// authenticate searches the user and binds as him.
func (d *Directory) authenticate(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	r, err := d.newest(ctx, c.User)
	switch {
	case err != nil:
		return auth.Identity{}, err
	case r.refusal != nil && r.refusal.sure:
		return auth.Identity{}, r.refusal.err()
	}
	key := d.keys.proof(c.Password, r.identity.Name, r.identity.Version)
	return d.verify(ctx, c, r.identity.Name, key, func(ctx context.Context) (*record, error) {
		if err := d.prove(ctx, r, c.Password); err != nil {
			return nil, err
		}
		return d.afterLogin(ctx, c.User, r)
	})
}

// newest returns what the directory says of whom people call said now, or said
// a moment ago.
func (d *Directory) newest(ctx context.Context, said string) (*record, error) {
	now := d.o.Now()
	if r, ok := d.known.GetIfPresent(said); ok && now.Sub(r.looked) < d.limits.recent {
		return r, nil
	}
	if a, ok := d.absent.GetIfPresent(said); ok && now.Sub(a.looked) < d.limits.recent {
		return nil, a.err
	}
	return d.lookup(ctx, said)
}

// verify has a password verified by prove, which returns whose it is: not when
// it was wrong a moment ago, not when there were too many wrong ones of the user,
// and once for all who ask at the same time.
func (d *Directory) verify(ctx context.Context, c auth.Credentials, user string, key proof, prove func(context.Context) (*record, error)) (auth.Identity, error) {
	if err := checkPassword(c.Password); err != nil {
		return auth.Identity{}, err
	}
	result := d.verifies.DoChan(string(key[:]), func() (any, error) {
		ctx, cancel := d.question(ctx)
		defer cancel()
		if w, ok := d.wrong.GetIfPresent(key); ok && d.o.Now().Before(w.until) {
			return nil, w.err
		}
		end, err := d.guesses.begin(ctx, user, c.Addr)
		if err != nil {
			return nil, err
		}
		r, err := prove(ctx)
		end(err)
		if errors.Is(err, auth.ErrBadCredentials) {
			d.wrong.Set(key, rejection{err, d.o.Now().Add(rememberWrong)})
		}
		return r, err
	})
	r, err := wait[*record](ctx, result)
	if err != nil {
		return auth.Identity{}, err
	}
	return r.identity, nil
}

// checkPassword refuses what no password in a directory is, and what some
// directories take for none.
func checkPassword(p auth.Secret) error {
	switch s := p.Reveal(); {
	case s == "":
		return &auth.RejectedError{Reason: "the password is empty"}
	case len(s) > maxPassword:
		return &auth.RejectedError{Reason: fmt.Sprintf("the password is longer than %d bytes", maxPassword)}
	case strings.ContainsRune(s, 0):
		return &auth.RejectedError{Reason: "the password holds a NUL byte"}
	}
	return nil
}

// prove binds as the user.
func (d *Directory) prove(ctx context.Context, r *record, password auth.Secret) error {
	return d.asUser(ctx, func(ctx context.Context, c *conn) error {
		policy, err := c.bind(ctx, r.dn, password)
		return judge(err, policy)
	})
}

// afterLogin returns what the directory says of a user whose password was right
// just now: what was known before may be of another password.
func (d *Directory) afterLogin(ctx context.Context, said string, before *record) (*record, error) {
	r, err := d.lookupNow(ctx, said)
	switch {
	case err != nil:
		return nil, err
	case foldDN(r.dn) != foldDN(before.dn):
		return nil, &auth.RejectedError{Reason: "another entry has taken the name"}
	case r.refusal != nil:
		return nil, &auth.RejectedError{Reason: r.refusal.reason, Told: r.refusal.told}
	}
	return r, nil
}

// authenticateDirect binds as the user by the template, and reads his entry
// with his own rights.
func (d *Directory) authenticateDirect(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	said, ok := d.inTemplate(c.User)
	if !ok {
		return auth.Identity{}, auth.ErrNoMatch
	}
	key := d.keys.proof(c.Password, strings.ToLower(said))
	return d.verify(ctx, c, foldName(said), key, func(ctx context.Context) (*record, error) {
		var r *record
		err := d.asUser(ctx, func(ctx context.Context, conn *conn) (err error) {
			r, err = d.loginDirect(ctx, conn, said, c.Password)
			return err
		})
		if err != nil {
			return nil, err
		}
		d.remember(c.User, r)
		return r, nil
	})
}

func (d *Directory) loginDirect(ctx context.Context, c *conn, said string, password auth.Secret) (*record, error) {
	began := d.o.Now()
	name := d.bindName(said)
	policy, err := c.bind(ctx, name, password)
	if err := judge(err, policy); err != nil {
		var rejected *auth.RejectedError
		if errors.As(err, &rejected) && rejected.Reason == reasons["525"].Reason {
			return nil, auth.ErrNoMatch
		}
		return nil, err
	}
	if err := c.readFacts(ctx, d.o.ActiveDirectory); err != nil {
		return nil, err
	}
	r, err := d.findOwn(ctx, c, said, name)
	switch {
	case errors.Is(err, auth.ErrNoMatch):
		return nil, errors.New("a user may not read his own entry: give him the right, or use binddn")
	case err != nil:
		return nil, err
	case r.refusal != nil:
		return nil, &auth.RejectedError{Reason: r.refusal.reason, Told: r.refusal.told}
	}
	r.looked = began
	return r, nil
}

// findOwn returns the user who is bound on c.
func (d *Directory) findOwn(ctx context.Context, c *conn, said, bound string) (*record, error) {
	if !d.byDN() {
		return d.find(ctx, c, said)
	}
	filter := "(objectClass=*)"
	if d.o.User.Filter != "" {
		filter = strings.ReplaceAll(d.o.User.Filter, "{user}", goldap.EscapeFilter(said))
	}
	e, err := c.read(ctx, bound, filter, d.o.userAttrs())
	switch {
	case err != nil:
		return nil, asked("read the user's entry", err)
	case e == nil:
		return nil, auth.ErrNoMatch
	}
	return d.recordOf(ctx, c, e, said)
}

// byDN reports whether the template is a DN.
func (d *Directory) byDN() bool { return strings.Contains(d.o.User.DN, "=") }

// inTemplate returns what is to stand in the template for what a user calls
// himself, who may say the whole of CORP\alice or alice@corp.test. It is false
// for names of other domains.
func (d *Directory) inTemplate(said string) (string, bool) {
	if d.byDN() {
		return said, true
	}
	before, after, _ := strings.Cut(d.o.User.DN, "{user}")
	if n := len(said) - len(before) - len(after); n > 0 && strings.EqualFold(said[:len(before)], before) && strings.EqualFold(said[len(before)+n:], after) {
		said = said[len(before) : len(before)+n]
	}
	return said, !strings.ContainsAny(said, `@\`)
}

// bindName returns what a user binds as.
func (d *Directory) bindName(said string) string {
	if d.byDN() {
		said = goldap.EscapeDN(said)
	}
	return strings.Replace(d.o.User.DN, "{user}", said, 1)
}

// foldName returns the same for all names that a directory may take for one:
// without regard to case, blanks and the width of letters.
func foldName(name string) string {
	folded := strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '\u3000':
			return -1
		case r >= '\uff01' && r <= '\uff5e':
			return r - 0xfee0
		}
		return r
	}, name)
	return strings.ToLower(folded)
}

// lastLogin returns what was read of a user when he last logged in, where he
// cannot be looked up without his password.
func (d *Directory) lastLogin(r *record, known bool) (*record, error) {
	if known && d.o.Now().Sub(r.looked) < d.o.Interval+d.o.Stale {
		return r, nil
	}
	return nil, errNotSeen
}

var errNotSeen = errors.New("without binddn the directory says nothing of a user until he logs in with his password")
