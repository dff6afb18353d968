package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// A mode is how requests are authenticated.
type mode string

const (
	anonymous mode = "anonymous"
	basic     mode = "Basic"
	bearer    mode = "Bearer"
)

const (
	user     = "bench"
	password = "correct horse battery"
	service  = "berth"

	distribution = "github.com/distribution/distribution/v3/cmd/registry@v3.1.2"
)

// A target is something that is measured. Where one process cannot serve every
// mode there are several, over the same data.
type target struct {
	name string
	at   map[mode]*process
}

// A lab is the servers of one run and the folder that holds all they write.
type lab struct {
	dir       string // removed at the end
	root      string // of berth's repository
	berth     *target
	peer      *target
	standIn   *target    // a token server
	files     *target    // nginx; nil where it is not installed
	slapd     string     // address of the directory
	directory *directory // nil where slapd is not installed
	debug     string     // address of berth's profiles
	data      string     // berth's
	peerData  string
	peerRoot  string          // where in it Distribution keeps its names
	auth      map[mode]string // the line of a header
	done      map[string]bool // what once has done

	interrupted atomic.Bool
	mu          sync.Mutex
	running     []*process
}

// once runs f unless it was run under that name before.
func (l *lab) once(name string, f func() error) error {
	if l.done[name] {
		return nil
	}
	if err := f(); err != nil {
		return fmt.Errorf("prepare %s: %w", name, err)
	}
	l.done[name] = true
	return nil
}

// newLab makes the folder of a lab. It must be closed.
func newLab(root, scratch string) (*lab, error) {
	dir, err := os.MkdirTemp(scratch, "berth-bench-")
	if err != nil {
		return nil, err
	}
	if err := keepApart(dir); err != nil {
		return nil, err
	}
	return &lab{dir: dir, root: root, auth: map[mode]string{anonymous: ""}, done: make(map[string]bool)}, nil
}

// start builds and starts everything.
func (l *lab) start() error {
	for _, step := range []func() error{l.makeFolders, l.build, l.writeUsers, l.startBerth, l.fetchToken, l.startPeer, l.startStandIn, l.startFiles} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// close ends the servers and removes their data.
func (l *lab) close() error {
	l.mu.Lock() // for good: nothing starts afterwards
	for _, p := range l.running {
		p.stop()
	}
	return os.RemoveAll(l.dir)
}

// closeOnSignal closes l and ends this program when it is interrupted, until
// the function that it returns is called.
func (l *lab) closeOnSignal() func() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if s, ok := <-signals; ok {
			fmt.Fprintln(os.Stderr, "bench:", s)
			l.interrupted.Store(true)
			if err := l.close(); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
			}
			os.Exit(1)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}

// makeFolders makes the folders of the data. Their names are new ones, because
// ext4 looks at the name to find a place.
func (l *lab) makeFolders() (err error) {
	if l.data, err = os.MkdirTemp(l.dir, "berth-"); err == nil {
		l.peerData, err = os.MkdirTemp(l.dir, "peer-")
	}
	return err
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) peerBinary() string { return filepath.Join(l.root, ".cache", "bin", "registry") }

// build makes berth's binary, and Distribution's where that version is missing.
func (l *lab) build() error {
	err := run(l.root, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", l.path("berth"), "./cmd/berth")
	if err != nil {
		return err
	}
	_, version, _ := strings.Cut(distribution, "@")
	if info, err := buildinfo.ReadFile(l.peerBinary()); err == nil && info.Main.Version == version {
		return nil
	}
	fmt.Fprintln(os.Stderr, "building "+distribution)
	// Another folder, so that no module here has a say in what is built.
	return run(l.dir, []string{"CGO_ENABLED=0", "GOFLAGS=", "GOBIN=" + filepath.Dir(l.peerBinary())}, "go", "install", "-trimpath", distribution)
}

func run(dir string, env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s %s: %w: %s", name, args[0], err, out)
	}
	return nil
}

func (l *lab) writeUsers() error {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 10)
	if err != nil {
		return err
	}
	l.auth[basic] = "Authorization: Basic " + basicValue
	return os.WriteFile(l.path("htpasswd"), fmt.Appendf(nil, "%s:%s\n", user, hash), 0o600)
}

