// Package berth is a container registry whose heart is the question that
// matters most about one: who is this, and may they?
//
// A registry is two stores and a gate. Bytes live in a blob store (package
// blob) under opaque keys. Names live in one SQL database (package meta). The
// gate answers two questions for every request: who is this (package auth), and
// may they (package access). Everything else is made out of those three.
//
// The folders are the floors of one house. A package imports only from floors
// below its own, and deps_test.go fails on anything else:
//
//	oci          the words: names, tags, digests, manifests, errors, and their parsers
//	job          what one node at a time does now and then
//	registry     what a registry can do, as interfaces
//	blob         where bytes live, as an interface
//	layout       Distribution's files: their paths, and what stands in them
//	auth         who: identities, credentials, the verifier in front of all backends
//	audit        what was done, kept
//	access       may they: rules, decisions, explanations
//	blob/disk    bytes as files
//	blob/bucket  bytes in an object store; its drivers are blob/s3, blob/gcs and blob/azure
//	auth/…       the backends: password file, accounts, single sign-on; tokens and sessions
//	meta         names in SQL
//	local        the registry on a blob store and a database
//	guard        a registry that refuses what the policy does not grant
//	server       HTTP over a registry
//	admin        management, over the local socket
//	web          pages, for people: signing in, personal tokens
//	cmd/berth    the program: configuration, commands, and the putting together
//
// A push, from the outside in: server parses the request, so that a bad name
// dies there; auth says who is calling; the caller picks a view of the registry,
// which is guard over local; guard asks access; local streams the bytes through
// a hash into blob, makes them durable, and names them in one transaction of
// meta. A pull takes the same way and ends in http.ServeContent on the file
// itself, so that the kernel copies.
package berth
