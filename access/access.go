package access

import (
	"fmt"
	"net/netip"
	"strings"

	"berth/auth"
	"berth/oci"
)

// An Action is a set of things that one may do; most values hold one.
type Action uint8

// The actions.
const (
	Pull   Action = 1 << iota // read content and names
	Push                      // write content, moving a tag included
	Create                    // write what is not there yet, and move nothing
	Delete                    // remove tags, manifests and blobs
	List                      // see names; whoever may pull may list
	Fetch                     // let a mirror ask upstream; Pull includes it for who is logged in
	Admin                     // manage the registry

	All = Pull | Push | Create | Delete | List | Fetch // on a repository
)

// A Caller is who stands behind one request: an identity, and what narrows it.
type Caller struct {
	auth.Identity
	Addr      netip.Addr // of the client, behind trusted proxies
	RequestID string     // which is also the id of the decision
	// Bearer is set when the caller came with a token of the token server:
	// then nothing beyond Ceiling is granted, whatever the rules say.
	Bearer  bool
	Ceiling []auth.Scope
	// Outside is set for a bearer whose token is of a token server that is not
	// this one, which decided by its own rules what the token is for.
	Outside bool
	// Expired is set for a bearer whose token has run out within the last
	// hour: it serves the uploads that its holder began, and nothing else.
	Expired bool
}

// A Request asks whether a caller may do one thing.
type Request struct {
	Caller     *Caller
	Action     Action   // exactly one
	Repository oci.Name // empty for what concerns the whole registry
	// Tags are the tags that the action concerns: those in the request, or all
	// that name or reach the content when it is asked for by digest. With
	// TagsUnknown they have not been looked up; the decision may then be
	// NeedTags.
	Tags        []oci.Tag
	TagsUnknown bool
	// Naming are those of Tags that name the manifest itself, when it is asked
	// for by digest.
	Naming []oci.Tag
	// ByDigest is set when the action is on content by its digest.
	ByDigest bool
}

// A Decision answers a Request.
type Decision struct {
	Allow bool
	// NeedTags: rules about tags decide, and the tags are unknown. Look them up
	// and ask again. Allow is false.
	NeedTags bool
	// Rule is the index of the rule that decided, -1 when none did.
	Rule int
	// Reason is for people, without the text of a rule.
	Reason string
}

// A DeniedError says that a caller may not do what was asked.
type DeniedError struct {
	Scope  auth.Scope // what a token would have to be for
	Reason string     // for people, without the text of a rule
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("access to %s denied: %s", e.Scope, e.Reason)
}

// names lists the actions that a rule can name, in the order of the constants.
var names = [...]string{"pull", "push", "create", "delete", "list", "fetch", "admin"}

// String returns the names of the actions in a, separated by commas.
func (a Action) String() string {
	var held []string
	for i, name := range names {
		if a&(1<<i) != 0 {
			held = append(held, name)
		}
	}
	return strings.Join(held, ",")
}

// ParseAction returns the action of that name.
func ParseAction(s string) (Action, error) {
	for i, name := range names {
		if s == name {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("unknown action %q: one of %s", s, strings.Join(names[:], ", "))
}
