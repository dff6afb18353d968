package robot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"berth/auth"
)

// Gone is the OwnerID of what has lost an owner of whom none was known: nobody
// is ever him.
const Gone auth.ID = "gone:"

// An Owned is a robot or a personal token of an owner.
type Owned struct {
	Robot string // its name; "" for a token
	Token string // its ID; "" for a robot
	Owner auth.Subject
}

func (o Owned) String() string {
	if o.Robot != "" {
		return "the robot " + o.Robot
	}
	return "the token " + o.Token
}

// A verdict is why something is to be ended, and for whom it was.
type verdict struct {
	kept   auth.ID
	reason string
}

// findings are what requests have found out about owners, for Run to write.
type findings struct {
	news chan struct{} // of something to be ended

	mu    sync.RWMutex
	ids   map[Owned]auth.ID // where none was kept
	ended map[Owned]verdict
}

func newFindings() *findings {
	return &findings{news: make(chan struct{}, 1), ids: make(map[Owned]auth.ID), ended: make(map[Owned]verdict)}
}

// identify returns the ID of the owner of o: the first that was found.
func (f *findings) identify(o Owned, id auth.ID) auth.ID {
	f.mu.RLock()
	first, ok := f.ids[o]
	f.mu.RUnlock()
	if ok || id == "" {
		return first
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if first, ok = f.ids[o]; ok {
		return first
	}
	f.ids[o] = id
	return id
}

func (f *findings) end(o Owned, v verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.ended[o]; ok {
		return
	}
	f.ended[o] = v
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// over reports whether o is to be ended.
func (f *findings) over(o Owned) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	_, ok := f.ended[o]
	return ok
}

func (f *findings) all() (map[Owned]auth.ID, map[Owned]verdict) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return maps.Clone(f.ids), maps.Clone(f.ended)
}

func (f *findings) identified(ids map[Owned]auth.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.ids, func(o Owned, _ auth.ID) bool { _, ok := ids[o]; return ok })
}

func (f *findings) settled(o Owned) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ended, o)
}

// ownerOf returns who the owner of e is today, if he is the one for whom e was
// made.
func (r *Robots) ownerOf(ctx context.Context, e *entry) (auth.Identity, error) {
	owner, err := r.owner(ctx, e.owner)
	switch {
	case errors.Is(err, auth.ErrNoMatch), err == nil && owner.Subject != e.owner:
		return auth.Identity{}, &auth.RejectedError{Reason: fmt.Sprintf("%s has an owner, %s, who is no more", e.what, e.owner)}
	case errors.Is(err, auth.ErrBadCredentials):
		return auth.Identity{}, &auth.RejectedError{Reason: fmt.Sprintf("%s has an owner, %s, who is disabled", e.what, e.owner)}
	case err != nil:
		return auth.Identity{}, fmt.Errorf("look up the owner of %s: %w", e.what, err)
	}
	return owner, r.checkSame(e, owner.ID)
}

// checkSame refuses e where the user who has the name of its owner is another,
// and has it ended. Where that cannot be told it only refuses.
func (r *Robots) checkSame(e *entry, now auth.ID) error {
	o, kept := e.owned(), e.ownerID
	if r.findings.over(o) {
		return &auth.RejectedError{Reason: fmt.Sprintf("%s was made for another %s", e.what, e.owner)}
	}
	if kept == "" {
		kept = r.findings.identify(o, now)
	}
	switch same, told := now.Is(kept); {
	case kept == "" || same:
		return nil
	case told:
		r.findings.end(o, verdict{kept, fmt.Sprintf("its owner is another %s than it was made for", e.owner)})
		return &auth.RejectedError{Reason: fmt.Sprintf("%s was made for another %s", e.what, e.owner)}
	}
	return &auth.RejectedError{Reason: fmt.Sprintf("%s has an owner, %s, of whom it cannot be told that he is still the same", e.what, e.owner)}
}

// checkStill refuses to enable a robot whose owner is not who he was.
func (r *Robots) checkStill(ctx context.Context, s Settings) error {
	owner, err := r.owner(ctx, s.Owner)
	if err != nil || s.OwnerID == "" {
		return nil // it is asked again on every request
	}
	if same, _ := owner.ID.Is(s.OwnerID); !same {
		return fmt.Errorf("%w: %s is not the user for whom the robot was made: name its owner again", ErrInvalid, s.Owner)
	}
	return nil
}

