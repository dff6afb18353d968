package local

import (
	"berth/meta"
	"berth/oci"
)

// Heard takes note of what a node, be it this one, has announced of names: what
// is remembered of them is read again.
func (r *Registry) Heard(c meta.Change) {
	switch {
	case c.Digest == "":
		r.Forget()
	case c.Repository == "":
		r.manifests.forget(func(n manifestName) bool { return n.ref.Digest == c.Digest })
	default:
		r.blobs.hold(blobName{c.Repository, c.Digest})()
	}
}

// Forget forgets all names that were read, as some may have been changed.
func (r *Registry) Forget() {
	r.blobs.holdAll()()
	r.manifests.holdAll()()
}

// checkCount refuses a row for one more upload of the owner than there may be on
// all nodes together. One node alone counts in memory.
func (r *Registry) checkCount(tx *meta.Tx, owner string) error {
	if !r.o.Shared {
		return nil
	}
	n, err := tx.CountUploads(owner, r.o.MaxOpenUploads)
	if err == nil && n >= r.o.MaxOpenUploads {
		err = r.tooMany()
	}
	return err
}

func (r *Registry) tooMany() error {
	return oci.Errorf(oci.TooManyRequests, "there are already %d uploads open", r.o.MaxOpenUploads)
}
