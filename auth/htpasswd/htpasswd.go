// Package htpasswd authenticates the users of a password file, as htpasswd -B
// of Apache writes it and Distribution reads it.
//
// Only bcrypt is accepted. A user whose password is kept in another scheme
// cannot log in, and the log names the line; everybody else can. Edits are in
// force within five seconds. A file that has become broken, empty or
// unreadable changes nothing: those who were its users stay so, and Degraded
// says why.
package htpasswd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"berth/auth"
)

// provider is the name of this backend in subjects.
const provider = "htpasswd"

// Intervals of Run: how often the file is read, and how long a change has to
// stand still before it counts, as not every editor replaces the file at once.
// Together they are below the five seconds that an edit may take.
const (
	interval = 2 * time.Second
	settle   = 500 * time.Millisecond
)

// Options configure a File. The zero value is for production.
type Options struct {
	Log      *slog.Logger  // slog.Default when nil
	Interval time.Duration // between looks at the file; 2 s when zero
}

// A File is the users of a password file. It implements auth.Authenticator.
type File struct {
	// Settled, unless nil, is told by Run of each content that is of use and has
	// stood still, also of the first: gone reports of whom the file knows nothing
	// any more. It is set before use.
	Settled func(gone func(auth.Subject) bool)

	path     string
	hasher   *auth.Hasher
	log      *slog.Logger
	interval time.Duration

	users    atomic.Pointer[map[string]user]
	degraded atomic.Pointer[string]

	mu      sync.Mutex
	loaded  [sha256.Size]byte // of the content that was last looked into
	pending [sha256.Size]byte // of the content that has to stand still
	settled [sha256.Size]byte // of the content that Settled was told of
}

// Open reads the file. A file that is missing or broken is an error; one
// without users is not, though nobody can log in.
func Open(path string, hasher *auth.Hasher, o Options) (*File, error) {
	f := &File{path: path, hasher: hasher, log: o.Log, interval: o.Interval}
	if f.log == nil {
		f.log = slog.Default()
	}
	if f.interval == 0 {
		f.interval = interval
	}
	f.users.Store(&map[string]user{})
	data, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no password file %s: htpasswd -Bc %s USER makes it", path, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the password file: %w", err)
	}
	err = f.take(data)
	switch {
	case errors.Is(err, errNoUsers):
		f.degrade(fmt.Errorf("read the password file %s: %w", path, err))
	case err != nil:
		return nil, fmt.Errorf("read the password file %s: %w", path, err)
	}
	return f, nil
}

// Authenticate implements auth.Authenticator.
func (f *File) Authenticate(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	u, ok := (*f.users.Load())[c.User]
	if !ok {
		return auth.Identity{}, auth.ErrNoMatch
	}
	if u.hash == "" {
		return auth.Identity{}, f.hasher.Dummy(ctx, c.Password)
	}
	if err := f.hasher.Compare(ctx, u.hash, c.Password); err != nil {
		return auth.Identity{}, err
	}
	return u.identity(c.User), nil
}

// Resolve implements auth.Authenticator.
func (f *File) Resolve(_ context.Context, s auth.Subject) (auth.Identity, error) {
	u, ok := (*f.users.Load())[s.Name]
	if !ok || s.Provider != "" && s.Provider != provider {
		return auth.Identity{}, auth.ErrNoMatch
	}
	if u.hash == "" {
		return auth.Identity{}, auth.ErrBadCredentials
	}
	return u.identity(s.Name), nil
}

func (u user) identity(name string) auth.Identity {
	return auth.Identity{
		Subject: auth.Subject{Provider: provider, Name: name},
		Version: u.version,
	}
}

// Entry returns what the file says of a user, for whom tests a login, and
// whether it says anything.
func (f *File) Entry(name string) (Entry, bool) {
	u, ok := (*f.users.Load())[name]
	return u.entry, ok
}

// Users returns how many users the file has.
func (f *File) Users() int { return len(*f.users.Load()) }

// Degraded says what is wrong with the file now, or "".
func (f *File) Degraded() string {
	if s := f.degraded.Load(); s != nil {
		return *s
	}
	return ""
}

// Reload reads the file now. When it returns an error, the users stay as they
// were.
func (f *File) Reload() error {
	data, err := read(f.path)
	if err == nil {
		err = f.take(data)
	}
	if err != nil {
		err = fmt.Errorf("read the password file %s: %w", f.path, err)
		f.degrade(err)
	}
	return err
}

// Run keeps the users as the file says until ctx is done.
func (f *File) Run(ctx context.Context) {
	wait := time.NewTimer(f.interval)
	defer wait.Stop()
	for {
		select {
		case <-wait.C:
			wait.Reset(f.poll())
		case <-ctx.Done():
			return
		}
	}
}

// poll looks whether the file has changed and stood still, and returns when to
// look again. It reads the content: a time of change is too coarse, and says
// little about links and network file systems.
func (f *File) poll() (again time.Duration) {
	data, err := read(f.path)
	if err != nil {
		f.degrade(fmt.Errorf("read the password file: %w", err))
		return f.interval
	}
	sum := sha256.Sum256(data)
	f.mu.Lock()
	loaded, still, settled := sum == f.loaded, sum == f.pending, sum == f.settled
	f.pending = sum
	f.mu.Unlock()
	if !still && !(loaded && settled) {
		return min(settle, f.interval)
	}
	if !loaded || f.Degraded() != "" {
		if err := f.take(data); err != nil {
			f.degrade(fmt.Errorf("read the password file %s: %w", f.path, err))
			return f.interval
		}
	}
	if !settled {
		f.tell(sum)
	}
	return f.interval
}

// tell says that a content has stood still, unless another was loaded meanwhile.
func (f *File) tell(sum [sha256.Size]byte) {
	f.mu.Lock()
	users, ok := *f.users.Load(), f.loaded == sum
	if ok {
		f.settled = sum
	}
	f.mu.Unlock()
	if !ok || f.Settled == nil {
		return
	}
	f.Settled(func(s auth.Subject) bool {
		_, ok := users[s.Name]
		return s.Provider == provider && !ok
	})
}

var errNoUsers = errors.New("it holds no users")

// take makes the content's users those of f. When it returns an error, they
// stay as they were.
func (f *File) take(data []byte) error {
	users, warnings, err := parse(data)
	if err == nil && len(users) == 0 {
		err = errNoUsers
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := sha256.Sum256(data)
	changed := f.loaded != sum
	f.loaded = sum
	if err != nil {
		return err
	}
	for _, u := range users {
		f.hasher.Raise(u.cost)
	}
	f.users.Store(&users)
	f.degraded.Store(nil)
	for _, w := range warnings {
		if changed {
			f.log.Warn("password file: "+w.reason, "path", f.path, "line", w.line, "user", w.user)
		}
	}
	return nil
}

// degrade notes what is wrong, and logs it when it is news.
func (f *File) degrade(err error) {
	text := err.Error()
	if old := f.degraded.Swap(&text); old == nil || *old != text {
		f.log.Error("password file: no users are taken from it", "error", err)
	}
}

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return data, nil
}
