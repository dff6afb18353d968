package server

import (
	"time"

	"berth/registry"
)

// What one request may cost. Limits of names and manifests are in package oci,
// that of scopes is in package auth.
const (
	maxHeader  = 64 << 10         // bytes of a request header
	headerTime = 10 * time.Second // until it is complete
	idleTime   = 120 * time.Second
	restTime   = 10 * time.Second // for the rest of a body that is not wanted
	maxResets  = 100              // HTTP/2 streams of a connection that its client resets
	resetTime  = 10 * time.Second // in that time
	maxQuery   = 100              // keys
	maxCookies = 100
	maxForm    = 64 << 10 // bytes of a token request

	manifestTime   = 60 * time.Second // until the body is complete
	manifestMemory = 32 << 20         // bytes of all manifests on their way in
	manifestBuffer = 16 << 10         // bytes that one begins with

	blobRate    = 1 << 10          // bytes a second, at least, either way
	blobGrace   = 60 * time.Second // over which that is measured
	blobBuffer  = 128 << 10        // bytes that content is copied with
	blobBuffers = 256              // of that size, in all
	slowBuffer  = 4 << 10          // bytes for content that comes slowly, or finds no large buffer
	blobPiece   = 1 << 20          // bytes that a download is sent with
	blobSmall   = 3 << 10          // bytes of a download that leave with their header
	maxRanges   = 16               // in one request

	commitTime  = 10 * time.Minute // for what goes on when the client has left
	suspendTime = 30 * time.Second

	maxPage         = registry.MaxPage // entries of a listing
	maxReferrers    = 4 << 20          // bytes of a page of referrers
	referrersAtOnce = 4                // that are in memory with their annotations
	defaultSearch   = 25               // results
	maxSearch       = 100
	searchesAtOnce  = 4               // that read the names; half as many as readers of the database
	searchWait      = 2 * time.Second // for one's turn
	retryBusy       = time.Second     // when a client may come again
	retryFailed     = 5 * time.Second
	showTime        = 5 * time.Minute // between logins by one certificate from one address, for the audit
	maxShowings     = 10_000          // that are remembered for it
	keysCacheMaxAge = "max-age=300"
)
