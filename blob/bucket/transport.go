package bucket

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// idle is how long a request may stand still, be it that no byte is taken, that
// the answer does not begin, or that no byte of it comes.
const idle = time.Minute

// ErrIdle ends a request that stands still.
var ErrIdle = errors.New("the store does not answer")

// Transport returns a transport for a driver. A request may go on for as long as
// it moves: one that stands still ends with ErrIdle. When a request has ended,
// its body is not read any more, so that the memory can be used for another.
func Transport(skipVerify bool) http.RoundTripper {
	return Over(&http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: skipVerify},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        200,
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true, // what is compressed is to stay so
	})
}

// Over is Transport over another one.
func Over(next http.RoundTripper) http.RoundTripper { return &transport{limit: idle, next: next} }

type transport struct {
	limit time.Duration
	next  http.RoundTripper
}

type patienceKey struct{}

// Patiently lets requests with the context stand still for d.
func Patiently(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, d)
}

// CloseIdleConnections is for http.Client.
func (t *transport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	limit, ok := r.Context().Value(patienceKey{}).(time.Duration)
	if !ok {
		limit = t.limit
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	a := &alarm{ctx: ctx, limit: limit, timer: time.AfterFunc(limit, func() { cancel(ErrIdle) })}
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		out := &outgoing{alarm: a, body: r.Body}
		defer out.end()
		r.Body, r.GetBody = out, nil
	}
	resp, err := t.next.RoundTrip(r)
	a.timer.Stop()
	if err != nil {
		err = a.cause(err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &incoming{alarm: a, body: resp.Body, cancel: func() { cancel(nil) }}
	return resp, nil
}

// An alarm ends a request unless it is reset in time.
type alarm struct {
	ctx   context.Context
	limit time.Duration
	timer *time.Timer
}

// cause returns why the request has ended with err.
func (a *alarm) cause(err error) error {
	if errors.Is(context.Cause(a.ctx), ErrIdle) {
		return ErrIdle
	}
	return err
}

// outgoing is the body of a request. The connection may still want to read it
// when the request has ended, and gets nothing.
type outgoing struct {
	alarm *alarm

	mu   sync.Mutex
	body io.ReadCloser // nil after the end
}

func (o *outgoing) Read(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.body == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	o.alarm.timer.Reset(o.alarm.limit)
	return o.body.Read(p)
}

func (o *outgoing) Close() error {
	o.end()
	return nil
}

func (o *outgoing) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.body != nil {
		o.body.Close() // bytes in memory
		o.body = nil
	}
}

// incoming is the body of an answer. Time passes only while it is read: whom it
// is for may be slow.
type incoming struct {
	alarm  *alarm
	body   io.ReadCloser
	cancel func()
}

func (i *incoming) Read(p []byte) (int, error) {
	i.alarm.timer.Reset(i.alarm.limit)
	n, err := i.body.Read(p)
	i.alarm.timer.Stop()
	if err != nil && err != io.EOF {
		err = i.alarm.cause(err)
	}
	return n, err
}

func (i *incoming) Close() error {
	err := i.body.Close()
	i.alarm.timer.Stop()
	i.cancel()
	return err
}
