package main

import (
	"os"
	"runtime/debug"
)

const (
	// ballast is memory that nobody writes to, so that it takes up none.
	ballast = 32 << 20
	// garbagePercent is how much garbage may come together, in percent of what is
	// in use, ballast included: 8 MiB at least.
	garbagePercent = 25
)

// collectEvenly has garbage collected neither after every 4 MiB, which are 200
// requests, nor only when there is as much of it as thousands of slow clients
// hold. It returns what has to be kept until the end. Who sets GOGC or GOMEMLIMIT
// knows better.
func collectEvenly() []byte {
	forgetStart()
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	debug.SetGCPercent(garbagePercent)
	debug.FreeOSMemory() // of what only the start needed
	return make([]byte, ballast)
}
