package server

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"

	"berth/access"
	"berth/auth"
	"berth/auth/token"
	"berth/oci"
	"berth/registry"
)

// statuses is the one table of statuses. A code that is not in it is a 500.
var statuses = map[oci.Code]int{
	oci.BlobUnknown:         http.StatusNotFound,
	oci.BlobUploadInvalid:   http.StatusNotFound,
	oci.BlobUploadUnknown:   http.StatusNotFound,
	oci.DigestInvalid:       http.StatusBadRequest,
	oci.ManifestBlobUnknown: http.StatusBadRequest,
	oci.ManifestInvalid:     http.StatusBadRequest,
	oci.ManifestUnknown:     http.StatusNotFound,
	oci.NameInvalid:         http.StatusBadRequest,
	oci.NameUnknown:         http.StatusNotFound,
	oci.PageInvalid:         http.StatusBadRequest,
	oci.RangeInvalid:        http.StatusRequestedRangeNotSatisfiable,
	oci.SizeInvalid:         http.StatusBadRequest,
	oci.TagInvalid:          http.StatusBadRequest,
	oci.Unauthorized:        http.StatusUnauthorized,
	oci.Denied:              http.StatusForbidden,
	oci.Unsupported:         http.StatusMethodNotAllowed,
	oci.TooManyRequests:     http.StatusTooManyRequests,
	oci.Unavailable:         http.StatusServiceUnavailable,
	oci.Conflict:            http.StatusConflict,
	oci.InsufficientStorage: http.StatusInsufficientStorage,
}

// statusGone is logged, and never sent, when the client has left.
const statusGone = 499

// errLogin is returned where somebody must say who he is.
var errLogin = errors.New("authentication required")

// A statusError is an error whose status is not the one of its code.
type statusError struct {
	status int
	err    *oci.Error
}

func (e *statusError) Error() string { return e.err.Error() }

func badRequest(format string, args ...any) error {
	return &statusError{http.StatusBadRequest, oci.Errorf(oci.Unsupported, format, args...)}
}

// A bodyError is a failure to read what the client sends.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read the body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// A goneError is a failure to send to the client.
type goneError struct{ err error }

func (e *goneError) Error() string { return "send the answer: " + e.err.Error() }
func (e *goneError) Unwrap() error { return e.err }

func gone(err error) error {
	if err == nil {
		return nil
	}
	return &goneError{err}
}

// An answer is what a client is told instead of what it asked for.
type answer struct {
	status    int
	code      oci.Code
	message   string
	detail    any
	challenge *challenge    // of a 401
	refusal   *Refusal      // when the caller may not do what he asked
	rule      string        // the kind of rule that does not let anybody do it
	retry     time.Duration // when to come again
	last      bool          // the connection is of no more use
	log       error         // what the operator should know
}

