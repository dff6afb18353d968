package admin

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/auth"
	"berth/auth/robot"
)

// keyStore is a robot.Store in memory, for one caller at a time.
type keyStore struct {
	robots []robot.Robot
	tokens []robot.Token
}

func (s *keyStore) Robots(context.Context) ([]robot.Robot, error) { return slices.Clone(s.robots), nil }

func (s *keyStore) CreateRobot(_ context.Context, r robot.Robot) error {
	if slices.ContainsFunc(s.robots, func(have robot.Robot) bool { return have.Name == r.Name }) {
		return robot.ErrExists
	}
	s.robots = append(s.robots, r)
	return nil
}

func (s *keyStore) UpdateRobot(_ context.Context, name string, change func(*robot.Robot) error) error {
	for i := range s.robots {
		if s.robots[i].Name == name {
			r := s.robots[i]
			r.Secrets = slices.Clone(r.Secrets)
			if err := change(&r); err != nil {
				return err
			}
			s.robots[i] = r
			return nil
		}
	}
	return robot.ErrNotExist
}

func (s *keyStore) DeleteRobot(_ context.Context, name string) error {
	before := len(s.robots)
	s.robots = slices.DeleteFunc(s.robots, func(r robot.Robot) bool { return r.Name == name })
	if len(s.robots) == before {
		return robot.ErrNotExist
	}
	return nil
}

func (s *keyStore) Tokens(context.Context) ([]robot.Token, error) { return slices.Clone(s.tokens), nil }

func (s *keyStore) CreateToken(_ context.Context, t robot.Token) error {
	s.tokens = append(s.tokens, t)
	return nil
}

func (s *keyStore) DeleteToken(_ context.Context, id string) error {
	s.tokens = slices.DeleteFunc(s.tokens, func(t robot.Token) bool { return t.ID == id })
	return nil
}

func (s *keyStore) Identify(context.Context, map[robot.Owned]auth.ID) error { return nil }

func (s *keyStore) Touch(context.Context, map[string]robot.Use) error { return nil }

