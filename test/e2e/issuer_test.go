package e2e

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/authority"
)

// TestTokenServerOfDistribution makes berth the token server of Distribution, of
// either version: real registries that know nothing of berth but a key.
func TestTokenServerOfDistribution(t *testing.T) {
	for _, version := range []struct{ name, program string }{{"3", "registry"}, {"2.8", "docker-registry"}} {
		for _, by := range []struct{ name, key, kid string }{
			{"RSA signed by itself", "RSA", ""},
			{"P-256 of an authority", "P-256", ""},
			{"P-384 by libtrust", "P-384", "libtrust"},
			{"the key of berth", "", ""},
		} {
			if by.key == "" && version.name == "2.8" {
				continue // it knows no EdDSA, and no list of keys
			}
			t.Run(version.name+" "+by.name, func(t *testing.T) {
				need(t, version.program, "crane")
				testTokenServer(t, version.program, by.key, by.kid)
			})
		}
	}
}

func testTokenServer(t *testing.T, program, key, kid string) {
	dir := t.TempDir()
	if err := prepare(dir, "issuer.yml"); err != nil {
		t.Fatal(err)
	}
	var env []string
	trusted := "rootcertbundle: " + filepath.Join(dir, "roots.pem")
	if key != "" {
		env = writeSigner(t, dir, key)
	}
	if kid != "" {
		env = append(env, "REGISTRY_AUTH_ISSUER_KID="+kid)
	}
	s, err := launch(dir, []string{"serve", filepath.Join(dir, "issuer.yml")}, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	if key == "" {
		keys := (&client{base: s.url()}).expect(t, 200, "GET", "/auth/jwks")
		if err := os.WriteFile(filepath.Join(dir, "keys.json"), keys.body, 0o600); err != nil {
			t.Fatal(err)
		}
		trusted = "jwks: " + filepath.Join(dir, "keys.json")
	}
	// The name localhost, because crane does not ask an address of a network of
	// one's own for tokens.
	_, port, _ := net.SplitHostPort(s.addr)
	peer := startDistribution(t, program, `auth: {token: {realm: "http://localhost:`+port+
		`/auth/token", service: registry.example.org, issuer: tokens.example.org, `+trusted+"}}\n")
	tryDistribution(t, s, peer)
}

// writeSigner writes a certificate for tokens, and what is to be trusted for it,
// and returns the variables that name it.
func writeSigner(t *testing.T, dir, kind string) []string {
	t.Helper()
	key := authority.NewKey(t, kind)
	cert, private, roots := filepath.Join(dir, "tokens.pem"), filepath.Join(dir, "tokens.key"), filepath.Join(dir, "roots.pem")
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "tokens"}, KeyUsage: x509.KeyUsageDigitalSignature}
	if kind == "P-256" {
		root := authority.New(t, "root")
		between := root.Below(t, "between")
		authority.Write(t, cert, private, key, between.Issue(t, template, key.Public()), between.Cert)
		authority.Write(t, roots, "", nil, root.Cert)
	} else {
		self := authority.Sign(t, template, nil, key.Public(), key)
		authority.Write(t, cert, private, key, self)
		authority.Write(t, roots, "", nil, self)
	}
	return []string{"REGISTRY_AUTH_ISSUER_CERTIFICATE=" + cert, "REGISTRY_AUTH_ISSUER_KEY=" + private}
}

// startDistribution runs Distribution with that authentication, and returns its
// address.
func startDistribution(t *testing.T, program, auth string) string {
	t.Helper()
	dir := t.TempDir()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("version: 0.1\nlog: {level: warn}\nhttp: {addr: %q, secret: s}\nstorage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}\n%s",
		addr, filepath.Join(dir, "data"), auth)
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(output)
	cmd := exec.Command(program, "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-exited
		if t.Failed() {
			t.Logf("%s said:\n%s", program, log)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + addr + "/v2/")
		if err == nil {
			resp.Body.Close()
			return addr
		}
		select {
		case <-exited:
			t.Fatalf("%s does not run", program)
		default:
		}
	}
	t.Fatalf("%s does not answer after 20 s", program)
	return ""
}

// tryDistribution does at the peer what berth's rules allow, and what they do
// not.
func tryDistribution(t *testing.T, s *server, peer string) {
	home := t.TempDir()
	layer, err := layerOf("hello.txt", "hello\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "layer.tar"), layer, 0o600); err != nil {
		t.Fatal(err)
	}
	crane := func(want string, args ...string) {
		t.Helper()
		cmd := exec.Command("crane", append(args, "--insecure")...)
		cmd.Dir = home
		cmd.Env = append(os.Environ(), "HOME="+home, "DOCKER_CONFIG="+home)
		if args[0] == "auth" {
			cmd.Args = append([]string{"crane"}, args...) // which has no such flag
			cmd.Stdin = strings.NewReader(passwords()[args[len(args)-2]])
		}
		out, err := cmd.CombinedOutput()
		said := strings.ToUpper(string(out))
		if want != "" && strings.Contains(said, "BODY LENGTH 0") {
			said = want // after a refusal crane may send again what it has sent already
		}
		if (err == nil) != (want == "") || !strings.Contains(said, want) {
			t.Fatalf("crane %s: %v, want an error of %q: %s", strings.Join(args, " "), err, want, out)
		}
	}
	const refused = "UNAUTHORIZED"
	login := func(user string) { t.Helper(); crane("", "auth", "login", peer, "-u", user, "--password-stdin") }
	push := func(want, image string) {
		t.Helper()
		crane(want, "append", "-f", "layer.tar", "-t", peer+image)
	}
	push(refused, "/public/app:v1")
	login("user1")
	push("", "/team/app:v1")
	push("", "/public/app:v1")
	crane("", "catalog", peer)
	crane("", "manifest", peer+"/team/app:v1")

	login("user2")
	crane("", "manifest", peer+"/team/app:v1")
	push(refused, "/team/app:v2")
	push(refused, "/team/app:dev-1") // what berth would allow for this tag alone
	push(refused, "/other/app:v1")
	crane(refused, "catalog", peer)

	crane("", "auth", "logout", peer)
	crane("", "manifest", peer+"/public/app:v1")
	crane(refused, "manifest", peer+"/team/app:v1")

	// The token opens nothing at berth itself.
	resp := (&client{base: s.url(), user: "user1", password: "secret1"}).
		do(t, "GET", "/auth/token?service=registry.example.org&scope=repository:team/app:pull", nil, nil)
	_, token, _ := strings.Cut(string(resp.body), `"token":"`)
	token, _, _ = strings.Cut(token, `"`)
	(&client{base: s.url(), token: token}).expect(t, 401, "GET", "/v2/")
	(&client{base: "http://" + peer, token: token}).expect(t, 200, "GET", "/v2/team/app/manifests/v1")
}
