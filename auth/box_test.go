package auth

import (
	"bytes"
	"errors"
	"testing"
)

func TestBox(t *testing.T) {
	secret := bytes.Repeat([]byte{1}, 32)
	box := func(purpose string) *Box {
		b, err := NewBox(secret, purpose)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	random, err := RandomBox("a")
	if err != nil {
		t.Fatal(err)
	}
	sealed := box("a").Seal([]byte("secret"), "alice")
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("it is not sealed")
	}
	if text, err := box("a").Open(sealed, "alice"); err != nil || string(text) != "secret" {
		t.Errorf("%q, %v", text, err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another purpose": func() ([]byte, error) { return box("b").Open(sealed, "alice") },
		"another owner":   func() ([]byte, error) { return box("a").Open(sealed, "bob") },
		"another key":     func() ([]byte, error) { return random.Open(sealed, "alice") },
		"changed":         func() ([]byte, error) { return box("a").Open(changed, "alice") },
		"short":           func() ([]byte, error) { return box("a").Open(sealed[:5], "alice") },
		"nothing":         func() ([]byte, error) { return box("a").Open(nil, "alice") },
	} {
		if text, err := open(); !errors.Is(err, ErrSealed) || text != nil {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if _, err := NewBox([]byte("short"), "a"); err == nil {
		t.Error("a short secret is accepted")
	}
}
