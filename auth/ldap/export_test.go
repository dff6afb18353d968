package ldap

import "time"

// Patient gives the servers of d time on a machine that is busy, for tests that
// are not about how long they take.
func Patient(d *Directory) {
	d.limits.dial, d.limits.operation, d.limits.total = 20*time.Second, 30*time.Second, time.Minute
}
