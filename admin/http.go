package admin

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"berth/auth"
)

// maxBody bounds the body of a call, in bytes.
const maxBody = 1 << 20

// newUser is NewUser on the wire, where the password has to be seen.
type newUser struct {
	Name     string   `json:"name"`
	Password string   `json:"password"`
	Groups   []string `json:"groups"`
}

type passwordChange struct {
	Password string `json:"password"`
}

type userChange struct {
	Disabled *bool     `json:"disabled,omitempty"`
	Groups   *[]string `json:"groups,omitempty"`
}

// tokenQuestion is TokenQuestion on the wire, where the token has to be seen.
type tokenQuestion struct {
	Token      string `json:"token"`
	Action     string `json:"action,omitempty"`
	Repository string `json:"repository,omitempty"`
	Addr       string `json:"addr,omitempty"`
}

type list[T any] struct {
	Items []T `json:"items"`
}

// handler turns the calls of an API into HTTP.
type handler struct {
	api API
	log *slog.Logger
}

// Handler offers api under /api/v1/. It asks nobody who he is.
func Handler(api API, log *slog.Logger) http.Handler {
	h := handler{api: api, log: log}
	mux := http.NewServeMux()
	for pattern, call := range map[string]func(*http.Request) (any, error){
		"GET /api/v1/users":                         h.users,
		"POST /api/v1/users":                        h.addUser,
		"PUT /api/v1/users/{name}/password":         h.setPassword,
		"PATCH /api/v1/users/{name}":                h.changeUser,
		"DELETE /api/v1/users/{name}":               h.removeUser,
		"GET /api/v1/robots":                        h.robots,
		"POST /api/v1/robots":                       h.addRobot,
		"GET /api/v1/robots/{name}":                 h.robot,
		"PATCH /api/v1/robots/{name}":               h.changeRobot,
		"DELETE /api/v1/robots/{name}":              h.removeRobot,
		"POST /api/v1/robots/{name}/secrets":        h.rotateRobot,
		"DELETE /api/v1/robots/{name}/secrets/{id}": h.revokeRobotSecret,
		"GET /api/v1/tokens":                        h.tokens,
		"POST /api/v1/tokens":                       h.addToken,
		"DELETE /api/v1/tokens/{id}":                h.revokeToken,
		"DELETE /api/v1/repositories/{name...}":     h.deleteRepository,
		"GET /api/v1/repositories":                  h.usages,
		"GET /api/v1/repositories/{name...}":        h.usageOf,
		"POST /api/v1/usage/check":                  h.checkUsage,
		"POST /api/v1/access/explain":               h.explain,
		"POST /api/v1/access/explaintoken":          h.explainToken,
		"GET /api/v1/access/refusals/{ref}":         h.explainRef,
	} {
		mux.HandleFunc(pattern, h.serve(call))
	}
	mux.HandleFunc("POST /api/v1/backups", h.serve(h.backup))
	mux.HandleFunc("POST /api/v1/scrub", h.scrub)
	mux.HandleFunc("POST /api/v1/import", h.serveTransfer(h.adopt))
	mux.HandleFunc("POST /api/v1/export", h.serveTransfer(h.export))
	mux.HandleFunc("POST /api/v1/gc", h.sweep)
	return mux
}

func (h handler) serve(call func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		result, err := call(r)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case err != nil:
			h.writeError(w, r, err)
		case result == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			h.encode(w, result)
		}
	}
}

var statuses = map[Kind]int{
	Invalid:  http.StatusBadRequest,
	NotFound: http.StatusNotFound,
	Exists:   http.StatusConflict,
}

func (h handler) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var e *Error
	if !errors.As(err, &e) {
		h.log.Error("management call failed", "method", r.Method, "path", r.URL.Path, "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		h.encode(w, &Error{Message: "the call failed; the server's log says why"})
		return
	}
	w.WriteHeader(statuses[e.Kind])
	h.encode(w, e)
}

func (h handler) encode(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		h.log.Debug("answer to a management call not sent", "error", err)
	}
}

func decode(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &Error{Invalid, "the body is not what this call takes"}
	}
	return nil
}

func (h handler) users(r *http.Request) (any, error) {
	users, err := h.api.Users(r.Context())
	return list[User]{users}, err
}

func (h handler) addUser(r *http.Request) (any, error) {
	var u newUser
	if err := decode(r, &u); err != nil {
		return nil, err
	}
	return nil, h.api.AddUser(r.Context(), NewUser{u.Name, auth.Secret(u.Password), u.Groups})
}

func (h handler) setPassword(r *http.Request) (any, error) {
	var p passwordChange
	if err := decode(r, &p); err != nil {
		return nil, err
	}
	return nil, h.api.SetPassword(r.Context(), r.PathValue("name"), auth.Secret(p.Password))
}

func (h handler) changeUser(r *http.Request) (any, error) {
	var c userChange
	if err := decode(r, &c); err != nil {
		return nil, err
	}
	if c.Groups != nil {
		if err := h.api.SetGroups(r.Context(), r.PathValue("name"), *c.Groups); err != nil {
			return nil, err
		}
	}
	if c.Disabled != nil {
		return nil, h.api.SetDisabled(r.Context(), r.PathValue("name"), *c.Disabled)
	}
	return nil, nil
}

func (h handler) removeUser(r *http.Request) (any, error) {
	return nil, h.api.RemoveUser(r.Context(), r.PathValue("name"), r.URL.Query().Get("force") == "true")
}

func (h handler) explain(r *http.Request) (any, error) {
	var q Question
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	return h.api.Explain(r.Context(), q)
}

func (h handler) explainToken(r *http.Request) (any, error) {
	var q tokenQuestion
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	return h.api.ExplainToken(r.Context(), TokenQuestion{auth.Secret(q.Token), q.Action, q.Repository, q.Addr})
}

func (h handler) explainRef(r *http.Request) (any, error) {
	return h.api.ExplainRef(r.Context(), r.PathValue("ref"))
}
