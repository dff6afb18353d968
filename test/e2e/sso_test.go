package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// ssoConfig lets in whom the provider vouches for, and developers of his push.
const ssoConfig = `version: 0.1
http: {addr: '%[1]s'}
storage: {filesystem: {rootdirectory: $DIR/data}}
auth:
  accounts: {enabled: true}
  oidc:
    - {name: sso, issuer: 'http://%[2]s', clientid: berth, clientsecret: client-secret, scopes: [openid, profile, groups, offline_access], prompt: consent, interval: 10s}
access:
  - {name: "*", type: repository, repositories: ["team/**"], action: pull}
  - {group: sso/developers, type: repository, repositories: ["team/**"], action: push}
`

// TestSignInWithBrowser: people who have no password here sign in elsewhere, and
// go on with tokens. The provider is a certified one, the browser a real one.
func TestSignInWithBrowser(t *testing.T) {
	need(t, "node", "chromium", "crane")
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	provider := startProvider(t, "http://"+addr+"/ui/callback/sso")
	s := start(t, fmt.Sprintf(ssoConfig, addr, provider), nil)
	s.addr = addr
	if err := awaitReady(addr, s.exited); err != nil {
		t.Fatal(err)
	}
	alice, bob := newBrowser(t, s), newBrowser(t, s)

	img := newImage("the app of the team")
	aliceToken := &client{base: s.url(), user: "sso/alice", password: alice.signIn("alice").newToken("laptop")}
	bobToken := &client{base: s.url(), user: "sso/bob", password: bob.signIn("bob").newToken("laptop")}
	aliceToken.mustPush(t, "team/app", "v1", img)
	if err := bobToken.pull("team/app", "v1", img); err != nil {
		t.Error(err)
	}
	if resp, err := bobToken.push("team/app", "v2", img); err != nil || resp.status != http.StatusForbidden {
		t.Errorf("bob is no developer, and pushes: %v, %v", resp, err)
	}
	t.Run("clients", func(t *testing.T) { ssoClients(t, s, aliceToken) })
	t.Run("command line", func(t *testing.T) { ssoCommandLine(t, s, alice, img) })
	t.Run("groups", func(t *testing.T) {
		change(t, "PUT", "http://"+provider+"/test/bob?groups=developers")
		within(t, 25*time.Second, "bob is a developer now", func() bool {
			resp, err := bobToken.push("team/app", "v2", img)
			return err == nil && resp.status == http.StatusCreated
		})
	})
	t.Run("revoked", func(t *testing.T) {
		alice.do(alice.visit("/ui/tokens"), chromedp.Click(`//tr[td="laptop"]//button`), see(`//h1[text()="Personal tokens"]`))
		eventually(t, "the token is refused", func() bool {
			return aliceToken.do(t, "GET", "/v2/team/app/manifests/v1", nil, nil).status == http.StatusUnauthorized
		})
	})
	t.Run("no longer vouched for", func(t *testing.T) {
		change(t, "DELETE", "http://"+provider+"/test/bob")
		within(t, 25*time.Second, "bob is out", func() bool {
			return bobToken.do(t, "GET", "/v2/team/app/manifests/v1", nil, nil).status == http.StatusUnauthorized
		})
		bob.do(bob.visit("/ui/tokens"), see(`//h1[text()="Sign in"]`))
		bob.signIn("bob")
		eventually(t, "his token is good again", func() bool {
			return bobToken.do(t, "GET", "/v2/team/app/manifests/v1", nil, nil).status == http.StatusOK
		})
	})
	t.Run("a password", func(t *testing.T) {
		wrong := &client{base: s.url(), user: "sso/alice", password: "secret"}
		if resp := wrong.do(t, "GET", "/v2/", nil, nil); resp.status != http.StatusUnauthorized || !strings.Contains(string(resp.body), "personal token at") {
			t.Errorf("%d %s", resp.status, resp.body)
		}
	})
}

// ssoClients logs real clients in with a token.
func ssoClients(t *testing.T, s *server, c *client) {
	home := t.TempDir()
	run := func(stdin string, args ...string) {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "HOME="+home, "DOCKER_CONFIG="+home)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	run(c.password, "crane", "auth", "login", s.addr, "-u", c.user, "--password-stdin")
	run("", "crane", "copy", s.addr+"/team/app:v1", s.addr+"/team/copy:v1")
	if lack := missing("root", "docker", "dockerd"); lack != "" {
		lacking(t, lack)
		return
	}
	e, err := shared.docker()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_HOST", "unix://"+e.socket)
	layer, err := layerOf("hello.txt", "hello\n")
	if err != nil {
		t.Fatal(err)
	}
	image := s.addr + "/team/docker:v1"
	run(c.password, "docker", "login", s.addr, "-u", c.user, "--password-stdin")
	run(string(layer), "docker", "import", "-", image)
	run("", "docker", "push", image)
	run("", "docker", "rmi", image)
	run("", "docker", "pull", image)
}

