package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"berth/blob"
	"berth/job"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// ScrubOptions are the choices of Scrub.
type ScrubOptions struct {
	registry.ScrubRequest
	// Sources are where whole bytes may be found in the place of damaged ones.
	Sources []Source
	Lease   job.Lease // checked wherever progress is written, unless it is zero
	// Found is told of each damage, Progress where the scrub is. Neither may take
	// long.
	Found    func(registry.Damage)
	Progress func(registry.ScrubProgress)
}

const (
	scrubSetting = "scrub"
	scrubPage    = 100
	// scrubKept is for how long a scrub that was interrupted can be gone on with.
	scrubKept = 30 * 24 * time.Hour

	maxDamages = 1000 // in a report
	maxPlaces  = 100  // of a damage, and names of a place
)

// A scrubState is what goes on with a scrub, in the database.
type scrubState struct {
	After  int64                `json:"after"`
	Report registry.ScrubReport `json:"report"`
}

// A scrub is one pass over all blobs.
type scrub struct {
	r     *Registry
	o     ScrubOptions
	state scrubState
	pace  pacer
	saved time.Time
}

// Scrub reads and hashes the bytes of every blob, in order of their age. What is
// missing, of another length or of another digest is healed from a source, or
// counts as missing from then on, on all nodes, until it is pushed again.
//
// It can be interrupted, and goes on where it was. Errors: job.ErrLost; those of
// the store and the database, of which the report says how far it came.
func (r *Registry) Scrub(ctx context.Context, o ScrubOptions) (registry.ScrubReport, error) {
	s := &scrub{r: r, o: o, pace: pacer{rate: o.Rate}, saved: time.Now()}
	s.state.Report = registry.ScrubReport{Began: r.o.Now(), Damages: []registry.Damage{}}
	err := s.run(ctx)
	s.state.Report.Ended = r.o.Now()
	return s.state.Report, err
}

func (s *scrub) run(ctx context.Context) error {
	if err := s.resume(ctx); err != nil {
		return err
	}
	for {
		var page []meta.Blob
		err := s.r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
			page, err = tx.BlobsAfter(s.state.After, scrubPage)
			return err
		})
		if err != nil {
			return err
		}
		for _, b := range page {
			if err := s.look(ctx, b); err != nil {
				return errors.Join(err, s.save(context.WithoutCancel(ctx)))
			}
			s.state.After = b.ID
			s.state.Report.Blobs++
			if err := s.step(ctx); err != nil {
				return err
			}
		}
		if len(page) < scrubPage {
			return s.put(ctx, "")
		}
	}
}

// resume goes on where an earlier scrub was interrupted, if there was one.
func (s *scrub) resume(ctx context.Context) error {
	if s.o.Restart {
		return nil
	}
	var text string
	err := s.r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
		text, err = tx.Setting(scrubSetting)
		return err
	})
	if errors.Is(err, meta.ErrNotExist) || err == nil && text == "" {
		return nil
	}
	var state scrubState
	if err == nil {
		err = json.Unmarshal([]byte(text), &state)
	}
	if err != nil {
		return fmt.Errorf("go on with an interrupted scrub: %w", err)
	}
	if s.r.o.Now().Sub(state.Report.Began) > scrubKept || state.Report.Damages == nil {
		return nil
	}
	s.state = state
	s.state.Report.Resumed = true
	return nil
}

// step is called between two blobs: it tells where the scrub is, and notes it now
// and then.
func (s *scrub) step(ctx context.Context) error {
	if s.o.Progress != nil {
		r := &s.state.Report
		s.o.Progress(registry.ScrubProgress{Blobs: r.Blobs, Bytes: r.Bytes, Damaged: r.Damaged})
	}
	if time.Since(s.saved) < saveEvery {
		return nil
	}
	return s.save(ctx)
}

func (s *scrub) save(ctx context.Context) error {
	s.saved = time.Now()
	state, err := json.Marshal(s.state)
	if err != nil {
		return err
	}
	return s.put(ctx, string(state))
}

func (s *scrub) put(ctx context.Context, state string) error {
	return s.r.db.Update(ctx, func(tx *meta.Tx) error {
		if s.o.Lease != (job.Lease{}) {
			if err := tx.CheckLease(s.o.Lease); err != nil {
				return err
			}
		}
		return tx.PutSetting(scrubSetting, state)
	})
}

// look looks at a blob, and does what can be done about its damage.
func (s *scrub) look(ctx context.Context, b meta.Blob) error {
	problem, stamp, err := s.check(ctx, b)
	if err != nil || problem == "" {
		return err
	}
	// It may have been removed, or pushed again, since it was listed.
	var now meta.Blob
	err = s.r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
		now, err = tx.Blob(b.Digest)
		return err
	})
	switch {
	case errors.Is(err, meta.ErrNotExist):
		return nil
	case err != nil:
		return err
	case now.Key != b.Key:
		b = now
		problem, stamp, err = s.check(ctx, b)
		if err != nil || problem == "" {
			return err
		}
	}
	return s.damaged(ctx, b, problem, stamp)
}

