package server

import (
	"net/http"
	"net/netip"
	"strings"
)

// An origin is where a request came from and which address it was sent to, as
// far as it can be believed.
type origin struct {
	addr   netip.Addr // of the client; not valid for a local socket
	scheme string     // "http" or "https"
	host   string     // with port
}

// originOf reads the origin of r. What proxies add is believed where the peer
// is trusted: of several that stand in a row, the first that is not trusted is
// the client. A proxy that knows only one of Forwarded and X-Forwarded-For passes
// on what a client put into the other: where they disagree, neither is believed.
func originOf(r *http.Request, trusted []netip.Prefix) origin {
	o := origin{scheme: "http", host: r.Host}
	if r.TLS != nil {
		o.scheme = "https"
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return o
	}
	o.addr = peer.Addr().Unmap().WithZone("")
	if !contains(trusted, o.addr) {
		return o
	}
	hops, ok := forwarded(r.Header["Forwarded"])
	byOther := o.behind(forwardedX(r.Header), trusted)
	if len(hops) == 0 && ok {
		return byOther
	}
	byHops := o.behind(hops, trusted)
	if !ok || len(r.Header["X-Forwarded-For"]) > 0 && byHops.addr != byOther.addr {
		// One of them is the word of a client, and nobody can tell which.
		o.addr = netip.Addr{} // which no rule takes for one of its own
		return o
	}
	return byHops
}

// behind returns where a request came from that o sent on: back over the hops
// as far as each is trusted to tell of the one before.
func (o origin) behind(hops []origin, trusted []netip.Prefix) origin {
	for i := len(hops) - 1; i >= 0 && contains(trusted, o.addr); i-- {
		if hops[i].scheme != "" {
			o.scheme = hops[i].scheme
		}
		if hops[i].host != "" {
			o.host = hops[i].host
		}
		if !hops[i].addr.IsValid() {
			break
		}
		o.addr = hops[i].addr
	}
	return o
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// forwarded returns what each proxy added to Forwarded (RFC 7239), the nearest
// last. It is not ok when a quoted string has no end: then nobody can tell what
// a proxy added to the words of a client.
func forwarded(lines []string) (hops []origin, ok bool) {
	for _, line := range lines {
		elements, ok := splitQuoted(line, ',')
		if !ok {
			return nil, false
		}
		for _, element := range elements {
			if strings.TrimSpace(element) != "" {
				hops = append(hops, parseForwarded(element))
			}
		}
	}
	return hops, true
}

// forwardedX returns what each proxy added to the X-Forwarded headers, the
// nearest last.
func forwardedX(h http.Header) []origin {
	var hops []origin
	for _, s := range list(h["X-Forwarded-For"]) {
		hops = append(hops, origin{addr: parseNode(s)})
	}
	if len(hops) == 0 {
		hops = make([]origin, 1)
	}
	nearest := &hops[len(hops)-1]
	if protos := list(h["X-Forwarded-Proto"]); len(protos) > 0 {
		nearest.scheme = parseScheme(protos[len(protos)-1])
	}
	if hosts := list(h["X-Forwarded-Host"]); len(hosts) > 0 {
		nearest.host = hosts[len(hosts)-1]
	}
	return hops
}

// splitQuoted splits s at sep, but not within quoted strings (RFC 9110, section
// 5.6.4). It is not ok when one has no end.
func splitQuoted(s string, sep byte) (parts []string, ok bool) {
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:]), !quoted
}

// list splits the lines of a header at their commas.
func list(lines []string) []string {
	var elements []string
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			if element = strings.TrimSpace(element); element != "" {
				elements = append(elements, element)
			}
		}
	}
	return elements
}

func parseForwarded(element string) origin {
	var o origin
	pairs, _ := splitQuoted(element, ';')
	for _, pair := range pairs {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(key) {
		case "for":
			o.addr = parseNode(value)
		case "proto":
			o.scheme = parseScheme(value)
		case "host":
			o.host = value
		}
	}
	return o
}

func parseScheme(s string) string {
	if s = strings.ToLower(s); s == "http" || s == "https" {
		return s
	}
	return ""
}

// parseNode parses an address with or without a port, or returns one that is
// not valid.
func parseNode(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// plainHost reports whether s can stand in an address that is handed out: a
// host name or an IP address, with or without a port.
func plainHost(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]"
	return s != "" && len(s) <= 255 && strings.Trim(s, allowed) == ""
}
