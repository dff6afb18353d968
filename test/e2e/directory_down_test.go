package e2e

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/test/directory"
)

// serveLab starts berth with lab.yml, for an OpenLDAP.
func serveLab(t *testing.T, lab *directory.OpenLDAP) *server {
	t.Helper()
	dir := t.TempDir()
	err := prepare(dir, "lab.yml", "$LAB_URL", lab.URL, "$LAB_BINDDN", lab.BindDN, "$LAB_PASSWORD", lab.Password, "$LAB_BASE", lab.BaseDN)
	if err != nil {
		t.Fatal(err)
	}
	s, err := launch(dir, []string{"serve", filepath.Join(dir, "lab.yml")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			text := s.log.String()
			t.Logf("the server said:\n%s", text[max(0, len(text)-8192):])
		}
	})
	return s
}

// TestDirectoryHangs stops the directory under many logins. Each is answered in
// time; whoever does not need it notices nothing; when it goes on, so do logins.
func TestDirectoryHangs(t *testing.T) {
	const logins, answered, recovered, quick = 200, 6 * time.Second, 5 * time.Second, 2 * time.Second
	lab := directory.StartOpenLDAP(t)
	for i := range logins {
		lab.AddUser(fmt.Sprintf("user-%d", i), "secret")
	}
	lab.AddGroup("builders", lab.AddUser("builder", "secret-builder"))
	s := serveLab(t, lab)

	img := newImage("the app of builders")
	ofFile := &client{base: s.url(), user: "user1", password: "secret1"}
	builder := &client{base: s.url(), user: "builder", password: "secret-builder"}
	builder.mustPush(t, "team/app", "v1", img)
	token := builder.bearer(t, "repository:team/app:pull,push")
	time.Sleep(1500 * time.Millisecond) // what is known of builder must be asked again

	lab.Stop()
	running := true
	defer func() {
		if running {
			lab.Cont()
		}
	}()
	var storm sync.WaitGroup
	for i := range logins {
		storm.Go(func() {
			begin := time.Now()
			status, err := elsewhere(s, fmt.Sprintf("user-%d", i), "secret")
			if took := time.Since(begin); err != nil || status != http.StatusServiceUnavailable || took > answered {
				t.Errorf("a login without a directory: %d, %v, after %v", status, err, took)
			}
		})
	}
	over := make(chan struct{})
	go func() {
		storm.Wait()
		close(over)
	}()
	// Who is of the directory and was not asked about for the interval waits for no
	// longer than it takes to see that there is no answer.
	for waiting := true; waiting; {
		select {
		case <-over:
			waiting = false
		case <-time.After(50 * time.Millisecond):
		}
		for name, pull := range map[string]func() error{
			"a user of the password file":      func() error { return ofFile.pull("team/app", "v1", img) },
			"a bearer of a directory's user":   func() error { return token.pull("team/app", "v1", img) },
			"a password that was right before": func() error { return builder.pull("team/app", "v1", img) },
			"another user of that file": func() error {
				resp, err := (&client{base: s.url(), user: "user2", password: "secret2"}).send("GET", "/v2/", nil, nil)
				if err == nil && resp.status != http.StatusOK {
					err = fmt.Errorf("%d", resp.status)
				}
				return err
			},
		} {
			begin := time.Now()
			err := pull()
			if took := time.Since(begin); err != nil || took > quick {
				t.Errorf("%s, beside a directory that hangs: %v, after %v", name, err, took)
			}
		}
	}
	if resp := ofFile.do(t, "GET", "/readyz", nil, nil); resp.status != http.StatusOK {
		t.Errorf("/readyz: %d", resp.status)
	}

	lab.Cont()
	running = false
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		status, err := elsewhere(s, "user-0", "secret")
		if err == nil && status == http.StatusOK {
			t.Logf("logins work %v after the directory goes on", time.Since(begin).Round(time.Millisecond))
			return
		}
		if time.Since(begin) > recovered {
			t.Fatalf("%v after the directory goes on, a login is answered with %d, %v", recovered, status, err)
		}
	}
}

// elsewhere logs in from an address of its own, so that it is no guess of
// another's.
func elsewhere(s *server, user, password string) (int, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	client := &http.Client{
		Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true},
		Timeout:   15 * time.Second,
	}
	req, err := http.NewRequest("GET", s.url()+"/v2/", nil)
	if err != nil {
		return 0, err
	}
	req.SetBasicAuth(user, password)
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// TestLoginsThatReachTheDirectory counts them: many requests with the same
// password are one, wrong ones are few, and what cannot be right is none.
func TestLoginsThatReachTheDirectory(t *testing.T) {
	lab := directory.StartOpenLDAP(t)
	busy, victim := lab.AddUser("busy", "secret-busy"), lab.AddUser("victim", "secret-victim")
	s := serveLab(t, lab)

	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			c := &client{base: s.url(), user: "busy", password: "secret-busy"}
			for range 125 {
				if resp, err := c.send("GET", "/v2/", nil, nil); err != nil || resp.status != http.StatusOK {
					t.Errorf("%+v, %v", resp, err)
					return
				}
			}
		})
	}
	group.Wait()
	if n := lab.Binds(busy); n != 1 {
		t.Errorf("1,000 requests of one user are %d logins at the directory, want 1", n)
	}

	const anybody = " method=128"
	before := strings.Count(lab.Log(), anybody)
	for _, credentials := range [][2]string{{"busy", ""}, {"", "secret-busy"}, {"busy", "a\x00b"}, {"busy\x00", "secret-busy"}, {"b\xffsy", "secret"}} {
		if status, err := elsewhere(s, credentials[0], credentials[1]); err != nil || status != http.StatusUnauthorized {
			t.Errorf("%q: %d, %v", credentials, status, err)
		}
	}
	if n := strings.Count(lab.Log(), anybody) - before; n != 0 {
		t.Errorf("of what cannot be right %d logins reach the directory", n)
	}

	statuses := make(map[int]int)
	for i := range 50 {
		status, err := elsewhere(s, "victim", fmt.Sprintf("guess-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		statuses[status]++
		if i == 20 && statuses[http.StatusTooManyRequests] == 0 {
			t.Errorf("20 wrong passwords are answered with %v", statuses)
		}
	}
	if n := lab.Binds(victim); n == 0 || n > 20 {
		t.Errorf("50 wrong passwords are %d logins at the directory, want 20 at most", n)
	}
	t.Logf("50 wrong passwords: %v, %d at the directory", statuses, lab.Binds(victim))
	resp := (&client{base: s.url(), user: "busy", password: "secret-busy"}).do(t, "GET", "/v2/", nil, nil)
	if resp.status != http.StatusOK {
		t.Errorf("another user, from another address: %d", resp.status)
	}
}
