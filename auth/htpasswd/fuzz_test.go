package htpasswd

import (
	"testing"

	"golang.org/x/crypto/bcrypt"

	"berth/auth"
)

// FuzzParse: whatever stands in the file, a user has a name that may be one, and
// a hash that bcrypt reads and that costs no more than is allowed, or no way to
// log in.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		users, warnings, err := parse(data)
		if err != nil && (users != nil || warnings != nil) {
			t.Error("users out of a broken file")
		}
		for name, u := range users {
			if auth.CheckName(name) != nil || u.version == "" {
				t.Errorf("user %q of version %q", name, u.version)
			}
			if u.hash == "" {
				continue
			}
			cost, err := bcrypt.Cost([]byte(u.hash))
			if err != nil || cost != u.cost || cost > auth.MaxCost {
				t.Errorf("user %q has the hash %q of cost %d, which bcrypt takes for %d, %v", name, u.hash, u.cost, cost, err)
			}
		}
		for _, w := range warnings {
			if w.line < 1 || w.reason == "" || len(w.user) > auth.MaxName {
				t.Errorf("warning %+v", w)
			}
		}
	})
}
