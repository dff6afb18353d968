package gcs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"berth/blob"
	"berth/blob/bucket"
)

// castagnoli is the polynomial of CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc32c(sum uint32, data []byte) uint32 { return crc32.Update(sum, castagnoli, data) }

// encodeCRC returns a checksum as the API writes it.
func encodeCRC(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// multipartBody returns the body of a request that makes an object at once.
func multipartBody(sum uint32, data []byte) (http.Header, []byte, error) {
	var body bytes.Buffer
	body.Grow(len(data) + 1024)
	w := multipart.NewWriter(&body)
	meta, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/json"}})
	if err == nil {
		err = json.NewEncoder(meta).Encode(map[string]string{"contentType": contentType, "crc32c": encodeCRC(sum)})
	}
	if err != nil {
		return nil, nil, err
	}
	media, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {contentType}})
	if err == nil {
		_, err = media.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	return http.Header{"Content-Type": {"multipart/related; boundary=" + w.Boundary()}}, body.Bytes(), err
}

// A session is a resumable upload.
type session struct {
	driver *driver
	name   string
	sessionState
	// taken is how many bytes the store has, as far as is known: more than were
	// added, where another process has added them.
	taken int64
}

type sessionState struct {
	// Address is that of the session. Whoever has it may add to the upload.
	Address string `json:"address"`
	Added   int64  `json:"added"`
	Sum     uint32 `json:"sum"` // of what was added, CRC32C
}

// Assemble implements bucket.Bucket.
func (d *driver) Assemble(ctx context.Context, name string, state []byte) (bucket.Assembly, error) {
	s := &session{driver: d, name: name}
	if state == nil {
		return s, s.begin(ctx)
	}
	if err := json.Unmarshal(state, &s.sessionState); err != nil || s.Address == "" {
		return nil, blob.ErrStale
	}
	done, err := s.ask(ctx)
	if err != nil {
		return nil, err
	}
	if done != nil || s.taken < s.Added {
		return nil, blob.ErrStale
	}
	return s, nil
}

func (s *session) begin(ctx context.Context) error {
	header := http.Header{"Content-Type": {"application/json"}, "X-Upload-Content-Type": {contentType}}
	body := []byte(`{"contentType":"` + contentType + `"}`)
	resp, err := s.driver.do(ctx, request{method: http.MethodPost, url: s.driver.uploads(s.name, "resumable"), header: header, body: body})
	if isStatus(err, http.StatusPreconditionFailed) {
		return bucket.ErrExists
	}
	if err != nil {
		return err
	}
	resp.Body.Close()
	if s.Address = resp.Header.Get("Location"); s.Address == "" {
		return errors.New("the store has begun an upload and does not say where")
	}
	return nil
}

// State implements bucket.Assembly.
func (s *session) State() ([]byte, error) { return json.Marshal(s.sessionState) }

// Add implements bucket.Assembly.
func (s *session) Add(ctx context.Context, part []byte) error {
	end := s.Added + int64(len(part))
	if s.taken < end {
		done, err := s.send(ctx, part, "*", nil)
		if err != nil {
			return err
		}
		if done != nil {
			return blob.ErrStale // another one has finished it
		}
	}
	s.Added, s.Sum = end, crc32c(s.Sum, part)
	return nil
}

// Finish implements bucket.Assembly. The store compares the checksum before it
// makes the object.
func (s *session) Finish(ctx context.Context, last []byte) (blob.Info, error) {
	total, sum := s.Added+int64(len(last)), crc32c(s.Sum, last)
	if s.taken > total {
		return blob.Info{}, blob.ErrStale
	}
	hash := http.Header{"X-Goog-Hash": {"crc32c=" + encodeCRC(sum)}}
	done, err := s.send(ctx, last, strconv.FormatInt(total, 10), hash)
	var api *apiError
	switch {
	case err == nil && done != nil:
		return check(done, total, sum)
	case isStatus(err, http.StatusPreconditionFailed), errors.Is(err, blob.ErrStale):
		info, err := s.driver.made(ctx, s.name, total, sum)
		if errors.Is(err, blob.ErrNotExist) {
			err = blob.ErrStale
		}
		return info, err
	case errors.As(err, &api) && api.Status == http.StatusBadRequest && strings.Contains(strings.ToLower(api.Message), "crc32c"):
		return blob.Info{}, blob.ErrStale
	}
	return blob.Info{}, err
}

