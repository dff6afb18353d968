// Package token is the token server's heart: it signs and verifies access
// tokens, and keeps refresh tokens.
//
// An access token is a JWT of Distribution's token specification, signed with
// an Ed25519 key (EdDSA, RFC 8037) that the server made for itself. It names
// its holder and what it was asked for; it proves no right: what the holder may
// do is decided on every request, within what the token is for.
//
// A refresh token is a random string that stands for a login with a password.
// It does not rotate: clients keep the first one that they get. It is dead when
// the password changes, when its user is disabled or removed, and when it has
// not been used for 30 days.
//
// Where another token server issues the tokens, an Outside verifies them, as
// Distribution does.
package token
