package server

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"berth/access"
	"berth/audit"
	"berth/oci"
	"berth/registry"
)

// Options configure a Server. View is required; the functions are called for
// every request and must be cheap and safe for concurrent use.
type Options struct {
	// View returns the registry as a caller may use it.
	View func(access.Caller) registry.Registry
	// Verifier says who somebody is. Without one there is no authentication:
	// everybody is nobody, and credentials are not looked at.
	Verifier Verifier
	// Certificates says whom the certificate of a client stands for, where TLS has
	// verified one. Nil: for nobody.
	Certificates Certificates
	// Tokens is the built-in token server. Without one, and with a Verifier,
	// the challenge is Basic with Realm, as Distribution's password file has it.
	Tokens  Tokens
	Service string // whom tokens are for
	// Services are other registries that clients ask Tokens for tokens for. The
	// same policy decides, as far as they can keep to it.
	Services []string
	// Outside is a token server elsewhere, which challenges name in place of
	// the built-in one; nil is none. Tokens of both are believed.
	Outside *Outside
	Realm   string // of a Basic challenge
	// Policy is asked for what no view decides: what a token may hold, what
	// caches may keep, who may read metrics. access.Open when nil.
	Policy func() *access.Policy

	// Host is the address that clients use: scheme and host. When nil it is
	// taken from each request.
	Host           *url.URL
	Prefix         string         // of all paths
	RelativeURLs   bool           // in Location, whatever Host says
	TrustedProxies []netip.Prefix // whose word about a request is believed
	Headers        http.Header    // added to every answer

	DeleteEnabled bool
	ReadOnly      func() bool // nil is never
	MaxCatalog    int         // entries of a page; 1,000 when zero, which is the most
	MaxTags       int         // likewise

	// Pages answers what is asked under /ui and /auth/device, with paths as if
	// there were no Prefix; OriginOf tells it more. Nil is nothing.
	Pages http.Handler

	// Health says whether anything can be served, and names the parts that are
	// not as they should be. Nil is all well.
	Health func(context.Context) (ready bool, degraded []string)
	// Refused is called for each request whose caller may not do what he asked.
	// When nil, they are logged.
	Refused func(context.Context, Refusal)
	// Audit is told of what changed, what was given and what was refused, and
	// with AuditPulls of the manifests that were read. Nil is nobody.
	Audit      func(audit.Event)
	AuditPulls bool
	// Limits say how often a caller may come; nil, and a nil that it returns, is
	// as often as he likes. Health, pages and keys are not counted.
	Limits func() *Limits
	// Blocked says why nothing may be written now, in words for the client, or
	// "" when it may. Nil is never.
	Blocked func() string
	// Meter is told of every request; nil is nobody. Metrics shows what there
	// is to show: to admins, and under MetricsPath, unless empty, on the debug
	// address. Nil is nothing.
	Meter       Meter
	Metrics     http.Handler
	MetricsPath string

	Log       *slog.Logger // slog.Default when nil
	AccessLog io.Writer    // a line for each request, in one Write; nil is none
	Now       func() time.Time
}

// A Server is the handler of the main address. It is safe for concurrent use.
type Server struct {
	o         Options
	prefix    string
	memory    *semaphore.Weighted // bytes of manifests on their way in
	decoding  chan struct{}       // held while a manifest is parsed, or referrers are read
	searching chan struct{}       // held while names are searched
	buffers   buffers             // for content on its way in or out
	showings  showings            // of certificates
	lines     sync.Mutex          // around AccessLog
}

// New returns a Server.
func New(o Options) *Server {
	if o.Policy == nil {
		everybody := access.Open()
		o.Policy = func() *access.Policy { return everybody }
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.MaxCatalog = pageLimit(o.MaxCatalog)
	o.MaxTags = pageLimit(o.MaxTags)
	o.Headers = canonical(o.Headers)
	s := &Server{
		o:         o,
		memory:    semaphore.NewWeighted(manifestMemory),
		decoding:  make(chan struct{}, runtime.GOMAXPROCS(0)),
		searching: make(chan struct{}, searchesAtOnce),
		buffers:   newBuffers(),
	}
	if prefix := strings.Trim(o.Prefix, "/"); prefix != "" {
		s.prefix = "/" + prefix
	}
	return s
}

// canonical returns a copy of h with the keys as net/http writes them. Whoever
// adds to one of its values gets a copy.
func canonical(h http.Header) http.Header {
	c := make(http.Header, len(h))
	for key, values := range h {
		c[http.CanonicalHeaderKey(key)] = slices.Clip(slices.Clone(values))
	}
	return c
}

func pageLimit(n int) int {
	if n <= 0 || n > maxPage {
		return maxPage
	}
	return n
}

// NewHTTPServer returns an http.Server for h that bounds what a client may
// take before a handler sees it. Addresses, TLS and protocols are the caller's.
func NewHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	const slack = 8 << 10 // which net/http allows on top
	return &http.Server{
		Handler:           countResets(h),
		ConnContext:       withClient,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader - slack,
		// It would read a body without a deadline.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// An exchange is one request and its answer.
type exchange struct {
	w        *response
	r        *http.Request
	id       string // also the reference of a refusal
	began    time.Time
	origin   origin
	target   target
	badPath  error
	op       *operation // nil until the route is known
	off      bool       // the method is switched off
	query    url.Values
	caller   access.Caller
	method   audit.Method      // how the caller has proved who he is
	registry registry.Registry // as the caller may use it; nil where nobody is asked
	refused  bool
	rule     string // the kind of rule that refused
	paced    bool   // a limit was told of, of which so many are left:
	left     int
	panicked bool
}

// ServeHTTP implements http.Handler. It waits for as long as the client takes, so
// what it calls on the way there has returned: thousands of slow clients are as
// many stacks.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := s.begin(w, r)
	defer s.end(x)
	handle, err := s.prepare(x)
	if err == nil {
		err = handle(s, x)
	}
	if err != nil {
		s.fail(x, err)
	}
}

func (s *Server) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{
		w:      newResponse(w, r, s.buffers),
		r:      r,
		id:     rand.Text()[:10],
		began:  s.o.Now(),
		origin: originOf(r, s.o.TrustedProxies),
	}
	x.caller = access.Caller{Addr: x.origin.addr, RequestID: x.id}
	_ = x.w.control.SetWriteDeadline(time.Time{}) // that of the request before
	x.target, x.badPath = parsePath(r.URL.EscapedPath(), s.prefix)
	if s.o.Meter != nil {
		s.o.Meter.Begin(routes[x.target.kind].label)
	}
	s.addHeaders(x)
	return x
}

