// Package registry says what a registry can do, as four small interfaces.
//
// They are implemented by the registry on this machine (package local), by the
// wrapper that refuses what a caller may not do (package guard), and by every
// other thing that can stand in a registry's place. The server speaks HTTP over
// a Registry and knows no other.
//
// Errors that a client shall see are *oci.Error; errors.Is(err, oci.BlobUnknown)
// asks for a code. Any other error is a failure of the machine.
package registry

import (
	"context"
	"io"
	"os"
	"time"

	"berth/oci"
)

// A Registry holds repositories. It is safe for concurrent use.
type Registry interface {
	Reader
	Writer
	Deleter
	Lister
}

// A Reader returns content. The Content must be closed.
type Reader interface {
	// Blob returns a blob of repo.
	// Errors: oci.NameUnknown, oci.BlobUnknown.
	Blob(ctx context.Context, repo oci.Name, d oci.Digest) (Content, error)
	// Manifest returns the manifest that ref names.
	// Errors: oci.NameUnknown, oci.ManifestUnknown.
	Manifest(ctx context.Context, repo oci.Name, ref oci.Reference) (Content, error)
}

// A Content is a blob or a manifest, ready to be read. It is used by one
// request and is not safe for concurrent use.
type Content interface {
	io.Closer
	// Descriptor returns the media type, digest and size.
	Descriptor() oci.Descriptor
	// Open returns n bytes from off; n < 0 means all from off, and 0 asks whether
	// the bytes are there. Where those on their way turn out not to be those of
	// the digest, the reader ends with an error before its last byte.
	// Errors: oci.BlobUnknown, where a store has lost them.
	Open(ctx context.Context, off, n int64) (io.ReadCloser, error)
	// File returns the file that holds exactly the content, verified, at its
	// start, where there is one: the kernel can send it. It belongs to the
	// Content. There is no file for what has to be checked on its way.
	File() (*os.File, bool)
	// URL returns an address that serves the content for a short time, or ""
	// when the caller has to send it.
	URL(ctx context.Context) (string, error)
}

// A Writer takes content. Each of its methods, and Commit and Write of an Upload,
// may return a *RuleError.
type Writer interface {
	// StartUpload begins the upload of a blob to repo, which need not exist.
	// Errors: oci.TooManyRequests when the owner has too many open.
	StartUpload(ctx context.Context, repo oci.Name, o UploadOptions) (Upload, error)
	// ResumeUpload goes on with an upload of the same repo and owner. Whoever
	// still writes to it is overtaken: his next call fails with oci.Conflict.
	// Errors: oci.BlobUploadUnknown.
	ResumeUpload(ctx context.Context, repo oci.Name, id string, o UploadOptions) (Upload, error)
	// UploadStatus returns how many bytes an upload holds.
	// Errors: oci.BlobUploadUnknown.
	UploadStatus(ctx context.Context, repo oci.Name, id string, o UploadOptions) (int64, error)
	// MountBlob makes a blob of another repository one of repo, without a copy.
	// An empty from means any repository that the caller may read.
	// Errors: oci.BlobUnknown when there is no such blob to be had.
	MountBlob(ctx context.Context, repo, from oci.Name, d oci.Digest) (oci.Descriptor, error)
	// PutManifest stores the manifest and, with it, the tags, or nothing.
	// Errors: oci.ManifestBlobUnknown, oci.ManifestInvalid, and oci.Conflict
	// where a precondition of o does not hold.
	PutManifest(ctx context.Context, repo oci.Name, m ManifestContent, o PutOptions) (oci.Descriptor, error)
}

// UploadOptions say whose an upload is and how it is hashed.
type UploadOptions struct {
	// Owner is the one identity that may go on with the upload.
	Owner string
	// Algorithm is what the digest is expected to be made with; SHA256 when
	// empty. A commit with the other one reads the bytes again.
	Algorithm oci.Algorithm
	// Size is how many bytes the caller is about to write, as far as he has
	// said. What there is no room for is refused before it comes.
	Size int64
	// Last says that what follows is Commit or Cancel, unless something fails.
	Last bool
}

