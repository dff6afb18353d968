package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newLoginCommand() *cobra.Command {
	var cafile string
	var printOnly bool
	cmd := &cobra.Command{
		Use:   "login HOST",
		Short: "Log docker in to a registry by way of a browser",
		Long: "Shows an address and a code. Whoever opens the one in a browser, signs in there and enters\n" +
			"the other, lets this command have a personal token, with which it logs docker in (or podman).\n" +
			"Where neither is installed, it prints the token.",
		Example: "  berth login registry.example.org\n  berth login --print registry.example.org",
		Args:    cobra.ExactArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			registry, err := parseRegistry(args[0])
			if err != nil {
				return err
			}
			client, err := newDeviceClient(registry, cafile)
			if err != nil {
				return err
			}
			defer client.close()
			if err := client.settle(cmd.Context()); err != nil {
				return err
			}
			granted, err := loginWithBrowser(cmd, client)
			if err != nil {
				return err
			}
			return useToken(cmd, registry.Host, granted, printOnly)
		}),
	}
	cmd.Flags().StringVar(&cafile, "cafile", "", "PEM `FILE` of who vouches for the registry's certificate")
	cmd.Flags().BoolVar(&printOnly, "print", false, "print the token, and log nothing in")
	return cmd
}

// parseRegistry returns the address of a registry: https, or what is said. On
// this machine, where nothing is said, it has no scheme: it may be either.
func parseRegistry(s string) (*url.URL, error) {
	scheme := ""
	if i := strings.Index(s, "://"); i >= 0 {
		scheme, s = s[:i], s[i+3:]
	}
	u, err := url.Parse("//" + strings.TrimSuffix(s, "/"))
	if err != nil || u.Host == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || strings.HasPrefix(u.Host, "-") {
		return nil, fmt.Errorf("%q is no address of a registry: it must be one such as registry.example.org", s)
	}
	addr, err := netip.ParseAddr(u.Hostname())
	here := u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
	switch {
	case scheme == "" && here:
	case scheme == "":
		scheme = "https"
	case scheme != "http" && scheme != "https":
		return nil, fmt.Errorf("%q: an address of a registry begins with https://, or with its host", scheme)
	}
	u.Scheme = scheme
	return u, nil
}

// loginWithBrowser lets a person confirm this login, and returns what came of
// it.
func loginWithBrowser(cmd *cobra.Command, client *deviceClient) (granted, error) {
	name := "berth login"
	if host, err := os.Hostname(); err == nil {
		name += " on " + host
	}
	begun, err := client.begin(cmd.Context(), name)
	if err != nil {
		return granted{}, err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Open this address in a browser:\n\n    %s\n\nand enter the code:\n\n    %s\n\nIt is good for %v.\n",
		begun.VerificationURI, begun.UserCode, time.Duration(begun.ExpiresIn)*time.Second)
	return client.await(cmd.Context(), begun)
}

// useToken logs a container client in, or prints the token where there is none.
func useToken(cmd *cobra.Command, host string, g granted, printOnly bool) error {
	fmt.Fprintf(cmd.ErrOrStderr(), "Signed in as %s.\n", g.Username)
	if !printOnly {
		for _, program := range []string{"docker", "podman"} {
			if path, err := exec.LookPath(program); err == nil {
				return logIn(cmd, path, host, g)
			}
		}
	}
	fmt.Fprintln(cmd.OutOrStdout(), g.AccessToken)
	fmt.Fprintf(cmd.ErrOrStderr(), "The line above is a personal token. Log in with it:\n  docker login %s -u %s --password-stdin\n", host, g.Username)
	return nil
}

func logIn(cmd *cobra.Command, program, host string, g granted) error {
	c := exec.CommandContext(cmd.Context(), program, "login", "--username="+g.Username, "--password-stdin", host)
	c.Stdin = strings.NewReader(g.AccessToken)
	c.Stdout, c.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s login: %w; --print prints the token instead, and the pages of the registry revoke this one", program, err)
	}
	return nil
}

// errTooLate means that nobody confirmed a login in time.
var errTooLate = errors.New("nobody has confirmed the login in time: run the command again")

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errInterrupted
	}
}

// unreachable says what to look at when a registry cannot be spoken to.
func unreachable(host string, err error) error {
	var dns *net.DNSError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &dns):
		return fmt.Errorf("speak to %s: there is no such host", host)
	case errors.As(err, &untrusted):
		return fmt.Errorf("speak to %s: %w; --cafile names who vouches for it", host, err)
	}
	return fmt.Errorf("speak to %s: %w", host, err)
}