// check reads the bytes, and says what is wrong with them, "" for nothing; stamp is
// that of the bytes.
func (s *scrub) check(ctx context.Context, b meta.Blob) (problem, stamp string, err error) {
	o, err := s.r.store.Open(ctx, b.Key)
	if errors.Is(err, blob.ErrNotExist) {
		return "its bytes are missing", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("open blob %s: %w", b.Digest, err)
	}
	defer o.Close()
	info := o.Info()
	if info.Size != b.Size {
		return fmt.Sprintf("it has %d bytes instead of %d", info.Size, b.Size), info.Stamp, nil
	}
	sum, err := s.hash(ctx, b, o)
	switch {
	case errors.Is(err, blob.ErrNotExist), errors.Is(err, blob.ErrChanged):
		return "its bytes are missing, or were replaced", info.Stamp, nil
	case errors.Is(err, syscall.EIO):
		return "its bytes cannot be read", info.Stamp, nil
	case err != nil:
		return "", "", fmt.Errorf("read blob %s: %w", b.Digest, err)
	case sum != b.Digest:
		return "its bytes have another digest", info.Stamp, nil
	}
	if info.Stamp != b.Stamp {
		return "", "", s.r.restamp(b, info)
	}
	return "", "", nil
}

func (s *scrub) hash(ctx context.Context, b meta.Blob, o blob.Object) (oci.Digest, error) {
	rc, err := o.Range(ctx, 0, -1)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	h := b.Digest.Algorithm().New()
	n, err := io.Copy(h, &pacedReader{ctx: ctx, r: rc, pace: &s.pace})
	s.state.Report.Bytes += n
	if err != nil {
		return "", err
	}
	return oci.SumDigest(b.Digest.Algorithm(), h), nil
}

// damaged heals the blob, or takes it out of service, and reports it.
func (s *scrub) damaged(ctx context.Context, b meta.Blob, problem, stamp string) error {
	d := registry.Damage{Digest: b.Digest, Size: b.Size, Key: b.Key, Problem: problem}
	var err error
	if d.Healed, err = s.r.healFrom(ctx, b, s.o.Sources); err != nil {
		return err
	}
	if !d.Healed {
		// Without a stamp it is verified wherever it is read.
		s.r.noteDamage(b, stamp, problem)
		err := s.r.db.Update(ctx, func(tx *meta.Tx) error { return tx.SetBlobStamp(b.Digest, b.Key, "") })
		s.r.blobs.holdAll()()
		s.r.manifests.holdAll()()
		s.r.bytes.hold(b.Digest)()
		if errors.Is(err, meta.ErrNotExist) {
			return nil // it is whole again, or gone
		}
		if err != nil {
			return err
		}
	}
	err = s.r.db.View(ctx, func(tx *meta.Tx) (err error) {
		d.Places, err = placesOf(tx, b)
		return err
	})
	if err != nil {
		return err
	}
	report := &s.state.Report
	report.Damaged++
	if d.Healed {
		report.Healed++
	}
	if len(report.Damages) < maxDamages {
		report.Damages = append(report.Damages, d)
	}
	if s.o.Found != nil {
		s.o.Found(d)
	}
	return nil
}

// placesOf says what the damage of a blob costs.
func placesOf(tx *meta.Tx, b meta.Blob) ([]registry.DamagedPlace, error) {
	names, err := tx.BlobRepositories(b.Digest, meta.RepositoryRange{Limit: maxPlaces})
	if err != nil {
		return nil, err
	}
	held := make(map[oci.Name]bool)
	for _, name := range names {
		held[name] = true
	}
	manifests, err := tx.ManifestRepositories(b.ID, maxPlaces)
	if err != nil {
		return nil, err
	}
	itself := make(map[oci.Name]bool)
	for _, name := range manifests {
		itself[name] = true
		if !held[name] {
			names = append(names, name)
		}
	}
	places := make([]registry.DamagedPlace, 0, len(names))
	for _, name := range names {
		place, err := placeOf(tx, b, name, itself[name])
		if err != nil {
			return nil, err
		}
		places = append(places, place)
	}
	return places, nil
}

func placeOf(tx *meta.Tx, b meta.Blob, name oci.Name, itself bool) (registry.DamagedPlace, error) {
	place := registry.DamagedPlace{Repository: name, Manifests: []oci.Digest{}, Tags: []oci.Tag{}}
	id, err := tx.Repository(name)
	if err != nil {
		return place, err
	}
	if itself {
		place.Manifests = append(place.Manifests, b.Digest)
	}
	parents, err := tx.ParentsOf(id, b.Digest, maxPlaces)
	if err != nil {
		return place, err
	}
	place.Manifests = append(place.Manifests, slices.Compact(parents)...)
	tags, err := tx.TagsNeeding(id, b.Digest, "", maxPlaces)
	for _, t := range tags {
		place.Tags = append(place.Tags, t.Tag)
	}
	return place, err
}

// StillDamaged returns those of the damages that nobody has healed or removed.
func (r *Registry) StillDamaged(ctx context.Context, list []registry.Damage) ([]registry.Damage, error) {
	var still []registry.Damage
	err := r.db.Lookup(ctx, func(tx *meta.Tx) error {
		still = nil
		for _, d := range list {
			b, err := tx.Blob(d.Digest)
			if err != nil && !errors.Is(err, meta.ErrNotExist) {
				return err
			}
			if err == nil && b.Key == d.Key && b.Stamp == "" {
				still = append(still, d)
			}
		}
		return nil
	})
	return still, err
}
