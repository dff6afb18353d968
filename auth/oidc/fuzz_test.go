package oidc

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"berth/auth"
)

// FuzzClaims: whatever a provider says of a user, he is refused, or has a name
// that only this provider gives, and groups that can stand in rules.
func FuzzClaims(f *testing.F) {
	providers := map[string]*Provider{}
	for _, o := range []Options{{Name: "sso"}, {Name: "sso", Username: "email"}, {Name: "sso", Plain: true}} {
		o.setDefaults()
		p := new(Provider)
		p.o.Store(&o)
		providers[fmt.Sprint(o.Username, o.Plain)] = p
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var who person
		if json.Unmarshal(data, &who.claims) != nil {
			return
		}
		for kind, p := range providers {
			name, err := p.name(who)
			switch {
			case err != nil:
				if name != "" || !errors.Is(err, auth.ErrBadCredentials) {
					t.Errorf("%s: %q beside %v", kind, name, err)
				}
			case auth.CheckName(name) != nil, !strings.HasPrefix(name, p.prefix()), strings.ContainsAny(strings.TrimPrefix(name, p.prefix()), "/:"), hidden(name):
				t.Errorf("%s: %s is called %q", kind, data, name)
			}
			groups, err := p.groups(who)
			if err != nil && (groups != nil || !errors.Is(err, auth.ErrBadCredentials)) {
				t.Errorf("%s: %q beside %v", kind, groups, err)
			}
			if len(groups) > maxGroups || !slices.IsSorted(groups) {
				t.Errorf("%s: %s is in %q", kind, data, groups)
			}
			for _, g := range groups {
				if auth.CheckName(g) != nil || !strings.HasPrefix(g, p.prefix()) {
					t.Errorf("%s: %s is in %q", kind, data, g)
				}
			}
		}
	})
}
