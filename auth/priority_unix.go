//go:build unix

package auth

import "golang.org/x/sys/unix"

// workerNice makes a hash yield to requests, and still get a tenth of a
// processor that they fill.
const workerNice = 10

// lowerPriority lowers that of the calling thread.
func lowerPriority() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, workerNice) }
