package admin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"berth/access"
	"berth/audit"
	"berth/auth"
	"berth/auth/account"
	"berth/auth/oidc"
	"berth/auth/robot"
	"berth/auth/token"
	"berth/auth/trust"
	"berth/oci"
	"berth/registry"
)

// Service manages the data of this process. It is safe for concurrent use.
type Service struct {
	Accounts *account.Accounts
	// AccountsOnly reports whether there are no other users than accounts now; nil
	// is no.
	AccountsOnly func() bool
	SSO          SSO // nil without any
	Logins       Logins
	Keys         *robot.Robots
	Policy       func() *access.Policy
	// Lookup returns who a user name is today. Errors: auth.ErrNoMatch,
	// auth.ErrBadCredentials for a disabled user.
	Lookup func(ctx context.Context, name string) (auth.Identity, error)
	// Resolve returns who a subject is today, by the credential that it names.
	// Errors: those of auth.Verifier.Resolve.
	Resolve  func(ctx context.Context, s auth.Subject) (auth.Identity, error)
	Trust    *trust.Trust
	Refusals *Refusals // nil where there is no server
	Mover    registry.Mover
	Sweeper  registry.Sweeper
	Deleter  registry.Deleter
	Usage    registry.Accountant
	Backer   registry.Backer
	Scrubber registry.Scrubber
	// Audit is told of every change; nil is nobody. Audited returns the refusal
	// or the failed login of a reference from before; nil is none. Errors of
	// the second: audit.ErrNotFound.
	Audit   func(audit.Event)
	Audited func(ctx context.Context, ref string) (audit.Event, error)
}

var _ API = (*Service)(nil)

// Logins are the refresh tokens; *token.Issuer has them.
type Logins interface {
	List(ctx context.Context, name string) ([]token.RefreshToken, error)
	Revoke(ctx context.Context, id string) error
}

// SSO are the users of OpenID Connect providers; *oidc.Directory has them.
type SSO interface {
	Users() []oidc.User
	SetDisabled(ctx context.Context, name string, disabled bool) error
	Remove(ctx context.Context, name string) error
}

// Users implements API.
func (s *Service) Users(context.Context) ([]User, error) {
	users := []User{}
	for _, a := range s.Accounts.List() {
		users = append(users, User{Name: a.Name, Groups: append([]string{}, a.Groups...), Disabled: a.Disabled, Created: a.Created, Updated: a.Updated})
	}
	if s.SSO == nil {
		return users, nil
	}
	for _, u := range s.SSO.Users() {
		users = append(users, User{
			Name: u.Name, Groups: append([]string{}, u.Groups...), Disabled: u.Disabled, Created: u.Created, Updated: u.Changed,
			Provider: u.Provider, Suspended: u.Suspended,
		})
	}
	return users, nil
}

// AddUser implements API.
func (s *Service) AddUser(ctx context.Context, u NewUser) error {
	return s.changed(audit.UserAdd, u.Name, inGroups(u.Groups), s.Accounts.Add(ctx, u.Name, u.Password, u.Groups))
}

// SetPassword implements API.
func (s *Service) SetPassword(ctx context.Context, name string, password auth.Secret) error {
	return s.changed(audit.UserPassword, name, "", s.Accounts.SetPassword(ctx, name, password))
}

// SetDisabled implements API.
func (s *Service) SetDisabled(ctx context.Context, name string, disabled bool) error {
	kind := audit.UserEnable
	if disabled {
		kind = audit.UserDisable
	}
	err := s.Accounts.SetDisabled(ctx, name, disabled)
	if errors.Is(err, account.ErrNotExist) && s.SSO != nil {
		err = s.SSO.SetDisabled(ctx, name, disabled)
	}
	if errors.Is(err, account.ErrNotExist) || errors.Is(err, oidc.ErrNotExist) {
		err = s.elsewhere(ctx, name, err)
	}
	return s.changed(kind, name, "", err)
}

// SetGroups implements API.
func (s *Service) SetGroups(ctx context.Context, name string, groups []string) error {
	return s.changed(audit.UserGroups, name, inGroups(groups), s.Accounts.SetGroups(ctx, name, groups))
}

// RemoveUser implements API.
func (s *Service) RemoveUser(ctx context.Context, name string, force bool) error {
	return s.changed(audit.UserRemove, name, "", s.removeUser(ctx, name, force))
}

func (s *Service) removeUser(ctx context.Context, name string, force bool) error {
	if !force {
		if err := s.checkRemoval(ctx, name); err != nil {
			return err
		}
	}
	err := s.Accounts.Remove(ctx, name)
	if errors.Is(err, account.ErrNotExist) && s.SSO != nil {
		err = s.SSO.Remove(ctx, name)
	}
	return err
}

// Explain implements API.
func (s *Service) Explain(ctx context.Context, q Question) (access.Explanation, error) {
	request, err := q.parse()
	if err != nil {
		return access.Explanation{}, err
	}
	id, err := s.identity(ctx, q)
	if err != nil {
		return access.Explanation{}, err
	}
	policy := s.Policy()
	if policy.Delegates() && id.Provider == token.OutsideProvider {
		return access.Explanation{}, &Error{Invalid, "there are no rules: what " + id.Name + " may do, the tokens of the outside token server say"}
	}
	request.Caller.Identity = id
	e := policy.Explain(request)
	e.Note = unknown(id)
	return e, nil
}

