package meta

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/auth"
	"berth/auth/session"
)

func TestDeviceLogins(t *testing.T) { onEach(t, testDeviceLogins) }

func testDeviceLogins(t *testing.T, db *DB) {
	ctx, s := t.Context(), db.Devices()
	d := session.Device{Hash: []byte("h1"), Code: "C1", Client: "berth", Addr: netip.MustParseAddr("2001:db8::1"), Began: day}
	want := func(what string, got, want session.Device, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); err != nil || diff != "" {
			t.Errorf("%s: %v %s", what, err, diff)
		}
	}
	fails := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	if err := s.AddDevice(ctx, d, day, 2); err != nil {
		t.Fatal(err)
	}
	fails("the same code", s.AddDevice(ctx, session.Device{Hash: []byte("h2"), Code: "C1", Began: day}, day, 2), session.ErrCodeTaken)
	if err := s.AddDevice(ctx, session.Device{Hash: []byte("h2"), Code: "C2", Began: day.Add(time.Minute)}, day, 2); err != nil {
		t.Fatal(err)
	}
	fails("one too many", s.AddDevice(ctx, session.Device{Hash: []byte("h3"), Code: "C3", Began: day}, day, 2), session.ErrTooMany)

	got, err := s.Device(ctx, "C1", day)
	want("by its code", got, d, err)
	_, err = s.Device(ctx, "C1", day.Add(time.Second))
	fails("too late", err, session.ErrNotExist)
	for range 2 {
		got, err = s.TakeDevice(ctx, d.Hash, day)
		want("while nobody has decided", got, d, err)
	}
	d.Decision, d.User, d.Version = session.Allowed, auth.Subject{Provider: "sso", Name: "bob"}, "7"
	fails("decided too late", s.DecideDevice(ctx, d, day.Add(time.Second)), session.ErrNotExist)
	if err := s.DecideDevice(ctx, d, day); err != nil {
		t.Fatal(err)
	}
	fails("decided again", s.DecideDevice(ctx, d, day), session.ErrNotExist)
	got, err = s.TakeDevice(ctx, d.Hash, day)
	want("taken", got, d, err)
	_, err = s.TakeDevice(ctx, d.Hash, day)
	fails("taken again", err, session.ErrNotExist)
	if err := s.AddDevice(ctx, session.Device{Hash: []byte("h4"), Code: "C4", Began: day.Add(time.Hour)}, day.Add(time.Hour), 1); err != nil {
		t.Errorf("when the others are old: %v", err)
	}
}
