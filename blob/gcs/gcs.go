// Package gcs keeps streams as objects of a bucket of Google Cloud Storage. It
// speaks the JSON API itself: the library from Google cannot go on with an upload
// that another process began.
//
// A long stream is one resumable upload, whose session stands in the state. What
// a session has taken cannot be taken back: where a process has sent more than
// its last state says, and died, whoever goes on has to bring the same bytes, as
// a client that tries again does. The final request carries the checksum of the
// stream as its Writer took it, so that no other bytes are ever committed: Commit
// returns blob.ErrStale then, and the upload starts again. That also holds for a
// Writer in another process that was overtaken and goes on to send. An object is
// made only where there is none (ifGenerationMatch=0).
//
// A session ends by itself after a week.
//
// The stamp of a stream is the generation of its object, and bytes are read only
// of that.
package gcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"berth/blob"
	"berth/blob/bucket"
)

const (
	// chunk is what all parts of an upload but the last are multiples of.
	chunk = 256 << 10
	// contentType is that of all objects.
	contentType = "application/octet-stream"
	// page is how many names are listed at a time.
	page = 1000
)

// Open returns the Store over a bucket, after a look whether it is there.
func Open(ctx context.Context, o Options) (*bucket.Store, error) {
	d, err := newDriver(ctx, &o)
	if err != nil {
		return nil, fmt.Errorf("open the bucket %s of Google Cloud Storage: %w", o.Bucket, err)
	}
	prefix := bucket.Prefix(o.RootDirectory)
	if err := d.List(ctx, prefix, "", 1, func(blob.Entry) bool { return false }); err != nil {
		return nil, fmt.Errorf("look into the bucket %s of Google Cloud Storage: %w", o.Bucket, err)
	}
	return bucket.New(d, bucket.Options{Prefix: prefix, Part: o.ChunkSize, Align: chunk, Log: o.Log}), nil
}

// A driver is the bucket.Bucket.
type driver struct {
	*client
	bucket string
	signer signer // nil where addresses cannot be signed
}

// A resource is what the API says of an object.
type resource struct {
	Name       string    `json:"name"`
	Size       int64     `json:"size,string"`
	Generation string    `json:"generation"`
	CRC32C     string    `json:"crc32c"`
	Updated    time.Time `json:"updated"`
}

const resourceFields = "name,size,generation,crc32c,updated"

func (r *resource) info() blob.Info { return blob.Info{Size: r.Size, Stamp: r.Generation} }

// objects returns the address of the objects, and object that of one.
func (d *driver) objects(query url.Values) string {
	return d.base + "/storage/v1/b/" + url.PathEscape(d.bucket) + "/o?" + query.Encode()
}

func (d *driver) object(name string, query url.Values) string {
	return d.base + "/storage/v1/b/" + url.PathEscape(d.bucket) + "/o/" + url.PathEscape(name) + "?" + query.Encode()
}

// uploads returns where an object is made, unless there is one.
func (d *driver) uploads(name, kind string) string {
	query := url.Values{"uploadType": {kind}, "name": {name}, "ifGenerationMatch": {"0"}, "fields": {resourceFields}}
	return d.base + "/upload/storage/v1/b/" + url.PathEscape(d.bucket) + "/o?" + query.Encode()
}

// Put implements bucket.Bucket.
func (d *driver) Put(ctx context.Context, name string, data []byte) (blob.Info, error) {
	sum := crc32c(0, data)
	header, body, err := multipartBody(sum, data)
	if err != nil {
		return blob.Info{}, err
	}
	var made resource
	err = d.json(ctx, request{method: http.MethodPost, url: d.uploads(name, "multipart"), header: header, body: body}, &made)
	if isStatus(err, http.StatusPreconditionFailed) {
		return d.made(ctx, name, int64(len(data)), sum)
	}
	if err != nil {
		return blob.Info{}, err
	}
	return check(&made, int64(len(data)), sum)
}

