// Package jwks knows the public keys of those who sign tokens, and the signed
// tokens themselves as they come in.
//
// A Set holds the keys of one issuer: from a JSON Web Key Set (RFC 7517) in a
// configuration, a file or at a URL, or from certificates. Keys from elsewhere
// are fetched when a token first needs them and again as time goes by; those
// that are known go on serving while their source does not answer. A Token is
// read without believing a word of it until a Key has verified it.
//
// Symmetric keys do not exist here: what is published is no secret.
package jwks
