package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An auditEvent is one line of the audit log, as far as the tests look at it.
type auditEvent struct {
	Time                                              time.Time
	Event, Result, User, Provider, Method, Credential string
	Address, Agent, Repository, Digest, Scope, Target string
	Groups, Tags                                      []string
	Status, Rule, Count                               int
	Reason, Comment, Ref                              string
}

// audit returns what "berth audit" finds, in JSON.
func (s *server) audit(t *testing.T, args ...string) []auditEvent {
	t.Helper()
	var events []auditEvent
	for line := range strings.Lines(s.command(t, append([]string{"audit", "-o", "json"}, args...)...)) {
		var e auditEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		events = append(events, e)
	}
	return events
}

// command runs berth with the configuration of s and returns what it prints.
func (s *server) command(t *testing.T, args ...string) string {
	t.Helper()
	binary, err := shared.berth()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, append(args, "--config", s.args[1])...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), s.env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("berth %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// oneEvent waits until there is exactly one event that the flags ask for, and
// returns it.
func (s *server) oneEvent(t *testing.T, args ...string) auditEvent {
	t.Helper()
	var events []auditEvent
	eventually(t, "one event for "+strings.Join(args, " "), func() bool {
		events = s.audit(t, args...)
		return len(events) > 0
	})
	if len(events) != 1 {
		t.Fatalf("%q: %+v", args, events)
	}
	return events[0]
}

// want fails unless the fields of e are as said, in the form "key: value".
func (e auditEvent) want(t *testing.T, fields ...string) {
	t.Helper()
	got := map[string]string{
		"event": e.Event, "result": e.Result, "user": e.User, "provider": e.Provider, "method": e.Method, "address": e.Address,
		"repository": e.Repository, "digest": e.Digest, "scope": e.Scope, "target": e.Target, "groups": strings.Join(e.Groups, ","),
		"tags": strings.Join(e.Tags, ","), "status": fmt.Sprint(e.Status), "rule": fmt.Sprint(e.Rule), "reason": e.Reason,
		"comment": e.Comment, "ref": e.Ref,
	}
	for _, field := range fields {
		key, value, _ := strings.Cut(field, ": ")
		if got[key] != value {
			t.Errorf("%s of the %s is %q, want %q", key, e.Event, got[key], value)
		}
	}
	if time.Since(e.Time).Abs() > time.Minute {
		t.Errorf("time %v", e.Time)
	}
}

// TestAudit does one thing after the other and asks what the audit log says.
func TestAudit(t *testing.T) {
	s := serve(t, "audit.yml")
	alice := &client{base: s.url(), user: "alice", password: "secret-alice"}
	wrong := &client{base: s.url(), user: "alice", password: "wrong"}
	img := newImage("what is audited")

	started := s.oneEvent(t, "--event", "start")
	started.want(t, "result: ok", "user: local")

	resp := wrong.expect(t, 401, "GET", "/v2/")
	e := s.oneEvent(t, "--failed")
	e.want(t, "event: login", "result: failed", "user: alice", "method: basic", "address: 127.0.0.1", "status: 401",
		"reason: wrong user name or password", "ref: "+resp.header.Get("X-Request-Id"))
	if !strings.HasPrefix(e.Agent, "Go-http-client") {
		t.Errorf("agent %q", e.Agent)
	}

	digest := alice.mustPush(t, "team-a/app", "v1", img)
	s.oneEvent(t, "--event", "push").want(t, "result: ok", "user: alice", "provider: htpasswd", "groups: team-a", "method: basic",
		"repository: team-a/app", "tags: v1", "digest: "+digest, "rule: 2", "comment: team builds", "address: 127.0.0.1")
	if events := s.audit(t, "--event", "login", "--user", "alice"); len(events) != 2 || events[1].Result != "ok" || events[1].Provider != "htpasswd" {
		t.Errorf("logins: %+v", events)
	}

	if err := alice.pull("team-a/app", "v1", img); err != nil {
		t.Error(err)
	}
	s.oneEvent(t, "--event", "pull").want(t, "user: alice", "repository: team-a/app", "tags: v1", "digest: "+digest)

	alice.bearer(t, "repository:team-a/app:pull")
	s.oneEvent(t, "--event", "token").want(t, "user: alice", "scope: repository:team-a/app:pull", "repository: team-a/app")

	header := map[string]string{"Content-Type": mediaTypeManifest}
	refusal := alice.do(t, "PUT", "/v2/team-a/frozen/app/manifests/v1", img.manifest, header)
	ref := refusal.header.Get("X-Request-Id")
	s.oneEvent(t, "--denied", "--repository", "team-a/**").want(t, "event: refused", "result: denied", "user: alice", "tags: v1",
		"repository: team-a/frozen/app", "rule: 3", "comment: frozen for the audit", "ref: "+ref, "status: 403",
		"reason: user alice may not push to team-a/frozen/app:v1")

	alice.expect(t, 202, "DELETE", "/v2/team-a/app/manifests/v1")
	s.oneEvent(t, "--event", "delete").want(t, "user: alice", "tags: v1", "rule: 2")

	add := exec.Command(filepath.Join(shared.dir, "bin", "berth"), "user", "add", "erin", "--group", "team-a", "--password-stdin", "--config", s.args[1])
	add.Stdin = strings.NewReader("secret-erin\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.oneEvent(t, "--event", "user", "--user", "erin").want(t, "event: user.add", "result: ok", "user: local", "method: local", "target: erin", "reason: in team-a")

	auditReload(t, s, started.Digest)
	auditAfterRestart(t, s, ref)
}

// auditReload changes the rules, and then spoils them.
func auditReload(t *testing.T, s *server, before string) {
	t.Helper()
	config, err := os.ReadFile(s.args[1])
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(s.args[1], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	more := string(config) + "  - {name: carol, type: registry, action: pull}\n"
	write(more)
	e := s.oneEvent(t, "--event", "rules")
	e.want(t, "result: ok", "user: local", "target: "+s.args[1])
	if e.Digest == before || !strings.HasPrefix(e.Digest, "sha256:") || !strings.HasPrefix(before, "sha256:") {
		t.Errorf("rules were %s and are %s", before, e.Digest)
	}
	write(more + "nonsense: true\n")
	eventually(t, "the server has seen it", func() bool { return strings.Contains(s.log.String(), "the old one stays in force") })
	write(more)
	var failed []auditEvent
	eventually(t, "a configuration that cannot be used", func() bool {
		failed = s.audit(t, "--event", "config", "--failed")
		return len(failed) == 1
	})
	if failed[0].Digest != e.Digest || !strings.Contains(failed[0].Reason, "nonsense") {
		t.Errorf("%+v", failed[0])
	}
}

// auditAfterRestart asks for what only the files can tell.
func auditAfterRestart(t *testing.T, s *server, ref string) {
	t.Helper()
	s.stop()
	if got := s.command(t, "access", "explain", "--ref", ref); !strings.Contains(got, "frozen for the audit") {
		t.Errorf("without a server: %s", got)
	}
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
	if got := s.command(t, "access", "explain", "--ref", strings.ToLower(ref)); !strings.Contains(got, "alice was refused (403) from 127.0.0.1") || !strings.Contains(got, "frozen for the audit") {
		t.Errorf("after a restart: %s", got)
	}
	events := s.audit(t)
	for i := 1; i < len(events); i++ {
		if events[i].Time.Add(time.Second).Before(events[i-1].Time) {
			t.Errorf("%v after %v", events[i].Time, events[i-1].Time)
		}
	}
	if n := len(s.audit(t, "--event", "stop")); n != 1 {
		t.Errorf("stopped %d times", n)
	}
	table := s.command(t, "audit", "--user", "alice", "--event", "push")
	if !strings.HasPrefix(table, "TIME") || !strings.Contains(table, " team-a/app:v1@sha256:") || !strings.Contains(table, "rule 2  # team builds") {
		t.Errorf("as a table: %s", table)
	}
}

// TestAuditFollow reads along while something happens.
func TestAuditFollow(t *testing.T) {
	s := serve(t, "audit.yml")
	binary, err := shared.berth()
	if err != nil {
		t.Fatal(err)
	}
	out := new(output)
	cmd := exec.Command(binary, "audit", "-f", "--denied", "--config", s.args[1])
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	eventually(t, "it has begun", func() bool { return strings.Contains(out.String(), "TIME") })
	nobody := &client{base: s.url()}
	ref := nobody.expect(t, 401, "GET", "/v2/team-a/app/tags/list").header.Get("X-Request-Id")
	eventually(t, "the refusal comes", func() bool { return strings.Contains(out.String(), ref) })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted: %v: %s", err, out)
	}
}

// TestSecretsStayOut logs in with every kind of secret, right and wrong, and
// looks for them in all that berth tells anybody.
func TestSecretsStayOut(t *testing.T) {
	debug, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	p := newPlatform(t)
	s := serve(t, "audit.yml", "REGISTRY_LOG_LEVEL=debug", "REGISTRY_HTTP_DEBUG_ADDR="+debug, "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED=true",
		"REGISTRY_HTTP_SECRET=canary-of-http",
		fmt.Sprintf("REGISTRY_AUTH_TRUST=[{name: ci, issuer: %q, audience: hub.test, match: {sub: id-of-app}, user: 'job:{project}'}]", p.URL))
	var told strings.Builder
	send := func(c *client, method, path, body string, header map[string]string) *response {
		t.Helper()
		resp := c.do(t, method, path, []byte(body), header)
		if resp.status >= http.StatusBadRequest {
			fmt.Fprintln(&told, resp.header, string(resp.body))
		}
		return resp
	}
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	login := func(values url.Values) tokens {
		t.Helper()
		var answer tokens
		resp := send(&client{base: s.url()}, "POST", "/auth/token", values.Encode(), form)
		if resp.status == http.StatusOK {
			if err := json.Unmarshal(resp.body, &answer); err != nil {
				t.Fatal(err)
			}
		}
		return answer
	}
	password := func(user, password string) url.Values {
		return url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}, "access_type": {"offline"}, "scope": {"repository:team-a/app:push"}}
	}
	got := login(password("alice", "secret-alice"))
	if got.AccessToken == "" || got.RefreshToken == "" {
		t.Fatalf("no tokens: %+v", got)
	}
	job, stranger := p.job(t, "app", "main"), p.job(t, "other", "main")
	robot := s.manage(t, "audit.yml", "robot", "add", "r1", "--repository", "team-a/app", "--action", "pull")
	personal := s.manage(t, "audit.yml", "token", "add", "--user", "alice", "--name", "laptop")
	secrets := []string{
		"canary-of-http", "canary-wrong", "canary-form", "canary-query", "canary-nobody", "secret-alice", "secret-root",
		got.AccessToken, got.RefreshToken, job, stranger, robot, personal,
	}

	for _, c := range []*client{
		{user: "job", password: job}, {user: "job", password: stranger}, {user: job, password: "x"}, {token: job},
		{user: "robot:r1", password: robot}, {user: "r1", password: personal}, {user: robot, password: "x"}, {token: robot},
		{user: "alice", password: personal}, {user: "alice", password: personal + "x"}, {user: personal, password: "x"},
		{user: "alice", password: "secret-alice"}, {user: "alice", password: "canary-wrong"}, {user: "nobody", password: "canary-nobody"},
		{user: "alice", password: got.RefreshToken}, {user: got.RefreshToken, password: "x"}, {user: got.AccessToken, password: "x"},
		{token: got.AccessToken}, {token: got.RefreshToken}, {token: got.AccessToken + "x"}, {token: "canary-wrong"},
	} {
		c.base = s.url()
		for _, path := range []string{"/v2/", "/v2/team-b/app/manifests/v1", "/auth/token?scope=repository:team-a/app:push"} {
			send(c, "GET", path, "", nil)
		}
		send(c, "PUT", "/v2/team-a/app/manifests/v1", "{}", nil)
	}
	login(password("alice", "canary-form"))
	login(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.RefreshToken}})
	login(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.RefreshToken + "canary-form"}})
	send(&client{base: s.url()}, "POST", "/auth/token?"+password("alice", "canary-query").Encode(), "", form)
	root := &client{base: s.url(), user: "root", password: "secret-root"}
	fmt.Fprintln(&told, string(send(root, "GET", "/metrics", "", nil).body))
	for _, path := range []string{"/metrics", "/debug/health", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2"} {
		fmt.Fprintln(&told, string((&client{base: "http://" + debug}).expect(t, 200, "GET", path).body))
	}
	fmt.Fprintln(&told, s.command(t, "config", "show"), s.command(t, "token", "list"), s.command(t, "user", "list", "-o", "json"))
	s.stop()
	fmt.Fprintln(&told, s.log.String(), s.command(t, "audit"), s.command(t, "audit", "-o", "json"))
	for _, user := range []string{"robot:r1", "ci/job:app"} {
		if e := s.audit(t, "--event", "login", "--user", user); len(e) == 0 || e[0].Result != "ok" || e[0].Credential == "" {
			t.Errorf("logins of %s: %+v", user, e)
		}
	}
	log, err := os.ReadFile(filepath.Join(s.dir, "data", "audit", "audit.log"))
	if err != nil || len(log) < 1000 {
		t.Fatalf("the audit log: %d bytes, %v", len(log), err)
	}
	told.Write(log)
	for _, secret := range secrets {
		basic := base64.StdEncoding.EncodeToString([]byte("alice:" + secret))
		for _, form := range []string{secret, url.QueryEscape(secret), basic} {
			if i := strings.Index(told.String(), form); i >= 0 {
				t.Errorf("%s is told: %s", secret, told.String()[max(0, i-300):i+len(form)])
			}
		}
	}
}

