package oci

import "fmt"

// A Code is an error code of the distribution specification, "Error codes",
// or one of those that Docker's registry added. A Code is itself an error, so
// that errors.Is(err, oci.BlobUnknown) asks for the code of err.
type Code string

// The codes, with the moment at which each is used.
const (
	BlobUnknown         Code = "BLOB_UNKNOWN"          // no such blob in the repository
	BlobUploadInvalid   Code = "BLOB_UPLOAD_INVALID"   // the upload cannot go on like this
	BlobUploadUnknown   Code = "BLOB_UPLOAD_UNKNOWN"   // no such upload, or not the caller's
	DigestInvalid       Code = "DIGEST_INVALID"        // malformed, or not the digest of what was sent
	ManifestBlobUnknown Code = "MANIFEST_BLOB_UNKNOWN" // the manifest names content that is not there
	ManifestInvalid     Code = "MANIFEST_INVALID"      // not a manifest
	ManifestUnknown     Code = "MANIFEST_UNKNOWN"      // no such tag or manifest
	NameInvalid         Code = "NAME_INVALID"          // not a repository name
	NameUnknown         Code = "NAME_UNKNOWN"          // no such repository
	PageInvalid         Code = "PAGINATION_NUMBER_INVALID"
	RangeInvalid        Code = "RANGE_INVALID"   // not the next chunk
	SizeInvalid         Code = "SIZE_INVALID"    // not the size that was announced, or too large
	TagInvalid          Code = "TAG_INVALID"     // not a tag
	Unauthorized        Code = "UNAUTHORIZED"    // who are you?
	Denied              Code = "DENIED"          // you may not
	Unsupported         Code = "UNSUPPORTED"     // switched off, or never there
	TooManyRequests     Code = "TOOMANYREQUESTS" // slow down
	Unavailable         Code = "UNAVAILABLE"     // a part that is needed does not answer
	Conflict            Code = "CONFLICT"        // overtaken, or a precondition failed
	InsufficientStorage Code = "INSUFFICIENT_STORAGE"
	Unknown             Code = "UNKNOWN"
)

func (c Code) Error() string { return string(c) }

// An Error is what a client is told. Message is for people, in one sentence;
// neither it nor Detail ever holds a path, a query or a secret.
type Error struct {
	Code    Code
	Message string
	Detail  any
}

// Errorf returns an *Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Is reports whether target is the Code of e.
func (e *Error) Is(target error) bool { return target == e.Code }
