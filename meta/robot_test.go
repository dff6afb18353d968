package meta

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/auth"
	"berth/auth/account"
	"berth/auth/robot"
)

var sameAddr = cmpopts.EquateComparable(netip.Prefix{})

func TestRobots(t *testing.T) { onEach(t, testRobots) }

func testRobots(t *testing.T, db *DB) {
	ctx := t.Context()
	store := db.Robots()
	ci := robot.Robot{
		Name: "ci",
		Settings: robot.Settings{
			Owner:   auth.Subject{Provider: "accounts", Name: "alice"},
			OwnerID: "account:1",
			Limits:  robot.Limits{Repositories: []string{"team/**"}, Actions: []string{"pull", "push"}, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}},
			Expires: day.Add(time.Hour), Comment: "c",
		},
		CreatedBy: "root", Created: day, Updated: day,
		Secrets: []robot.Secret{{ID: "S1", Hash: []byte{1, 0}, Created: day}},
	}
	plain := robot.Robot{Name: "bare", Created: day, Updated: day}
	if err := errors.Join(store.CreateRobot(ctx, ci), store.CreateRobot(ctx, plain)); err != nil {
		t.Fatal(err)
	}
	if err := store.CreateRobot(ctx, plain); !errors.Is(err, robot.ErrExists) {
		t.Errorf("created twice: %v", err)
	}
	got, err := store.Robots(ctx)
	if diff := cmp.Diff([]robot.Robot{plain, ci}, got, sameAddr); err != nil || diff != "" {
		t.Error(err, diff)
	}

	// A rotation and a change of all settings in one.
	ci.Settings = robot.Settings{Disabled: true, Owner: auth.Subject{Provider: "corp", Name: "bob"}, OwnerID: "uuid:1"}
	ci.Updated = day.Add(time.Second)
	ci.Secrets = []robot.Secret{{ID: "S1", Hash: []byte{1, 0}, Created: day, Expires: day.Add(time.Minute)}, {ID: "S2", Hash: []byte{2}, Created: day.Add(1e9)}}
	change := func(r *robot.Robot) error {
		r.Settings, r.Updated = ci.Settings, ci.Updated
		r.Secrets[0].Expires = ci.Secrets[0].Expires
		r.Secrets = append(r.Secrets, ci.Secrets[1])
		return nil
	}
	if err := store.UpdateRobot(ctx, "ci", change); err != nil {
		t.Fatal(err)
	}
	got, err = store.Robots(ctx)
	if diff := cmp.Diff(ci, got[1], sameAddr); err != nil || diff != "" {
		t.Error(err, diff)
	}
	refused := errors.New("no")
	if err := store.UpdateRobot(ctx, "ci", func(r *robot.Robot) error { r.Secrets = nil; return refused }); err != refused {
		t.Errorf("UpdateRobot = %v, want what change returned", err)
	}

	used := robot.Use{At: day.Add(time.Hour), Addr: "192.0.2.1"}
	if err := store.Touch(ctx, map[string]robot.Use{"S2": used, "none": used}); err != nil {
		t.Fatal(err)
	}
	err = store.UpdateRobot(ctx, "ci", func(r *robot.Robot) error {
		r.Secrets = r.Secrets[1:]
		r.Secrets[0].LastUse = robot.Use{} // is not for a change to say
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err = store.Robots(ctx)
	if err != nil || len(got[1].Secrets) != 1 || got[1].Secrets[0].LastUse != used {
		t.Errorf("%+v, %v", got, err)
	}
	if err := store.DeleteRobot(ctx, "ci"); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{store.UpdateRobot(ctx, "ci", nil), store.DeleteRobot(ctx, "ci")} {
		if !errors.Is(err, robot.ErrNotExist) {
			t.Errorf("no such robot: %v", err)
		}
	}
	ci.Secrets = ci.Secrets[1:] // a name and a secret may come back
	if err := store.CreateRobot(ctx, ci); err != nil {
		t.Error(err)
	}
}

func TestPersonalTokens(t *testing.T) { onEach(t, testPersonalTokens) }

func testPersonalTokens(t *testing.T, db *DB) {
	ctx := t.Context()
	store := db.Robots()
	one := robot.Token{
		Secret: robot.Secret{ID: "1", Hash: []byte{1, 0}, Created: day.Add(1e9), Expires: day.Add(time.Hour)},
		Owner:  auth.Subject{Provider: "p", Name: "a"}, OwnerID: "uuid:1", Name: "laptop", CreatedBy: "a",
		Limits: robot.Limits{Repositories: []string{"a/*"}, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
	}
	two := robot.Token{Secret: robot.Secret{ID: "2", Hash: []byte{2}, Created: day}, Owner: auth.Subject{Provider: "p", Name: "b"}}
	if err := errors.Join(store.CreateToken(ctx, one), store.CreateToken(ctx, two)); err != nil {
		t.Fatal(err)
	}
	one.LastUse = robot.Use{At: day.Add(time.Minute), Addr: "192.0.2.1"}
	if err := store.Touch(ctx, map[string]robot.Use{"1": one.LastUse}); err != nil {
		t.Fatal(err)
	}
	got, err := store.Tokens(ctx)
	if diff := cmp.Diff([]robot.Token{two, one}, got, sameAddr); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if err := store.DeleteToken(ctx, "2"); err != nil {
		t.Fatal(err)
	}
	if err := store.DeleteToken(ctx, "2"); !errors.Is(err, robot.ErrNotExist) {
		t.Errorf("deleted twice: %v", err)
	}
}

// TestDeletedAccountTakesWhatItOwns: its personal tokens go with it, and its
// robots are disabled, those of others of the same name are not.
func TestDeletedAccountTakesWhatItOwns(t *testing.T) { onEach(t, testDeletedAccountTakesWhatItOwns) }

func testDeletedAccountTakesWhatItOwns(t *testing.T, db *DB) {
	ctx := t.Context()
	store := db.Robots()
	for i, s := range []auth.Subject{{Provider: "accounts", Name: "a"}, {Provider: "accounts", Name: "b"}, {Provider: "ldap", Name: "a"}} {
		id := string(rune('x' + i))
		err := errors.Join(
			store.CreateToken(ctx, robot.Token{Secret: robot.Secret{ID: id, Hash: []byte(id), Created: day.Add(time.Duration(i))}, Owner: s}),
			store.CreateRobot(ctx, robot.Robot{Name: id, Settings: robot.Settings{Owner: s}}))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Accounts().CreateAccount(ctx, account.Account{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := db.Accounts().DeleteAccount(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	tokens, err := store.Tokens(ctx)
	if err != nil || len(tokens) != 2 || tokens[0].ID != "y" || tokens[1].ID != "z" {
		t.Errorf("tokens left: %+v, %v", tokens, err)
	}
	robots, err := store.Robots(ctx)
	if err != nil || len(robots) != 3 || !robots[0].Disabled || robots[0].OwnerID != robot.Gone || robots[1].Disabled || robots[2].Disabled {
		t.Errorf("robots: %+v, %v", robots, err)
	}
	// Nobody of that name: nothing is touched.
	if err := db.Accounts().DeleteAccount(ctx, "b"); !errors.Is(err, account.ErrNotExist) {
		t.Fatal(err)
	}
	if tokens, err := store.Tokens(ctx); err != nil || len(tokens) != 2 {
		t.Errorf("tokens of who was not an account: %+v, %v", tokens, err)
	}
}

// TestIdentify: the first ID of an owner stays.
func TestIdentify(t *testing.T) { onEach(t, testIdentify) }

func testIdentify(t *testing.T, db *DB) {
	ctx := t.Context()
	store := db.Robots()
	a, b := auth.Subject{Provider: "p", Name: "a"}, auth.Subject{Provider: "p", Name: "b"}
	for id, owner := range map[string]auth.Subject{"x": a, "y": b} {
		err := errors.Join(
			store.CreateToken(ctx, robot.Token{Secret: robot.Secret{ID: id, Hash: []byte(id), Created: day}, Owner: owner}),
			store.CreateRobot(ctx, robot.Robot{Name: id, Settings: robot.Settings{Owner: owner}}))
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []auth.ID{"uuid:1", "uuid:2"} {
		err := store.Identify(ctx, map[robot.Owned]auth.ID{
			{Robot: "x", Owner: a}: id, {Token: "x", Owner: a}: id,
			{Robot: "y", Owner: a}: id, {Token: "y", Owner: a}: id, // another owner since
			{Robot: "z", Owner: a}: id, {Token: "z", Owner: a}: id,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	robots, err := store.Robots(ctx)
	if err != nil || robots[0].OwnerID != "uuid:1" || robots[1].OwnerID != "" {
		t.Errorf("%+v, %v", robots, err)
	}
	tokens, err := store.Tokens(ctx)
	if err != nil || len(tokens) != 2 {
		t.Fatal(tokens, err)
	}
	for _, token := range tokens {
		if (token.ID == "x") != (token.OwnerID == "uuid:1") {
			t.Errorf("%+v", token)
		}
	}
}