// ssoCommandLine runs "berth login" and confirms it in the browser.
func ssoCommandLine(t *testing.T, s *server, b *pages, img image) {
	binary, err := shared.berth()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "login", "--print", s.addr)
	var stdout, stderr output
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	code := ""
	eventually(t, "a code", func() bool {
		code = regexp.MustCompile(`[B-Z]{4}-[B-Z]{4}`).FindString(stderr.String())
		return code != ""
	})
	b.do(b.visit("/ui/device"), chromedp.SendKeys(chromedp.CSS("#code"), code), chromedp.Submit(chromedp.CSS("#code")),
		chromedp.Click(`//button[@value="allow"]`), see(chromedp.CSS(`[role=status]`)))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	c := &client{base: s.url(), user: "sso/alice", password: strings.TrimSpace(stdout.String())}
	if err := c.pull("team/app", "v1", img); err != nil {
		t.Error(err)
	}
}

// startProvider starts the provider and returns its address.
func startProvider(t *testing.T, callback string) string {
	t.Helper()
	module, err := filepath.Abs("../../.cache/node/node_modules/oidc-provider/lib/index.js")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(module); err != nil {
		lacking(t, `not installed: oidc-provider ("make deps" installs it)`)
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "testdata/oidc/provider.mjs")
	cmd.Env = append(os.Environ(), "MODULE="+module, "PORT="+port, "CALLBACK="+callback, "CLIENT_SECRET=client-secret")
	log := new(output)
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("the provider said:\n%s", log)
		}
	})
	ready := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(stdout).ReadString('\n')
		ready <- err
	}()
	select {
	case err := <-ready:
		if err != nil {
			t.Fatalf("the provider does not start: %v\n%s", err, log)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("the provider is not ready after 30 s\n%s", log)
	}
	return addr
}

// change changes something at the provider.
func change(t *testing.T, method, address string) {
	t.Helper()
	r, err := http.NewRequest(method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("%s %s: %s", method, address, resp.Status)
	}
}

// within is eventually for what takes longer.
func within(t *testing.T, most time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(most); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", most, what)
}

// pages is a browser that visits the pages of a server.
type pages struct {
	t   *testing.T
	s   *server
	ctx context.Context
}

// newBrowser starts a browser that nobody has used, and ends it with the test.
func newBrowser(t *testing.T, s *server) *pages {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.DisableGPU, chromedp.NoSandbox,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(900, 900),
	}
	ctx, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...) // it ends after the test
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Log("the browser does not end:", err)
		}
		cancel()
	})
	b := &pages{t, s, ctx}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return b
}

// A step is one thing that is done in a browser.
type step = chromedp.Action[chromedp.Void]

func (b *pages) visit(path string) step { return chromedp.Navigate(b.s.url() + path) }

// see waits until a page shows what a path (XPath) or a selector (chromedp.CSS) is.
func see[S chromedp.Selectable](what S) step { return chromedp.WaitVisible(what) }

// do does things one after the other. When one of them does not work, the test
// ends with what the page shows.
func (b *pages) do(steps ...step) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.fail(err)
	}
}

func (b *pages) fail(err error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	address, _ := chromedp.Run(ctx, chromedp.Location())
	text, _ := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
	b.t.Fatalf("%v at %s:\n%s", err, address, text)
}

// signIn goes to the provider and back, and ends at the page of tokens.
func (b *pages) signIn(name string) *pages {
	b.t.Helper()
	b.do(b.visit("/ui/tokens"), chromedp.Click(`//a[contains(., "Sign in with sso")]`), see(`//button[@type="submit"]`))
	asked, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](`document.querySelector("input[name=login]") !== null`))
	if err != nil {
		b.fail(err)
	}
	if asked {
		b.do(chromedp.SendKeys(chromedp.CSS(`input[name=login]`), name), chromedp.SendKeys(chromedp.CSS(`input[name=password]`), "any"),
			chromedp.Submit(chromedp.CSS(`input[name=login]`)))
	}
	b.do(chromedp.Click(`//button[contains(., "Continue")]`), see(`//h1[text()="Personal tokens"]`))
	return b
}

// newToken makes a token and returns it.
func (b *pages) newToken(name string) string {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS("#name"), name), chromedp.Submit(chromedp.CSS("#name")), see(chromedp.CSS("#secret")))
	secret, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("#secret")))
	if err != nil {
		b.fail(err)
	}
	return secret
}
