package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"berth/access"
	"berth/audit"
	"berth/oci"
	"berth/registry"
)

// getBlob serves a blob, whole or in ranges. What is in a blob is its owner's
// word: a browser takes it for bytes, and runs nothing.
func (s *Server) getBlob(x *exchange) error {
	c, err := x.registry.Blob(x.r.Context(), x.target.repo, x.target.digest)
	if err != nil {
		return err
	}
	defer c.Close()
	return s.serveContent(x, c, oci.MediaTypeOctetStream)
}

// getManifest serves a manifest as it was pushed, whatever the client would
// rather have: another form would have another digest.
func (s *Server) getManifest(x *exchange) error {
	c, err := x.registry.Manifest(x.r.Context(), x.target.repo, x.target.reference)
	if err != nil {
		return err
	}
	defer c.Close()
	if s.o.AuditPulls && x.r.Method == http.MethodGet {
		s.auditContent(x, audit.Pull, c.Descriptor().Digest, x.tags())
	}
	return s.serveContent(x, c, c.Descriptor().MediaType)
}

// serveContent answers GET and HEAD. No header of content is set before the
// content is at hand, so that an error can still be one.
func (s *Server) serveContent(x *exchange, c registry.Content, mediaType string) error {
	if done, err := s.answerWithout(x, c, mediaType); done || err != nil {
		return err
	}
	f, ok := c.File()
	if !ok {
		return s.stream(x, c, mediaType)
	}
	size := s.contentHeaders(x, c, mediaType)
	switch {
	case conditional(x.r.Header):
		http.ServeContent(x.w, x.r, "", time.Time{}, f)
	case size <= blobSmall:
		s.send(x, io.LimitReader(f, size), size)
	default:
		x.w.sendFile(f, size)
	}
	return nil
}

// answerWithout answers where no content is sent, and reports whether it has.
func (s *Server) answerWithout(x *exchange, c registry.Content, mediaType string) (done bool, err error) {
	d := c.Descriptor()
	unchanged := matches(x.r.Header["If-None-Match"], etag(d.Digest))
	if x.r.Method == http.MethodHead || unchanged {
		if err := isThere(x.r.Context(), c); err != nil {
			return false, err
		}
		s.contentHeaders(x, c, mediaType)
		if unchanged {
			x.w.WriteHeader(http.StatusNotModified)
		} else {
			x.w.announce(d.Size)
		}
		return true, nil
	}
	url, err := c.URL(x.r.Context())
	if err != nil {
		return false, err
	}
	if url != "" {
		// The address is good for minutes, and for whoever has it.
		x.w.Header().Set("Location", url)
		x.w.Header().Set("Cache-Control", "no-store")
		x.w.WriteHeader(http.StatusTemporaryRedirect)
		return true, nil
	}
	switch ranges := x.r.Header.Get("Range"); {
	case !soundRange(ranges):
		x.r.Header.Del("Range")
	case !satisfiable(ranges, d.Size):
		x.w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(d.Size, 10))
		return false, oci.Errorf(oci.RangeInvalid, "there are no such bytes: the content has %d", d.Size)
	}
	return false, nil
}

// stream answers with content that is no file.
func (s *Server) stream(x *exchange, c registry.Content, mediaType string) error {
	size := c.Descriptor().Size
	body := &seeker{ctx: x.r.Context(), content: c, size: size}
	body.at, body.end = only(x.r.Header.Get("Range"), size)
	defer body.close()
	if err := body.open(); err != nil {
		return err
	}
	s.contentHeaders(x, c, mediaType)
	if conditional(x.r.Header) {
		http.ServeContent(x.w, x.r, "", time.Time{}, body)
	} else {
		s.send(x, body, body.size)
	}
	return body.failure
}

// isThere returns an error unless the bytes of c can be read.
func isThere(ctx context.Context, c registry.Content) error {
	rc, err := c.Open(ctx, 0, 0)
	if err != nil {
		return fmt.Errorf("open content: %w", err)
	}
	return rc.Close()
}

// conditional reports whether a request is for a part of the content, or for
// content of a certain state, which http.ServeContent knows all about. Without a
// time of the content it heeds no times.
func conditional(h http.Header) bool {
	return h["Range"] != nil || h["If-Match"] != nil || h["If-None-Match"] != nil
}

// send sends all of the content. When that fails, net/http sees less than was
// announced, and breaks off.
func (s *Server) send(x *exchange, body io.Reader, size int64) {
	buffer := s.buffers.large(size)
	defer s.buffers.release(buffer)
	x.w.announce(size)
	_, _ = io.CopyBuffer(struct{ io.Writer }{x.w}, body, buffer)
}

// contentHeaders sets the headers of content, and returns its size.
func (s *Server) contentHeaders(x *exchange, c registry.Content, mediaType string) int64 {
	d := c.Descriptor()
	h := x.w.Header()
	v := []string{mediaType, string(d.Digest), etag(d.Digest), s.cacheControl(x)}
	h["Content-Type"], h["Docker-Content-Digest"], h["Etag"], h["Cache-Control"] = v[0:1:1], v[1:2:2], v[2:3:3], v[3:4:4]
	h["Content-Security-Policy"] = sandbox
	return d.Size
}

func etag(d oci.Digest) string { return `"` + string(d) + `"` }

