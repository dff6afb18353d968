package server

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"berth/audit"
	"berth/auth"
)

// A tokenRequest is what a client asks of the token server, by either method.
type tokenRequest struct {
	service string
	client  string
	scopes  []auth.Scope
	offline bool // a refresh token too
}

// parseToken reads what both methods share.
func (s *Server) parseToken(values url.Values) (tokenRequest, error) {
	if auth.CountScopes(values["scope"]) > auth.MaxScopes {
		return tokenRequest{}, badRequest("the request has more than %d scopes", auth.MaxScopes)
	}
	r := tokenRequest{service: values.Get("service"), client: values.Get("client_id")}
	if r.service == "" {
		r.service = s.o.Service
	}
	if r.service != s.o.Service && !slices.Contains(s.o.Services, r.service) || len(values["service"]) > 1 {
		return tokenRequest{}, badRequest("this token server is not for that service")
	}
	r.scopes = auth.ParseScopes(values["scope"])
	r.offline = values.Get("offline_token") == "true" || values.Get("access_type") == "offline"
	return r, nil
}

// getToken is the token server of Distribution's "Token Authentication
// Specification". Without credentials the token is for nobody.
func (s *Server) getToken(x *exchange) error {
	if s.o.Tokens == nil {
		return errNoPath
	}
	req, err := s.parseToken(x.query)
	if err != nil {
		return err
	}
	var c auth.Credentials
	if headers := x.r.Header["Authorization"]; len(headers) > 0 {
		var ok bool
		if c, ok = auth.ParseBasic(headers[0]); !ok || len(headers) > 1 {
			return auth.ErrBadCredentials
		}
	}
	if account := x.query.Get("account"); account != "" && c.User != "" && !sameAccount(account, c.User) {
		return badRequest("account is not the user of the credentials")
	}
	if err := s.authenticateBasic(x, c); err != nil {
		return err
	}
	return s.issue(x, req, "")
}

// sameAccount reports whether account can be what a client calls user: a client
// that has read the two from one text, as docker does, ends a name at its first
// colon.
func sameAccount(account, user string) bool {
	short, _, _ := strings.Cut(user, ":")
	said, _, _ := strings.Cut(account, ":")
	return account == user || account == short || said == user
}

// postToken is the token server of Distribution's "Oauth2 Token
// Authentication".
func (s *Server) postToken(x *exchange) error {
	if s.o.Tokens == nil {
		return errNoPath
	}
	form, err := readForm(x)
	if err != nil {
		return err
	}
	req, err := s.parseToken(form)
	if err != nil {
		return err
	}
	switch form.Get("grant_type") {
	case "password":
		c := auth.Credentials{User: form.Get("username"), Password: auth.Secret(form.Get("password"))}
		if err := s.authenticateBasic(x, c); err != nil {
			return err
		}
		return s.issue(x, req, "")
	case "refresh_token":
		refresh := auth.Secret(form.Get("refresh_token"))
		id, err := s.o.Tokens.Refresh(x.r.Context(), refresh, req.service)
		if err != nil {
			s.auditProof(x, audit.Refresh, err)
			return fmt.Errorf("redeem a refresh token: %w", err)
		}
		x.caller.Identity, x.method = id, audit.Refresh
		return s.issue(x, req, refresh)
	}
	return badRequest("grant_type must be password or refresh_token")
}

// readForm reads the form of a token request. Its query says nothing: it is in
// logs, and what a form holds must not be.
func readForm(x *exchange) (url.Values, error) {
	mediaType, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return nil, badRequest("a token request is a form")
	}
	_ = x.w.control.SetReadDeadline(time.Now().Add(headerTime))
	defer x.w.control.SetReadDeadline(time.Time{})
	body, err := io.ReadAll(http.MaxBytesReader(x.w.ResponseWriter, x.r.Body, maxForm))
	if err != nil {
		return nil, &bodyError{err}
	}
	if strings.Count(string(body), "&") >= maxQuery {
		return nil, badRequest("the form has more than %d keys", maxQuery)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badRequest("the form is not well-formed")
	}
	return form, nil
}

// tokenAnswer has each name under which some client looks for it. Without
// expires_in some would take a token to be good for ever.
type tokenAnswer struct {
	Token        string `json:"token"`
	AccessToken  string `json:"access_token"`
	Scope        string `json:"scope,omitempty"`
	ExpiresIn    int    `json:"expires_in"`
	IssuedAt     string `json:"issued_at"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// issue answers with a token for the caller: for what he asks and may, which can
// be nothing. A refresh token that was redeemed stays as it is, as clients keep
// only the first.
func (s *Server) issue(x *exchange, req tokenRequest, refresh auth.Secret) error {
	grant := s.o.Policy().Grant
	if req.service != s.o.Service {
		grant = s.o.Policy().GrantElsewhere
	}
	granted := grant(&x.caller, req.scopes)
	t, err := s.o.Tokens.IssueFor(req.service, x.caller.Identity, granted)
	if err != nil {
		return err
	}
	if refresh == "" && req.offline && !x.caller.Anonymous() && x.caller.Credential == "" {
		refresh, err = s.o.Tokens.NewRefresh(x.r.Context(), x.caller.Identity, req.service, req.client, addrString(x.caller.Addr))
		if err != nil {
			return err
		}
	}
	s.auditToken(x, granted)
	x.w.Header().Set("Cache-Control", "no-store")
	return x.w.writeJSON(http.StatusOK, tokenAnswer{
		Token:        t.Value,
		AccessToken:  t.Value,
		Scope:        joinScopes(granted),
		ExpiresIn:    t.ExpiresIn,
		IssuedAt:     t.IssuedAt.UTC().Format(time.RFC3339),
		RefreshToken: refresh.Reveal(),
	})
}

func joinScopes(scopes []auth.Scope) string {
	texts := make([]string, len(scopes))
	for i, s := range scopes {
		texts[i] = s.String()
	}
	return strings.Join(texts, " ")
}

// keys publishes the public keys of the token server.
func (s *Server) keys(x *exchange) error {
	if s.o.Tokens == nil {
		return errNoPath
	}
	x.w.Header().Set("Content-Type", "application/json")
	x.w.Header().Set("Cache-Control", keysCacheMaxAge)
	_, err := x.w.Write(s.o.Tokens.JWKS())
	return gone(err)
}
