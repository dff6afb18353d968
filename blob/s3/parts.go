package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"berth/blob"
	"berth/blob/bucket"
)

const (
	maxParts = 10_000
	// completion is how long a store may say nothing while it puts parts
	// together, which some do by copying them.
	completion = 10 * time.Minute
)

// A multipart is an object that is put together. Its state is what is exported, as
// JSON.
type multipart struct {
	d    *driver
	name string

	Upload string   `json:"upload"` // the ID of the multipart upload
	Size   int64    `json:"size"`   // of all parts
	Tags   []string `json:"tags"`   // of the parts, from number 1
}

// Assemble implements bucket.Bucket.
func (d *driver) Assemble(ctx context.Context, name string, state []byte) (bucket.Assembly, error) {
	m := &multipart{d: d, name: name}
	if state != nil {
		if err := json.Unmarshal(state, m); err != nil || m.Upload == "" {
			return nil, fmt.Errorf("the state of the parts is not readable: %w", blob.ErrStale)
		}
		return m, nil
	}
	in := &s3.CreateMultipartUploadInput{
		Bucket: &d.o.Bucket, Key: &name, ContentType: aws.String(contentType),
		ACL: types.ObjectCannedACL(d.o.ACL), StorageClass: types.StorageClass(d.o.StorageClass),
	}
	in.ServerSideEncryption, in.SSEKMSKeyId = d.encryption()
	out, err := d.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return nil, translate(err)
	}
	if m.Upload = aws.ToString(out.UploadId); m.Upload == "" {
		return nil, errors.New("the store begins a multipart upload without an ID")
	}
	return m, nil
}

// State implements bucket.Assembly.
func (m *multipart) State() ([]byte, error) { return json.Marshal(m) }

// Add implements bucket.Assembly. Errors: blob.ErrTooLarge.
func (m *multipart) Add(ctx context.Context, part []byte) error {
	number, size := int32(len(m.Tags)+1), int64(len(part))
	if number > maxParts {
		return fmt.Errorf("%w: it has %d parts and %d bytes", blob.ErrTooLarge, maxParts, m.Size)
	}
	out, err := m.d.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &m.d.o.Bucket, Key: &m.name, UploadId: &m.Upload, PartNumber: &number, Body: bytes.NewReader(part), ContentLength: &size,
	})
	if err != nil {
		return translate(err)
	}
	tag := stampOf(out.ETag)
	if tag == "" {
		return errors.New("the store gives a part no tag")
	}
	m.Tags, m.Size = append(m.Tags, tag), m.Size+size
	return nil
}

// Finish implements bucket.Assembly. Where the answer was lost, it may have been
// done all the same: the upload is gone then, and the object is of our parts.
func (m *multipart) Finish(ctx context.Context, last []byte) (blob.Info, error) {
	if len(last) > 0 || len(m.Tags) == 0 {
		if err := m.Add(ctx, last); err != nil {
			return blob.Info{}, err
		}
	}
	parts := make([]types.CompletedPart, len(m.Tags))
	for i, tag := range m.Tags {
		parts[i] = types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: tagOf(tag)}
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &m.d.o.Bucket, Key: &m.name, UploadId: &m.Upload, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}
	if !m.d.unconditional {
		in.IfNoneMatch = aws.String("*")
	}
	out, err := m.d.client.CompleteMultipartUpload(bucket.Patiently(ctx, completion), in)
	if err == nil {
		return blob.Info{Size: m.Size, Stamp: stampOf(out.ETag)}, nil
	}
	err = translate(err)
	if s := statusOf(err); s == http.StatusOK || s == 0 || s >= http.StatusInternalServerError || codeOf(err) == "NoSuchUpload" || errors.Is(err, bucket.ErrExists) {
		info, statErr := m.d.Stat(ctx, m.name)
		if statErr == nil && info == (blob.Info{Size: m.Size, Stamp: stampOfParts(m.Tags)}) {
			return info, nil
		}
	}
	return blob.Info{}, err
}

// stampOfParts returns the stamp that an object of such parts has where tags are
// digests, as they are unless the store encrypts with keys of a key management;
// elsewhere "".
func stampOfParts(tags []string) string {
	h := md5.New()
	for _, tag := range tags {
		sum, err := hex.DecodeString(tag)
		if err != nil || len(sum) != md5.Size {
			return ""
		}
		h.Write(sum)
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), len(tags))
}

// Drop implements bucket.Assembly.
func (m *multipart) Drop(ctx context.Context) error { return m.d.abort(ctx, &m.name, &m.Upload) }

func (d *driver) abort(ctx context.Context, name, upload *string) error {
	_, err := d.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &d.o.Bucket, Key: name, UploadId: upload})
	if err = translate(err); errors.Is(err, blob.ErrStale) || errors.Is(err, blob.ErrNotExist) {
		return nil
	}
	return err
}

// Unfinished implements bucket.Attic. Pages are asked for by name alone, because
// not every store knows the other marker: what may be left out then is a second
// upload of a name. A store that cannot list uploads has none to show.
func (d *driver) Unfinished(ctx context.Context, prefix, from string, yield func(blob.Entry) bool) error {
	in := &s3.ListMultipartUploadsInput{Bucket: &d.o.Bucket, Prefix: &prefix}
	if from > prefix {
		in.KeyMarker = &from
	}
	for {
		out, err := d.client.ListMultipartUploads(ctx, in)
		if statusOf(err) == http.StatusNotImplemented {
			return nil
		}
		if err != nil {
			return translate(err)
		}
		for _, u := range out.Uploads {
			if !yield(blob.Entry{Key: aws.ToString(u.Key), ModTime: aws.ToTime(u.Initiated)}) {
				return nil
			}
		}
		if !aws.ToBool(out.IsTruncated) || len(out.Uploads) == 0 {
			return nil
		}
		in.KeyMarker = out.Uploads[len(out.Uploads)-1].Key
	}
}

// DropAll implements bucket.Attic. It asks for the first page until that shows no
// upload of the name.
func (d *driver) DropAll(ctx context.Context, name string) error {
	in := &s3.ListMultipartUploadsInput{Bucket: &d.o.Bucket, Prefix: &name}
	for more := true; more; {
		more = false
		out, err := d.client.ListMultipartUploads(ctx, in)
		if statusOf(err) == http.StatusNotImplemented {
			return nil
		}
		if err != nil {
			return translate(err)
		}
		for _, u := range out.Uploads {
			if aws.ToString(u.Key) != name {
				continue
			}
			if err := d.abort(ctx, u.Key, u.UploadId); err != nil {
				return err
			}
			more = aws.ToBool(out.IsTruncated)
		}
	}
	return nil
}
