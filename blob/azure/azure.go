// Package azure keeps streams as block blobs in a container of Azure Blob
// Storage.
//
// A long stream goes up as blocks, and to commit it is to name them in order.
// The names of blocks hold a word of the writer's own: one that was overtaken in
// another process cannot put a block into the place of another's, and whoever
// commits second finds a blob there (If-None-Match: *) and returns
// blob.ErrStale. Blocks that nobody commits end by themselves after a week, or
// when the blob is committed. A blob has at most 50,000 blocks, so that a stream
// has at most 390 GiB, and less when it came in small pieces.
//
// The stamp of a stream is the ETag of its blob, and bytes are read only of that.
//
// Accounts with a hierarchical namespace may not list in byte order; List says so
// then.
package azure

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	azblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"berth/blob"
	"berth/blob/bucket"
)

const (
	contentType = "application/octet-stream"
	// page is how many names are listed at a time.
	page = 5000
	// writerKey is the name of the word that says who has made a blob.
	writerKey = "berthwriter"
	// patience is how long a request may take that moves no more than a part.
	patience = 5 * time.Minute
)

// Open returns the Store over a container, after a look whether it is there.
func Open(ctx context.Context, o Options) (*bucket.Store, error) {
	d, err := newDriver(&o)
	if err != nil {
		return nil, fmt.Errorf("open the container %s of Azure: %w", o.Container, err)
	}
	prefix := bucket.Prefix(o.RootDirectory)
	if err := d.List(ctx, prefix, "", 1, func(blob.Entry) bool { return false }); err != nil {
		return nil, fmt.Errorf("look into the container %s of Azure: %w", o.Container, err)
	}
	return bucket.New(d, bucket.Options{Prefix: prefix, Log: o.Log}), nil
}

// A driver is the bucket.Bucket.
type driver struct {
	container *container.Client
	signer    signer // nil where addresses cannot be signed
}

func (d *driver) blob(name string) *blockblob.Client { return d.container.NewBlockBlobClient(name) }

// absent is the condition that there is no blob yet.
func absent() *azblob.AccessConditions {
	return &azblob.AccessConditions{ModifiedAccessConditions: &azblob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}}
}

func headers() *azblob.HTTPHeaders { return &azblob.HTTPHeaders{BlobContentType: to.Ptr(contentType)} }

func stampOf(tag *azcore.ETag) string {
	if tag == nil {
		return ""
	}
	return strings.Trim(string(*tag), `"`)
}

func body(data []byte) io.ReadSeekCloser { return streaming.NopCloser(bytes.NewReader(data)) }

// checksum has the store compare what arrives. Not every one knows CRC64.
func checksum(data []byte) azblob.TransferValidationType {
	sum := md5.Sum(data)
	return azblob.TransferValidationTypeMD5(sum[:])
}

// Put implements bucket.Bucket.
func (d *driver) Put(ctx context.Context, name string, data []byte) (blob.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	word := rand.Text()
	made, err := d.blob(name).Upload(ctx, body(data), &blockblob.UploadOptions{
		AccessConditions:        absent(),
		HTTPHeaders:             headers(),
		Metadata:                map[string]*string{writerKey: &word},
		TransactionalValidation: checksum(data),
	})
	if exists(err) {
		return d.made(ctx, name, word)
	}
	if err != nil {
		return blob.Info{}, plain(ctx, err)
	}
	return blob.Info{Size: int64(len(data)), Stamp: stampOf(made.ETag)}, nil
}

// exists reports whether err says that there is a blob already.
func exists(err error) bool {
	return bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet)
}

// made looks whether the blob is the one that was to be made, as it is when an
// answer was lost. Errors: bucket.ErrExists, blob.ErrNotExist.
func (d *driver) made(ctx context.Context, name, word string) (blob.Info, error) {
	p, err := d.blob(name).GetProperties(ctx, nil)
	if err != nil {
		return blob.Info{}, plain(ctx, err)
	}
	for key, value := range p.Metadata {
		if strings.EqualFold(key, writerKey) && value != nil && *value == word {
			return blob.Info{Size: *p.ContentLength, Stamp: stampOf(p.ETag)}, nil
		}
	}
	return blob.Info{}, bucket.ErrExists
}

// Stat implements bucket.Bucket.
func (d *driver) Stat(ctx context.Context, name string) (blob.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, err := d.blob(name).GetProperties(ctx, nil)
	if err != nil {
		return blob.Info{}, plain(ctx, err)
	}
	if p.ContentLength == nil {
		return blob.Info{}, errors.New("the store does not say how long a blob is")
	}
	return blob.Info{Size: *p.ContentLength, Stamp: stampOf(p.ETag)}, nil
}

// Get implements bucket.Bucket.
func (d *driver) Get(ctx context.Context, name, stamp string, off, n int64) (io.ReadCloser, error) {
	o := &azblob.DownloadStreamOptions{Range: azblob.HTTPRange{Offset: off, Count: n}}
	if stamp != "" {
		tag := azcore.ETag(`"` + stamp + `"`)
		o.AccessConditions = &azblob.AccessConditions{ModifiedAccessConditions: &azblob.ModifiedAccessConditions{IfMatch: &tag}}
	}
	got, err := d.blob(name).DownloadStream(ctx, o)
	if bloberror.HasCode(err, bloberror.ConditionNotMet) {
		// Nothing does not meet the condition either, as some have it.
		if _, err := d.Stat(ctx, name); err != nil {
			return nil, err
		}
		return nil, bucket.ErrChanged
	}
	if err != nil {
		return nil, plain(ctx, err)
	}
	return got.Body, nil
}

// Delete implements bucket.Bucket.
func (d *driver) Delete(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := d.blob(name).Delete(ctx, &azblob.DeleteOptions{DeleteSnapshots: to.Ptr(azblob.DeleteSnapshotsOptionTypeInclude)})
	if err = plain(ctx, err); errors.Is(err, blob.ErrNotExist) {
		return nil
	}
	return err
}

// List implements bucket.Bucket.
func (d *driver) List(ctx context.Context, prefix, from string, limit int, yield func(blob.Entry) bool) error {
	if limit == 0 {
		limit = page
	}
	o := &container.ListBlobsFlatOptions{MaxResults: to.Ptr(int32(limit))}
	if prefix != "" {
		o.Prefix = &prefix
	}
	if from > prefix {
		o.StartFrom = &from
	}
	for pager := d.container.NewListBlobsFlatPager(o); pager.More(); {
		answer, err := pager.NextPage(ctx)
		if err != nil {
			return plain(ctx, err)
		}
		for _, item := range answer.Segment.BlobItems {
			if e, ok := entry(item); ok && !yield(e) {
				return nil
			}
		}
	}
	return nil
}

func entry(item *container.BlobItem) (blob.Entry, bool) {
	p := item.Properties
	if item.Name == nil || p == nil || p.ContentLength == nil || p.LastModified == nil {
		return blob.Entry{}, false // a folder, in accounts that have them
	}
	return blob.Entry{Key: *item.Name, Size: *p.ContentLength, ModTime: *p.LastModified}, true
}

// URL implements bucket.Bucket.
func (d *driver) URL(ctx context.Context, name string, ttl time.Duration) (string, error) {
	if d.signer == nil {
		return "", nil
	}
	query, err := d.signer.sign(ctx, name, ttl)
	if err != nil || query == "" {
		return "", err
	}
	return d.blob(name).URL() + "?" + query, nil
}