// cacheControl lets shared caches keep what everybody may have. A tag moves, so
// what it names has to be asked for again.
func (s *Server) cacheControl(x *exchange) string {
	age := "max-age=31536000"
	if x.target.reference.Tag != "" {
		age = "no-cache"
	}
	r := access.Request{Caller: &access.Caller{}, Action: access.Pull, Repository: x.target.repo, TagsUnknown: true, ByDigest: true}
	if s.o.Policy().Decide(r).Allow {
		return age
	}
	return "private, " + age
}

// matches reports whether the lines of If-None-Match hold etag, or anything.
// Some clients leave out the quotes.
func matches(lines []string, etag string) bool {
	for _, tag := range list(lines) {
		tag = strings.TrimPrefix(tag, "W/")
		if tag == "*" || tag == etag || tag == strings.Trim(etag, `"`) {
			return true
		}
	}
	return false
}

// soundRange reports whether a Range is one to go by. Any other is as good as
// none (RFC 9110, section 14.2): of a unit that is not known, of more ranges
// than anybody needs, or of the last 0 bytes.
func soundRange(s string) bool {
	ranges, ok := strings.CutPrefix(s, "bytes=")
	if !ok || strings.Count(ranges, ",") >= maxRanges {
		return false
	}
	for r := range strings.SplitSeq(ranges, ",") {
		if suffix, ok := strings.CutPrefix(strings.Trim(r, " \t"), "-"); ok && strings.Trim(suffix, "0 ") == "" {
			return false
		}
	}
	return true
}

// satisfiable reports whether a sound Range holds bytes of content of that size.
func satisfiable(s string, size int64) bool {
	some := false
	for r := range strings.SplitSeq(strings.TrimPrefix(s, "bytes="), ",") {
		a, b, ok := strings.Cut(strings.Trim(r, " \t"), "-")
		first, err1 := position(a)
		last, err2 := position(b)
		if !ok || err1 != nil || err2 != nil || a != "" && b != "" && last < first {
			return false
		}
		some = some || first < size
	}
	return some
}

// only returns where the bytes begin and end that a Range, which is satisfiable,
// asks for: all, unless it is one range.
func only(s string, size int64) (first, end int64) {
	a, b, one := strings.Cut(strings.TrimPrefix(s, "bytes="), "-")
	if !one || strings.Contains(b, ",") {
		return 0, size
	}
	first, err1 := position(strings.Trim(a, " 	"))
	last, err2 := position(strings.Trim(b, " 	"))
	switch {
	case err1 != nil || err2 != nil:
		return 0, size
	case strings.Trim(a, " 	") == "": // so many from the end
		return size - min(last, size), size
	case strings.Trim(b, " 	") == "":
		return first, size
	}
	return first, min(last, size-1) + 1
}

// position parses a place in content: digits and nothing else. Nothing is 0.
func position(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}

// A seeker is a Content without a file, for http.ServeContent. It opens the
// content where it is read, and keeps its failure, which ServeContent drops.
type seeker struct {
	ctx     context.Context
	content registry.Content
	size    int64
	end     int64         // of what is likely to be read
	at      int64         // where the next Read is to read
	body    io.ReadCloser // nil when there is none
	bodyAt  int64         // where body reads
	bodyEnd int64         // where it ends
	failure error
}

// open opens the content at the position of the next Read.
func (s *seeker) open() error {
	s.close()
	end := s.end
	if s.at >= end {
		end = s.size
	}
	body, err := s.content.Open(s.ctx, s.at, end-s.at)
	if err != nil {
		return fmt.Errorf("open content: %w", err)
	}
	s.body, s.bodyAt, s.bodyEnd = body, s.at, end
	return nil
}

func (s *seeker) close() {
	if s.body != nil {
		s.body.Close() // what was read has been checked
		s.body = nil
	}
}

func (s *seeker) Read(p []byte) (int, error) {
	if s.failure == nil && (s.body == nil || s.bodyAt != s.at) {
		s.failure = s.open()
	}
	if s.failure != nil {
		return 0, s.failure
	}
	n, err := s.body.Read(p)
	s.at += int64(n)
	s.bodyAt = s.at
	switch {
	case err == io.EOF && s.at < s.bodyEnd:
		s.failure = fmt.Errorf("read content: %w", io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		s.failure = fmt.Errorf("read content: %w", err)
	case s.at == s.bodyEnd && s.at < s.size:
		s.close()
		return n, nil
	default:
		return n, err
	}
	return n, s.failure
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start of content")
	}
	s.at = offset
	return offset, nil
}

// deleteBlob takes a blob from a repository.
func (s *Server) deleteBlob(x *exchange) error {
	if err := x.registry.DeleteBlob(x.r.Context(), x.target.repo, x.target.digest); err != nil {
		return err
	}
	s.auditContent(x, audit.DeleteBlob, x.target.digest, nil)
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}

// deleteManifest takes a tag, or a manifest with all of its tags.
func (s *Server) deleteManifest(x *exchange) error {
	var err error
	if tag := x.target.reference.Tag; tag != "" {
		err = x.registry.DeleteTag(x.r.Context(), x.target.repo, tag)
	} else {
		err = x.registry.DeleteManifest(x.r.Context(), x.target.repo, x.target.reference.Digest)
	}
	if err != nil {
		return err
	}
	s.auditContent(x, audit.Delete, x.target.content(), x.tags())
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}