// launch starts a server whose configuration is text, filled.
func (l *lab) launch(name, text, binary string, args ...string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	file := l.path(name + ".yml")
	if err := os.WriteFile(file, []byte(l.fill(text, addr)), 0o600); err != nil {
		return nil, err
	}
	return l.run(name, addr, binary, append(args, file)...)
}

// fill puts into a configuration what is known when a server starts at addr.
func (l *lab) fill(text, addr string) string {
	return strings.NewReplacer("{addr}", addr, "{debug}", l.debug, "{dir}", l.dir, "{data}", l.data, "{peer}", l.peerData, "{slapd}", l.slapd).Replace(text)
}

// run starts a server that is stopped when l is closed.
func (l *lab) run(name, addr, binary string, args ...string) (*process, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := start(addr, l.path(name+".log"), binary, args...)
	if err != nil {
		return nil, err
	}
	l.running = append(l.running, p)
	return p, nil
}

// berthConfig has authentication and rules on, whoever asks: without credentials
// as with them, the gate decides on every request.
const berthConfig = `version: 0.1
log: {level: error, accesslog: {disabled: true}}
http: {addr: "{addr}", debug: {addr: "{debug}"}}
storage: {filesystem: {rootdirectory: "{data}"}, delete: {enabled: true}}
auth:
  htpasswd: {realm: bench, path: "{dir}/htpasswd"}
  issuer: {service: berth, expiration: 24h}
access:
  - {name: anonymous, type: registry, action: [pull, push]}
  - {name: bench, type: registry, action: "*"}
`

func (l *lab) startBerth() error {
	var err error
	if l.debug, err = freeAddr(); err != nil {
		return err
	}
	p, err := l.launch("berth", berthConfig, l.path("berth"), "serve")
	if err != nil {
		return err
	}
	l.berth = &target{name: "berth", at: map[mode]*process{anonymous: p, basic: p, bearer: p}}
	return nil
}

// fetchToken asks berth for the bearer token that both registries are shown,
// and for the key that Distribution needs to believe it.
func (l *lab) fetchToken() error {
	base := "http://" + l.berth.at[basic].addr
	scopes := []string{"registry:catalog:*"}
	for _, repo := range []string{repoImage, repoPush, repoFew, repoMany} {
		scopes = append(scopes, "repository:"+repo+":pull,push")
	}
	req, err := http.NewRequest("GET", base+"/auth/token?service="+service+"&scope="+strings.ReplaceAll(strings.Join(scopes, "&scope="), ":*", ":%2A"), nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(user, password)
	var answer struct {
		Token string `json:"token"`
	}
	data, err := get(req)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("read a token: %w", err)
	}
	l.auth[bearer] = "Authorization: Bearer " + answer.Token
	if req, err = http.NewRequest("GET", base+"/auth/jwks", nil); err != nil {
		return err
	}
	if data, err = get(req); err != nil {
		return err
	}
	return os.WriteFile(l.path("jwks.json"), data, 0o600)
}

func get(req *http.Request) ([]byte, error) {
	client := http.Client{Timeout: 2 * time.Minute}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", req.URL.Path, err)
	}
	return data, nil
}

// peerConfig is Distribution's own example, with its descriptor cache on and
// its logs off.
const peerConfig = `version: 0.1
log: {level: error, accesslog: {disabled: true}}
http: {addr: "{addr}", secret: bench}
storage:
  filesystem: {rootdirectory: "{peer}"}
  cache: {blobdescriptor: inmemory}
  delete: {enabled: true}
`

func (l *lab) startPeer() error {
	l.peerRoot = filepath.Join(l.peerData, "docker", "registry", "v2")
	l.peer = &target{name: "Distribution", at: make(map[mode]*process)}
	for _, m := range []struct {
		mode mode
		auth string
	}{
		{anonymous, ""},
		{basic, "auth: {htpasswd: {realm: bench, path: \"{dir}/htpasswd\"}}\n"},
		{bearer, "auth: {token: {realm: \"http://127.0.0.1/token\", service: berth, issuer: berth, jwks: \"{dir}/jwks.json\"}}\n"},
	} {
		p, err := l.launch("peer-"+string(m.mode), peerConfig+m.auth, l.peerBinary(), "serve")
		if err != nil {
			return err
		}
		l.peer.at[m.mode] = p
	}
	return nil
}