// Forget ends what belongs to an owner who is gone: his personal tokens are
// removed, and his robots are disabled. Who comes after him under his name does
// not get them. What cannot be written now is written later.
func (r *Robots) Forget(owner auth.Subject) {
	r.ForgetAll(func(s auth.Subject) bool { return s == owner })
}

// ForgetAll is Forget for all owners of whom gone says so.
func (r *Robots) ForgetAll(gone func(owner auth.Subject) bool) {
	r.change.Lock()
	r.forgotten.Add(1)
	r.change.Unlock()
	r.mu.RLock()
	for _, t := range r.tokens {
		if gone(t.Owner) {
			r.findings.end(Owned{Token: t.ID, Owner: t.Owner}, verdict{t.OwnerID, fmt.Sprintf("its owner %s is no more", t.Owner)})
		}
	}
	for _, robot := range r.robots {
		if !robot.Owner.Anonymous() && gone(robot.Owner) {
			r.findings.end(Owned{Robot: robot.Name, Owner: robot.Owner}, verdict{robot.OwnerID, fmt.Sprintf("its owner %s is no more", robot.Owner)})
		}
	}
	r.mu.RUnlock()
	if err := r.settle(context.Background()); err != nil {
		r.log.Error("what belongs to a user who is gone is not ended yet", "error", err)
	}
}

// lockAfter takes the lock r.change after a check of an owner, with nobody
// forgotten in between: who was removed meanwhile gets nothing any more. It is
// not held during the check, which may ask a directory. After an error it is
// free.
func (r *Robots) lockAfter(check func() error) error {
	for {
		before := r.forgotten.Load()
		if err := check(); err != nil {
			return err
		}
		r.change.Lock()
		if r.forgotten.Load() == before {
			return nil
		}
		r.change.Unlock()
	}
}

// settle writes what was found out about owners. What cannot be written is left
// for the next time.
func (r *Robots) settle(ctx context.Context) error {
	ids, ended := r.findings.all()
	errs := []error{r.identify(ctx, ids)}
	for o, v := range ended {
		done, err := r.end(ctx, o, v)
		if err != nil {
			errs = append(errs, fmt.Errorf("end %s: %w", o, err))
			continue
		}
		r.findings.settled(o)
		if done {
			r.log.Warn(o.String()+" is ended", "owner", o.Owner.Name, "reason", v.reason)
			r.ended(o, v.reason)
		}
	}
	return errors.Join(errs...)
}

// identify keeps the IDs of owners that were not known when the store had none.
func (r *Robots) identify(ctx context.Context, ids map[Owned]auth.ID) error {
	if len(ids) == 0 {
		return nil
	}
	r.change.Lock()
	defer r.change.Unlock()
	if err := r.store.Identify(context.WithoutCancel(ctx), ids); err != nil {
		return fmt.Errorf("write who owns robots and tokens: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for o, id := range ids {
		if robot, ok := r.robots[o.Robot]; ok && robot.Owner == o.Owner && robot.OwnerID == "" {
			robot.OwnerID = id
			r.addRobot(robot, r.dropRobot(robot.Name))
		}
		if t, ok := r.tokens[o.Token]; ok && t.Owner == o.Owner && t.OwnerID == "" {
			t.OwnerID = id
			r.addToken(t, r.dropToken(t.ID))
		}
	}
	r.findings.identified(ids)
	return nil
}

// end removes a token, or disables a robot. It is false when there was nothing
// to do.
func (r *Robots) end(ctx context.Context, o Owned, v verdict) (done bool, err error) {
	if o.Token != "" {
		err = r.Tokens().Revoke(ctx, o.Owner, o.Token)
	} else {
		err = r.update(ctx, o.Robot, func(robot *Robot) error { return robot.endFor(o.Owner, v.kept) })
	}
	if errors.Is(err, ErrNotExist) || errors.Is(err, errUnchanged) {
		return false, nil
	}
	return err == nil, err
}

// errUnchanged makes an update write nothing.
var errUnchanged = errors.New("nothing to change")

// endFor disables the robot, unless it was given another owner since.
func (r *Robot) endFor(owner auth.Subject, kept auth.ID) error {
	if r.Owner != owner || r.OwnerID != kept || r.Disabled && kept != "" {
		return errUnchanged
	}
	r.Disabled = true
	if kept == "" {
		r.OwnerID = Gone
	}
	return nil
}
