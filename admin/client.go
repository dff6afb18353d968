package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"berth/access"
	"berth/auth"
)

// A Client is the API of a server that is running elsewhere.
type Client struct{ http *http.Client }

// maxAnswer bounds what a Client reads of an answer, in bytes.
const maxAnswer = 256 << 20

// NewClient returns a client of the server that listens on a local socket. It
// dials when it is used.
func NewClient(dial func(context.Context) (net.Conn, error)) *Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	return &Client{&http.Client{Transport: transport, Timeout: time.Minute}}
}

// Close ends the connections of the client.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// send makes a call through a client, and returns what is no error.
func (c *Client) send(ctx context.Context, through *http.Client, method, path string, body any) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the call: %w", err)
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://berth/api/v1/"+path, payload)
	if err != nil {
		return nil, fmt.Errorf("prepare the call: %w", err)
	}
	resp, err := through.Do(req)
	if err != nil {
		return nil, fmt.Errorf("speak to the server: %w", err)
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	defer resp.Body.Close()
	e := new(Error)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(e); err != nil {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	return nil, e
}

func (c *Client) call(ctx context.Context, method, path string, body, result any) error {
	resp, err := c.send(ctx, c.http, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if result == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(result); err != nil {
		return fmt.Errorf("understand the server's answer: %w", err)
	}
	return nil
}

// Users implements API.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	var l list[User]
	err := c.call(ctx, http.MethodGet, "users", nil, &l)
	return l.Items, err
}

// AddUser implements API.
func (c *Client) AddUser(ctx context.Context, u NewUser) error {
	return c.call(ctx, http.MethodPost, "users", newUser{u.Name, u.Password.Reveal(), u.Groups}, nil)
}

// SetPassword implements API.
func (c *Client) SetPassword(ctx context.Context, name string, password auth.Secret) error {
	return c.call(ctx, http.MethodPut, "users/"+url.PathEscape(name)+"/password", passwordChange{password.Reveal()}, nil)
}

// SetDisabled implements API.
func (c *Client) SetDisabled(ctx context.Context, name string, disabled bool) error {
	return c.call(ctx, http.MethodPatch, "users/"+url.PathEscape(name), userChange{Disabled: &disabled}, nil)
}

// SetGroups implements API.
func (c *Client) SetGroups(ctx context.Context, name string, groups []string) error {
	if groups == nil {
		groups = []string{}
	}
	return c.call(ctx, http.MethodPatch, "users/"+url.PathEscape(name), userChange{Groups: &groups}, nil)
}

// RemoveUser implements API.
func (c *Client) RemoveUser(ctx context.Context, name string, force bool) error {
	path := "users/" + url.PathEscape(name)
	if force {
		path += "?force=true"
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil)
}

// Explain implements API.
func (c *Client) Explain(ctx context.Context, q Question) (access.Explanation, error) {
	var e access.Explanation
	err := c.call(ctx, http.MethodPost, "access/explain", q, &e)
	return e, err
}

// ExplainToken implements API.
func (c *Client) ExplainToken(ctx context.Context, q TokenQuestion) (TokenExplanation, error) {
	var e TokenExplanation
	err := c.call(ctx, http.MethodPost, "access/explaintoken", tokenQuestion{q.Token.Reveal(), q.Action, q.Repository, q.Addr}, &e)
	return e, err
}

// ExplainRef implements API.
func (c *Client) ExplainRef(ctx context.Context, ref string) (Refusal, error) {
	var r Refusal
	err := c.call(ctx, http.MethodGet, "access/refusals/"+url.PathEscape(ref), nil, &r)
	return r, err
}
