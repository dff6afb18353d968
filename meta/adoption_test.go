package meta

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/oci"
)

// TestAdopted: what was noted last counts, per repository.
func TestAdopted(t *testing.T) { onEach(t, testAdopted) }

func testAdopted(t *testing.T, db *DB) {
	d, e := oci.DigestOf(oci.SHA256, nil), oci.DigestOf(oci.SHA512, nil)
	mustUpdate(t, db, func(tx *Tx) error {
		for _, a := range []Adoption{{"v1", d}, {"v1", e}, {string(d), d}} {
			if err := tx.PutAdopted("a", a); err != nil {
				return err
			}
		}
		got, err := tx.Adopted("a", []string{"v1", "v2", string(d), string(e)})
		if diff := cmp.Diff(map[string]oci.Digest{"v1": e, string(d): d}, got); diff != "" || err != nil {
			t.Errorf("%v, (-want +got):\n%s", err, diff)
		}
		got, err = tx.Adopted("b", []string{"v1"})
		if len(got) != 0 || err != nil {
			t.Errorf("of another repository: %v, %v", got, err)
		}
		return nil
	})
}
