// Package dockerauth says in berth's words what a configuration of docker_auth
// (github.com/cesanta/docker_auth) says in its own.
//
// There, rules stand in an order: the first entry that matches a request is the
// answer, with the actions that it lists. Here they do not: what any rule allows
// is allowed, and a deny takes away whatever the order. So each entry becomes an
// allow, and, where a later entry would give what it holds back, a deny. Whether
// the two then say the same is not assumed but tried: for every user, network and
// kind of repository name that the rules can tell apart, docker_auth's answer is
// compared with that of the policy. What cannot be said is an error that names
// the entry and a request that would be answered otherwise.
//
// # What docker_auth means
//
// The conditions of an entry must all hold; one that is not there always does. A
// pattern is a regular expression if it stands between slashes, which matches
// any part of a text, and else one of path.Match, which matches all of it. In a
// pattern ${account} and its like are the texts of the request as literals,
// ${labels:x} every value of a label, as a pattern. ip is an address or a network.
// The actions ["*"] are whatever is asked for. What nothing matches is denied.
package dockerauth
