package e2e

import (
	"errors"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The commands of scripts that run a program or send a request and look closely
// at what comes back.

func scriptExitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode N PROGRAM [ARG...]")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

func scriptCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: capture VARIABLE REGEXP PROGRAM [ARG...]")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	ts.Check(ts.Exec(args[2], args[3:]...))
	match := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(match) < 2 {
		ts.Fatalf("no match for %s", args[1])
	}
	ts.Setenv(args[0], match[1])
}

func scriptLogged(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: logged TEXT")
	}
	if strings.Contains(serverOf(ts).log.String(), args[0]) == neg {
		ts.Fatalf("the log of the server: %s", args[0])
	}
}

// clientOf returns a client of $REGISTRY as the user of a script's argument.
func clientOf(ts *testscript.TestScript, user string) *client {
	c := &client{base: "http://" + ts.Getenv("REGISTRY")}
	if user != "-" {
		c.user, c.password, _ = strings.Cut(user, ":")
	}
	return c
}

func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: status N USER PATH")
	}
	resp, err := clientOf(ts, args[1]).send("GET", args[2], nil, nil)
	ts.Check(err)
	if strconv.Itoa(resp.status) != args[0] {
		ts.Fatalf("GET %s: %d, want %s: %s", args[2], resp.status, args[0], resp.body)
	}
}

func scriptEventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: eventually N USER PATH [TEXT]")
	}
	text := ""
	if len(args) == 4 {
		text = args[3]
	}
	c := clientOf(ts, args[1])
	deadline := time.Now().Add(6 * time.Second)
	for {
		resp, err := c.send("GET", args[2], nil, nil)
		ts.Check(err)
		if strconv.Itoa(resp.status) == args[0] && strings.Contains(string(resp.body), text) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("GET %s after 6 s: %d, want %s: %s", args[2], resp.status, args[0], resp.body)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func scriptRefusal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: refusal USER METHOD PATH")
	}
	resp, err := clientOf(ts, args[0]).send(args[1], args[2], nil, nil)
	ts.Check(err)
	match := regexp.MustCompile(`\(ref ([A-Z0-9]{10})\)`).FindSubmatch(resp.body)
	if resp.status != 401 && resp.status != 403 || match == nil {
		ts.Fatalf("%s %s: %d %s", args[1], args[2], resp.status, resp.body)
	}
	if id := resp.header.Get("X-Request-Id"); id != string(match[1]) {
		ts.Fatalf("X-Request-Id: %q, and the reference is %s", id, match[1])
	}
	ts.Setenv("REF", string(match[1]))
}
