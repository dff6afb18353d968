package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzParseConfig: what is accepted can be shown, what is shown is accepted and
// shows the same, and neither it nor an error holds a secret.
func FuzzParseConfig(f *testing.F) {
	const canary = "canary-7f3a"
	f.Fuzz(func(t *testing.T, text, name, value string) {
		if strings.Contains(text+name+value, "canary") {
			return
		}
		env := []string{name + "=" + value, "REGISTRY_HTTP_SECRET=" + canary, "REGISTRY_REDIS_PASSWORD=" + canary}
		cfg, warnings, err := parseConfig("config.yml", []byte(text), env)
		if err != nil {
			if strings.Contains(err.Error(), canary) {
				t.Errorf("an error holds a secret: %v", err)
			}
			return
		}
		if strings.Contains(strings.Join(warnings, "\n"), canary) {
			t.Errorf("a warning holds a secret: %q", warnings)
		}
		shown, err := cfg.render("yaml")
		if err != nil {
			t.Fatalf("cannot be shown: %v", err)
		}
		if bytes.Contains(shown, []byte(canary)) {
			t.Errorf("a secret is shown:\n%s", shown)
		}
		asJSON, err := cfg.render("json")
		if err != nil || !json.Valid(asJSON) {
			t.Errorf("as JSON: %v\n%s", err, asJSON)
		}
		again, _, err := parseConfig("shown.yml", shown, nil)
		if err != nil {
			t.Fatalf("what is shown is refused: %v\n%s", err, shown)
		}
		twice, err := again.render("yaml")
		if err != nil || !bytes.Equal(shown, twice) {
			t.Errorf("shown as\n%s\nand then, %v, as\n%s", shown, err, twice)
		}
		if cfg.authenticates() != again.authenticates() || cfg.accessGiven != again.accessGiven || cfg.basicOnly() != again.basicOnly() {
			t.Errorf("shown, it lets in others:\n%s", shown)
		}
	})
}
