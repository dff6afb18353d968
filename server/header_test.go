package server

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestOrigin(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	tests := []struct {
		name, peer string
		headers    []string
		want       string
	}{
		{"nobody else", "192.0.2.1:5", nil, "http://r.test 192.0.2.1"},
		{"not trusted", "192.0.2.1:5", []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test", "Forwarded: for=203.0.113.9;host=evil.test"}, "http://r.test 192.0.2.1"},
		{"one proxy", "10.0.0.1:5", []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: hub.test:8443"}, "https://hub.test:8443 203.0.113.9"},
		{"the client lies", "10.0.0.1:5", []string{"X-Forwarded-For: 1.1.1.1, 203.0.113.9"}, "http://r.test 203.0.113.9"},
		{"two proxies", "10.0.0.1:5", []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 10.0.0.2"}, "http://r.test 203.0.113.9"},
		{"no address", "10.0.0.1:5", []string{"X-Forwarded-For: unknown"}, "http://r.test 10.0.0.1"},
		{"no scheme", "10.0.0.1:5", []string{"X-Forwarded-Proto: gopher"}, "http://r.test 10.0.0.1"},
		{"RFC 7239", "10.0.0.1:5", []string{`Forwarded: for="[2001:db8::1]:47";proto=https;host="hub.test"`}, "https://hub.test 2001:db8::1"},
		{"RFC 7239, two", "[fd00::1]:5", []string{"Forwarded: for=1.1.1.1;host=evil.test, for=203.0.113.9;proto=https;host=hub.test"}, "https://hub.test 203.0.113.9"},
		{"RFC 7239, two proxies", "10.0.0.1:5", []string{"Forwarded: for=203.0.113.9;proto=https;host=hub.test, for=10.0.0.2"}, "https://hub.test 203.0.113.9"},
		{"RFC 7239, a client's words in quotes", "10.0.0.1:5", []string{`Forwarded: for=203.0.113.9;host="r.test, for=10.0.0.7;for=10.0.0.7";proto=http`}, "http://r.test, for=10.0.0.7;for=10.0.0.7 203.0.113.9"},
		{"RFC 7239, a quote without end", "10.0.0.1:5", []string{`Forwarded: for="x, for=203.0.113.9;host="r.test"`}, "http://r.test invalid IP"},
		{"both, which agree", "10.0.0.1:5", []string{"Forwarded: for=203.0.113.9;proto=https;host=hub.test", "X-Forwarded-For: 203.0.113.9"}, "https://hub.test 203.0.113.9"},
		{"both, of which a client sent the first", "10.0.0.1:5", []string{"Forwarded: for=10.9.9.9;host=evil.test", "X-Forwarded-For: 203.0.113.9"}, "http://r.test invalid IP"},
		{"both, of which a client sent the second", "10.0.0.1:5", []string{"Forwarded: for=203.0.113.9", "X-Forwarded-For: 10.9.9.9"}, "http://r.test invalid IP"},
		{"mapped", "[::ffff:10.0.0.1]:5", []string{"X-Forwarded-For: ::ffff:203.0.113.9"}, "http://r.test 203.0.113.9"},
		{"local socket", "@", []string{"X-Forwarded-For: 203.0.113.9"}, "http://r.test invalid IP"},
	}
	for _, test := range tests {
		r := &http.Request{RemoteAddr: test.peer, Host: "r.test", Header: make(http.Header)}
		for _, h := range test.headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Add(name, value)
		}
		o := originOf(r, trusted)
		if got := o.scheme + "://" + o.host + " " + o.addr.String(); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestParseChunk(t *testing.T) {
	tests := []struct {
		header string
		length int64
		want   chunk
		bad    bool
	}{
		{"", 5, chunk{}, false},
		{"0-4", 5, chunk{true, 0}, false},
		{"bytes 10-14/20", 5, chunk{true, 10}, false},
		{"10-14/*", -1, chunk{true, 10}, false},
		{"10-14", 4, chunk{}, true},
		{"14-10", 5, chunk{}, true},
		{"10", 5, chunk{}, true},
		{"-5", 5, chunk{}, true},
		{"0-18446744073709551615", 5, chunk{}, true},
		{"a-b", 5, chunk{}, true},
	}
	for _, test := range tests {
		r := &http.Request{Header: http.Header{"Content-Range": {test.header}}, ContentLength: test.length}
		got, err := parseChunk(r)
		if got != test.want || (err != nil) != test.bad {
			t.Errorf("%q with %d bytes: %+v, %v", test.header, test.length, got, err)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"team/app":       `"team/app"`,
		`a"b\c`:          `"a'b'c"`,
		"x\r\nEvil: yes": `"x??Evil: yes"`,
		"für":            `"f?r"`,
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestMatches(t *testing.T) {
	etag := `"` + someDigest + `"`
	for header, want := range map[string]bool{
		etag: true, someDigest: true, "W/" + etag: true, "*": true, `"x", ` + etag: true,
		"": false, `"x"`: false, someDigest + "0": false,
	} {
		if got := matches([]string{header}, etag); got != want {
			t.Errorf("If-None-Match %s: %v", header, got)
		}
	}
}
