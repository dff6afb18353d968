package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/authority"
)

func TestParseRegistry(t *testing.T) {
	for in, want := range map[string]string{
		"registry.example.org":       "https://registry.example.org",
		"registry.example.org:5000/": "https://registry.example.org:5000",
		"https://registry.test":      "https://registry.test",
		"http://registry.test":       "http://registry.test",
		"127.0.0.1:5000":             "//127.0.0.1:5000", // either
		"localhost":                  "//localhost",
		"[::1]:5000":                 "//[::1]:5000",
		"https://127.0.0.1:5000":     "https://127.0.0.1:5000",
		"":                           "",
		"ftp://registry.test":        "",
		"registry.test/team":         "",
		"user@registry.test":         "",
		"-u":                         "",
		"registry.test?x":            "",
	} {
		u, err := parseRegistry(in)
		got := ""
		if err == nil {
			got = u.String()
		}
		if got != want {
			t.Errorf("%q is %s (%v)", in, got, err)
		}
	}
}

// TestSettle asks a registry on this machine which of the two it speaks.
func TestSettle(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	quiet := log.New(io.Discard, "", 0)
	start := func(s *httptest.Server, run func()) *httptest.Server {
		s.Config.ErrorLog = quiet
		run()
		t.Cleanup(s.Close)
		return s
	}
	plain, secure, strict := httptest.NewUnstartedServer(answer), httptest.NewUnstartedServer(answer), httptest.NewUnstartedServer(answer)
	strict.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	start(plain, plain.Start)
	start(secure, secure.StartTLS)
	start(strict, strict.StartTLS)
	ca := writeFile(t, filepath.Join(t.TempDir(), "ca.pem"), string(authority.PEM(secure.Certificate())))
	gone := httptest.NewServer(answer)
	gone.Close()
	for _, tt := range []struct {
		name, host, cafile, want string // scheme, or what the error holds
	}{
		{"in the clear", plain.Listener.Addr().String(), "", "http"},
		{"TLS", secure.Listener.Addr().String(), ca, "https"},
		{"TLS of a stranger", secure.Listener.Addr().String(), "", "--cafile"},
		{"TLS for a certificate", strict.Listener.Addr().String(), ca, "certificate required"},
		{"nothing", gone.Listener.Addr().String(), "", "http"},
		{"TLS as said", "https://" + plain.Listener.Addr().String(), "", "https"},
	} {
		registry, err := parseRegistry(tt.host)
		if err != nil {
			t.Fatal(err)
		}
		c, err := newDeviceClient(registry, tt.cafile)
		if err != nil {
			t.Fatal(err)
		}
		err = c.settle(t.Context())
		got := c.base.Scheme
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) || err == nil && got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
		c.close()
	}
}

// A deviceServer answers the polls of one login in turn.
func deviceServer(t *testing.T, begin string, polls ...string) (*deviceClient, *[]time.Duration) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/auth/device" {
			if begin == "" {
				http.NotFound(w, r)
				return
			}
			w.Write([]byte(begin))
			return
		}
		if len(polls) == 0 || r.PostFormValue("device_code") != "D" || r.PostFormValue("grant_type") != grantDevice {
			t.Errorf("poll with %v, of which %d are left", r.PostForm, len(polls))
			return
		}
		answer := polls[0]
		polls = polls[1:]
		switch {
		case answer == "cut":
			panic(http.ErrAbortHandler)
		case !strings.HasPrefix(answer, "{"):
			w.WriteHeader(http.StatusBadRequest)
			answer = `{"error":"` + answer + `"}`
		}
		w.Write([]byte(answer))
	}))
	t.Cleanup(s.Close)
	registry, err := parseRegistry(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newDeviceClient(registry, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	var waits []time.Duration
	c.pause = func(_ context.Context, d time.Duration) error {
		waits = append(waits, d)
		return nil
	}
	return c, &waits
}

const goodBegin = `{"device_code":"D","user_code":"BCDF-GHJK","verification_uri":"https://r.test/ui/device","expires_in":20,"interval":5}`

func TestDeviceClient(t *testing.T) {
	const pending, right = "authorization_pending", `{"access_token":"bth_pt_1","username":"sso/bob"}`
	for _, tt := range []struct {
		polls []string
		want  string // user, or what the error holds
		waits int    // seconds in all
	}{
		{[]string{right}, "sso/bob", 5},
		{[]string{pending, pending, right}, "sso/bob", 15},
		{[]string{"slow_down", right}, "sso/bob", 15},
		{[]string{"cut", pending, right}, "sso/bob", 15},
		{[]string{"access_denied"}, "was denied", 5},
		{[]string{"expired_token"}, "in time", 5},
		{[]string{"invalid_request"}, "invalid_request", 5},
		{[]string{pending, pending, pending, pending, pending}, "in time", 25},
		{[]string{`{"username":"bob"}`}, "no token", 5},
		{[]string{`{"access_token":"x","username":"a\nb"}`}, "no token", 5},
		{[]string{`{`}, "is it a berth", 5 * 5},
	} {
		polls := tt.polls
		if polls[0] == "{" {
			polls = []string{"{", "{", "{", "{", "{"}
		}
		c, waits := deviceServer(t, goodBegin, polls...)
		b, err := c.begin(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		g, err := c.await(t.Context(), b)
		got := g.Username
		if err != nil {
			got = err.Error()
		}
		total := time.Duration(0)
		for _, w := range *waits {
			total += w
		}
		if !strings.Contains(got, tt.want) || total != time.Duration(tt.waits)*time.Second {
			t.Errorf("%q: %s after %v", tt.polls, got, total)
		}
	}
}

func TestDeviceClientBegins(t *testing.T) {
	for begin, want := range map[string]string{
		"":   "is it a berth with authentication",
		"{}": "no login",
		strings.Replace(goodBegin, "https", "file", 1):     "no login",
		strings.Replace(goodBegin, "BCDF", `\u001b[2J`, 1): "no login",
	} {
		c, _ := deviceServer(t, begin)
		if _, err := c.begin(t.Context(), "test"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", begin, err)
		}
	}
	c, _ := deviceServer(t, goodBegin)
	c.pause = func(ctx context.Context, d time.Duration) error { return pause(ctx, d) }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.await(ctx, begunLogin{DeviceCode: "D", ExpiresIn: 10}); !errors.Is(err, errInterrupted) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestLoginCommand runs the command against a registry of the test's, with a
// docker of the test's and without any.
func TestLoginCommand(t *testing.T) {
	fast := strings.Replace(goodBegin, `"interval":5`, `"interval":0`, 1)
	for _, docker := range []bool{true, false} {
		c, _ := deviceServer(t, fast, `{"access_token":"bth_pt_1","username":"sso/bob"}`)
		bin := t.TempDir()
		t.Setenv("PATH", bin)
		if docker {
			script := "#!/bin/sh\necho \"$@\"\nread -r line\necho \"got $line\"\n"
			if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		stdout, stderr, code := command(t, "login", c.base.Host)
		want := "bth_pt_1\n"
		if docker {
			want = "login --username=sso/bob --password-stdin " + c.base.Host + "\ngot bth_pt_1\n"
		}
		if code != 0 || stdout != want || !strings.Contains(stderr, "https://r.test/ui/device") || !strings.Contains(stderr, "BCDF-GHJK") {
			t.Errorf("exit %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
		}
	}
}