// An Upload is a blob on its way in. It is not safe for concurrent use. After
// Commit, Close or Cancel it is over for this request.
type Upload interface {
	// Write appends. Errors: oci.Conflict when the upload was overtaken,
	// oci.InsufficientStorage when the store is full.
	io.Writer
	// ID names the upload in a URL; it cannot be guessed.
	ID() string
	// Size returns how many bytes have been taken.
	Size() int64
	// Commit makes the bytes a blob of the repository if their digest is d.
	// Errors: oci.DigestInvalid, after which the upload is gone; oci.Conflict.
	Commit(ctx context.Context, d oci.Digest) (oci.Descriptor, error)
	// Close suspends the upload, for ResumeUpload to go on with. The registry may
	// keep it in memory: a crash then takes back what was taken since the upload
	// was last made durable, and what has no bytes that are. Commit is what lasts.
	Close(ctx context.Context) error
	// Cancel gives the upload up.
	Cancel(ctx context.Context) error
}

// A ManifestContent is a manifest that was parsed, with its bytes and digest.
type ManifestContent struct {
	*oci.Manifest
	Digest oci.Digest
	Bytes  []byte
}

// PutOptions say what PutManifest does besides storing the manifest. All of it
// is decided in the transaction that writes.
type PutOptions struct {
	Tags []oci.Tag // moved to the manifest, or made
	// CreateOnly lets no tag move: each must be new, or name the manifest
	// already; a push by digest alone must be of content that is not there yet
	// or change nothing. A tag that would move: oci.Denied.
	CreateOnly bool
	// IfMatch, when not empty, is what the tag must name now; IfNoneMatch lets
	// the manifest be stored only where the tag names nothing.
	IfMatch     []oci.Digest
	IfNoneMatch bool
}

// A Deleter removes names. Bytes go later, when nothing names them. Each of its
// methods may return a *RuleError.
type Deleter interface {
	// DeleteBlob takes the blob from repo. Errors: oci.BlobUnknown.
	DeleteBlob(ctx context.Context, repo oci.Name, d oci.Digest) error
	// DeleteManifest takes the manifest and every tag that names it.
	// Errors: oci.ManifestUnknown.
	DeleteManifest(ctx context.Context, repo oci.Name, d oci.Digest) error
	// DeleteTag takes the tag and leaves the manifest. Errors: oci.ManifestUnknown.
	DeleteTag(ctx context.Context, repo oci.Name, t oci.Tag) error
	// DeleteRepository takes the repository and all that is in it.
	// Errors: oci.NameUnknown.
	DeleteRepository(ctx context.Context, repo oci.Name) error
}

// A Lister names things, in byte order, a page at a time. The cost of a page
// does not depend on how many came before it.
type Lister interface {
	// Repos returns repositories that hold at least one manifest.
	Repos(ctx context.Context, q RepoQuery) ([]Repo, error)
	// BlobRepos returns repositories that hold the blob, under q.
	BlobRepos(ctx context.Context, d oci.Digest, q RepoQuery) ([]Repo, error)
	// Tags returns tags of repo. Errors: oci.NameUnknown.
	Tags(ctx context.Context, repo oci.Name, q TagQuery) ([]TagInfo, error)
	// Referrers returns the manifests whose subject is d, in order of digest;
	// none, when there is no such manifest. Errors: oci.NameUnknown.
	Referrers(ctx context.Context, repo oci.Name, d oci.Digest, q ReferrerQuery) ([]oci.Descriptor, error)
}

// MaxPage is the largest Limit of a query.
const MaxPage = 1000

// A RepoQuery picks repositories.
type RepoQuery struct {
	// Visible, unless nil, is what the caller may see: names that one of the
	// spans holds and Match accepts.
	Visible  *Visibility
	Contains string   // part of the name
	After    oci.Name // names greater than this
	Limit    int      // 1 to MaxPage
}

// A Repo is one repository of a listing.
type Repo struct {
	Name oci.Name
}

// A TagQuery picks tags.
type TagQuery struct {
	After oci.Tag // tags greater than this, in byte order
	Limit int     // 1 to MaxPage
	// Reaching, unless empty, picks the tags whose manifest is d, or holds it
	// as a child, a config or a layer at any depth, or is what d refers to as
	// its subject.
	Reaching oci.Digest
}

// A TagInfo is one tag of a listing.
type TagInfo struct {
	Tag    oci.Tag
	Digest oci.Digest
	Pushed time.Time
}

// A ReferrerQuery picks referrers.
type ReferrerQuery struct {
	ArtifactTypes []string   // any of them; none means all
	After         oci.Digest // digests greater than this
	Limit         int        // 1 to MaxPage
}
