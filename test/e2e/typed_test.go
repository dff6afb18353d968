package e2e

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptTyped runs a program at a terminal and types one line of a file at each
// of its prompts, as a person does: a program that asks for a password throws
// away what was typed before it asked.
func scriptTyped(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: typed FILE PROGRAM [ARG...]")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "script", "--quiet", "--return", "--command", quoted(args[1:]), "/dev/null")
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = scriptEnv(ts)
	stdin, err := cmd.StdinPipe()
	ts.Check(err)
	typist := &typist{w: stdin, lines: strings.Split(strings.TrimRight(ts.ReadFile(args[0]), "\n"), "\n")}
	cmd.Stdout = typist
	err = cmd.Run()
	ts.Logf("%s", typist.screen.String())
	if (err != nil) != neg {
		ts.Fatalf("%s: %v", args[1], err)
	}
}

// A typist watches a screen and answers its prompts.
type typist struct {
	w      io.Writer
	lines  []string
	screen bytes.Buffer
}

func (t *typist) Write(p []byte) (int, error) {
	t.screen.Write(p)
	if len(t.lines) > 0 && strings.HasSuffix(strings.TrimRight(t.screen.String(), " "), ":") {
		line := t.lines[0]
		t.lines = t.lines[1:]
		if _, err := io.WriteString(t.w, line+"\n"); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// quoted returns args as one line of sh.
func quoted(args []string) string {
	var words []string
	for _, a := range args {
		words = append(words, "'"+strings.ReplaceAll(a, "'", `'\''`)+"'")
	}
	return strings.Join(words, " ")
}

// scriptEnv returns those variables of a script that its programs need.
func scriptEnv(ts *testscript.TestScript) []string {
	var env []string
	for _, k := range []string{"PATH", "HOME", "DOCKER_HOST", "REGISTRY", "REGISTRY_HTTP_ADDR", "REGISTRY_AUTH_FILE"} {
		env = append(env, k+"="+ts.Getenv(k))
	}
	return env
}