func TestRobots(t *testing.T) {
	api, service := newAPI(t)
	ctx := t.Context()
	if err := api.AddUser(ctx, NewUser{Name: "alice", Password: "correct horse", Groups: []string{"dev"}}); err != nil {
		t.Fatal(err)
	}
	n := NewRobot{
		Name: "ci", Owner: "alice", Comment: "the build", Expires: time.Now().Add(24 * time.Hour).UTC().Truncate(time.Microsecond),
		Limits: Limits{Repositories: []string{"team/**"}, Actions: []string{"push"}, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
	}
	secret, err := api.AddRobot(ctx, n)
	if err != nil || !auth.RobotForm.Fits(secret) {
		t.Fatal(err)
	}
	_, err = api.AddRobot(ctx, n)
	wantKind(t, "the same robot", err, Exists)
	for what, change := range map[string]func(*NewRobot){
		"a reserved name":  func(n *NewRobot) { n.Name = "scanner-1" },
		"an unknown owner": func(n *NewRobot) { n.Name, n.Owner = "cd", "nobody" },
		"an owner robot":   func(n *NewRobot) { n.Name, n.Owner = "cd", "robot:ci" },
		"admin":            func(n *NewRobot) { n.Name, n.Actions = "cd", []string{"admin"} },
		"nothing given":    func(n *NewRobot) { *n = NewRobot{Name: "cd"} },
	} {
		bad := n
		change(&bad)
		_, err := api.AddRobot(ctx, bad)
		wantKind(t, what, err, Invalid)
	}

	got, err := api.Robot(ctx, "ci")
	want := Robot{Name: "ci", User: "robot:ci", Owner: "alice", Limits: n.Limits, State: "expires soon", Expires: n.Expires, Comment: "the build", CreatedBy: "local"}
	ignore := cmpopts.IgnoreFields(Robot{}, "Created", "Updated", "Secrets")
	if diff := cmp.Diff(want, got, ignore, cmpopts.EquateComparable(netip.Prefix{})); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if len(got.Secrets) != 1 || got.Secrets[0].ID == "" {
		t.Errorf("secrets: %+v", got.Secrets)
	}
	e, err := api.Explain(ctx, Question{User: "robot:ci", Action: "push", Repository: "team/app", Addr: "10.1.2.3"})
	if err != nil || !e.Allowed || !strings.Contains(e.Question, "robot:ci for alice of dev") {
		t.Errorf("explained: %+v, %v", e, err)
	}

	none, never := "", time.Time{}
	if err := api.ChangeRobot(ctx, "ci", RobotChange{Owner: &none, Expires: &never, From: &[]netip.Prefix{}}); err != nil {
		t.Fatal(err)
	}
	if got, err = api.Robot(ctx, "ci"); err != nil || got.Owner != "" || !got.Expires.IsZero() || len(got.From) != 0 || got.Comment != "the build" || got.State != "active" {
		t.Errorf("changed: %+v, %v", got, err)
	}
	owner := "nobody"
	wantKind(t, "an owner who is not there", api.ChangeRobot(ctx, "ci", RobotChange{Owner: &owner}), Invalid)
	off := true
	if err := api.ChangeRobot(ctx, "ci", RobotChange{Disabled: &off}); err != nil {
		t.Fatal(err)
	}
	if robots, err := api.Robots(ctx); err != nil || len(robots) != 1 || !robots[0].Disabled || robots[0].State != "the robot ci is disabled" {
		t.Errorf("disabled: %+v, %v", robots, err)
	}
	_, err = api.Explain(ctx, Question{User: "robot:ci", Action: "push", Repository: "team/app"})
	wantKind(t, "a disabled robot", err, Invalid)
	_, err = api.Explain(ctx, Question{User: "robot:none", Action: "push", Repository: "team/app"})
	wantKind(t, "a robot that is not there", err, Invalid)

	second, err := api.RotateRobot(ctx, "ci", time.Hour)
	if err != nil || second == secret || !auth.RobotForm.Fits(second) {
		t.Errorf("rotated: %v", err)
	}
	_, err = api.RotateRobot(ctx, "ci", time.Hour)
	wantKind(t, "a third secret", err, Invalid)
	if err := api.RevokeRobotSecret(ctx, "ci", service.Keys.List()[0].Secrets[0].ID); err != nil {
		t.Error(err)
	}
	wantKind(t, "no such secret", api.RevokeRobotSecret(ctx, "ci", "x"), NotFound)
	if err := api.RemoveRobot(ctx, "ci"); err != nil {
		t.Error(err)
	}
	wantKind(t, "removed twice", api.RemoveRobot(ctx, "ci"), NotFound)
	_, err = api.Robot(ctx, "ci")
	wantKind(t, "shown after that", err, NotFound)
}

func TestPersonalTokens(t *testing.T) {
	api, _ := newAPI(t)
	ctx := t.Context()
	if err := api.AddUser(ctx, NewUser{Name: "alice", Password: "correct horse"}); err != nil {
		t.Fatal(err)
	}
	n := NewToken{User: "alice", Name: "laptop", Limits: Limits{Actions: []string{"pull"}}}
	secret, err := api.AddToken(ctx, n)
	if err != nil || !auth.TokenForm.Fits(secret) {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*NewToken){
		"nobody's":     func(n *NewToken) { n.User = "" },
		"a stranger's": func(n *NewToken) { n.User = "nobody" },
		"a robot's":    func(n *NewToken) { n.User = "robot:ci" },
		"without name": func(n *NewToken) { n.Name = "" },
		"too long":     func(n *NewToken) { n.Expires = time.Now().AddDate(2, 0, 0) },
	} {
		bad := n
		change(&bad)
		_, err := api.AddToken(ctx, bad)
		wantKind(t, what, err, Invalid)
	}
	tokens, err := api.Tokens(ctx, "alice")
	if err != nil || len(tokens) != 2 {
		t.Fatalf("tokens: %+v, %v", tokens, err)
	}
	made := tokens[0] // the newest
	if made.Kind != KindPersonal || made.Name != "laptop" || !slices.Equal(made.Actions, []string{"pull"}) || made.Expires.Before(time.Now().AddDate(0, 0, 89)) {
		t.Errorf("%+v", made)
	}
	if tokens[1].Kind != KindLogin || tokens[1].ID != "ONE" {
		t.Errorf("%+v", tokens[1])
	}
	if err := api.RevokeToken(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "revoked twice", api.RevokeToken(ctx, made.ID), NotFound)
}