// ExplainToken implements API.
func (s *Service) ExplainToken(ctx context.Context, q TokenQuestion) (TokenExplanation, error) {
	if q.Action == "" && q.Repository+q.Addr != "" {
		return TokenExplanation{}, &Error{Invalid, "a repository or an address is of use only with an action"}
	}
	found, err := s.Trust.Explain(ctx, q.Token)
	if err != nil {
		return TokenExplanation{}, &Error{Invalid, err.Error()}
	}
	if len(found.Rules) == 0 {
		return TokenExplanation{}, &Error{NotFound, "the configuration has no rules of trust: auth.trust"}
	}
	e := TokenExplanation{Explanation: found}
	if q.Action == "" {
		return e, nil
	}
	question := Question{User: e.User, Action: q.Action, Repository: q.Repository, Addr: q.Addr}
	if e.User == "" {
		_, err := question.parse()
		return e, err
	}
	decision, err := s.Explain(ctx, question)
	if err != nil {
		return TokenExplanation{}, err
	}
	e.Decision = &decision
	return e, nil
}

// identity returns who the question is about. A name that no backend knows may
// be asked about too: rules can be written before their users are there.
func (s *Service) identity(ctx context.Context, q Question) (auth.Identity, error) {
	if q.User == "" || q.User == "anonymous" {
		return auth.Identity{}, nil
	}
	id, err := s.Lookup(ctx, q.User)
	var rejected *auth.RejectedError
	switch {
	case errors.Is(err, auth.ErrNoMatch):
		id = auth.Identity{Subject: auth.Subject{Name: q.User}}
	case errors.As(err, &rejected):
		return auth.Identity{}, &Error{Invalid, fmt.Sprintf("user %s may do nothing: %s", q.User, rejected.Reason)}
	case errors.Is(err, auth.ErrBadCredentials):
		return auth.Identity{}, &Error{Invalid, fmt.Sprintf("user %s is disabled and may do nothing", q.User)}
	case err != nil:
		return auth.Identity{}, fmt.Errorf("look up %s: %w", q.User, err)
	}
	id.Groups = append(append([]string{}, id.Groups...), q.Groups...)
	return id, nil
}

// parse reads the question, but for who it is about.
func (q Question) parse() (access.Request, error) {
	action, err := access.ParseAction(q.Action)
	if err != nil {
		return access.Request{}, &Error{Invalid, err.Error()}
	}
	request := access.Request{Caller: new(access.Caller), Action: action}
	if q.Addr != "" {
		if request.Caller.Addr, err = netip.ParseAddr(q.Addr); err != nil {
			return access.Request{}, &Error{Invalid, fmt.Sprintf("%q is not an IP address", q.Addr)}
		}
	}
	repository, tag, digest := splitReference(q.Repository)
	if repository == "" && action == access.Admin {
		return request, nil
	}
	if request.Repository, err = oci.ParseName(repository); err != nil {
		return access.Request{}, invalid(err)
	}
	if tag != "" {
		t, err := oci.ParseTag(tag)
		if err != nil {
			return access.Request{}, invalid(err)
		}
		request.Tags = []oci.Tag{t}
	}
	if digest != "" {
		if _, err := oci.ParseDigest(digest); err != nil {
			return access.Request{}, invalid(err)
		}
		request.ByDigest, request.TagsUnknown = true, true
	}
	return request, nil
}

// splitReference takes REPO, REPO:TAG or REPO@DIGEST apart.
func splitReference(s string) (repository, tag, digest string) {
	if repository, digest, found := strings.Cut(s, "@"); found {
		return repository, "", digest
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.Contains(s[i:], "/") {
		return s[:i], s[i+1:], ""
	}
	return s, "", ""
}

func invalid(err error) error {
	var e *oci.Error
	if errors.As(err, &e) {
		return &Error{Invalid, e.Message}
	}
	return &Error{Invalid, err.Error()}
}

// told turns the errors that the user can mend into Errors.
func told(err error) error {
	var rule *registry.RuleError
	switch {
	case errors.Is(err, account.ErrInvalid), errors.Is(err, robot.ErrInvalid):
		return &Error{Invalid, err.Error()}
	case errors.Is(err, account.ErrExists):
		return &Error{Exists, account.ErrExists.Error()}
	case errors.Is(err, account.ErrNotExist), errors.Is(err, oidc.ErrNotExist):
		return &Error{NotFound, account.ErrNotExist.Error()}
	case errors.Is(err, token.ErrNotExist):
		return &Error{NotFound, token.ErrNotExist.Error()}
	case errors.Is(err, robot.ErrExists):
		return &Error{Exists, robot.ErrExists.Error()}
	case errors.As(err, &rule):
		return &Error{Invalid, rule.Message}
	case errors.Is(err, robot.ErrNotExist):
		return &Error{NotFound, robot.ErrNotExist.Error()}
	}
	return err
}
