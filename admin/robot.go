package admin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"berth/audit"
	"berth/auth"
	"berth/auth/robot"
	"berth/auth/token"
)

// byLocal is who has made what is made through a Service: whoever reaches one is
// an administrator, whose name nobody knows.
const byLocal = audit.LocalUser

// Robots manages robots. Changes hold from the next request on.
type Robots interface {
	Robots(ctx context.Context) ([]Robot, error)
	// Robot returns one. Errors: NotFound.
	Robot(ctx context.Context, name string) (Robot, error)
	// AddRobot makes a robot and returns its secret, which is never to be had
	// again. Errors: Invalid, Exists.
	AddRobot(ctx context.Context, r NewRobot) (auth.Secret, error)
	// ChangeRobot changes what of c is not nil. Errors: Invalid, NotFound.
	ChangeRobot(ctx context.Context, name string, c RobotChange) error
	// RotateRobot gives a robot another secret; the one before lives on for the
	// grace. Errors: Invalid, also when it has two already; NotFound.
	RotateRobot(ctx context.Context, name string, grace time.Duration) (auth.Secret, error)
	// RevokeRobotSecret ends one secret of a robot. Errors: NotFound.
	RevokeRobotSecret(ctx context.Context, name, id string) error
	// RemoveRobot removes a robot. Errors: NotFound.
	RemoveRobot(ctx context.Context, name string) error
}

// Limits are what a robot or a personal token is narrowed to.
type Limits struct {
	Repositories []string       `json:"repositories,omitempty"` // patterns; none: every repository
	Actions      []string       `json:"actions,omitempty"`      // none: all but admin
	From         []netip.Prefix `json:"from,omitempty"`         // networks; none: every address
}

// A Robot is one as lists show it.
type Robot struct {
	Name  string `json:"name"`
	User  string `json:"user"`            // its name in rules and logs
	Owner string `json:"owner,omitempty"` // the user for whom it acts; empty for one of the registry's own
	Limits
	// State is "active", "expires soon", or why it is let in no more.
	State     string        `json:"state"`
	Expires   time.Time     `json:"expires,omitzero"`
	Disabled  bool          `json:"disabled"`
	Comment   string        `json:"comment,omitempty"`
	CreatedBy string        `json:"createdBy"`
	Created   time.Time     `json:"created"`
	Updated   time.Time     `json:"updated"`
	Secrets   []RobotSecret `json:"secrets"`
}

// A RobotSecret is what is shown of a secret.
type RobotSecret struct {
	ID       string    `json:"id"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"`
	LastUsed time.Time `json:"lastUsed,omitzero"`
	Addr     string    `json:"addr,omitempty"` // of the last login
}

// A NewRobot is a robot to be made.
type NewRobot struct {
	Name  string `json:"name"`
	Owner string `json:"owner,omitempty"` // a user; empty makes it the registry's own
	Limits
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Comment string    `json:"comment,omitempty"`
}

// A RobotChange is what to change of a robot; nil is to be left alone.
type RobotChange struct {
	Owner        *string         `json:"owner,omitempty"`
	Repositories *[]string       `json:"repositories,omitempty"`
	Actions      *[]string       `json:"actions,omitempty"`
	From         *[]netip.Prefix `json:"from,omitempty"`
	Expires      *time.Time      `json:"expires,omitempty"`
	Disabled     *bool           `json:"disabled,omitempty"`
	Comment      *string         `json:"comment,omitempty"`
}

// Robots implements API.
func (s *Service) Robots(ctx context.Context) ([]Robot, error) {
	robots := []Robot{}
	for _, r := range s.Keys.List() {
		robots = append(robots, s.showRobot(ctx, r))
	}
	return robots, nil
}

// Robot implements API.
func (s *Service) Robot(ctx context.Context, name string) (Robot, error) {
	r, err := s.Keys.Get(name)
	if err != nil {
		return Robot{}, told(err)
	}
	return s.showRobot(ctx, r), nil
}

func (s *Service) showRobot(ctx context.Context, r robot.Robot) Robot {
	shown := Robot{
		Name: r.Name, User: auth.RobotPrefix + r.Name, Owner: r.Owner.Name, Limits: Limits(r.Limits),
		State: "active", Expires: r.Expires, Disabled: r.Disabled, Comment: r.Comment,
		CreatedBy: r.CreatedBy, Created: r.Created, Updated: r.Updated, Secrets: []RobotSecret{},
	}
	var rejected *auth.RejectedError
	switch err := s.Keys.Usable(ctx, r); {
	case errors.As(err, &rejected):
		shown.State = rejected.Reason
	case err != nil:
		shown.State = "its owner cannot be looked up now"
	case s.Keys.ExpiresSoon(r.Expires):
		shown.State = "expires soon"
	}
	for _, secret := range r.Secrets {
		shown.Secrets = append(shown.Secrets, RobotSecret{secret.ID, secret.Created, secret.Expires, secret.LastUse.At, secret.LastUse.Addr})
	}
	return shown
}

// AddRobot implements API.
func (s *Service) AddRobot(ctx context.Context, r NewRobot) (auth.Secret, error) {
	secret, err := s.addRobot(ctx, r)
	return secret, s.changed(audit.RobotAdd, robotUser(r.Name), r.Limits.of(r.Owner), err)
}

func (s *Service) addRobot(ctx context.Context, r NewRobot) (auth.Secret, error) {
	owner, err := s.userNamed(ctx, r.Owner)
	if err != nil {
		return "", err
	}
	settings := robot.Settings{Owner: owner, Limits: robot.Limits(r.Limits), Expires: r.Expires, Comment: r.Comment}
	return s.Keys.Add(ctx, r.Name, settings, byLocal)
}

