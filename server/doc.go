// Package server speaks HTTP over a registry.Registry: the API of the
// distribution specification, the token server of Docker's clients, the search
// of "docker search", and the health of the process.
//
// A request is parsed first (parse.go), so that below only valid names exist.
// Then it is settled who is calling (caller.go), and the caller picks a view of
// the registry: what he may do is decided there, not here. Handlers return an
// error, and one function turns it into an answer (errors.go): a challenge, a
// refusal with its reference, or one of the statuses in one table.
//
// No wrapper stands between a file and the connection that would keep the
// kernel from copying (response.go), and every limit of a request is in one
// place (limits.go).
package server
