package robot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"berth/auth"
)

// List returns all robots, sorted by name, without the hashes of their secrets.
func (r *Robots) List() []Robot {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]Robot, 0, len(r.robots))
	for _, name := range slices.Sorted(maps.Keys(r.robots)) {
		list = append(list, r.shown(r.robots[name]))
	}
	return list
}

// Get returns the robot of that name, without the hashes of its secrets.
// Errors: ErrNotExist.
func (r *Robots) Get(name string) (Robot, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	robot, ok := r.robots[name]
	if !ok {
		return Robot{}, ErrNotExist
	}
	return r.shown(robot), nil
}

// shown returns robot as it is told to others.
func (r *Robots) shown(robot Robot) Robot {
	robot.Settings = robot.Settings.clean()
	robot.Secrets = slices.Clone(robot.Secrets)
	for i := range robot.Secrets {
		s := &robot.Secrets[i]
		s.Hash, s.LastUse = nil, r.byID[s.ID].use.last()
	}
	return robot
}

// Usable returns nil when the robot could log in now, and otherwise why it could
// not: an *auth.RejectedError, or that its owner cannot be looked up.
func (r *Robots) Usable(ctx context.Context, robot Robot) error {
	_, err := r.identity(ctx, newRobotEntry(robot, Secret{}))
	return err
}

// Add makes a robot with those settings, and returns its secret, which is never
// to be had again.
// Errors: ErrInvalid, ErrExists.
func (r *Robots) Add(ctx context.Context, name string, s Settings, createdBy string) (auth.Secret, error) {
	if err := checkRobotName(name); err != nil {
		return "", err
	}
	s = s.clean()
	if err := r.checkSettings(Settings{}, s); err != nil {
		return "", err
	}
	err := r.lockAfter(func() (err error) {
		s.OwnerID, err = r.ownerAfter(ctx, Settings{}, s)
		return err
	})
	if err != nil {
		return "", err
	}
	defer r.change.Unlock()
	if r.count() >= maxRobots {
		return "", fmt.Errorf("%w: there are %d robots already, which is the most", ErrInvalid, maxRobots)
	}
	now := r.micros()
	raw, secret := r.newSecret(auth.RobotForm)
	robot := Robot{Name: name, Settings: s, CreatedBy: createdBy, Created: now, Updated: now, Secrets: []Secret{secret}}
	if err := r.store.CreateRobot(context.WithoutCancel(ctx), robot); err != nil {
		return "", fmt.Errorf("add robot %s: %w", name, err)
	}
	r.putRobot(robot)
	return raw, nil
}

// Set changes the settings of a robot. What was issued under the old ones is
// void.
// Errors: ErrInvalid, ErrNotExist.
func (r *Robots) Set(ctx context.Context, name string, change func(*Settings)) error {
	var owner auth.ID
	err := r.lockAfter(func() error {
		robot, err := r.Get(name)
		if err != nil {
			return err
		}
		// A directory may be asked about the owner: not within the transaction.
		s := robot.Settings
		change(&s)
		owner, err = r.ownerAfter(ctx, robot.Settings, s)
		return err
	})
	if err != nil {
		return err
	}
	defer r.change.Unlock()
	return r.updateLocked(ctx, name, func(robot *Robot) error {
		before := robot.Settings
		robot.Settings = before.clean()
		change(&robot.Settings)
		robot.Settings = robot.Settings.clean()
		if before.renames(robot.Settings) {
			robot.OwnerID = owner
		}
		if now := r.micros(); now.After(robot.Updated) {
			robot.Updated = now
		} else {
			robot.Updated = robot.Updated.Add(time.Microsecond)
		}
		return r.checkSettings(before, robot.Settings)
	})
}

// Rotate gives a robot another secret and returns it. The one that it has lives
// on for the grace, of 30 days at most; with none it ends at once.
// Errors: ErrInvalid, also when it has two that are alive; ErrNotExist.
func (r *Robots) Rotate(ctx context.Context, name string, grace time.Duration) (auth.Secret, error) {
	if grace < 0 || grace > maxGrace {
		return "", fmt.Errorf("%w: a secret can live on for at most %v", ErrInvalid, maxGrace)
	}
	raw, secret := r.newSecret(auth.RobotForm)
	end := secret.Created.Add(grace)
	err := r.update(ctx, name, func(robot *Robot) error {
		robot.Secrets = slices.DeleteFunc(robot.Secrets, func(s Secret) bool { return over(s.Expires, secret.Created) || grace == 0 })
		if len(robot.Secrets) >= maxSecrets {
			return fmt.Errorf("%w: it has %d secrets already, which is the most: revoke one of them first", ErrInvalid, maxSecrets)
		}
		for i := range robot.Secrets {
			if s := &robot.Secrets[i]; s.Expires.IsZero() || s.Expires.After(end) {
				s.Expires = end
			}
		}
		robot.Secrets = append(robot.Secrets, secret)
		return nil
	})
	if err != nil {
		return "", err
	}
	return raw, nil
}

