package local

import (
	"berth/meta"
	"berth/oci"
)

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
