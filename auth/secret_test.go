package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretDoesNotPrint(t *testing.T) {
	const canary = "canary-7f3a"
	c := Credentials{User: "alice", Password: canary}
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&b, verb+"\n", c)
		fmt.Fprintf(&b, verb+"\n", c.Password)
	}
	if err := json.NewEncoder(&b).Encode(c); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("login", "credentials", c, "password", c.Password)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("login", "credentials", c, "password", c.Password)
	if strings.Contains(b.String(), canary) || strings.Contains(b.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("the password is in\n%s", &b)
	}
	if c.Password.Reveal() != canary {
		t.Error("Reveal does not return the secret")
	}
}
