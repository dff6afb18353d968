package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"berth/job"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// ErrUnknownObjects is wrapped by the error of a sweep that has met more unknown
// objects than can be right: the database may be an old one, or one of another
// store.
var ErrUnknownObjects = errors.New("too many objects of the blob store are unknown")

// SweepOptions are the choices of Sweep.
type SweepOptions struct {
	registry.SweepRequest
	Retention []RetentionRule
	Aside     time.Duration // for which an object must be unknown before it goes; 7 days
	// Linger is how long bytes stay whose row is gone: as long as somebody may hold
	// an address of them.
	Linger time.Duration
	Lease  job.Lease // checked wherever something is written, unless it is zero
	// Resume goes on with a sweep that was interrupted, where there is one.
	Resume bool
	// Rest has the sweep rest for as long as it works.
	Rest bool
	// Removed is told what retention has removed, Progress where the sweep is.
	// Neither may take long.
	Removed  func(registry.Removal)
	Progress func(registry.SweepProgress)
}

const (
	defaultAside = 7 * 24 * time.Hour
	// sweepPage is how many rows are looked at together, and sweepBatch how many
	// are removed in one transaction, which pushes wait for.
	sweepPage  = 1000
	sweepBatch = 100
	// saveEvery is how often it is noted how far a sweep is.
	saveEvery = 5 * time.Second
	// Unknown objects stop the sweep when there are more than these, and more than
	// one in unknownPart of all.
	fewUnknown  = 20
	unknownPart = 10
)

const sweepSetting = "sweep"

// A sweepState is what goes on with a sweep, in the database.
type sweepState struct {
	Began  time.Time             `json:"began"`
	Phase  string                `json:"phase"`
	Cursor json.RawMessage       `json:"cursor,omitempty"`
	Report *registry.SweepReport `json:"report"`
}

// A sweep is one pass over all there is.
type sweep struct {
	r       *Registry
	o       SweepOptions
	began   time.Time // all ages are counted from here
	grace   time.Duration
	restore restore
	report  *registry.SweepReport
	repos   map[oci.Name]*registry.SweptRepository
	dry     dryRun

	phase  string
	cursor json.RawMessage // where an interrupted sweep was in its phase; nil from the start
	saved  time.Time
	seen   int
}

// Sweep removes what nothing needs: what rules of retention give up, links to
// blobs that no manifest of their repository names, blobs in no repository,
// objects of the store that nothing has named for a week, and empty repositories.
// Whatever somebody was told of within the grace stays. It works in small
// transactions beside everything else; each decides anew what it removes.
//
// A sweep that ends with an error has done a part of its work, and its report
// says which. Errors: ErrInstance, ErrEpoch, ErrUnknownObjects, before anything is
// removed; job.ErrLost.
func (r *Registry) Sweep(ctx context.Context, o SweepOptions) (registry.SweepReport, error) {
	if o.Aside == 0 {
		o.Aside = defaultAside
	}
	s := &sweep{r: r, o: o, began: r.o.Now().Truncate(time.Microsecond), grace: r.o.Grace, repos: make(map[oci.Name]*registry.SweptRepository)}
	if o.Grace != nil {
		s.grace = *o.Grace
	}
	s.report = &registry.SweepReport{Began: s.began, DryRun: o.DryRun}
	err := s.run(ctx)
	s.report.Ended = r.o.Now()
	s.report.Repositories = make([]registry.SweptRepository, 0, len(s.repos))
	for _, name := range slices.Sorted(maps.Keys(s.repos)) {
		s.report.Repositories = append(s.report.Repositories, *s.repos[name])
	}
	return *s.report, err
}

// A sweepPhase is a part of a sweep, which can be interrupted and gone on with.
type sweepPhase struct {
	name string
	run  func(*sweep, context.Context) error
}

// sweepPhases is their order: nothing is removed before it is known that the
// database is not an old one.
var sweepPhases = [...]sweepPhase{
	{"objects", (*sweep).listObjects},
	{"retention", (*sweep).retain},
	{"links", (*sweep).unlink},
	{"blobs", (*sweep).removeBlobs},
	{"unknown", (*sweep).expireUnknown},
	{"delete", (*sweep).deleteObjects},
	{"repositories", (*sweep).removeRepositories},
}

