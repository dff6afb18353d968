// Package access answers the second question of every request: may they?
//
// Rules, as an administrator writes them under access: in the configuration,
// are compiled into a Policy, which decides requests, explains decisions, says
// what a caller may see, and what a token may be for. The package is pure: no
// input or output, no locks, no clock. A Policy never changes; a reload makes
// a new one.
//
// # Rules
//
// Nothing is allowed that no rule allows. A rule speaks about a request when
// all of its conditions hold. It allows, or, with "effect: deny", denies, and a
// deny beats every allow, whatever the order of the rules. A deny does not bind
// an admin: a caller to whom a rule allows admin.
//
// name and group say who. Both are lists of alternatives; with both given,
// both must hold; one must be given. The name "anonymous" is everybody, logged
// in or not, so that nobody loses a right by logging in. The name "*" is every
// logged-in user, and in a deny everybody. Other names, and groups, are
// compared as they are.
//
// type says about what: "registry" is every repository and the registry
// itself, "repository" those that a pattern of repositories matches.
//
// from lists networks; the address of the client must be in one of them. An
// address that is not known is in no network for an allow, and in every
// network for a deny.
//
// # Patterns
//
// A pattern of repositories is a path of components. "*" is any run of
// characters of one component, the component itself or a part of it; "**" is
// one or more components, and stands only for whole ones. "team/**" matches
// team/app and team/app/base, not team; "team/*" matches team/app only. A
// pattern matches the whole name, case as it is; no other character has a
// meaning of its own. "{user}", as a component or a part of it, is the name of
// the caller as a literal; the pattern matches only where that name is one
// valid component: not for anonymous, not for sso/bob.
//
// In a pattern of tags "*" is any run of characters.
//
// # Actions
//
//	pull    read content and names; includes list, and for who is logged in, fetch
//	push    write, moving tags that exist included; includes create
//	create  write what is not there yet
//	delete  remove tags, manifests, blobs and repositories
//	list    see names
//	fetch   let a mirror ask its upstream
//	admin   manage the registry; only with type registry, never for anonymous
//	*       all of them; admin only with type registry, without tags, and not for anonymous
//
// An allow of admin alone lets manage, and frees of denies; it lets neither
// pull nor push. A deny takes away what it names and what that includes; one
// of create takes push away too, because a push may create. There is no deny of
// admin.
//
// # Tags
//
// An allow with tags covers the tags that its patterns match; uploads and
// pushes by digest; the names of the repository; reading by digest what such a
// tag reaches; and deleting by digest what tags reach when it covers every one
// of them. It does not cover the deletion of the repository.
//
// A deny with tags hits the tags that its patterns match; pulling and pushing
// by digest a manifest that such a tag names; deleting by digest what such a
// tag reaches; and the deletion of the repository.
//
// A request for several tags must be allowed for each.
//
// # Tokens
//
// A bearer is held to the scope of its token besides the rules: what the token
// is not for is denied. An action of a scope includes what it includes in a
// rule, and "*" is all of them, but admin never comes with a token. The list
// of repositories needs registry:catalog:*, or registry:catalog:search. A
// bearer whose token has run out may push or create, and who asks must see to
// it that this serves an upload that was begun before.
//
// The token of an outside token server is a ceiling like any other where there
// are rules. Where there are none, it alone says what its bearer may do.
//
// # Limits
//
// A caller who is here by a credential with a limit may do nothing that the
// limit does not let through, and never admin, whatever the rules say. An
// action of a limit includes what it includes in a rule, and an address that is
// not known is in no network.
//
// A personal token lets its user do what the rules allow him, within the limit.
//
// A robot with an owner may do what the rules allow its owner, within the
// limit. A robot without one may do what its limit lets through, with no need of
// a rule (Limit.Giving). Denies that name a robot, a group that it is in, or
// everybody bind it, also where its owner is an admin. No rule gives a robot
// more: one that allows something to its name allows nothing.
package access
