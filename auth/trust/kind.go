package trust

import (
	"net/url"
	"slices"
	"strings"
)

// A kind is what is known of a kind of issuers: which of their claims name a
// workload for good. Names can be given up and taken by somebody else; these
// cannot.
type kind struct {
	name      string
	immutable []string
	is        func(issuer *url.URL) bool
}

// kinds is the table of them. An issuer is of the first that it fits, and the
// last fits all. "/" leads into nested claims.
var kinds = [...]kind{
	{
		name:      "github",
		immutable: []string{"repository_id", "repository_owner_id", "enterprise_id", "environment_node_id"},
		is: func(u *url.URL) bool {
			return u.Host == "token.actions.githubusercontent.com" || strings.HasSuffix(u.Path, "/_services/token")
		},
	}, {
		name:      "gitlab",
		immutable: []string{"project_id", "namespace_id"},
		is:        func(u *url.URL) bool { return strings.HasPrefix(u.Host, "gitlab.") },
	}, {
		name:      "kubernetes",
		immutable: []string{"sub", "kubernetes.io/serviceaccount/uid", "kubernetes.io/namespace"},
		is: func(u *url.URL) bool {
			return u.Path == "kubernetes/serviceaccount" || strings.HasPrefix(u.Host, "kubernetes.default.svc") ||
				strings.HasPrefix(u.Host, "oidc.eks.") || u.Host == "container.googleapis.com" || strings.HasSuffix(u.Host, ".oic.prod-aks.azure.com")
		},
	}, {
		name:      "other",
		immutable: []string{"sub"},
		is:        func(*url.URL) bool { return true },
	},
}

// kindNames returns what a rule may say that its issuer is.
func kindNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// kindOf returns the kind of that name or, when it is empty, the one that the
// issuer fits. There is always one: a name that is unknown is a fault of its own.
func kindOf(name, issuer string) kind {
	if i := slices.IndexFunc(kinds[:], func(k kind) bool { return k.name == name }); i >= 0 {
		return kinds[i]
	}
	u, err := url.Parse(issuer)
	if err != nil {
		u = new(url.URL)
	}
	return kinds[slices.IndexFunc(kinds[:], func(k kind) bool { return k.is(u) })]
}
