package e2e

import (
	"archive/tar"
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script/*.txtar. Beside the commands of testscript
// they have these:
//
//	start FILE        starts berth with testdata/config/FILE and sets $REGISTRY
//	restart           ends and starts it again
//	engine docker     starts the Docker engine of the suite and sets $DOCKER_HOST
//	engine containerd the same for containerd and $CONTAINERD_ADDRESS
//	namespace         makes a mount namespace in which /etc and /var/lib may be
//	                  written to without a trace, for nsenter --mount=$NS
//	address           sets $REGISTRY to an address that nobody listens on
//	ready             waits until what listens at $REGISTRY is ready
//	digest NAME:TAG   sets $DIGEST to that of a manifest, as user1 sees it
//	shutdown          ends it
//	typed FILE CMD    runs CMD at a terminal and types a line of FILE at each prompt
//	exitcode N CMD    runs CMD, which must exit with N
//	capture V RE CMD  runs CMD and sets $V to the first group of RE in its output
//	logged TEXT       checks that the server has logged TEXT
//
// Of requests, USER is a name and a password with a colon between, or - for
// nobody:
//
//	status N USER PATH             GETs PATH; the status must be N
//	eventually N USER PATH [TEXT]  the same within seconds, with TEXT in the body
//	refusal USER METHOD PATH       is refused, and sets $REF to the reference
//
// and [lacks:PROGRAM], which is true outside of CI where it is not installed.
func TestScripts(t *testing.T) {
	if _, err := shared.berth(); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, scripts("testdata/script"))
}

// scripts returns how the scripts of a folder are run.
func scripts(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		Setup:               setupScript,
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":      scriptStart,
			"restart":    scriptRestart,
			"engine":     scriptEngine,
			"namespace":  scriptNamespace,
			"address":    scriptAddress,
			"ready":      scriptReady,
			"digest":     scriptDigest,
			"shutdown":   scriptShutdown,
			"typed":      scriptTyped,
			"exitcode":   scriptExitCode,
			"capture":    scriptCapture,
			"logged":     scriptLogged,
			"status":     scriptStatus,
			"eventually": scriptEventually,
			"refusal":    scriptRefusal,
		},
	}
}

func condition(cond string) (bool, error) {
	program, ok := strings.CutPrefix(cond, "lacks:")
	if !ok {
		return false, fmt.Errorf("there is no condition %s", cond)
	}
	lack := missing(program)
	if lack != "" && inCI() {
		return false, fmt.Errorf("%s", lack)
	}
	return lack != "", nil
}

// setupScript gives a script a home of its own, in which each client keeps its
// state, the passwords as files, and a layer to make images of.
func setupScript(env *testscript.Env) error {
	dir := env.WorkDir
	for k, v := range map[string]string{
		"HOME":                    dir,
		"XDG_RUNTIME_DIR":         filepath.Join(dir, "run"),
		"CONTAINERS_STORAGE_CONF": filepath.Join(dir, "storage.conf"),
		"REGISTRY_AUTH_FILE":      filepath.Join(dir, "auth.json"),
		"BUILDAH_ISOLATION":       "chroot",
	} {
		env.Setenv(k, v)
	}
	storage := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n",
		filepath.Join(dir, "storage"), filepath.Join(dir, "run", "storage"))
	layer, err := layerOf("hello.txt", "hello\n")
	if err != nil {
		return err
	}
	env.Values[running{}] = new(*server)
	for name, text := range map[string]string{
		"storage.conf": storage, "auth.json": "{}", "layer.tar": string(layer),
		"secret1": "secret1\n", "secret2": "secret2\n", "wrong": "wrong\n", "hello.txt": "hello\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// layerOf returns a layer that holds one file.
func layerOf(name, text string) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// running is the key under which a script holds a **server, nil before start.
type running struct{}

func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: start FILE")
	}
	dir := ts.Getenv("WORK")
	variables, _ := ts.Value(variables{}).([]string)
	ts.Check(prepare(dir, args[0], variables...))
	s, err := launch(dir, []string{"serve", filepath.Join(dir, args[0])}, nil)
	ts.Check(err)
	*ts.Value(running{}).(**server) = s
	ts.Defer(func() {
		s.stop()
		ts.Logf("the server said:\n%s", s.log)
	})
	ts.Setenv("REGISTRY", s.addr)
	ts.Setenv("CONFIG", filepath.Join(dir, args[0]))
	ts.Setenv("PID", strconv.Itoa(s.cmd.Process.Pid))
}

// variables is the key under which a script holds what stands for names in its
// configuration, as strings.NewReplacer takes it.
type variables struct{}

func scriptShutdown(ts *testscript.TestScript, neg bool, args []string) {
	serverOf(ts).stop()
}

func serverOf(ts *testscript.TestScript) *server {
	s := *ts.Value(running{}).(**server)
	if s == nil {
		ts.Fatalf("no server was started")
	}
	return s
}

func scriptRestart(ts *testscript.TestScript, neg bool, args []string) {
	s := serverOf(ts)
	s.stop()
	ts.Check(s.restart())
	ts.Setenv("PID", strconv.Itoa(s.cmd.Process.Pid))
}

func scriptAddress(ts *testscript.TestScript, neg bool, args []string) {
	addr, err := freeAddr()
	ts.Check(err)
	ts.Setenv("REGISTRY", addr)
	ts.Setenv("REGISTRY_HTTP_ADDR", addr)
}

func scriptReady(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(awaitReady(ts.Getenv("REGISTRY"), nil))
}

func scriptEngine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: engine docker|containerd")
	}
	switch args[0] {
	case "docker":
		e, err := shared.docker()
		ts.Check(err)
		ts.Setenv("DOCKER_HOST", "unix://"+e.socket)
	case "containerd":
		e, err := shared.containerd()
		ts.Check(err)
		ts.Setenv("CONTAINERD_ADDRESS", e.socket)
		ts.Setenv("CONTAINERD_SNAPSHOTTER", "native")
	default:
		ts.Fatalf("there is no engine %s", args[0])
	}
}

// scriptNamespace lays a writable layer over /etc and /var/lib, in a mount
// namespace that lives as long as the process which it starts.
func scriptNamespace(ts *testscript.TestScript, neg bool, args []string) {
	layers := filepath.Join(ts.Getenv("WORK"), "layers")
	ts.Check(os.Mkdir(layers, 0o700))
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", `
		set -e
		mount -t tmpfs layers "$0"
		for d in etc var/lib; do
			mkdir -p "$0/upper/$d" "$0/work/$d"
			mount -t overlay layer -o "lowerdir=/$d,upperdir=$0/upper/$d,workdir=$0/work/$d" "/$d"
		done
		mkdir -p /etc/docker/registry /var/lib/registry
		echo done
		exec sleep 600`, layers)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		ts.Fatalf("make the namespace: %v", err)
	}
	ts.Setenv("NS", fmt.Sprintf("/proc/%d/ns/mnt", cmd.Process.Pid))
}

func scriptDigest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: digest NAME:TAG")
	}
	repo, tag, _ := strings.Cut(args[0], ":")
	c := &client{base: "http://" + ts.Getenv("REGISTRY"), user: "user1", password: "secret1"}
	resp, err := c.send("HEAD", "/v2/"+repo+"/manifests/"+tag, nil, map[string]string{"Accept": mediaTypes})
	ts.Check(err)
	if resp.status != http.StatusOK {
		ts.Fatalf("HEAD %s: %d", args[0], resp.status)
	}
	ts.Setenv("DIGEST", resp.header.Get("Docker-Content-Digest"))
}