// made looks whether the object is the one that should have been made, as it is
// when an answer was lost. Errors: bucket.ErrExists, blob.ErrNotExist.
func (d *driver) made(ctx context.Context, name string, size int64, sum uint32) (blob.Info, error) {
	r, err := d.look(ctx, name)
	if err != nil {
		return blob.Info{}, err
	}
	return check(r, size, sum)
}

// check returns ErrExists unless r is of these bytes.
func check(r *resource, size int64, sum uint32) (blob.Info, error) {
	if r.Size != size || r.CRC32C != encodeCRC(sum) {
		return blob.Info{}, bucket.ErrExists
	}
	return r.info(), nil
}

// look returns what there is of an object. Errors: blob.ErrNotExist.
func (d *driver) look(ctx context.Context, name string) (*resource, error) {
	var r resource
	err := d.json(ctx, request{method: http.MethodGet, url: d.object(name, url.Values{"fields": {resourceFields}})}, &r)
	return &r, missing(err)
}

// missing makes blob.ErrNotExist out of the answer that there is no such object,
// but not out of the one that there is no such bucket.
func missing(err error) error {
	var api *apiError
	if errors.As(err, &api) && api.Status == http.StatusNotFound && !strings.Contains(strings.ToLower(api.Message), "bucket") {
		return blob.ErrNotExist
	}
	return err
}

// Stat implements bucket.Bucket.
func (d *driver) Stat(ctx context.Context, name string) (blob.Info, error) {
	r, err := d.look(ctx, name)
	if err != nil {
		return blob.Info{}, err
	}
	return r.info(), nil
}

// Get implements bucket.Bucket.
func (d *driver) Get(ctx context.Context, name, stamp string, off, n int64) (io.ReadCloser, error) {
	query := url.Values{"alt": {"media"}}
	if stamp != "" {
		query.Set("ifGenerationMatch", stamp)
	}
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", off, off+n-1)}}
	resp, err := d.do(ctx, request{method: http.MethodGet, url: d.object(name, query), header: header})
	if isStatus(err, http.StatusPreconditionFailed) {
		return nil, bucket.ErrChanged
	}
	if err != nil {
		return nil, missing(err)
	}
	if now := resp.Header.Get("X-Goog-Generation"); stamp != "" && now != "" && now != stamp {
		resp.Body.Close() // not every stand-in heeds conditions
		return nil, bucket.ErrChanged
	}
	if resp.StatusCode == http.StatusOK && (off != 0 || resp.ContentLength != n) {
		resp.Body.Close()
		return nil, errors.New("the store has answered with other bytes than it was asked for")
	}
	return resp.Body, nil
}

// Delete implements bucket.Bucket.
func (d *driver) Delete(ctx context.Context, name string) error {
	err := missing(d.json(ctx, request{method: http.MethodDelete, url: d.object(name, nil)}, nil))
	if errors.Is(err, blob.ErrNotExist) {
		return nil
	}
	return err
}

// List implements bucket.Bucket.
func (d *driver) List(ctx context.Context, prefix, from string, limit int, yield func(blob.Entry) bool) error {
	if limit == 0 {
		limit = page
	}
	query := url.Values{"fields": {"nextPageToken,items(name,size,updated)"}, "maxResults": {strconv.Itoa(limit)}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	if from > prefix {
		query.Set("startOffset", from)
	}
	for {
		var answer struct {
			Items         []resource `json:"items"`
			NextPageToken string     `json:"nextPageToken"`
		}
		if err := d.json(ctx, request{method: http.MethodGet, url: d.objects(query)}, &answer); err != nil {
			return err
		}
		for _, r := range answer.Items {
			if !yield(blob.Entry{Key: r.Name, Size: r.Size, ModTime: r.Updated}) {
				return nil
			}
		}
		if answer.NextPageToken == "" {
			return nil
		}
		query.Set("pageToken", answer.NextPageToken)
	}
}
