package auth

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestParseBasic(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	tests := []struct {
		header         string
		user, password string
		ok             bool
	}{
		{"Basic " + encode("alice:secret"), "alice", "secret", true},
		{"basic " + encode("alice:secret"), "alice", "secret", true},
		{"Basic   " + encode("a:b:c"), "a", "b:c", true},
		{"Basic Og==", "", "", true},
		{"Basic " + encode("alice:"), "alice", "", true},
		{"Basic " + encode("robot:ci:bth_rb_X"), "robot:ci", "bth_rb_X", true},
		{"Basic " + encode("robot:ci:bth_pt_X"), "robot", "ci:bth_pt_X", true},
		{"Basic " + encode("robot:ci:a:bth_rb_X"), "robot", "ci:a:bth_rb_X", true},
		{"Basic " + encode("Robot:ci:bth_rb_X"), "Robot", "ci:bth_rb_X", true},
		{"Basic " + encode("robot:bth_rb_X"), "robot", "bth_rb_X", true},
		{"Basic " + encode("ü:\x00"), "ü", "\x00", true},
		{"Basic " + encode("no colon"), "", "", false},
		{"Basic " + strings.TrimRight(encode("alice:secret1"), "="), "", "", false},
		{"Basic " + encode("a:b") + "\r\n", "", "", false},
		{"Basic YTpiYh==", "", "", false}, // bits left over
		{"Basic", "", "", false},
		{"Basic ", "", "", false},
		{"Bearer " + encode("a:b"), "", "", false},
		{"Basic " + encode("a:b") + ", Basic " + encode("c:d"), "", "", false},
		{"", "", "", false},
	}
	for _, test := range tests {
		c, ok := ParseBasic(test.header)
		if ok != test.ok || c.User != test.user || c.Password.Reveal() != test.password {
			t.Errorf("ParseBasic(%q) = %q, %q, %v", test.header, c.User, c.Password.Reveal(), ok)
		}
	}
}

func TestParseBearer(t *testing.T) {
	tests := []struct {
		header, token string
		ok            bool
	}{
		{"Bearer abc.DEF-_~+/=", "abc.DEF-_~+/=", true},
		{"bearer  x", "x", true},
		{"Bearer", "", false},
		{"Bearer ", "", false},
		{"Bearer a b", "", false},
		{"Bearer a,b", "", false},
		{"Bearer a\x00", "", false},
		{"Basic abc", "", false},
	}
	for _, test := range tests {
		token, ok := ParseBearer(test.header)
		if token != test.token || ok != test.ok {
			t.Errorf("ParseBearer(%q) = %q, %v", test.header, token, ok)
		}
	}
}