// RevokeSecret ends one secret of a robot. Errors: ErrNotExist.
func (r *Robots) RevokeSecret(ctx context.Context, name, id string) error {
	return r.update(ctx, name, func(robot *Robot) error {
		before := len(robot.Secrets)
		robot.Secrets = slices.DeleteFunc(robot.Secrets, func(s Secret) bool { return s.ID == id })
		if len(robot.Secrets) == before {
			return ErrNotExist
		}
		return nil
	})
}

// Remove removes a robot. Errors: ErrNotExist.
func (r *Robots) Remove(ctx context.Context, name string) error {
	r.change.Lock()
	defer r.change.Unlock()
	if err := r.store.DeleteRobot(context.WithoutCancel(ctx), name); err != nil {
		return fmt.Errorf("remove robot %s: %w", name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropRobot(name)
	return nil
}

// update changes a robot in the store, and then in memory. The caller's leaving
// does not end it: otherwise the two could differ.
func (r *Robots) update(ctx context.Context, name string, change func(*Robot) error) error {
	r.change.Lock()
	defer r.change.Unlock()
	return r.updateLocked(ctx, name, change)
}

func (r *Robots) updateLocked(ctx context.Context, name string, change func(*Robot) error) error {
	var changed Robot
	err := r.store.UpdateRobot(context.WithoutCancel(ctx), name, func(robot *Robot) error {
		err := change(robot)
		changed = *robot
		return err
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return fmt.Errorf("change robot %s: %w", name, err)
	}
	r.putRobot(changed) // also when others have changed it in the store
	return err
}

func (r *Robots) count() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.robots)
}

func (r *Robots) putRobot(robot Robot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addRobot(robot, r.dropRobot(robot.Name))
}

// addRobot keeps robot, with the uses that its secrets had before.
func (r *Robots) addRobot(robot Robot, before map[string]*entry) {
	r.robots[robot.Name] = robot
	for _, s := range robot.Secrets {
		r.enter(newRobotEntry(robot, s), s, before)
	}
}

func (r *Robots) addToken(t Token, before map[string]*entry) {
	r.tokens[t.ID] = t
	r.enter(newTokenEntry(t), t.Secret, before)
}

func (r *Robots) enter(e *entry, s Secret, before map[string]*entry) {
	if old := before[s.ID]; old != nil && old.use.at.Load() >= e.use.at.Load() {
		e.use = old.use
	}
	r.byID[s.ID], r.byHash[string(s.Hash)] = e, e
}

// dropRobot forgets a robot, and returns the entries that it had.
func (r *Robots) dropRobot(name string) map[string]*entry {
	dropped := make(map[string]*entry)
	for _, s := range r.robots[name].Secrets {
		dropped[s.ID] = r.byID[s.ID]
		delete(r.byID, s.ID)
		delete(r.byHash, string(s.Hash))
	}
	delete(r.robots, name)
	return dropped
}

// dropToken forgets a token, and returns the entry that it had.
func (r *Robots) dropToken(id string) map[string]*entry {
	dropped := map[string]*entry{id: r.byID[id]}
	delete(r.byHash, string(r.tokens[id].Hash))
	delete(r.byID, id)
	delete(r.tokens, id)
	return dropped
}

// newSecret makes a secret, and what is kept of it.
func (r *Robots) newSecret(form auth.Form) (auth.Secret, Secret) {
	raw := form.New()
	return raw, Secret{ID: rand.Text()[:12], Hash: raw.Hash(), Created: r.micros()}
}

// micros returns the time in whole microseconds, as a Store keeps it.
func (r *Robots) micros() time.Time { return r.now().UTC().Truncate(time.Microsecond) }

// over reports whether what ends at end is over; never, when that is zero.
func over(end, now time.Time) bool { return !end.IsZero() && !now.Before(end) }
