package jwks

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// maxToken bounds a token, in bytes.
const maxToken = 64 << 10

// A Token is a signed token (RFC 7519) in the compact form of RFC 7515, as it
// came: nothing that it says is true until a Key has verified it.
type Token struct {
	Header jose.Header
	Claims Claims

	algorithm jose.SignatureAlgorithm
	jws       *jose.JSONWebSignature
}

// ParseToken reads a token. What is not signed with an asymmetric algorithm, is
// encrypted, is larger than 64 KiB, names a claim twice, or could be written in
// another way is none; the error does not hold any part of it.
func ParseToken(raw string) (*Token, error) {
	if len(raw) > maxToken {
		return nil, fmt.Errorf("it is larger than %d bytes", maxToken)
	}
	for part := range strings.SplitSeq(raw, ".") {
		decoded, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || base64.RawURLEncoding.EncodeToString(decoded) != part {
			return nil, errors.New("it is not three parts in base64url")
		}
	}
	jws, err := jose.ParseSignedCompact(raw, algorithms())
	if err != nil {
		return nil, errors.New("it is not a token signed with a known asymmetric algorithm")
	}
	if len(jws.Signatures) != 1 {
		return nil, errors.New("it has not exactly one signature")
	}
	claims, err := parseClaims(jws.UnsafePayloadWithoutVerification())
	if err != nil {
		return nil, err
	}
	header := jws.Signatures[0].Protected
	return &Token{Header: header, Claims: claims, algorithm: jose.SignatureAlgorithm(header.Algorithm), jws: jws}, nil
}

func algorithms() []jose.SignatureAlgorithm {
	var all []jose.SignatureAlgorithm
	for _, name := range Algorithms() {
		all = append(all, jose.SignatureAlgorithm(name))
	}
	return all
}

// Payload returns the bytes of the claims.
func (t *Token) Payload() []byte { return t.jws.UnsafePayloadWithoutVerification() }

// VerifiedBy reports whether one of the keys has signed t.
func (t *Token) VerifiedBy(keys ...Key) bool {
	return slices.ContainsFunc(keys, func(k Key) bool {
		if !slices.Contains(k.algorithms, t.algorithm) {
			return false
		}
		_, err := t.jws.Verify(k.Public)
		return err == nil
	})
}

// SignedPart returns the part of a token that its signature is over. A second
// signature over it makes no second token.
func SignedPart(raw string) string {
	return raw[:max(0, strings.LastIndexByte(raw, '.'))]
}

// Claims are what a token says, by the names of RFC 7519. A number is a
// json.Number.
type Claims map[string]any

func parseClaims(payload []byte) (Claims, error) {
	// This decoder knows no second spelling of a name, and no name twice.
	d := json.NewDecoder(bytes.NewReader(payload))
	d.SetNumberType(json.UnmarshalJSONNumber)
	var c Claims
	if err := d.Decode(&c); err != nil || c == nil {
		return nil, errors.New("its claims are not one JSON object with each name once")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows its claims")
	}
	return c, nil
}

// Text returns a claim that is a text; any other is "".
func (c Claims) Text(name string) string {
	s, _ := c[name].(string)
	return s
}

// Audience returns the claim aud: one text, or a list of them.
func (c Claims) Audience() []string {
	switch aud := c["aud"].(type) {
	case string:
		return []string{aud}
	case []any:
		list := make([]string, 0, len(aud))
		for _, element := range aud {
			if s, ok := element.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// lastSecond is the last of the year 9999.
const lastSecond = 253402300799

// Time returns a claim that is a time, in whole seconds, and whether it is
// there. What is there and no time is an error.
func (c Claims) Time(name string) (at time.Time, found bool, err error) {
	value, found := c[name]
	if !found {
		return time.Time{}, false, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, true, fmt.Errorf("the claim %s is not a number of seconds", name)
	}
	seconds, err := strconv.ParseFloat(string(number), 64)
	if err != nil || seconds < 0 || seconds > lastSecond {
		return time.Time{}, true, fmt.Errorf("the claim %s is not a time", name)
	}
	return time.Unix(int64(seconds), 0).UTC(), true, nil
}

// Lookup returns the claim of a path: a name, or names of nested objects with
// "/" between them, as in "kubernetes.io/serviceaccount/uid". A name that holds
// the "/" itself is found first.
func (c Claims) Lookup(path string) (value any, found bool) {
	return lookup(c, path)
}

func lookup(object map[string]any, path string) (any, bool) {
	if value, found := object[path]; found {
		return value, true
	}
	for i := range path {
		if path[i] != '/' {
			continue
		}
		below, ok := object[path[:i]].(map[string]any)
		if !ok {
			continue
		}
		if value, found := lookup(below, path[i+1:]); found {
			return value, true
		}
	}
	return nil, false
}

// Texts returns what a claim says as texts: a text, a number or a truth value
// is one, a list of those is several. Anything else is none.
func Texts(value any) []string {
	if list, ok := value.([]any); ok {
		var texts []string
		for _, element := range list {
			if s, ok := text(element); ok {
				texts = append(texts, s)
			}
		}
		return texts
	}
	if s, ok := text(value); ok {
		return []string{s}
	}
	return nil
}

func text(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return string(v), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}