// answerTo turns an error into an answer. It is the only place that does.
func (s *Server) answerTo(x *exchange, err error) answer {
	var (
		denied    *access.DeniedError
		throttled *auth.ThrottledError
		rejected  *auth.RejectedError
		status    *statusError
		body      *bodyError
		left      *goneError
		told      *oci.Error
		code      oci.Code
		rule      *registry.RuleError
		paced     *paceError
	)
	switch {
	case errors.As(err, &rule):
		return s.ruled(x, rule.Kind, rule.Rule, rule.Message)
	case errors.As(err, &paced):
		return paced.slowDown()
	case errors.As(err, &denied):
		return s.refuse(x, denied.Scope, denied.Reason)
	case errors.As(err, &told) && told.Code == oci.Denied:
		return s.refuse(x, auth.Scope{}, told.Message)
	case errors.Is(err, errLogin):
		return s.challenged(x, "", "authentication required")
	case errors.Is(err, token.ErrInvalid):
		return s.challenged(x, invalidToken, "the access token is not valid, or no longer")
	case errors.As(err, &rejected):
		return s.challenged(x, "", rejected.Error())
	case errors.Is(err, auth.ErrBadCredentials):
		return s.challenged(x, "", auth.ErrBadCredentials.Error())
	case errors.As(err, &throttled):
		return answer{status: http.StatusTooManyRequests, code: oci.TooManyRequests, message: "too many wrong passwords", retry: max(throttled.RetryAfter, time.Second)}
	case errors.As(err, &body) && body.told() != nil:
		return *body.told()
	case errors.As(err, &left), x.r.Context().Err() != nil:
		return answer{status: statusGone, code: oci.Unknown, message: "the client has left", last: true}
	case errors.As(err, &body):
		return answer{status: http.StatusBadRequest, code: oci.SizeInvalid, message: "the body is not well-formed, or ended early", last: true}
	case errors.As(err, &status):
		return answer{status: status.status, code: status.err.Code, message: status.err.Message, last: status.status == http.StatusRequestEntityTooLarge}
	case errors.As(err, &told):
		a := tell(told.Code, told.Message, told.Detail)
		if a.status == http.StatusInternalServerError || a.status == http.StatusInsufficientStorage {
			a.log = err // what only the operator can mend
		}
		return a
	case errors.As(err, &code):
		return tell(code, "", nil)
	}
	return answer{status: http.StatusServiceUnavailable, code: oci.Unavailable, message: "the registry cannot do that now", retry: retryFailed, log: err}
}

func tell(code oci.Code, message string, detail any) answer {
	a := answer{status: statuses[code], code: code, message: message, detail: detail}
	switch a.status {
	case 0:
		a.status = http.StatusInternalServerError
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		a.retry = retryBusy
	}
	return a
}

// told is the answer to a client that is still there, and was cut off. Its
// context is done nevertheless.
func (e *bodyError) told() *answer {
	var large *http.MaxBytesError
	switch {
	case errors.As(e.err, &large):
		return &answer{status: http.StatusRequestEntityTooLarge, code: oci.SizeInvalid, message: fmt.Sprintf("the body is larger than %d bytes", large.Limit), last: true}
	case errors.Is(e.err, os.ErrDeadlineExceeded):
		return &answer{status: http.StatusRequestTimeout, code: oci.SizeInvalid, message: "the body came too slowly", last: true}
	}
	return nil
}

// fail answers with an error. Once an answer has begun there is nothing left
// but to break it off, so that nobody takes a part for the whole.
func (s *Server) fail(x *exchange, err error) {
	a := s.answerTo(x, err)
	if a.log != nil {
		s.o.Log.ErrorContext(x.r.Context(), "request failed", "ref", x.id, "method", x.r.Method, "path", x.r.URL.EscapedPath(), "error", a.log)
		s.auditFailure(x, a.status)
	}
	if x.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	if a.status == statusGone {
		x.w.status = statusGone
		panic(http.ErrAbortHandler)
	}
	x.rule = a.rule
	switch {
	case a.refusal != nil:
		s.record(x, a.refusal)
	case a.rule == rulePace:
		s.auditPace(x, &a)
	}
	h := x.w.Header()
	if a.status == http.StatusMethodNotAllowed {
		h.Set("Allow", x.allowed())
	}
	if a.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.retry.Seconds()))))
	}
	if a.last {
		h.Set("Connection", "close")
	}
	if a.referenced() {
		a.message += " (ref " + x.id + ")"
	}
	if a.challenge != nil {
		h.Set("WWW-Authenticate", a.challenge.header(a.message))
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	body := errorBody{Errors: []errorEntry{{a.code, a.message, a.detail}}}
	if err := x.w.writeJSON(a.status, body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// referenced reports whether the client is told the reference of the answer:
// where it is refused, and where the log says more.
func (a *answer) referenced() bool {
	return a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || a.status >= http.StatusInternalServerError
}

// errorBody is the distribution specification's, "Error codes".
type errorBody struct {
	Errors []errorEntry `json:"errors"`
}

type errorEntry struct {
	Code    oci.Code `json:"code"`
	Message string   `json:"message"`
	Detail  any      `json:"detail,omitempty"`
}
