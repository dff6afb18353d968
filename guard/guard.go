// Package guard is a registry that refuses what the policy does not grant.
//
// A guard stands between the server and a registry for one caller. It decides
// before it asks the registry behind it, so that what a caller may not see is
// answered in the same words, and after the same work, whether it is there or
// not. Only where rules about tags decide on content asked for by digest are the
// tags looked up first, and then too for what is not there.
//
// Every method of registry.Registry is written out and nothing is embedded: a
// method that is added there does not compile here until somebody has said what
// it takes to be allowed.
//
// What is refused is an *access.DeniedError.
package guard

import (
	"context"
	"errors"
	"fmt"

	"berth/access"
	"berth/auth"
	"berth/oci"
	"berth/registry"
)

// New returns reg as caller may use it under policy.
func New(reg registry.Registry, caller access.Caller, policy *access.Policy) registry.Registry {
	return &guard{reg: reg, caller: caller, policy: policy}
}

type guard struct {
	reg    registry.Registry
	caller access.Caller
	policy *access.Policy
}

// byTag asks for action on tags of repo; with no tags, on repo itself.
func (g *guard) byTag(action access.Action, repo oci.Name, tags ...oci.Tag) access.Request {
	return access.Request{Caller: &g.caller, Action: action, Repository: repo, Tags: tags}
}

// byDigest asks for action on content of repo, whose tags are not known.
func (g *guard) byDigest(action access.Action, repo oci.Name) access.Request {
	return access.Request{Caller: &g.caller, Action: action, Repository: repo, ByDigest: true, TagsUnknown: true}
}

// allowed decides r, which is about d where it is by digest, and looks the tags
// up where it depends on them.
func (g *guard) allowed(ctx context.Context, r access.Request, d oci.Digest) (bool, error) {
	decision := g.policy.Decide(r)
	if !decision.NeedTags {
		return decision.Allow, nil
	}
	if err := g.lookUpTags(ctx, &r, d); err != nil {
		return false, err
	}
	return g.policy.Decide(r).Allow, nil
}

// require returns a DeniedError unless r is allowed.
func (g *guard) require(ctx context.Context, r access.Request, d oci.Digest) error {
	ok, err := g.allowed(ctx, r, d)
	if err == nil && !ok {
		return g.denied(r)
	}
	return err
}

// lookUpTags completes r with the tags that reach d; what is not there is
// reached by none.
func (g *guard) lookUpTags(ctx context.Context, r *access.Request, d oci.Digest) error {
	r.TagsUnknown = false
	q := registry.TagQuery{Limit: registry.MaxPage, Reaching: d}
	for {
		page, err := g.reg.Tags(ctx, r.Repository, q)
		if errors.Is(err, oci.NameUnknown) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look up the tags of a digest: %w", err)
		}
		for _, t := range page {
			r.Tags = append(r.Tags, t.Tag)
			if t.Digest == d {
				r.Naming = append(r.Naming, t.Tag)
			}
		}
		if len(page) < q.Limit {
			return nil
		}
		q.After = page[len(page)-1].Tag
	}
}

// readable reports whether the caller may pull d, or what d would be, from repo.
func (g *guard) readable(ctx context.Context, repo oci.Name, d oci.Digest) (bool, error) {
	return g.allowed(ctx, g.byDigest(access.Pull, repo), d)
}

// denied returns the refusal of r.
func (g *guard) denied(r access.Request) error {
	scope := auth.Scope{Type: access.TypeRepository, Name: string(r.Repository)}
	where := string(r.Repository)
	if len(r.Tags) == 1 && !r.ByDigest {
		where += ":" + string(r.Tags[0])
	}
	var what string
	switch {
	case r.Repository == "":
		scope = auth.Scope{Type: access.TypeRegistry, Name: "catalog", Actions: []string{"*"}}
		what = "list repositories"
	case r.Action == access.Delete:
		scope.Actions = []string{"delete"}
		what = "delete from " + where
	case r.Action&(access.Push|access.Create) != 0:
		scope.Actions = []string{"pull", "push"}
		what = "push to " + where
	case r.Action == access.List:
		scope.Actions = []string{"pull"} // which is what clients know, and holds it
		what = "list " + where
	default:
		scope.Actions = []string{"pull"}
		what = "pull from " + where
	}
	return &access.DeniedError{Scope: scope, Reason: g.reason(what)}
}

func (g *guard) reason(what string) string {
	switch {
	case g.caller.Expired:
		return "the token has run out"
	case g.caller.Anonymous():
		return "log in to " + what
	}
	return "user " + g.caller.Name + " may not " + what
}
