package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"berth/access"
	"berth/oci"
	"berth/registry"
)

// startUpload begins an upload. With mount in the query the blob may already be
// had from elsewhere, and with digest it is all in the body.
func (s *Server) startUpload(x *exchange) error {
	options, err := s.startOptions(x)
	if err != nil {
		return err
	}
	if x.query.Has("mount") {
		done, err := s.mount(x)
		if done || err != nil {
			return err
		}
	} else if x.query.Has("digest") {
		return s.uploadAtOnce(x, options)
	}
	up, err := x.registry.StartUpload(x.r.Context(), x.target.repo, options)
	if err != nil {
		return err
	}
	size := up.Size()
	if err := suspend(x, up); err != nil {
		return err
	}
	s.uploadHeaders(x, up.ID(), size)
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}

// startOptions reads how a new upload is hashed.
func (s *Server) startOptions(x *exchange) (registry.UploadOptions, error) {
	o := uploadOptions(x)
	switch name, err := x.one("digest-algorithm"); {
	case err != nil:
		return o, err
	case name == string(oci.SHA256), name == string(oci.SHA512):
		o.Algorithm = oci.Algorithm(name)
	case name != "":
		return o, oci.Errorf(oci.DigestInvalid, "digest-algorithm must be %s or %s", oci.SHA256, oci.SHA512)
	}
	return o, nil
}

// uploadOptions says whose an upload is, and what comes of it.
func uploadOptions(x *exchange) registry.UploadOptions {
	o := registry.UploadOptions{Size: max(x.r.ContentLength, 0)}
	if !x.caller.Anonymous() {
		o.Owner = x.caller.Provider + "/" + x.caller.Name
	}
	return o
}

// mount tries to have the blob from another repository. Whatever the reason why
// not, the client is to upload it: so it does not learn what is elsewhere. Only
// who might mount with a better token is told to get one.
func (s *Server) mount(x *exchange) (done bool, err error) {
	d, err := x.digestOf("mount")
	if err != nil {
		return false, err
	}
	value, err := x.one("from")
	if err != nil {
		return false, err
	}
	var from oci.Name
	if value != "" {
		if from, err = oci.ParseName(value); err != nil {
			return false, err
		}
	}
	if source := (target{repo: from, digest: d}); from != "" && s.narrow(x.caller, source) {
		return false, &access.DeniedError{Scope: x.scope(), Reason: "the token is not for " + string(from)}
	}
	_, err = x.registry.MountBlob(x.r.Context(), x.target.repo, from, d)
	if errors.As(err, new(*registry.RuleError)) {
		return false, err // what may not be mounted may not be uploaded either
	}
	if err != nil {
		s.o.Log.DebugContext(x.r.Context(), "blob not mounted", "ref", x.id, "error", err)
		return false, nil
	}
	s.created(x, d)
	return true, nil
}

// narrow reports whether the caller might pull what the target names, if only
// his token were for it.
func (s *Server) narrow(c access.Caller, t target) bool {
	if !c.Bearer || c.Expired || s.may(&c, access.Pull, t) {
		return false
	}
	c.Bearer = false
	return s.may(&c, access.Pull, t)
}

// uploadAtOnce takes a blob whose bytes are the body: all of it, or nothing.
func (s *Server) uploadAtOnce(x *exchange, options registry.UploadOptions) error {
	d, err := x.digestOf("digest")
	if err != nil {
		return err
	}
	options.Algorithm = d.Algorithm()
	up, err := x.registry.StartUpload(x.r.Context(), x.target.repo, options)
	if err != nil {
		return err
	}
	if err := s.receive(x, up); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), suspendTime)
		defer cancel()
		if cancelled := up.Cancel(ctx); cancelled != nil {
			s.o.Log.ErrorContext(ctx, "upload left behind", "ref", x.id, "error", cancelled)
		}
		return err
	}
	return s.commit(x, up, d)
}

// patchUpload appends to an upload. With Content-Range it is checked that the
// bytes are the next.
func (s *Server) patchUpload(x *exchange) error {
	up, err := s.resume(x, false)
	if err != nil {
		return err
	}
	received := s.receive(x, up)
	size := up.Size()
	if err := suspend(x, up); err != nil && received == nil {
		return err
	}
	if received != nil {
		return received
	}
	s.uploadHeaders(x, x.target.upload, size)
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}

