package gcs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/oauth2"

	"berth/blob"
)

const (
	// attempts is how often a request is made that may come off the next time:
	// over some 10 s.
	attempts = 7
	// maxAnswer is how long a JSON answer may be, in bytes: a page of a listing
	// is the longest.
	maxAnswer = 8 << 20
)

// A client makes requests.
type client struct {
	base      string       // of the API, without a slash at the end
	trusted   *http.Client // sends the token of the account
	plain     *http.Client // for the addresses of sessions, which need none
	userAgent string
	slots     chan struct{} // one for each request until its answer begins
	pause     func(ctx context.Context, n int, asked time.Duration) error
}

type request struct {
	method, url string
	header      http.Header
	body        []byte
}

// An apiError is an answer that refuses a request.
type apiError struct {
	Status  int
	Message string
	after   time.Duration // that the server asks to wait
}

func (e *apiError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the store answers %d", e.Status)
	}
	return fmt.Sprintf("the store answers %d: %s", e.Status, e.Message)
}

// Is makes an answer that there is no room blob.ErrNoSpace.
func (e *apiError) Is(target error) bool {
	return target == blob.ErrNoSpace && e.Status == http.StatusInsufficientStorage
}

func isStatus(err error, status int) bool {
	var api *apiError
	return errors.As(err, &api) && api.Status == status
}

// again calls f until it comes off, where that may help.
func (c *client) again(ctx context.Context, f func() error) error {
	for n := 0; ; n++ {
		err := f()
		if err == nil || !passing(err) || n+1 == attempts {
			return err
		}
		if err := c.pause(ctx, n, asked(err)); err != nil {
			return err
		}
	}
}

// do makes a request, again where that may help. The answer is one of success.
func (c *client) do(ctx context.Context, r request) (resp *http.Response, err error) {
	err = c.again(ctx, func() error {
		resp, err = c.once(ctx, c.trusted, r)
		return err
	})
	return resp, err
}

// json makes a request, again where that may help, and decodes the answer, unless
// into is nil.
func (c *client) json(ctx context.Context, r request, into any) error {
	return c.again(ctx, func() error {
		resp, err := c.once(ctx, c.trusted, r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if into == nil {
			return nil
		}
		return decode(resp, into)
	})
}

// passing reports whether a request that failed with err may come off later.
func passing(err error) bool {
	var api *apiError
	if errors.As(err, &api) {
		switch api.Status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var login *loginError
	if errors.As(err, &login) {
		return login.passing
	}
	return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

func asked(err error) time.Duration {
	var api *apiError
	if errors.As(err, &api) {
		return api.after
	}
	return 0
}

// once makes a request. Errors: *apiError, *loginError, and those of the
// connection without the address, which may be a secret.
func (c *client) once(ctx context.Context, as *http.Client, r request) (*http.Response, error) {
	if c.slots != nil {
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		return nil, errors.New("the address of the store is none")
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.userAgent)
	resp, err := as.Do(req)
	if err != nil {
		return nil, withoutAddress(ctx, err)
	}
	if resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusPermanentRedirect {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// refusal reads why a request was refused.
func refusal(resp *http.Response) *apiError {
	e := &apiError{Status: resp.StatusCode}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.after = time.Duration(seconds) * time.Second
	}
	var answer struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return e
	}
	if json.Unmarshal(body, &answer) == nil {
		e.Message = answer.Error.Message
	} else if len(body) <= 200 {
		e.Message = string(bytes.TrimSpace(body))
	}
	return e
}

// A loginError says that no token was to be had.
type loginError struct {
	message string
	passing bool
}

func (e *loginError) Error() string { return "log in at Google: " + e.message }

// withoutAddress returns why a request failed, without its address.
func withoutAddress(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var token *oauth2.RetrieveError
	if errors.As(err, &token) {
		e := &loginError{message: token.ErrorCode + " " + token.ErrorDescription}
		if token.Response != nil {
			e.passing = token.Response.StatusCode >= 500 || token.Response.StatusCode == http.StatusTooManyRequests
			e.message += fmt.Sprintf(" (status %d)", token.Response.StatusCode)
		}
		return e
	}
	var address *url.Error
	for errors.As(err, &address) {
		err = address.Err
	}
	return err
}

func decode(resp *http.Response, into any) error {
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("the answer of the store is not to be read: %w", err)
	}
	return nil
}
