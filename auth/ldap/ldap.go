// Package ldap authenticates the users of a directory: LDAP as OpenLDAP, 389 and
// FreeIPA speak it, and Active Directory.
//
// A user is searched by the service account and then proves himself by a bind
// of his own; or he binds by a template without a search. His name is what the
// directory calls him, in lower case, whatever he calls himself. What the
// directory says of him is remembered for the check interval, and for a bounded
// time longer while it does not answer.
//
// A directory that hangs holds nobody up for longer than six seconds, users whom
// it knew for one, and after that nobody at all: its servers are marked down, and
// tried in the background.
// Wrong passwords are remembered and counted, so that a client that repeats one
// for ever does not lock its user out of the directory, and a stranger neither.
//
// Names with a slash or a colon are never a directory's: they are those of
// users from elsewhere, with their provider in front.
package ldap

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"berth/auth"
)

// Times of a Directory.
const (
	dialTimeout      = 2 * time.Second
	operationTimeout = 3 * time.Second
	totalTimeout     = 5500 * time.Millisecond // of one question to the directory
	downTime         = 3 * time.Second         // until a server is tried again
	rememberAbsent   = 30 * time.Second
	// TendEvery is how often whoever holds a Directory should call Tend.
	TendEvery = time.Minute
	// silence is how long a server that is asked may say nothing before users who
	// are known stop waiting for it; and before that is its own fault, when the
	// time of who asks is over.
	silence = time.Second
	// recent is how old the answer of a search may be for a password to be
	// verified with it.
	recent = 5 * time.Second
)

// maxPassword is the longest password that reaches a directory, in bytes. What
// is longer is a token of something else.
const maxPassword = 512

// limits are the times of a Directory, for tests to change.
type limits struct{ dial, operation, total, down, absent, recent, silence time.Duration }

// A Directory is the users of one LDAP directory. It implements
// auth.Authenticator and is safe for concurrent use.
type Directory struct {
	o       Options
	limits  limits
	servers []*server

	cas      *watched[*x509.CertPool]
	password *watched[auth.Secret]
	refused  refused

	searches chan struct{} // holds as many as search at a time
	logins   chan struct{} // and as many as users are verified

	known    *otter.Cache[string, *record]
	absent   *otter.Cache[string, absence]
	lookups  singleflight.Group
	keys     keyer
	wrong    *otter.Cache[proof, rejection]
	verifies singleflight.Group
	guesses  *guesses

	life   context.Context // until Close
	end    context.CancelFunc
	use    context.Context // until Retire, within life
	retire context.CancelFunc
	mu     sync.Mutex // held to begin work in the background, and to end it
	work   sync.WaitGroup
}

// An absence is a name that is no user's: auth.ErrNoMatch, or why nobody is let
// in by it.
type absence struct {
	err    error
	looked time.Time
}

// A rejection is a password that was wrong.
type rejection struct {
	err   error
	until time.Time
}

// New returns the directory of o. It reads the files that o names and connects
// to no server. Close ends it.
func New(o Options) (*Directory, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	d := &Directory{
		o:        o,
		limits:   limits{dialTimeout, operationTimeout, totalTimeout, downTime, rememberAbsent, recent, silence},
		searches: make(chan struct{}, o.PoolSize),
		logins:   make(chan struct{}, o.PoolSize),
		known:    otter.Must(&otter.Options[string, *record]{MaximumSize: maxRemembered}),
		absent:   otter.Must(&otter.Options[string, absence]{MaximumSize: maxRemembered}),
		wrong:    otter.Must(&otter.Options[proof, rejection]{MaximumSize: maxRemembered}),
		keys:     newKeyer(),
		guesses:  newGuesses(o.Attempts, o.Now),
	}
	for _, u := range o.URLs {
		s, err := o.parseURL(u)
		if err != nil {
			return nil, err
		}
		d.servers = append(d.servers, s)
	}
	var err error
	if d.cas, err = watch(o.CAFile, parseCAs); err != nil {
		return nil, fmt.Errorf("read cafile: %w", err)
	}
	if d.password, err = watch(o.BindPasswordFile, parsePassword); err != nil {
		return nil, fmt.Errorf("read bindpasswordfile: %w", err)
	}
	for _, s := range d.servers {
		if _, err := d.tlsConfig(s); err != nil {
			return nil, err
		}
	}
	d.life, d.end = context.WithCancel(context.Background())
	d.use, d.retire = context.WithCancel(d.life)
	return d, nil
}

// Retire ends what is kept for later: connections that wait, and the work in the
// background. Whoever still asks is answered, on connections that end with the
// question. Nothing has to be closed afterwards.
func (d *Directory) Retire() { d.stop(d.retire) }

// Close ends all connections, whoever asks. Nobody is known afterwards who is
// not remembered.
func (d *Directory) Close() error {
	d.stop(d.end)
	return nil
}

func (d *Directory) stop(end context.CancelFunc) {
	d.mu.Lock()
	end()
	d.mu.Unlock()
	d.work.Wait()
	for _, s := range d.servers {
		d.dropIdle(s)
	}
}

// background runs f unless the directory is retired; f ends with it.
func (d *Directory) background(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.use.Err() == nil {
		d.work.Go(f)
	}
}