// finishUpload appends what the body holds, if anything, and makes a blob of
// the upload.
func (s *Server) finishUpload(x *exchange) error {
	d, err := x.digestOf("digest")
	if err != nil {
		return err
	}
	up, err := s.resume(x, true)
	if err != nil {
		return err
	}
	if received := s.receive(x, up); received != nil {
		if err := suspend(x, up); err != nil {
			s.o.Log.WarnContext(x.r.Context(), "upload not suspended", "ref", x.id, "error", err)
		}
		return received
	}
	return s.commit(x, up, d)
}

// resume goes on with the upload of the path, at the place where the request
// says its bytes belong. last says that a commit follows.
func (s *Server) resume(x *exchange, last bool) (registry.Upload, error) {
	chunk, err := parseChunk(x.r)
	if err != nil {
		return nil, err
	}
	o := uploadOptions(x)
	o.Last = last
	up, err := x.registry.ResumeUpload(x.r.Context(), x.target.repo, x.target.upload, o)
	if err != nil {
		return nil, err
	}
	if size := up.Size(); chunk.given && chunk.first != size {
		if err := suspend(x, up); err != nil {
			return nil, err
		}
		s.uploadHeaders(x, x.target.upload, size)
		return nil, oci.Errorf(oci.RangeInvalid, "the upload goes on at byte %d", size)
	}
	return up, nil
}

// commit makes a blob of an upload. All bytes are here: that the client leaves
// now is no reason to lose them.
func (s *Server) commit(x *exchange, up registry.Upload, d oci.Digest) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), commitTime)
	defer cancel()
	if _, err := up.Commit(ctx, d); err != nil {
		return err
	}
	s.created(x, d)
	return nil
}

// suspend closes an upload, also when its client has left: what was taken shall
// not have been sent in vain.
func suspend(x *exchange, up registry.Upload) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), suspendTime)
	defer cancel()
	if err := up.Close(ctx); err != nil {
		return fmt.Errorf("suspend an upload: %w", err)
	}
	return nil
}

// uploadStatus says how far an upload is.
func (s *Server) uploadStatus(x *exchange) error {
	size, err := x.registry.UploadStatus(x.r.Context(), x.target.repo, x.target.upload, uploadOptions(x))
	if err != nil {
		return err
	}
	s.uploadHeaders(x, x.target.upload, size)
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// cancelUpload gives an upload up.
func (s *Server) cancelUpload(x *exchange) error {
	o := uploadOptions(x)
	o.Last = true
	up, err := x.registry.ResumeUpload(x.r.Context(), x.target.repo, x.target.upload, o)
	if err != nil {
		return err
	}
	if err := up.Cancel(x.r.Context()); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// created answers that a blob is there.
func (s *Server) created(x *exchange, d oci.Digest) {
	h := x.w.Header()
	h.Set("Location", s.location(target{kind: kindBlob, repo: x.target.repo, digest: d}))
	h.Set("Docker-Content-Digest", string(d))
	x.w.WriteHeader(http.StatusCreated)
}

// uploadHeaders say where an upload goes on. An empty one has the range 0-0,
// as has one of a single byte: no client minds.
func (s *Server) uploadHeaders(x *exchange, id string, size int64) {
	h := x.w.Header()
	h.Set("Location", s.location(target{kind: kindUpload, repo: x.target.repo, upload: id}))
	h.Set("Docker-Upload-UUID", id)
	h.Set("Range", "0-"+strconv.FormatInt(max(size-1, 0), 10))
}

// A chunk is where the bytes of a body belong.
type chunk struct {
	given bool
	first int64
}

// parseChunk parses Content-Range, which here is "first-last". The form of RFC
// 9110, "bytes first-last/size", is taken too.
func parseChunk(r *http.Request) (chunk, error) {
	value := r.Header.Get("Content-Range")
	if value == "" {
		return chunk{}, nil
	}
	value = strings.TrimPrefix(value, "bytes ")
	value, _, _ = strings.Cut(value, "/")
	a, b, _ := strings.Cut(value, "-")
	first, err1 := strconv.ParseUint(a, 10, 63)
	last, err2 := strconv.ParseUint(b, 10, 63)
	if err1 != nil || err2 != nil || last < first {
		return chunk{}, oci.Errorf(oci.RangeInvalid, "Content-Range is not of the form first-last")
	}
	if r.ContentLength >= 0 && uint64(r.ContentLength) != last-first+1 {
		return chunk{}, oci.Errorf(oci.SizeInvalid, "Content-Range and Content-Length do not agree")
	}
	return chunk{given: true, first: int64(first)}, nil
}