// end counts and logs what has been done, and turns a panic into an answer.
func (s *Server) end(x *exchange) {
	p := recover()
	if p != nil && p != http.ErrAbortHandler {
		x.panicked = true
		s.o.Log.ErrorContext(x.r.Context(), "panic", "ref", x.id, "method", x.r.Method, "panic", p, "stack", string(debug.Stack()))
		if x.w.status == 0 {
			body := errorBody{Errors: []errorEntry{{Code: oci.Unknown, Message: "internal error (ref " + x.id + ")"}}}
			if err := x.w.writeJSON(http.StatusInternalServerError, body); err == nil {
				p = nil
			}
		}
	}
	s.measure(x)
	s.logAccess(x)
	if p != nil {
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) addHeaders(x *exchange) {
	h := x.w.Header()
	maps.Copy(h, s.o.Headers)
	h["X-Content-Type-Options"] = nosniff
	h["X-Request-Id"] = []string{x.id}
	if strings.HasPrefix(x.r.URL.Path, s.prefix+"/v2") {
		h["Docker-Distribution-Api-Version"] = apiVersion
	}
	if x.r.ProtoMajor == 1 && len(x.r.TransferEncoding) > 0 {
		// net/http has dropped a Content-Length that may have been there too, and
		// whoever read that sees the next request elsewhere (RFC 9112, section 6.1).
		h.Set("Connection", "close")
	}
}

// prepare goes from the request to its handler.
func (s *Server) prepare(x *exchange) (handler, error) {
	route := &routes[x.target.kind]
	if !slices.Contains(methods, x.r.Method) {
		return nil, oci.Errorf(oci.Unsupported, "there is no such method")
	}
	if x.badPath != nil {
		return nil, x.badPath
	}
	if err := checkCookies(x.r); err != nil {
		return nil, err
	}
	if x.r.Method == http.MethodOptions {
		return (*Server).options, nil
	}
	if x.op = route.find(x.r.Method); x.op == nil {
		return nil, oci.Errorf(oci.Unsupported, "%s is not for this path", x.r.Method)
	}
	var err error
	if x.query, err = parseQuery(x.r); err != nil {
		return nil, err
	}
	if err := s.keepPace(x, false); err != nil {
		return nil, err
	}
	if route.open {
		return x.op.serve, nil
	}
	if err := s.authenticate(x); err != nil {
		return nil, err
	}
	if err := s.keepPace(x, true); err != nil {
		return nil, err
	}
	if err := s.admit(x); err != nil {
		return nil, err
	}
	x.registry = s.o.View(x.caller)
	return x.op.serve, nil
}

// options tells which methods the path knows.
func (s *Server) options(x *exchange) error {
	x.w.Header().Set("Allow", x.allowed())
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// allowed returns the methods that the path knows, as the value of Allow.
func (x *exchange) allowed() string {
	if x.badPath != nil {
		return "GET, HEAD"
	}
	names := routes[x.target.kind].methods()
	if x.off {
		names = slices.DeleteFunc(names, func(n string) bool { return n == x.r.Method })
	}
	return strings.Join(names, ", ")
}

// base returns the scheme and the host that clients use, or "" when a request
// does not say.
func (s *Server) base(x *exchange) string {
	if s.o.Host != nil {
		return s.o.Host.Scheme + "://" + s.o.Host.Host
	}
	if !plainHost(x.origin.host) {
		return ""
	}
	return x.origin.scheme + "://" + x.origin.host
}

// location returns the address of a target. A path alone is right behind any
// proxy, so there is more only where the address is configured.
func (s *Server) location(t target) string {
	path := s.prefix + t.path()
	if s.o.Host == nil || s.o.RelativeURLs {
		return path
	}
	return s.o.Host.Scheme + "://" + s.o.Host.Host + path
}
