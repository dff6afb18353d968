package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
)

// Bounds of bcrypt.
const (
	maxPassword = 72 // bytes; bcrypt does not look at more
	// MaxCost is the highest cost of a hash that is accepted: every wrong
	// password costs as much as the dearest hash, and this one takes seconds.
	MaxCost = 16
)

// ErrBusy is returned when more passwords wait to be checked than may.
var ErrBusy = errors.New("too many passwords are being checked")

// HasherOptions configure a Hasher. The zero value is for production.
type HasherOptions struct {
	// Cost of new hashes, and the least that a wrong password costs; 10 when
	// zero.
	Cost int
	// Parallel is how many hashes are computed at a time; one less than
	// GOMAXPROCS when zero, so that guesses leave a processor to all else.
	Parallel int
	// Waiting is how many callers may wait for that; 64 for each of GOMAXPROCS
	// when zero.
	Waiting int
	// Worker makes the command of a process that calls ServeHashes; then hashes
	// are computed there. Nil, and where none can be started, they are computed
	// here.
	Worker func() *exec.Cmd
	Log    *slog.Logger // for workers that cannot be started; slog.Default when nil
}

// A Hasher computes and compares password hashes (bcrypt). It bounds how many
// at a time, and makes every wrong answer equally expensive, so that time does
// not tell which names exist. It is safe for concurrent use.
type Hasher struct {
	cost    int
	highest atomic.Int64
	running chan struct{} // holds as many as are computed
	queued  chan struct{} // holds those, and as many as may wait
	compare func(hash, password []byte) error
	workers *workers // nil: hashes are computed here
	log     *slog.Logger
	warn    sync.Once
}

// NewHasher returns a Hasher.
func NewHasher(o HasherOptions) *Hasher {
	if o.Cost == 0 {
		o.Cost = bcrypt.DefaultCost
	}
	if o.Parallel == 0 {
		o.Parallel = max(1, runtime.GOMAXPROCS(0)-1)
	}
	if o.Waiting == 0 {
		o.Waiting = 64 * runtime.GOMAXPROCS(0)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	h := &Hasher{
		cost:    o.Cost,
		running: make(chan struct{}, o.Parallel),
		queued:  make(chan struct{}, o.Parallel+o.Waiting),
		log:     o.Log,
	}
	h.compare = h.compute
	if o.Worker != nil {
		h.workers = &workers{command: o.Worker}
	}
	h.Raise(o.Cost)
	return h
}

// Raise says that there is a hash of that cost: no wrong password costs less
// from now on. Backends call it for every hash that they load.
func (h *Hasher) Raise(cost int) {
	for {
		old := h.highest.Load()
		if int64(cost) <= old || h.highest.CompareAndSwap(old, int64(cost)) {
			return
		}
	}
}

// Compare returns nil when hash is that of the password. A password of more
// than 72 bytes never is.
// Errors: ErrBadCredentials, ErrBusy, the context's while it waits.
func (h *Hasher) Compare(ctx context.Context, hash string, p Secret) error {
	cost, err := HashCost(hash)
	if err != nil {
		return err
	}
	h.Raise(cost)
	if err := h.enter(ctx); err != nil {
		return err
	}
	defer h.leave()
	if len(p) > maxPassword {
		h.burn(p, 0)
		return ErrBadCredentials
	}
	err = h.compare([]byte(hash), []byte(p))
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		h.burn(p, cost)
		return ErrBadCredentials
	}
	if err != nil {
		return fmt.Errorf("compare a password: %w", err)
	}
	return nil
}

// Dummy costs what comparing a wrong password costs. It is for names that have
// no hash. Errors: ErrBadCredentials when done, or those of Compare.
func (h *Hasher) Dummy(ctx context.Context, p Secret) error {
	if err := h.enter(ctx); err != nil {
		return err
	}
	defer h.leave()
	h.burn(p, 0)
	return ErrBadCredentials
}

// Hash returns the hash of a password to be set.
// Errors: those of CheckPassword, ErrBusy, the context's while it waits.
func (h *Hasher) Hash(ctx context.Context, p Secret) (string, error) {
	if err := CheckPassword(p); err != nil {
		return "", err
	}
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	a := h.ask(hashRequest{Password: []byte(p), Cost: h.cost})
	if a.Error != "" {
		return "", errors.New("hash a password: " + a.Error)
	}
	return string(a.Hash), nil
}

// compute compares like bcrypt does.
func (h *Hasher) compute(hash, password []byte) error {
	a := h.ask(hashRequest{Hash: hash, Password: password})
	switch {
	case a.Error != "":
		return errors.New(a.Error)
	case !a.Match:
		return bcrypt.ErrMismatchedHashAndPassword
	}
	return nil
}

// ask has q computed, here when no worker can. A worker that has ended is
// replaced once.
func (h *Hasher) ask(q hashRequest) hashResponse {
	if h.workers == nil {
		return q.answer()
	}
	for range 2 {
		a, err := h.workers.ask(q)
		if err == nil {
			return a
		}
		h.warn.Do(func() { h.log.Warn("passwords are hashed in the server's own process", "error", err) })
	}
	return q.answer()
}

// burn does the work that is missing to the highest cost when a hash of cost
// done has been computed, or all of it when done is 0. The work doubles with
// the cost: 2^c and 2^c and 2^(c+1) … and 2^(max-1) make 2^max.
func (h *Hasher) burn(p Secret, done int) {
	password := []byte(p[:min(len(p), maxPassword)])
	highest := int(h.highest.Load())
	if done == 0 {
		_ = h.compare(nobody(highest), password)
		return
	}
	for cost := done; cost < highest; cost++ {
		_ = h.compare(nobody(cost), password)
	}
}

// nobody returns a hash of that cost of which nobody knows a password; and if
// somebody did, the comparison's result is not used.
func nobody(cost int) []byte {
	return fmt.Appendf(nil, "$2a$%02d$%s", cost, strings.Repeat(".", 53))
}

// enter waits for its turn to compute; leave must follow when err is nil.
func (h *Hasher) enter(ctx context.Context) error {
	select {
	case h.queued <- struct{}{}:
	default:
		return ErrBusy
	}
	select {
	case h.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-h.queued
		return ctx.Err()
	}
}

func (h *Hasher) leave() {
	<-h.running
	<-h.queued
}

// HashCost returns the cost of a bcrypt hash. It fails for what is none, and
// for a cost above MaxCost.
func HashCost(hash string) (int, error) {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	kind, rest := hash[:min(4, len(hash))], hash[min(4, len(hash)):]
	if kind != "$2a$" && kind != "$2b$" && kind != "$2y$" {
		return 0, errors.New("not a bcrypt hash")
	}
	if len(rest) != 56 || rest[2] != '$' || strings.Trim(rest[3:], alphabet) != "" {
		return 0, errors.New("not a whole bcrypt hash")
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return 0, fmt.Errorf("not a bcrypt hash: %w", err)
	}
	if cost > MaxCost {
		return 0, fmt.Errorf("cost %d is higher than %d", cost, MaxCost)
	}
	return cost, nil
}
