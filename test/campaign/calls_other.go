//go:build !amd64

package main

func olderCalls() map[uint64]string { return nil }
