package server

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"berth/audit"
)

// An Origin is what a Server knows about a request to its Pages.
type Origin struct {
	Addr netip.Addr // of the client, behind trusted proxies
	// Base is how clients call this server: scheme, host and prefix, without a
	// slash at its end; "" when the request does not say.
	Base      string
	Prefix    string // of the paths that clients see
	RequestID string
}

type originKey struct{}

// OriginOf returns the Origin of a request to Pages.
func OriginOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// WithOrigin is for tests of Pages without a Server.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// showPage passes a request on to the pages, with a body that is bounded in size
// and time.
func (s *Server) showPage(x *exchange) error {
	if s.o.Pages == nil {
		return errNoPath
	}
	o := Origin{Addr: x.caller.Addr, Base: s.base(x), Prefix: s.prefix, RequestID: x.id}
	if o.Base != "" {
		o.Base += s.prefix
	}
	ctx := audit.WithRequest(WithOrigin(x.r.Context(), o), audit.Request{Ref: x.id, Agent: x.r.UserAgent(), Method: audit.Page})
	r := x.r.Clone(ctx)
	r.URL.Path, r.URL.RawPath = x.target.page, ""
	r.Body = http.MaxBytesReader(x.w.ResponseWriter, r.Body, maxForm)
	_ = x.w.control.SetReadDeadline(time.Now().Add(headerTime))
	defer func() { _ = x.w.control.SetReadDeadline(time.Time{}) }()
	s.o.Pages.ServeHTTP(x.w, r)
	return nil
}
