package main

import (
	"fmt"
	"io"
	"net"
	"net/url"

	"berth/auth"
)

// printWelcome tells whoever starts a registry for the first time how to go on.
// It is the one time that the password is seen.
func printWelcome(w io.Writer, addr string, password auth.Secret) {
	fmt.Fprintf(w, `
admin password: %[2]s

Try:
  docker login -u admin %[1]s
  docker tag IMAGE %[1]s/IMAGE && docker push %[1]s/IMAGE
  docker search %[1]s/

`, addr, password.Reveal())
}

// clientAddress is how clients call the registry: http.host, or else http.addr as it is
// reached from this machine.
func (c *Config) clientAddress() string {
	if u, err := url.Parse(c.HTTP.Host); err == nil && u.Host != "" {
		return u.Host
	}
	host, port, err := net.SplitHostPort(c.HTTP.Addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return c.HTTP.Addr
}