// userNamed returns who has a name today; nobody for the empty one.
func (s *Service) userNamed(ctx context.Context, name string) (auth.Subject, error) {
	if name == "" {
		return auth.Subject{}, nil
	}
	id, err := s.Lookup(ctx, name)
	switch {
	case errors.Is(err, auth.ErrNoMatch):
		return auth.Subject{}, &Error{Invalid, "there is no user " + name}
	case errors.Is(err, auth.ErrBadCredentials):
		return auth.Subject{}, &Error{Invalid, fmt.Sprintf("user %s is disabled", name)}
	case err != nil:
		return auth.Subject{}, fmt.Errorf("look up %s: %w", name, err)
	}
	return id.Subject, nil
}

// ChangeRobot implements API.
func (s *Service) ChangeRobot(ctx context.Context, name string, c RobotChange) error {
	kind := audit.RobotSet
	switch {
	case c.Disabled != nil && *c.Disabled:
		kind = audit.RobotDisable
	case c.Disabled != nil:
		kind = audit.RobotEnable
	}
	return s.changed(kind, robotUser(name), c.keys(), s.changeRobot(ctx, name, c))
}

func (s *Service) changeRobot(ctx context.Context, name string, c RobotChange) error {
	var owner auth.Subject
	if c.Owner != nil {
		var err error
		if owner, err = s.userNamed(ctx, *c.Owner); err != nil {
			return err
		}
	}
	return s.Keys.Set(ctx, name, func(settings *robot.Settings) {
		if c.Owner != nil {
			settings.Owner, settings.OwnerID = owner, "" // who has the name now
		}
		set(&settings.Repositories, c.Repositories)
		set(&settings.Actions, c.Actions)
		set(&settings.From, c.From)
		set(&settings.Expires, c.Expires)
		set(&settings.Disabled, c.Disabled)
		set(&settings.Comment, c.Comment)
	})
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// RotateRobot implements API.
func (s *Service) RotateRobot(ctx context.Context, name string, grace time.Duration) (auth.Secret, error) {
	secret, err := s.Keys.Rotate(ctx, name, grace)
	return secret, s.changed(audit.RobotRotate, robotUser(name), "", err)
}

// RevokeRobotSecret implements API.
func (s *Service) RevokeRobotSecret(ctx context.Context, name, id string) error {
	return s.changed(audit.RobotRevoke, robotUser(name), "the secret "+id, s.Keys.RevokeSecret(ctx, name, id))
}

// RemoveRobot implements API.
func (s *Service) RemoveRobot(ctx context.Context, name string) error {
	return s.changed(audit.RobotRemove, robotUser(name), "", s.Keys.Remove(ctx, name))
}

// Tokens implements API.
func (s *Service) Tokens(ctx context.Context, user string) ([]Token, error) {
	logins, err := s.Logins.List(ctx, user)
	if err != nil {
		return nil, fmt.Errorf("list logins: %w", err)
	}
	personal, err := s.Keys.Tokens().List(ctx, auth.Subject{})
	if err != nil {
		return nil, fmt.Errorf("list personal tokens: %w", err)
	}
	tokens := []Token{}
	for _, l := range logins {
		tokens = append(tokens, Token{
			ID: l.ID, Kind: KindLogin, User: l.Subject.Name, Name: l.Client, Client: l.Client, Addr: l.Addr, Created: l.Created, LastUsed: l.LastUsed,
		})
	}
	for _, p := range personal {
		if user == "" || p.Owner.Name == user {
			tokens = append(tokens, s.showToken(p))
		}
	}
	slices.SortStableFunc(tokens, func(a, b Token) int { return b.Created.Compare(a.Created) })
	return tokens, nil
}

func (s *Service) showToken(t robot.Token) Token {
	return Token{
		ID: t.ID, Kind: KindPersonal, User: t.Owner.Name, Name: t.Name, Limits: Limits(t.Limits), Addr: t.LastUse.Addr,
		Created: t.Created, CreatedBy: t.CreatedBy, LastUsed: t.LastUse.At, Expires: t.Expires, ExpiresSoon: s.Keys.ExpiresSoon(t.Expires),
	}
}

// AddToken implements API.
func (s *Service) AddToken(ctx context.Context, t NewToken) (auth.Secret, error) {
	secret, err := s.addToken(ctx, t)
	return secret, s.changed(audit.TokenAdd, t.User, t.Name+" "+t.Limits.of(t.User), err)
}

func (s *Service) addToken(ctx context.Context, t NewToken) (auth.Secret, error) {
	if t.User == "" {
		return "", &Error{Invalid, "say whose token it is to be"}
	}
	// Before he is looked up: who comes by a certificate is known only while he
	// shows it.
	if err := s.Keys.Tokens().CheckUser(t.User); err != nil {
		return "", err
	}
	owner, err := s.userNamed(ctx, t.User)
	if err != nil {
		return "", err
	}
	return s.Keys.Tokens().Add(ctx, robot.Token{
		Secret: robot.Secret{Expires: t.Expires}, Owner: owner, Name: t.Name, Limits: robot.Limits(t.Limits), CreatedBy: byLocal,
	})
}

// RevokeToken implements API.
func (s *Service) RevokeToken(ctx context.Context, id string) error {
	err := s.Logins.Revoke(ctx, id)
	if errors.Is(err, token.ErrNotExist) {
		err = s.Keys.Tokens().Revoke(ctx, auth.Subject{}, id)
	}
	if errors.Is(err, robot.ErrNotExist) {
		err = token.ErrNotExist
	}
	return s.changed(audit.TokenRevoke, id, "", err)
}
