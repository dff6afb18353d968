// Package s3 keeps streams in a bucket of Amazon S3, or of any of the many stores
// that speak its protocol, as package bucket lays them out.
//
// Parts go up in a multipart upload under the name of the key, which the store
// completes once, and only with the parts that are named: that, and objects that
// are only put where there is none, keep a writer that was overtaken away from
// what was committed. A store that does not know the second is found out when it
// is opened. It will do for one process.
//
// The stamp of a stream is the tag that the store gives to an object. Where a
// store keeps it beside the bytes, bytes that are changed behind its back are not
// noticed here.
package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"berth/blob"
	"berth/blob/bucket"
)

// A Store is a blob.Store over a bucket.
type Store struct {
	*bucket.Store
	driver *driver
}

// Open returns the Store over a bucket, which must answer. The Store must be
// closed.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("open bucket: %w", err)
	}
	cfg, err := o.config(ctx)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", o.Bucket, err)
	}
	t := o.transport(&cfg)
	d := &driver{o: o, transport: t, client: o.client(cfg, o.Endpoint)}
	redirect := o.RedirectEndpoint
	if redirect == "" {
		redirect = o.Endpoint
	}
	d.signer = s3.NewPresignClient(o.client(cfg, redirect))
	prefix := bucket.Prefix(o.RootDirectory)
	if err := d.probe(ctx, prefix); err != nil {
		t.CloseIdleConnections()
		return nil, fmt.Errorf("open bucket %s: %w", o.Bucket, err)
	}
	// Some stores take no parts of different sizes: the rest of a stream that is
	// suspended is none.
	bo := bucket.Options{Prefix: prefix, Part: o.PartSize, Least: o.PartSize, Grow: true, Log: o.Log}
	return &Store{bucket.New(d, bo), d}, nil
}

// Close releases the connections. Objects and Writers must have ended before.
func (s *Store) Close() error {
	s.driver.transport.CloseIdleConnections()
	return nil
}

// Degraded says what is wrong with the store, "" when nothing is.
func (s *Store) Degraded() string {
	if p := s.driver.transport.problem.Load(); p != nil {
		return *p
	}
	return ""
}

// A driver is the bucket.Bucket.
type driver struct {
	o         Options
	transport *transport
	client    *s3.Client
	signer    *s3.PresignClient
	// unconditional: the store cannot be asked to put an object only where there
	// is none.
	unconditional bool
}

var _ bucket.Attic = (*driver)(nil)

// probeName is the name of an object that shows what a store can do. It is no key.
const probeName = "berth-probe!"

// probe looks whether the bucket answers, and what it can do.
func (d *driver) probe(ctx context.Context, prefix string) error {
	// Whoever may not list is told of missing objects that he may not read them.
	_, err := d.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &d.o.Bucket, Prefix: &prefix, MaxKeys: aws.Int32(1)})
	switch {
	case statusOf(err) == http.StatusMovedPermanently:
		return fmt.Errorf("it is in another region: name that: %w", err)
	case err != nil:
		return fmt.Errorf("it must be there, and its objects be listed: %w", err)
	}
	name := prefix + probeName
	if _, err = d.putOnce(ctx, name, nil); err == nil {
		_, err = d.putOnce(ctx, name, nil) // another one: this must fail
	}
	switch {
	case errors.Is(err, bucket.ErrExists):
		return nil
	case err == nil, statusOf(err) == http.StatusNotImplemented, statusOf(err) == http.StatusBadRequest:
		d.unconditional = true
		d.o.Log.Warn("the bucket does not heed If-None-Match when objects are put: use it with one berth only", "bucket", d.o.Bucket)
		return nil
	}
	return fmt.Errorf("look what it can do: %w", err)
}

// Put implements bucket.Bucket.
func (d *driver) Put(ctx context.Context, name string, data []byte) (blob.Info, error) {
	if !d.unconditional {
		return d.putOnce(ctx, name, data)
	}
	_, err := d.Stat(ctx, name)
	if err == nil {
		err = bucket.ErrExists
	}
	if !errors.Is(err, blob.ErrNotExist) {
		return blob.Info{}, err
	}
	return d.put(ctx, name, data, nil)
}

// wordKey is the metadata in which an object keeps a word of who made it: when an
// answer was lost, that tells whether there is what should be.
const wordKey = "berth"

// putOnce puts an object unless there is one.
func (d *driver) putOnce(ctx context.Context, name string, data []byte) (blob.Info, error) {
	word := rand.Text()
	info, err := d.put(ctx, name, data, &word)
	if !errors.Is(err, bucket.ErrExists) {
		return info, err
	}
	if out, headErr := d.head(ctx, name); headErr == nil && out.Metadata[wordKey] == word {
		return infoOf(out), nil // an attempt whose answer was lost
	}
	return blob.Info{}, err
}

