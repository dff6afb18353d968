//go:build !linux

package meta

// setAside does nothing where room cannot be set aside without being written.
func setAside(string) bool { return true }

// spare does not know how much is left.
func spare(string) bool { return false }