func (s *sweep) run(ctx context.Context) (err error) {
	if s.restore, err = s.r.checkRestore(ctx); err != nil {
		return err
	}
	if err := s.resume(ctx); err != nil {
		return err
	}
	first := max(0, slices.IndexFunc(sweepPhases[:], func(p sweepPhase) bool { return p.name == s.phase }))
	for _, p := range sweepPhases[first:] {
		s.phase, s.seen = p.name, 0
		s.tell()
		if err := p.run(s, ctx); err != nil {
			return errors.Join(fmt.Errorf("sweep %s: %w", p.name, err), s.saveInterrupted(ctx))
		}
		s.cursor = nil
	}
	return s.forget(ctx)
}

// resume goes on where an earlier sweep was interrupted, if it was and shall be.
func (s *sweep) resume(ctx context.Context) error {
	if !s.o.Resume || s.o.DryRun {
		return nil
	}
	var text string
	err := s.r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
		text, err = tx.Setting(sweepSetting)
		return err
	})
	if errors.Is(err, meta.ErrNotExist) || err == nil && text == "" {
		return nil
	}
	var state sweepState
	if err == nil {
		err = json.Unmarshal([]byte(text), &state)
	}
	if err != nil {
		return fmt.Errorf("go on with an interrupted sweep: %w", err)
	}
	if s.began.Sub(state.Began) > s.grace || state.Report == nil {
		return nil // too much has changed
	}
	s.began, s.phase, s.cursor, s.report = state.Began, state.Phase, state.Cursor, state.Report
	s.report.Resumed = true
	for i := range s.report.Repositories {
		s.repos[s.report.Repositories[i].Name] = &s.report.Repositories[i]
	}
	return nil
}

// step is called between two transactions: it notes where the sweep is, and rests
// where it shall, for as long as it has worked since began.
func (s *sweep) step(ctx context.Context, cursor any, n int, began time.Time) error {
	s.seen += n
	s.tell()
	data, err := json.Marshal(cursor)
	if err != nil {
		return err
	}
	s.cursor = data
	if time.Since(s.saved) > saveEvery {
		if err := s.save(ctx); err != nil {
			return err
		}
	}
	if !s.o.Rest {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Since(began)):
		return nil
	}
}

func (s *sweep) tell() {
	if s.o.Progress != nil {
		s.o.Progress(registry.SweepProgress{Phase: s.phase, Seen: s.seen})
	}
}

func (s *sweep) save(ctx context.Context) error {
	if s.o.DryRun {
		return nil
	}
	s.saved = time.Now()
	state, err := json.Marshal(sweepState{s.began, s.phase, s.cursor, s.report})
	if err != nil {
		return err
	}
	return s.put(ctx, string(state))
}

// saveInterrupted is save of a sweep that was told to stop. One that has failed
// begins anew.
func (s *sweep) saveInterrupted(ctx context.Context) error {
	if ctx.Err() == nil {
		return s.forget(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveEvery)
	defer cancel()
	return s.save(ctx)
}

func (s *sweep) forget(ctx context.Context) error {
	if s.o.DryRun || s.saved.IsZero() && !s.report.Resumed {
		return nil
	}
	return s.put(ctx, "")
}

func (s *sweep) put(ctx context.Context, state string) error {
	err := s.update(ctx, func(tx *meta.Tx) error { return tx.PutSetting(sweepSetting, state) })
	if errors.Is(err, job.ErrLost) {
		return nil // it is somebody else's now
	}
	return err
}

// update is an update in the name of the sweep. Errors: job.ErrLost.
func (s *sweep) update(ctx context.Context, fn func(*meta.Tx) error) error {
	return s.r.db.Update(ctx, func(tx *meta.Tx) error {
		if s.o.Lease != (job.Lease{}) {
			if err := tx.CheckLease(s.o.Lease); err != nil {
				return err
			}
		}
		return fn(tx)
	})
}

// from decodes where the phase was interrupted into cursor, which otherwise stays
// as it is.
func (s *sweep) from(cursor any) error {
	if s.cursor == nil {
		return nil
	}
	return json.Unmarshal(s.cursor, cursor)
}

// repo returns the line of the report for a repository.
func (s *sweep) repo(name oci.Name) *registry.SweptRepository {
	r := s.repos[name]
	if r == nil {
		r = &registry.SweptRepository{Name: name}
		s.repos[name] = r
	}
	return r
}
