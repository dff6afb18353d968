package audit

import (
	"encoding/json"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/oci"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 120_456_000, time.UTC)

func TestLine(t *testing.T) {
	for _, tt := range []struct {
		event Event
		want  string
	}{
		{Event{Time: noon, Kind: Stop}, `{"time":"2026-11-25T12:00:00.120Z","event":"stop"}`},
		{
			Event{
				Time: noon.In(time.FixedZone("", 7200)), Kind: Refused, Result: Denied, User: "alice", Provider: "accounts",
				Groups: []string{"dev", "ops"}, Credential: "K7", Owner: "eve", Method: Basic, Address: netip.MustParseAddr("10.1.2.3"), Agent: "docker/28",
				Repository: "team/app", Tags: []oci.Tag{"v1"}, Digest: "sha256:12", Scope: "repository:team/app:push", Target: "bob",
				Status: 403, Reason: "no rule allows it", Rule: 3, Comment: "builds <only>", Ref: "ABCDEFGHIJ", Count: 7,
			},
			`{"time":"2026-11-25T12:00:00.120Z","event":"refused","result":"denied","user":"alice","provider":"accounts",` +
				`"groups":["dev","ops"],"credential":"K7","owner":"eve","method":"basic","address":"10.1.2.3","agent":"docker/28",` +
				`"repository":"team/app","tags":["v1"],"digest":"sha256:12","scope":"repository:team/app:push","target":"bob",` +
				`"status":403,"reason":"no rule allows it","rule":3,"comment":"builds <only>","ref":"ABCDEFGHIJ","count":7}`,
		},
		// line ends, escapes of a terminal, and what turns the direction of text
		{
			Event{Time: noon, Kind: Login, User: "a\r\n\x1b[31mb\u009b2J\u2028\u202e\x7f\U000e0041é\xff"},
			`{"time":"2026-11-25T12:00:00.120Z","event":"login","user":"a\r\n\u001b[31mb\u009b2J\u2028\u202e\u007f\udb40\udc41é` + "\ufffd" + `"}`,
		},
	} {
		if got := string(tt.event.Line()); got != tt.want+"\n" {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestBound(t *testing.T) {
	long := strings.Repeat("é", 10_000)
	e := Event{
		User: long, Agent: long, Groups: strings.Split(strings.Repeat("group,", 1000), ","),
		Tags: []oci.Tag{oci.Tag(strings.Repeat("\xffx", 300)), "v1"}, Reason: strings.Repeat("\xff\xfe", 2000) + "x",
	}
	e.bound()
	if len(e.User) > maxField || !strings.HasSuffix(e.User, "é"+cutMark) || !utf8.ValidString(e.User) {
		t.Errorf("user: %d bytes, %q", len(e.User), e.User)
	}
	if len(e.Agent) > maxAgent {
		t.Errorf("agent: %d bytes", len(e.Agent))
	}
	if n := len(e.Groups); n > 100 || e.Groups[n-1] != cutMark || e.Groups[n-2] != "group" {
		t.Errorf("groups: %q", e.Groups)
	}
	if want := []oci.Tag{cutMark}; len(e.Tags[0]) > maxField || !cmp.Equal(e.Tags[1:], want) {
		t.Errorf("tags: %q", e.Tags)
	}
	if e.Reason != "\ufffdx" {
		t.Errorf("reason: %q", e.Reason)
	}
}

// TestSecretsInPlaceOfNames: somebody gives his token as his name.
func TestSecretsInPlaceOfNames(t *testing.T) {
	for name, want := range map[string]string{
		"bth_pt_canary":          hidden,
		"eyJhbGciOi.canary.sign": hidden,
		"eyJack":                 "eyJack",
		"alice":                  "alice",
	} {
		e := Event{User: name}
		if e.bound(); e.User != want {
			t.Errorf("%s: %s", name, e.User)
		}
	}
}

func TestWhatIsNoLine(t *testing.T) {
	for _, line := range []string{"", "x", "{}", `{"time":"2026-11-25T12:00:00Z"}`, `{"time":"noon","event":"push"}`, `{"event":"push"}`, `[]`, `{"time":"2026-11-25T12:00:00Z","event":"push"`} {
		if e, err := parseLine([]byte(line)); err == nil {
			t.Errorf("%s: %+v", line, e)
		}
	}
}

// FuzzLine: whatever a client says, an event is one line of printing text that
// reads as what was written.
func FuzzLine(f *testing.F) {
	f.Add("alice", "team/app", "v1", "docker/28.0", "wrong user name or password")
	f.Add("a\r\n{\"event\":\"push\"}", "\x00", "\u2028\u2029", "\x1b[2J\u009b", "\xff\xfe\xed\xa0\x80")
	f.Add(strings.Repeat("\x01", 2000), strings.Repeat("\U000e0041", 500), strings.Repeat("\"\\", 600), "", strings.Repeat("\x7f", 600))
	f.Fuzz(func(t *testing.T, user, repository, tag, agent, reason string) {
		e := Event{
			Time: noon.Truncate(time.Millisecond), Kind: Refused, User: user, Provider: user, Groups: []string{user, repository, tag},
			Credential: reason, Owner: user, Agent: agent, Repository: repository, Tags: []oci.Tag{oci.Tag(tag), oci.Tag(agent)},
			Digest: oci.Digest(tag), Scope: agent, Target: user, Reason: reason, Comment: reason, Ref: tag,
		}
		e.bound()
		line := e.Line()
		text, ended := strings.CutSuffix(string(line), "\n")
		if !ended || len(line) >= maxLine || !json.Valid(line) {
			t.Fatalf("%d bytes: %q", len(line), line)
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == 0x2028 || r == 0x202e }); i >= 0 {
			t.Fatalf("it does not print at %d: %q", i, text)
		}
		got, err := parseLine([]byte(text))
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if diff := cmp.Diff(e, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		again := got
		again.bound()
		if !cmp.Equal(again, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()) {
			t.Fatalf("bounded twice: %+v", again)
		}
	})
}

// TestKinds: all that the constants name, and nothing twice.
func TestKinds(t *testing.T) {
	source, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(Kinds()), len(regexp.MustCompile(`(?m)^\t\w+ +Kind = "`).FindAll(source, -1)); got != want || len(slices.Compact(Kinds())) != want {
		t.Errorf("%d kinds, the constants are %d", got, want)
	}
	for k, want := range map[Kind]bool{"user": true, "user.add": true, "delete": true, "use": false, "bogus": false, "user.": false} {
		if got := slices.ContainsFunc(Kinds(), k.Has); got != want {
			t.Errorf("%q is one: %v", k, got)
		}
	}
}
