package robot

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"berth/access"
	"berth/auth"
)

// An entry is one credential, and what is told of it on every request. Only its
// use changes.
type entry struct {
	subject auth.Subject
	robot   bool
	called  string // the robot's name, without the prefix
	owner   auth.Subject
	ownerID auth.ID
	limit   *access.Limit
	version string
	refused string    // why it is of no use, whatever the time; "" when it is
	expires time.Time // zero: never
	rotated bool      // expires is the end of the secret, not of the robot
	what    string    // for people: "the robot ci"
	use     *use
}

// newRobotEntry returns the entry of one secret of a robot.
func newRobotEntry(r Robot, s Secret) *entry {
	e := &entry{
		subject: auth.Subject{Provider: provider, Name: auth.RobotPrefix + r.Name, Credential: s.ID},
		robot:   true,
		called:  r.Name,
		owner:   r.Owner,
		ownerID: r.OwnerID,
		version: version("robot", r.Name, s.ID, r.Updated),
		expires: r.Expires,
		what:    "the robot " + r.Name,
		use:     newUse(s.LastUse),
	}
	if !s.Expires.IsZero() && (r.Expires.IsZero() || s.Expires.Before(r.Expires)) {
		e.expires, e.rotated = s.Expires, true
	}
	e.setLimit(r.Limits)
	if r.Owner.Anonymous() && e.limit != nil {
		e.limit = e.limit.Giving()
	}
	if r.Disabled {
		e.refused = "is disabled"
	}
	return e
}

func newTokenEntry(t Token) *entry {
	e := &entry{
		subject: auth.Subject{Provider: t.Owner.Provider, Name: t.Owner.Name, Credential: t.ID},
		owner:   t.Owner,
		ownerID: t.OwnerID,
		version: version("token", t.Name, t.ID, t.Created),
		expires: t.Expires,
		what:    fmt.Sprintf("the token %s of %s", t.Name, t.Owner),
		use:     newUse(t.LastUse),
	}
	e.setLimit(t.Limits)
	if e.owner.Anonymous() {
		e.refused = "has no owner"
	}
	return e
}

// setLimit compiles the limit. One that cannot be read, as after a change of the
// program, refuses the credential.
func (e *entry) setLimit(l Limits) {
	limit, err := access.NewLimit(l.Repositories, l.Actions, l.From)
	if err != nil {
		e.refused = "has a limit that cannot be read: " + err.Error()
		return
	}
	e.limit = limit
}

// owned returns what e is a credential of.
func (e *entry) owned() Owned {
	if e.robot {
		return Owned{Robot: e.called, Owner: e.owner}
	}
	return Owned{Token: e.subject.Credential, Owner: e.owner}
}

// calledBy reports whether user is the name to give with e's secret.
func (e *entry) calledBy(user string) bool {
	return user == e.subject.Name || e.robot && user == e.called
}

func (e *entry) expired(now time.Time) bool { return !e.expires.IsZero() && !now.Before(e.expires) }

// told is what the client hears whose credential has expired.
func (e *entry) told() string {
	day := e.expires.UTC().Format(time.DateOnly)
	switch {
	case !e.robot:
		return fmt.Sprintf("%s expired on %s: make a new one", e.what, day)
	case e.rotated:
		return fmt.Sprintf("%s was given another secret, and this one ended on %s: use the new one", e.what, day)
	}
	return fmt.Sprintf("%s expired on %s: ask an administrator to renew it", e.what, day)
}

// version changes with every change of the settings: what was issued before does
// not come back to life.
func version(kind, name, id string, updated time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d", kind, name, id, updated.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// A use is a Use that is marked on requests, without a lock, and written later.
type use struct {
	at      atomic.Int64 // microseconds; 0 is never
	addr    atomic.Pointer[string]
	written atomic.Int64
}

func newUse(u Use) *use {
	n := new(use)
	if !u.At.IsZero() {
		n.at.Store(u.At.UnixMicro())
	}
	n.written.Store(n.at.Load())
	n.addr.Store(&u.Addr)
	return n
}

// mark notes a login at now.
func (u *use) mark(now time.Time, addr netip.Addr) {
	var text string
	if addr.IsValid() {
		text = addr.Unmap().String()
	}
	u.addr.Store(&text)
	u.markAgain(now)
}

// markAgain notes that what a login has left is used at now.
func (u *use) markAgain(now time.Time) { u.at.Store(now.UnixMicro()) }

func (u *use) last() Use {
	at := u.at.Load()
	if at == 0 {
		return Use{}
	}
	return Use{At: time.UnixMicro(at).UTC(), Addr: *u.addr.Load()}
}
