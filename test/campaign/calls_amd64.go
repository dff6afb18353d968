package main

import "golang.org/x/sys/unix"

// olderCalls are those that other machines no longer have, and SQLite makes.
func olderCalls() map[uint64]string {
	return map[uint64]string{
		unix.SYS_OPEN: "open", unix.SYS_MKDIR: "mkdir", unix.SYS_RENAME: "rename", unix.SYS_LINK: "link", unix.SYS_UNLINK: "unlink",
		unix.SYS_CHMOD: "chmod", unix.SYS_TRUNCATE: "truncate",
	}
}
