package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"berth/auth"
)

// newSecret is an auth.Secret on the wire, where it has to be seen, once.
type newSecret struct {
	Secret string `json:"secret"`
}

type rotation struct {
	Grace string `json:"grace"` // a time.Duration: "24h"
}

func (h handler) robots(r *http.Request) (any, error) {
	robots, err := h.api.Robots(r.Context())
	return list[Robot]{robots}, err
}

func (h handler) robot(r *http.Request) (any, error) {
	return h.api.Robot(r.Context(), r.PathValue("name"))
}

func (h handler) addRobot(r *http.Request) (any, error) {
	var n NewRobot
	if err := decode(r, &n); err != nil {
		return nil, err
	}
	secret, err := h.api.AddRobot(r.Context(), n)
	return newSecret{secret.Reveal()}, err
}

func (h handler) changeRobot(r *http.Request) (any, error) {
	var c RobotChange
	if err := decode(r, &c); err != nil {
		return nil, err
	}
	return nil, h.api.ChangeRobot(r.Context(), r.PathValue("name"), c)
}

func (h handler) rotateRobot(r *http.Request) (any, error) {
	var n rotation
	if err := decode(r, &n); err != nil {
		return nil, err
	}
	grace, err := time.ParseDuration(n.Grace)
	if err != nil {
		return nil, &Error{Invalid, "grace is not a duration such as 24h"}
	}
	secret, err := h.api.RotateRobot(r.Context(), r.PathValue("name"), grace)
	return newSecret{secret.Reveal()}, err
}

func (h handler) revokeRobotSecret(r *http.Request) (any, error) {
	return nil, h.api.RevokeRobotSecret(r.Context(), r.PathValue("name"), r.PathValue("id"))
}

func (h handler) removeRobot(r *http.Request) (any, error) {
	return nil, h.api.RemoveRobot(r.Context(), r.PathValue("name"))
}

func (h handler) tokens(r *http.Request) (any, error) {
	tokens, err := h.api.Tokens(r.Context(), r.URL.Query().Get("user"))
	return list[Token]{tokens}, err
}

func (h handler) addToken(r *http.Request) (any, error) {
	var n NewToken
	if err := decode(r, &n); err != nil {
		return nil, err
	}
	secret, err := h.api.AddToken(r.Context(), n)
	return newSecret{secret.Reveal()}, err
}

func (h handler) revokeToken(r *http.Request) (any, error) {
	return nil, h.api.RevokeToken(r.Context(), r.PathValue("id"))
}

// Robots implements API.
func (c *Client) Robots(ctx context.Context) ([]Robot, error) {
	var l list[Robot]
	err := c.call(ctx, http.MethodGet, "robots", nil, &l)
	return l.Items, err
}

// Robot implements API.
func (c *Client) Robot(ctx context.Context, name string) (Robot, error) {
	var r Robot
	err := c.call(ctx, http.MethodGet, "robots/"+url.PathEscape(name), nil, &r)
	return r, err
}

// AddRobot implements API.
func (c *Client) AddRobot(ctx context.Context, r NewRobot) (auth.Secret, error) {
	return c.secret(ctx, "robots", r)
}

// ChangeRobot implements API.
func (c *Client) ChangeRobot(ctx context.Context, name string, change RobotChange) error {
	return c.call(ctx, http.MethodPatch, "robots/"+url.PathEscape(name), change, nil)
}

// RotateRobot implements API.
func (c *Client) RotateRobot(ctx context.Context, name string, grace time.Duration) (auth.Secret, error) {
	return c.secret(ctx, "robots/"+url.PathEscape(name)+"/secrets", rotation{grace.String()})
}

// RevokeRobotSecret implements API.
func (c *Client) RevokeRobotSecret(ctx context.Context, name, id string) error {
	return c.call(ctx, http.MethodDelete, "robots/"+url.PathEscape(name)+"/secrets/"+url.PathEscape(id), nil, nil)
}

// RemoveRobot implements API.
func (c *Client) RemoveRobot(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "robots/"+url.PathEscape(name), nil, nil)
}

// Tokens implements API.
func (c *Client) Tokens(ctx context.Context, user string) ([]Token, error) {
	var l list[Token]
	err := c.call(ctx, http.MethodGet, "tokens?user="+url.QueryEscape(user), nil, &l)
	return l.Items, err
}

// AddToken implements API.
func (c *Client) AddToken(ctx context.Context, t NewToken) (auth.Secret, error) {
	return c.secret(ctx, "tokens", t)
}

// RevokeToken implements API.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "tokens/"+url.PathEscape(id), nil, nil)
}

// secret makes a call that answers with a secret.
func (c *Client) secret(ctx context.Context, path string, body any) (auth.Secret, error) {
	var s newSecret
	err := c.call(ctx, http.MethodPost, path, body, &s)
	return auth.Secret(s.Secret), err
}