// Tend looks whether the servers can be used, so that Degraded knows of what is
// wrong before a user does, and ends connections that nobody needs.
func (d *Directory) Tend(ctx context.Context) {
	for _, s := range d.servers {
		d.tidy(s)
		if s.whyDown() != nil {
			continue
		}
		if err := d.try(ctx, s); err != nil && ctx.Err() == nil {
			d.markDown(s, err)
		}
	}
}

// Name returns the name of the directory, the provider of its users.
func (d *Directory) Name() string { return d.o.Name }

// Degraded says in one line what is wrong with the directory now, or "".
func (d *Directory) Degraded() string {
	var problems []string
	for _, s := range d.servers {
		if err := s.whyDown(); err != nil {
			problems = append(problems, s.url+": "+err.Error())
		}
	}
	for _, f := range [][2]string{{"bindpasswordfile", d.password.problem()}, {"cafile", d.cas.problem()}} {
		if f[1] != "" {
			problems = append(problems, f[0]+": "+f[1])
		}
	}
	return oneLine(strings.Join(problems, "; "))
}

// direct reports whether users bind by a template, without a search.
func (d *Directory) direct() bool { return d.o.User.DN != "" }

// Resolve implements auth.Authenticator. Further errors: *DownError.
func (d *Directory) Resolve(ctx context.Context, s auth.Subject) (auth.Identity, error) {
	if s.Credential != "" || s.Provider != "" && s.Provider != d.o.Name || checkName(s.Name) != nil {
		return auth.Identity{}, auth.ErrNoMatch
	}
	r, err := d.current(ctx, s.Name)
	if err != nil {
		return auth.Identity{}, err
	}
	if s.Provider != "" && r.identity.Name != s.Name {
		return auth.Identity{}, auth.ErrNoMatch
	}
	return r.answer()
}

// current returns what is known of whom people call said, from the directory
// where that is older than the interval.
func (d *Directory) current(ctx context.Context, said string) (*record, error) {
	now := d.o.Now()
	r, known := d.known.GetIfPresent(said)
	switch {
	case known && now.Sub(r.looked) < d.o.Interval:
		return r, nil
	case d.direct():
		return d.lastLogin(r, known)
	case !known:
		if a, ok := d.absent.GetIfPresent(said); ok && now.Sub(a.looked) < d.limits.absent {
			return nil, a.err
		}
	}
	if known && now.Sub(r.looked) < d.o.Interval+d.o.Stale {
		return d.renew(ctx, said, r)
	}
	return d.lookup(ctx, said)
}

// renew asks the directory again about a user whom it knew. Where it does not
// answer, what it said last serves: at once when it is known not to, and else as
// soon as it has been silent for long. The question goes on for who comes next.
func (d *Directory) renew(ctx context.Context, said string, old *record) (*record, error) {
	if d.allDown() != nil {
		return old, nil
	}
	result := d.begin(ctx, said)
	tick := time.NewTicker(d.limits.silence / 4)
	defer tick.Stop()
	for d.answers() {
		select {
		case r := <-result:
			if r.Err != nil && !isVerdict(r.Err) {
				return old, nil
			}
			return unpack[*record](r)
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return old, nil
}

// checkName says why a name can be no user's of a directory.
func checkName(name string) error {
	if strings.ContainsAny(name, "/:") {
		return fmt.Errorf("the name %q holds a slash or a colon", name)
	}
	return auth.CheckName(name)
}

// isVerdict reports whether the directory said that somebody is not, or not to
// be let in.
func isVerdict(err error) bool {
	return errors.Is(err, auth.ErrNoMatch) || errors.Is(err, auth.ErrBadCredentials)
}

// lookup asks the directory for whom people call said: once for all who ask at
// the same time.
func (d *Directory) lookup(ctx context.Context, said string) (*record, error) {
	return wait[*record](ctx, d.begin(ctx, said))
}

// begin begins what lookup waits for.
func (d *Directory) begin(ctx context.Context, said string) <-chan singleflight.Result {
	return d.lookups.DoChan(said, func() (any, error) {
		ctx, cancel := d.question(ctx)
		defer cancel()
		return d.lookupNow(ctx, said)
	})
}

// question returns the context of one question to the directory, which others
// wait for too when the caller leaves.
func (d *Directory) question(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.limits.total)
	stop := context.AfterFunc(d.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// wait waits for what was begun, or until the caller has left.
func wait[T any](ctx context.Context, result <-chan singleflight.Result) (value T, err error) {
	select {
	case r := <-result:
		return unpack[T](r)
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

func unpack[T any](r singleflight.Result) (value T, err error) {
	if r.Err != nil {
		return value, r.Err
	}
	return r.Val.(T), nil
}

// lookupNow asks the directory and remembers the answer.
func (d *Directory) lookupNow(ctx context.Context, said string) (*record, error) {
	began := d.o.Now()
	var r *record
	err := d.service(ctx, func(ctx context.Context, c *conn) (err error) {
		r, err = d.find(ctx, c, said)
		return err
	})
	switch {
	case err == nil:
		r.looked = began
		d.remember(said, r)
		return r, nil
	case isVerdict(err):
		d.known.Invalidate(said)
		d.absent.Set(said, absence{err, began})
	}
	return nil, err
}

// remember keeps what the directory said of a user, under what he calls himself
// and under his name.
func (d *Directory) remember(said string, r *record) {
	r.entry = nil
	for _, name := range []string{said, r.identity.Name} {
		d.known.Set(name, r)
		d.absent.Invalidate(name)
	}
}
