package gcs

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// A session is a resumable upload.
type session struct {
	name  string
	query url.Values // of the request that began it
	data  []byte
	done  *object
}

func (s *Server) begin(w http.ResponseWriter, r *http.Request, name string) {
	s.requests["begin"]++
	id := rand.Text()
	s.sessions[id] = &session{name: name, query: r.URL.Query()}
	w.Header().Set("Location", "http://"+r.Host+r.URL.EscapedPath()+"?uploadType=resumable&upload_id="+id)
}

// errRange says what is wrong with a Content-Range.
const errRange = "Failed to parse Content-Range header."

// part takes a part of an upload, or says how much there is.
func (s *Server) part(w http.ResponseWriter, r *http.Request, body []byte) {
	u := s.sessions[r.URL.Query().Get("upload_id")]
	if u == nil {
		refuse(w, http.StatusGone, "The requested session does not exist anymore.")
		return
	}
	span, total, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Content-Range"), "bytes "), "/")
	end := int64(-1) // of the whole, when it is known
	if ok && total != "*" {
		n, err := strconv.ParseInt(total, 10, 64)
		ok, end = err == nil, n
	}
	switch {
	case !ok:
		refuse(w, http.StatusBadRequest, errRange)
	case u.done != nil:
		s.requests["ask"]++
		answer(w, u.done.resource(u.name))
	case span == "*" && end < 0:
		s.requests["ask"]++
		u.progress(w)
	case span == "*":
		s.requests["part"]++
		s.finish(w, r, u, end)
	default:
		s.requests["part"]++
		s.take(w, r, u, span, end, body)
	}
}

// take takes the bytes of a part, but those that it has.
func (s *Server) take(w http.ResponseWriter, r *http.Request, u *session, span string, total int64, body []byte) {
	var first, last int64
	if n, err := fmt.Sscanf(span, "%d-%d", &first, &last); n != 2 || err != nil || last < first {
		refuse(w, http.StatusBadRequest, errRange)
		return
	}
	length := last - first + 1
	whole := int64(len(body)) == length
	have := int64(len(u.data))
	switch {
	case total < 0 && length%Unit != 0:
		refuse(w, http.StatusBadRequest, "Invalid request. The number of bytes uploaded is required to be equal or greater than 262144, except for the final request.")
		return
	case total >= 0 && last+1 > total || first > have || r.ContentLength != length:
		refuse(w, http.StatusBadRequest, "Invalid request. According to the Content-Range header, the upload offset is wrong.")
		return
	}
	if len(body) > int(have-first) {
		u.data = append(u.data, body[have-first:]...)
	}
	if !whole {
		u.data = u.data[:max(have, int64(len(u.data))/Unit*Unit)] // only whole units stay
	}
	if whole && total >= 0 && last+1 == total {
		s.finish(w, r, u, total)
		return
	}
	u.progress(w)
}

// progress says how many bytes there are.
func (u *session) progress(w http.ResponseWriter) {
	if n := len(u.data); n > 0 {
		w.Header().Set("Range", "bytes=0-"+strconv.Itoa(n-1))
	}
	w.WriteHeader(http.StatusPermanentRedirect)
}

// finish makes the object.
func (s *Server) finish(w http.ResponseWriter, r *http.Request, u *session, total int64) {
	if int64(len(u.data)) > total {
		refuse(w, http.StatusBadRequest, "Invalid request. More bytes were uploaded than the total says.")
		return
	}
	if int64(len(u.data)) < total {
		u.progress(w)
		return
	}
	if hash, ok := strings.CutPrefix(r.Header.Get("X-Goog-Hash"), "crc32c="); ok && hash != sum(u.data) {
		refuse(w, http.StatusBadRequest, "Provided CRC32C \""+hash+"\" doesn't match calculated CRC32C \""+sum(u.data)+"\".")
		return
	}
	if !s.precondition(u.query, u.name) {
		refuse(w, http.StatusPreconditionFailed, "At least one of the pre-conditions you specified did not hold.")
		return
	}
	u.done = s.make(u.name, u.data)
	answer(w, u.done.resource(u.name))
}

func (s *Server) cancel(w http.ResponseWriter, r *http.Request) {
	s.requests["cancel"]++
	id := r.URL.Query().Get("upload_id")
	if u := s.sessions[id]; u == nil {
		refuse(w, http.StatusNotFound, "Not Found")
		return
	}
	delete(s.sessions, id)
	w.WriteHeader(499)
}