// put puts an object: with a word unless there is one.
func (d *driver) put(ctx context.Context, name string, data []byte, word *string) (blob.Info, error) {
	size := int64(len(data))
	in := &s3.PutObjectInput{
		Bucket: &d.o.Bucket, Key: &name, Body: bytes.NewReader(data), ContentLength: &size, ContentType: aws.String(contentType),
		ACL: types.ObjectCannedACL(d.o.ACL), StorageClass: types.StorageClass(d.o.StorageClass),
	}
	if word != nil {
		in.IfNoneMatch, in.Metadata = aws.String("*"), map[string]string{wordKey: *word}
	}
	in.ServerSideEncryption, in.SSEKMSKeyId = d.encryption()
	out, err := d.client.PutObject(ctx, in)
	if err != nil {
		return blob.Info{}, translate(err)
	}
	return blob.Info{Size: size, Stamp: stampOf(out.ETag)}, nil
}

const contentType = "application/octet-stream"

func (d *driver) encryption() (types.ServerSideEncryption, *string) {
	switch {
	case d.o.KeyID != "":
		return types.ServerSideEncryptionAwsKms, &d.o.KeyID
	case d.o.Encrypt:
		return types.ServerSideEncryptionAes256, nil
	}
	return "", nil
}

// Stat implements bucket.Bucket. The answer to HEAD does not say whether it is
// the bucket that is missing.
func (d *driver) Stat(ctx context.Context, name string) (blob.Info, error) {
	out, err := d.head(ctx, name)
	if errors.Is(err, blob.ErrNotExist) {
		if _, err := d.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &d.o.Bucket}); err != nil {
			return blob.Info{}, fmt.Errorf("look for bucket %s: %s", d.o.Bucket, err) // which is not ErrNotExist
		}
	}
	if err != nil {
		return blob.Info{}, err
	}
	return infoOf(out), nil
}

func (d *driver) head(ctx context.Context, name string) (*s3.HeadObjectOutput, error) {
	out, err := d.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &d.o.Bucket, Key: &name})
	return out, translate(err)
}

func infoOf(out *s3.HeadObjectOutput) blob.Info {
	return blob.Info{Size: aws.ToInt64(out.ContentLength), Stamp: stampOf(out.ETag)}
}

// stampOf returns the stamp of an object with that tag. Stores are not of one
// mind about its quotes.
func stampOf(tag *string) string {
	return strings.Trim(strings.TrimPrefix(aws.ToString(tag), "W/"), `"`)
}

// tagOf returns a stamp as a tag, nil when it is empty.
func tagOf(stamp string) *string {
	if stamp == "" {
		return nil
	}
	return aws.String(`"` + stamp + `"`)
}

// Get implements bucket.Bucket.
func (d *driver) Get(ctx context.Context, name, stamp string, off, n int64) (io.ReadCloser, error) {
	out, err := d.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &d.o.Bucket, Key: &name, IfMatch: tagOf(stamp), Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1)),
	})
	switch {
	case statusOf(err) == http.StatusPreconditionFailed, statusOf(err) == http.StatusRequestedRangeNotSatisfiable:
		return nil, fmt.Errorf("%w: %w", bucket.ErrChanged, err)
	case err != nil:
		return nil, translate(err)
	}
	return out.Body, nil
}

// Delete implements bucket.Bucket.
func (d *driver) Delete(ctx context.Context, name string) error {
	_, err := d.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &d.o.Bucket, Key: &name})
	if err = translate(err); errors.Is(err, blob.ErrNotExist) {
		return nil
	}
	return err
}

// List implements bucket.Bucket.
func (d *driver) List(ctx context.Context, prefix, from string, limit int, yield func(blob.Entry) bool) error {
	in := &s3.ListObjectsV2Input{Bucket: &d.o.Bucket, Prefix: &prefix}
	if limit > 0 {
		in.MaxKeys = aws.Int32(int32(min(limit, 1000)))
	}
	if from > prefix {
		in.StartAfter = &from
	}
	for {
		out, err := d.client.ListObjectsV2(ctx, in)
		if err != nil {
			return translate(err)
		}
		for _, o := range out.Contents {
			if !yield(blob.Entry{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size), ModTime: aws.ToTime(o.LastModified)}) {
				return nil
			}
		}
		if !aws.ToBool(out.IsTruncated) {
			return nil
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

// URL implements bucket.Bucket.
func (d *driver) URL(ctx context.Context, name string, ttl time.Duration) (string, error) {
	signed, err := d.signer.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &d.o.Bucket, Key: &name}, s3.WithPresignExpires(ttl))
	if err != nil {
		return "", err
	}
	return signed.URL, nil
}
