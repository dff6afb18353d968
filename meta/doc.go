// Package meta is where names live: one SQL database that says which
// repositories, manifests, tags, uploads and accounts there are, and under which
// key of the blob store the bytes of a digest are found.
//
// There is no SQL outside this package. A [Tx] has one method for each question
// and each rule; what belongs together is one call of [DB.View] or [DB.Update].
// Updates that come at the same time share one commit, so that many clients wait
// for one disk write and not for each other's.
//
// The queries are written for SQLite and PostgreSQL alike: parameters are $1,
// times are whole microseconds since 1970, documents are JSON in text.
package meta
