package admin

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/audit"
	"berth/auth"
	"berth/oci"
)

// TestChangesAreAudited makes every change once, and one that fails.
func TestChangesAreAudited(t *testing.T) {
	api, service := newAPI(t)
	var got []audit.Event
	service.Audit = func(e audit.Event) { got = append(got, e) }
	ctx := t.Context()
	for _, err := range []error{
		api.AddUser(ctx, NewUser{Name: "alice", Password: "canary horse", Groups: []string{"dev", "ops"}}),
		api.SetPassword(ctx, "alice", "another canary"),
		api.SetGroups(ctx, "alice", nil),
		api.SetDisabled(ctx, "alice", true),
		api.SetDisabled(ctx, "alice", false),
		api.RemoveUser(ctx, "alice", false),
		api.RevokeToken(ctx, "ONE"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, "removed twice", api.RemoveUser(ctx, "alice", false), NotFound)
	service.Logins = failing{}
	if err := service.RevokeToken(ctx, "TWO"); err != nil {
		t.Fatal(err)
	}
	event := func(kind audit.Kind, target, reason string) audit.Event {
		return audit.Event{Kind: kind, Result: audit.OK, User: "local", Method: audit.Local, Target: target, Reason: reason}
	}
	want := []audit.Event{
		event(audit.UserAdd, "alice", "in dev, ops"),
		event(audit.UserPassword, "alice", ""),
		event(audit.UserGroups, "alice", "in no group"),
		event(audit.UserDisable, "alice", ""),
		event(audit.UserEnable, "alice", ""),
		event(audit.UserRemove, "alice", ""),
		event(audit.TokenRevoke, "ONE", ""),
		event(audit.UserRemove, "alice", "there is no account of that name"),
		event(audit.TokenRevoke, "TWO", ""),
	}
	want[7].Result = audit.Failed
	got[7].Reason = want[7].Reason // in the words of package account
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	if err := service.changed(audit.UserAdd, "bob", "", errors.New("disk on fire")); err == nil || got[9].Result != audit.Error {
		t.Errorf("%v, %+v", err, got[9])
	}
}

func TestChangesOfRobotsAreAudited(t *testing.T) {
	api, service := newAPI(t)
	ctx := t.Context()
	if err := api.AddUser(ctx, NewUser{Name: "alice", Password: "correct horse"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	service.Audit = func(e audit.Event) {
		got = append(got, strings.Join([]string{string(e.Kind), string(e.Result), e.User, e.Target, e.Reason}, "|"))
	}
	limits := Limits{Repositories: []string{"team/**", "a"}, Actions: []string{"pull"}, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	off, none := true, ""
	var secrets []string
	for _, do := range []func() (auth.Secret, error){
		func() (auth.Secret, error) {
			return api.AddRobot(ctx, NewRobot{Name: "ci", Owner: "alice", Limits: limits})
		},
		func() (auth.Secret, error) { return api.RotateRobot(ctx, "ci", time.Hour) },
		func() (auth.Secret, error) {
			return "", api.ChangeRobot(ctx, "ci", RobotChange{Owner: &none, Comment: &none})
		},
		func() (auth.Secret, error) { return "", api.ChangeRobot(ctx, "ci", RobotChange{Disabled: &off}) },
		func() (auth.Secret, error) { return "", api.RemoveRobot(ctx, "ci") },
		func() (auth.Secret, error) { return api.AddToken(ctx, NewToken{User: "alice", Name: "laptop"}) },
	} {
		secret, err := do()
		if err != nil {
			t.Fatal(err)
		}
		if secret != "" {
			secrets = append(secrets, secret.Reveal())
		}
	}
	_, err := api.AddRobot(ctx, NewRobot{Name: "cd", Owner: "nobody", Limits: limits})
	wantKind(t, "an owner who is not there", err, Invalid)
	want := []string{
		"robot.add|ok|local|robot:ci|of alice; repositories team/**, a; actions pull; from 10.0.0.0/8",
		"robot.rotate|ok|local|robot:ci|",
		"robot.set|ok|local|robot:ci|owner, comment",
		"robot.disable|ok|local|robot:ci|",
		"robot.remove|ok|local|robot:ci|",
		"token.add|ok|local|alice|laptop of alice",
		"robot.add|failed|local|robot:cd|there is no user nobody",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, secret := range secrets {
		if strings.Contains(strings.Join(got, "\n"), secret) {
			t.Error("a secret is told")
		}
	}
}

// TestExplainRefFromTheAudit: what the server does not remember any more.
func TestExplainRefFromTheAudit(t *testing.T) {
	api, service := newAPI(t)
	kept := map[string]audit.Event{
		"REFUSED": {
			Time: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), Kind: audit.Refused, Result: audit.Denied, User: "alice", Provider: "accounts",
			Address: netip.MustParseAddr("10.1.2.3"), Tags: []oci.Tag{"v1"}, Scope: "repository:team/app:pull,push",
			Reason: "user alice may not push to team/app:v1", Status: 403, Ref: "REFUSED",
		},
		"FAILED": {
			Time: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), Kind: audit.Login, Result: audit.Failed, User: "bob",
			Reason: "account locked (775)", Status: 401, Ref: "FAILED",
		},
	}
	service.Audited = func(_ context.Context, ref string) (audit.Event, error) {
		if e, ok := kept[ref]; ok {
			return e, nil
		}
		return audit.Event{}, audit.ErrNotFound
	}
	r, err := api.ExplainRef(t.Context(), "refused ")
	if err != nil || r.User != "alice" || r.Addr != "10.1.2.3" || r.Status != 403 || r.Explanation == nil || r.Explanation.Allowed || !strings.Contains(r.Explanation.Question, "push team/app:v1") {
		t.Errorf("a refusal: %+v, %v", r, err)
	}
	r, err = api.ExplainRef(t.Context(), "failed")
	if err != nil || r.User != "bob" || r.Status != 401 || r.Reason != "account locked (775)" || r.Explanation != nil {
		t.Errorf("a failed login: %+v, %v", r, err)
	}
	_, err = api.ExplainRef(t.Context(), "NEVER")
	wantKind(t, "neither", err, NotFound)

	service.Refusals = nil // no server is running
	if _, err := service.ExplainRef(t.Context(), "REFUSED"); err != nil {
		t.Error(err)
	}
	service.Audited = nil
	_, err = service.ExplainRef(t.Context(), "REFUSED")
	wantKind(t, "nothing is kept", err, NotFound)
	service.Audited = func(context.Context, string) (audit.Event, error) { return audit.Event{}, errors.New("disk on fire") }
	if _, err := service.ExplainRef(t.Context(), "REFUSED"); err == nil || errors.As(err, new(*Error)) {
		t.Errorf("a log that cannot be read: %v", err)
	}
}

// TestExplainRefOfACredential: the audit log has the ID of what a robot or a token
// came with, and not what that is narrowed to.
func TestExplainRefOfACredential(t *testing.T) {
	api, service := newAPI(t)
	ctx := t.Context()
	if err := api.AddUser(ctx, NewUser{Name: "alice", Password: "correct horse", Groups: []string{"dev"}}); err != nil {
		t.Fatal(err)
	}
	limits := Limits{Repositories: []string{"team/base"}, Actions: []string{"push"}}
	if _, err := api.AddToken(ctx, NewToken{User: "alice", Name: "laptop", Limits: limits}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.AddRobot(ctx, NewRobot{Name: "ci", Owner: "alice", Limits: limits}); err != nil {
		t.Fatal(err)
	}
	tokens, err := api.Tokens(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	secret := service.Keys.List()[0].Secrets[0].ID
	kept := map[string]audit.Event{
		"TOKEN": {User: "alice", Provider: "accounts", Groups: []string{"dev"}, Credential: tokens[0].ID},
		"ROBOT": {User: "robot:ci", Provider: "robots", Credential: secret},
		"CERT":  {User: "alice", Provider: "certificate", Groups: []string{"dev"}, Credential: "00ff"},
	}
	service.Audited = func(_ context.Context, ref string) (audit.Event, error) {
		e := kept[ref]
		e.Kind, e.Result, e.Ref, e.Scope, e.Status = audit.Refused, audit.Denied, ref, "repository:team/app:push", 403
		return e, nil
	}
	explained := func(ref, reason, note string) {
		t.Helper()
		r, err := api.ExplainRef(ctx, ref)
		if err != nil || r.Explanation == nil {
			t.Fatalf("%s: %+v, %v", ref, r, err)
		}
		if !strings.Contains(r.Explanation.Reason, reason) || !strings.Contains(r.Explanation.Note, note) || (note == "") != (r.Explanation.Note == "") {
			t.Errorf("%s: because %s; %s", ref, r.Explanation.Reason, r.Explanation.Note)
		}
	}
	explained("TOKEN", "push on team/base", "")
	explained("ROBOT", "push on team/base", "")
	explained("CERT", "a rule allows it", "")
	off := true
	if err := api.ChangeRobot(ctx, "ci", RobotChange{Disabled: &off}); err != nil {
		t.Fatal(err)
	}
	explained("ROBOT", "", "lets nobody in now (the robot ci is disabled)")
	if err := api.RevokeToken(ctx, tokens[0].ID); err != nil {
		t.Fatal(err)
	}
	explained("TOKEN", "a rule allows it", "the credential "+tokens[0].ID+" no longer exists")
	service.Resolve = func(context.Context, auth.Subject) (auth.Identity, error) { return auth.Identity{}, errors.New("down") }
	explained("TOKEN", "a rule allows it", "cannot be looked up now")
}
