package server

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Meter is told of every request on the main address. It is safe for
// concurrent use.
type Meter interface {
	// Begin: a request is being served by the handler of that name.
	Begin(handler string)
	// End: it has been, and how.
	End(s Sample)
}

// A Sample is one request that has been served. Each of its strings is one of
// a few, whatever the client sends.
type Sample struct {
	Handler  string // as Distribution names them: base, catalog, tags, manifest, blob …
	Method   string // in lower case, or "other"
	Status   int    // 499 when the client had left
	Duration time.Duration
	Received int64 // bytes of the body, where announced
	Sent     int64 // bytes of the body
	Refused  bool  // the caller may not do what he asked
	// Rule is the kind of rule that did not let him, though he may: immutable,
	// quota or limit, as registry.RuleQuota names it; "" for none.
	Rule     string
	Panicked bool
}

// measure tells the Meter of a request that has been served.
func (s *Server) measure(x *exchange) {
	if s.o.Meter == nil {
		return
	}
	method := "other"
	if slices.Contains(methods, x.r.Method) {
		method = strings.ToLower(x.r.Method)
	}
	s.o.Meter.End(Sample{
		Handler:  routes[x.target.kind].label,
		Method:   method,
		Status:   x.w.code(),
		Duration: s.o.Now().Sub(x.began),
		Received: max(x.r.ContentLength, 0),
		Sent:     x.w.sent,
		Refused:  x.refused,
		Rule:     x.rule,
		Panicked: x.panicked,
	})
}

// logAccess writes a line in the combined log format. What the client says is
// quoted, so that it stays one line.
func (s *Server) logAccess(x *exchange) {
	if s.o.AccessLog == nil {
		return
	}
	user := "-"
	if !x.caller.Anonymous() {
		user = strings.Trim(strconv.QuoteToASCII(x.caller.Name), `"`)
	}
	uri, referer := x.r.URL.RequestURI(), x.r.Referer()
	if x.target.kind == kindToken || x.target.kind == kindPage {
		uri = x.r.URL.EscapedPath() // some put the form there, password and all; a provider puts its code
		referer, _, _ = strings.Cut(referer, "?")
	}
	line := fmt.Sprintf("%s - %s [%s] %q %d %d %q %q\n",
		addrString(x.caller.Addr), user, x.began.Format("02/Jan/2006:15:04:05 -0700"),
		x.r.Method+" "+uri+" "+x.r.Proto, x.w.code(), x.w.sent,
		referer, x.r.UserAgent())
	s.lines.Lock()
	defer s.lines.Unlock()
	// There is nobody to tell that the log cannot be written, but the log.
	_, _ = s.o.AccessLog.Write([]byte(line))
}

func addrString(a netip.Addr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}
