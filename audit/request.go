package audit

import "context"

// A Request is what an event says of the request behind it.
type Request struct {
	Ref    string // its id, which is the reference that the client is told
	Agent  string
	Method Method
}

type requestKey struct{}

// WithRequest returns a context that carries r to whoever records what goes on
// behind a request and does not see it.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// RequestOf returns the Request that ctx carries, or the zero Request.
func RequestOf(ctx context.Context) Request {
	r, _ := ctx.Value(requestKey{}).(Request)
	return r
}