// errStuck ends an upload of which the store takes no more.
var errStuck = errors.New("the store takes no more bytes of an upload")

// send sends data behind what was added, until the store has all of it, or
// returns the object when total, the length of all or "*", says that this was
// the last.
func (s *session) send(ctx context.Context, data []byte, total string, header http.Header) (*resource, error) {
	end := s.Added + int64(len(data))
	for n := 0; ; n++ {
		before := s.taken
		from := max(s.taken, s.Added)
		done, err := s.put(ctx, data[min(from, end)-s.Added:], from, total, header)
		if err != nil && passing(err) && ctx.Err() == nil {
			done, err = s.recover(ctx, n, err)
		}
		switch {
		case err != nil, done != nil:
			return done, err
		case s.taken < s.Added:
			return nil, blob.ErrStale // the store has lost what it had
		case total == "*" && s.taken >= end:
			return nil, nil
		case s.taken > before:
			n = -1 // it goes on, however slowly
		case n+1 >= attempts:
			return nil, errStuck
		}
	}
}

// recover asks how much of an upload has arrived, after a pause, when a request
// has failed with why.
func (s *session) recover(ctx context.Context, n int, why error) (*resource, error) {
	if n+1 >= attempts {
		return nil, why
	}
	if err := s.driver.pause(ctx, n, asked(why)); err != nil {
		return nil, err
	}
	done, err := s.put(ctx, nil, 0, "*", nil)
	if err != nil && passing(err) {
		return nil, nil // it is sent again from where it was
	}
	return done, err
}

// ask asks how much of the upload has arrived.
func (s *session) ask(ctx context.Context) (done *resource, err error) {
	err = s.driver.again(ctx, func() error {
		done, err = s.put(ctx, nil, 0, "*", nil)
		return err
	})
	return done, err
}

// put makes a request of the session: data from an offset, or none, of a stream
// of total bytes. It returns the object where there is one now. Errors:
// blob.ErrStale.
func (s *session) put(ctx context.Context, data []byte, from int64, total string, header http.Header) (*resource, error) {
	r := request{method: http.MethodPut, url: s.Address, header: header.Clone(), body: data}
	if r.header == nil {
		r.header = make(http.Header)
	}
	if len(data) == 0 {
		r.header.Set("Content-Range", "bytes */"+total)
	} else {
		r.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", from, from+int64(len(data))-1, total))
	}
	resp, err := s.driver.once(ctx, s.driver.plain, r)
	if isGone(err) {
		return nil, blob.ErrStale
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusPermanentRedirect {
		s.taken, err = takenBytes(resp.Header.Get("Range"))
		return nil, err
	}
	done := new(resource)
	return done, decode(resp, done)
}

// takenBytes returns how many bytes a Range says, such as bytes=0-9. Without one
// there are none.
func takenBytes(header string) (int64, error) {
	if header == "" {
		return 0, nil
	}
	last, ok := strings.CutPrefix(header, "bytes=0-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || err != nil || n < 0 {
		return 0, fmt.Errorf("the store says that it has the bytes %q", header)
	}
	return n + 1, nil
}

// isGone reports whether err says that there is no such session any more.
func isGone(err error) bool {
	return isStatus(err, http.StatusNotFound) || isStatus(err, http.StatusGone) || isStatus(err, statusCancelled)
}

// statusCancelled is the answer when a session is cancelled, and after it.
const statusCancelled = 499

// Drop implements bucket.Assembly.
func (s *session) Drop(ctx context.Context) error {
	err := s.driver.again(ctx, func() error {
		resp, err := s.driver.once(ctx, s.driver.plain, request{method: http.MethodDelete, url: s.Address})
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	})
	if err != nil && !isGone(err) {
		return fmt.Errorf("cancel an upload: %w", err)
	}
	return nil
}
