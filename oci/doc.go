// Package oci holds the words of the OCI specifications: names, tags, digests,
// references, descriptors, manifests and error codes, and the only parsers for
// them.
//
// A value of one of these types is valid: it came from a Parse function, at
// the edge of the program, and is not checked again below. The package does no
// input or output.
//
// The specifications are image-spec 1.1 and distribution-spec 1.1, and Docker's
// image manifest version 2, schema 2.
package oci
