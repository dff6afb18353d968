package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	loginCost  = 10
	cheapCost  = 6
	cheapUser  = "cheap"
	wrongUsers = 100 // at a time
)

// logins sends wrong passwords, and compares how long known and unknown users
// take.
func (c *campaign) logins(samples int) error {
	s, err := c.newServer(filepath.Join(c.dir, "data"), "", loginCost)
	if err != nil {
		return err
	}
	if err := addUser(filepath.Join(c.dir, "htpasswd"), cheapUser, cheapCost); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	defer func() { s.kill() }()
	if err := c.wrongLogins(s); err != nil {
		return err
	}
	if err := c.compareUsers(s, samples); err != nil {
		return err
	}
	return c.checkAll(s)
}

func addUser(path, name string, cost int) error {
	hash, err := bcrypt.GenerateFromPassword([]byte(password(name)), cost)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s:%s\n", name, hash)
	return errors.Join(err, f.Close())
}

// wrongLogins has a hundred clients guess the owner's password, from many
// addresses and then from one, with pulls in windows that are quiet and beside
// them in turn.
func (c *campaign) wrongLogins(s *server) error {
	p, err := c.newProbe(s)
	if err != nil {
		return err
	}
	floods := []struct {
		name string
		from func(window, i int) string
	}{
		{"100 addresses", func(window, i int) string { return fmt.Sprintf("127.9.%d.%d", 10+window, i+1) }},
		{"one address", func(window, _ int) string { return fmt.Sprintf("127.9.9.%d", 9-attackWindows+1+window) }},
	}
	for _, f := range floods {
		var times comparison
		counts := make(map[string]int)
		for window := range attackWindows {
			quiet, err := p.measure(windowTime)
			if err != nil {
				return err
			}
			guessers, err := openGuessers(s, func(i int) string { return f.from(window, i) })
			if err != nil {
				return err
			}
			beside, err := p.measureBeside(func() {
				for answer, n := range parallel(wrongUsers, func(i int) string {
					return guess(guessers[i], fmt.Sprintf("wrong %s %d %d", f.name, window, i))
				}) {
					counts[answer] += n
				}
			})
			for _, client := range guessers {
				client.close()
			}
			if err != nil {
				return fmt.Errorf("pull beside wrong logins: %w", err)
			}
			times.add(quiet, beside)
		}
		c.heldUp(fmt.Sprintf("%d wrong logins at a time from %s", wrongUsers, f.name), times)
		c.report.note("they are answered %s", inOrder(counts))
		if counts["401"]+counts["429"] != attackWindows*wrongUsers {
			c.report.broken("wrong logins from %s were answered %v", f.name, counts)
		}
		if f.name == "one address" && counts["429"] == 0 {
			c.report.broken("nobody was told to wait")
		}
	}
	return c.ownerGetsIn(s)
}

// openGuessers returns clients at the addresses that are connected already: what
// a hundred new connections cost at a time is another matter.
func openGuessers(s *server, from func(i int) string) ([]*client, error) {
	guessers := make([]*client, wrongUsers)
	for i := range guessers {
		guessers[i] = s.clientFrom(0, from(i))
		resp, err := guessers[i].http.Get(guessers[i].base + "/v2/")
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
		resp.Body.Close()
	}
	return guessers, nil
}

// guess asks for a token with a wrong password. The same one twice is one guess.
func guess(client *client, wrong string) string {
	req, err := http.NewRequest("GET", client.base+"/auth/token?service=berth", nil)
	if err != nil {
		return err.Error()
	}
	req.SetBasicAuth(client.user, wrong)
	resp, err := client.http.Do(req)
	if err != nil {
		return err.Error()
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") == "" {
		return "429 without Retry-After"
	}
	return fmt.Sprint(resp.StatusCode)
}

// ownerGetsIn logs in with the right password: from elsewhere, and, once it is
// known to be right, from where the guesses came from.
func (c *campaign) ownerGetsIn(s *server) error {
	for _, addr := range []string{"127.8.8.8", "127.9.9.9"} {
		client := s.clientFrom(0, addr)
		began := time.Now()
		r, err := client.do("GET", "/v2/", nil)
		client.close()
		if err != nil {
			return err
		}
		if r.status != http.StatusOK {
			c.report.broken("the owner, from %s, is answered %d", addr, r.status)
		}
		c.report.note("the owner gets in from %s in %v", addr, time.Since(began).Round(100*time.Microsecond))
	}
	return nil
}

// compareUsers sends wrong passwords of three users in turn, each from an address
// of its own so that nobody is throttled: one that exists, one that exists with a
// cheaper hash, and one that does not.
func (c *campaign) compareUsers(s *server, samples int) error {
	users := []string{userName(2), cheapUser, "nobody"}
	times := make([][]time.Duration, len(users))
	for i := range samples {
		for k := range users {
			n := i*len(users) + k
			u := (i + k) % len(users) // nobody is always the first
			name := users[u]
			client := s.clientFrom(0, fmt.Sprintf("127.20.%d.%d", n/250, n%250+1))
			req, err := http.NewRequestWithContext(c.ctx, "GET", client.base+"/v2/", nil)
			if err != nil {
				return err
			}
			req.SetBasicAuth(name, fmt.Sprintf("wrong %d", n))
			began := time.Now()
			resp, err := client.http.Do(req)
			if err != nil {
				return err
			}
			times[u] = append(times[u], time.Since(began))
			resp.Body.Close()
			client.close()
			if resp.StatusCode != http.StatusUnauthorized {
				c.report.broken("a wrong password of %s is answered %d", name, resp.StatusCode)
			}
		}
		c.report.Rounds++
	}
	known := summarize(times[0])
	for u, name := range users[1:] {
		other := summarize(times[u+1])
		off := 100 * (float64(other.p50)/float64(known.p50) - 1)
		c.report.note("%s: median %v, %+.1f %% from a known user's", name, other.p50.Round(10*time.Microsecond), off)
		if off > 5 || off < -5 {
			c.report.broken("%s can be told from a known user", name)
		}
	}
	return nil
}