// tokens are what the token server gives.
type tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
}

// TestAuditRequired fills the disk of the audit log. Where that is required,
// nothing is changed until there is room again.
func TestAuditRequired(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		if inCI() {
			t.Fatal("only root can mount a small disk: ", err)
		}
		t.Skip("only root can mount a small disk: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	s := serve(t, "audit.yml", "REGISTRY_AUDIT_PATH="+filepath.Join(disk, "audit.log"), "REGISTRY_AUDIT_REQUIRED=true")
	alice := &client{base: s.url(), user: "alice", password: "secret-alice"}
	img := newImage("what is audited")
	alice.mustPush(t, "team-a/app", "v1", img)

	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, 128<<10), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	push := func() int {
		resp, err := alice.push("team-a/app", "v2", img)
		if err != nil {
			t.Fatal(err)
		}
		return resp.status
	}
	eventually(t, "a push is refused", func() bool { return push() == http.StatusServiceUnavailable })
	if body := alice.expect(t, 200, "GET", "/readyz").body; !strings.Contains(string(body), `"audit"`) {
		t.Errorf("ready: %s", body)
	}
	if err := alice.pull("team-a/app", "v1", img); err != nil {
		t.Errorf("reading goes on: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a push is taken again", func() bool { return push() == http.StatusCreated })
	if body := alice.expect(t, 200, "GET", "/readyz").body; strings.Contains(string(body), "audit") {
		t.Errorf("ready: %s", body)
	}
}
