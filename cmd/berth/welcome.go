package main

import (
	"fmt"
	"io"
	"net"
	"net/url"

	"berth/auth"
)

// printWelcome tells whoever starts a registry for the first time how to go on.
// It is the one time that the password is seen. Without an addr that clients could
// use, there is nothing to try.
func printWelcome(w io.Writer, addr string, password auth.Secret) {
	fmt.Fprintf(w, "\nadmin password: %s\n\n", password.Reveal())
	if addr == "" {
		return
	}
	fmt.Fprintf(w, `Try:
  docker login -u admin %[1]s
  docker tag IMAGE %[1]s/IMAGE && docker push %[1]s/IMAGE
  docker search %[1]s/

`, addr)
}

// clientAddress is how clients call the registry: http.host, or else http.addr as it is
// reached from this machine; "" for a socket in the file system.
func (c *Config) clientAddress() string {
	if u, err := url.Parse(c.HTTP.Host); err == nil && u.Host != "" {
		return u.Host
	}
	if c.HTTP.Net == "unix" {
		return ""
	}
	host, port, err := net.SplitHostPort(c.HTTP.Addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return c.HTTP.Addr
}
