// Package audit keeps what was done, by whom, from where, and what was refused.
//
// A Log appends events to a file, one line of JSON each. Whoever records an
// event does not wait for the disk: a goroutine of the Log writes at least every
// 200 ms and syncs at least every second. What repeats is written once and
// counted, so that a flood of refusals neither fills the disk nor pushes out what
// was written before it. A file that is large or old enough is closed,
// compressed, and in the end removed.
//
// Query reads the files, beside a running Log or without one.
package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"berth/auth"
	"berth/oci"
)

// A Kind says what happened. Those of management are named after what they
// change: "user.add", "robot.rotate".
type Kind string

// The kinds of events.
const (
	Login   Kind = "login"   // credentials were looked at, and not just remembered
	Token   Kind = "token"   // the token server gave a token
	Refused Kind = "refused" // somebody may not do what he asked
	Push    Kind = "push"    // a manifest was stored, under tags or without
	Delete  Kind = "delete"  // a tag or a manifest was removed
	Pull    Kind = "pull"    // a manifest was read
	Start   Kind = "start"   // the registry serves
	Stop    Kind = "stop"    // the registry was told to stop
	Rules   Kind = "rules"   // other rules or groups are in force
	Config  Kind = "config"  // the configuration was read again
	Dropped Kind = "dropped" // events were lost: Count of them

	Import           Kind = "import"  // data of Distribution were taken over
	Export           Kind = "export"  // all was written to a folder
	Backup           Kind = "backup"  // the metadata were backed up, by hand
	Restore          Kind = "restore" // a backup was put in the place of the metadata
	DeleteBlob       Kind = "delete.blob"
	DeleteRepository Kind = "delete.repository"
	Retention        Kind = "delete.retention" // a rule removed a tag or a manifest
	Sweep            Kind = "gc"               // garbage was collected by hand
	Scrub            Kind = "scrub"            // all that is stored was verified, by hand
	Damage           Kind = "damage"           // bytes were found that are not those of their digest
	Rebuild          Kind = "rebuild"          // names were made of bytes

	UserAdd      Kind = "user.add"
	UserPassword Kind = "user.password"
	UserDisable  Kind = "user.disable"
	UserEnable   Kind = "user.enable"
	UserGroups   Kind = "user.groups"
	UserRemove   Kind = "user.remove"
	TokenAdd     Kind = "token.add" // a personal token
	TokenRevoke  Kind = "token.revoke"
	RobotAdd     Kind = "robot.add"
	RobotSet     Kind = "robot.set"
	RobotDisable Kind = "robot.disable"
	RobotEnable  Kind = "robot.enable"
	RobotRotate  Kind = "robot.rotate"
	RobotRevoke  Kind = "robot.revoke"
	RobotRemove  Kind = "robot.remove"
)

// Kinds returns all kinds of events, sorted.
func Kinds() []Kind {
	kinds := []Kind{
		Login, Token, Refused, Push, Delete, DeleteBlob, DeleteRepository, Retention, Sweep, Pull, Start, Stop, Rules, Config, Dropped, Import, Export, Backup, Restore, Scrub, Damage, Rebuild,
		UserAdd, UserPassword, UserDisable, UserEnable, UserGroups, UserRemove, TokenAdd, TokenRevoke,
		RobotAdd, RobotSet, RobotDisable, RobotEnable, RobotRotate, RobotRevoke, RobotRemove,
	}
	slices.Sort(kinds)
	return kinds
}

// Has reports whether k is other, or is what other has before its dot: "user" has
// "user.add" too.
func (k Kind) Has(other Kind) bool {
	return k == other || strings.HasPrefix(string(other), string(k)+".")
}

// A Result says how it went.
type Result string

// The results.
const (
	OK        Result = "ok"
	Denied    Result = "denied"    // the rules do not allow it
	Failed    Result = "failed"    // the proof was wrong, or the call was
	Throttled Result = "throttled" // not looked at, after too many wrong ones
	Error     Result = "error"     // the registry, or a backend, could not do it
)

// A Method says how somebody proved who he is.
type Method string

// The methods.
const (
	Basic       Method = "basic"       // a user name and a password
	Bearer      Method = "bearer"      // an access token
	Refresh     Method = "token"       // a refresh token
	Certificate Method = "certificate" // of the client, in TLS
	Page        Method = "page"        // a page, in a browser
	Local       Method = "local"       // the local socket, or the data itself
)

// LocalUser stands for whoever uses the local socket, or opens the data.
const LocalUser = "local"

// An Event is one thing that happened. Texts are what the client or the
// configuration said; the log bounds them and writes each event as one line.
// Nothing in it may be a secret.
type Event struct {
	Time   time.Time `json:"time"` // Record sets it when it is zero
	Kind   Kind      `json:"event"`
	Result Result    `json:"result,omitempty"`

	User       string     `json:"user,omitempty"` // nobody when empty
	Provider   string     `json:"provider,omitempty"`
	Groups     []string   `json:"groups,omitempty"`
	Credential string     `json:"credential,omitempty"` // its ID
	Owner      string     `json:"owner,omitempty"`      // for whom a robot acts
	Method     Method     `json:"method,omitempty"`
	Address    netip.Addr `json:"address,omitzero"` // of the client, behind trusted proxies
	Agent      string     `json:"agent,omitempty"`

	Repository string     `json:"repository,omitempty"`
	Tags       []oci.Tag  `json:"tags,omitempty"`
	Digest     oci.Digest `json:"digest,omitempty"` // of content, or of the rules in force
	Scope      string     `json:"scope,omitempty"`  // of a token that was given, or would have to be
	Target     string     `json:"target,omitempty"` // what was managed: a user, the ID of a token

	Status  int    `json:"status,omitempty"` // of the answer
	Reason  string `json:"reason,omitempty"`
	Rule    int    `json:"rule,omitempty"` // its number, from 1
	Comment string `json:"comment,omitempty"`
	Ref     string `json:"ref,omitempty"`   // which the client was told, and the request's id
	Count   int    `json:"count,omitempty"` // the line stands for so many alike
}

// Of returns an event of that kind, which id is the author of.
func Of(kind Kind, id auth.Identity) Event {
	e := Event{Kind: kind, User: id.Name, Provider: id.Provider, Groups: id.Groups, Credential: id.Credential}
	if id.Owner != nil {
		e.Owner = id.Owner.Name
	}
	return e
}

// waits reports whether e is worth waiting for when events come faster than
// they can be written. Of the others there may be any number.
func (e *Event) waits() bool {
	switch e.Kind {
	case Login, Token, Refused, Pull:
		return false
	}
	return true
}

// Sizes of an event, in bytes.
const (
	maxField = 512      // of a text, or of all texts of a list
	maxAgent = 128      // of the user agent
	maxLine  = 64 << 10 // of a line, which no event reaches
	cutMark  = "…"      // stands at the end of what was cut
	hidden   = "***"    // stands for what looks like a secret
	ours     = "bth_"   // begins every secret that berth makes
	signed   = "eyJ"    // begins every JWT
	stamp    = "2006-01-02T15:04:05.000Z"
)

var errNoEvent = errors.New("not a line of an audit log")

// bound cuts what is too long. A secret that somebody gave as his name is
// taken out.
func (e *Event) bound() {
	if strings.HasPrefix(e.User, ours) || strings.HasPrefix(e.User, signed) && strings.Count(e.User, ".") == 2 {
		e.User = hidden
	}
	e.Kind, e.Result, e.Method = cut(e.Kind, maxField), cut(e.Result, maxField), cut(e.Method, maxField)
	e.User, e.Provider, e.Credential = cut(e.User, maxField), cut(e.Provider, maxField), cut(e.Credential, maxField)
	e.Owner, e.Agent = cut(e.Owner, maxField), cut(e.Agent, maxAgent)
	e.Repository, e.Digest = cut(e.Repository, maxField), cut(e.Digest, maxField)
	e.Scope, e.Target = cut(e.Scope, maxField), cut(e.Target, maxField)
	e.Reason, e.Comment, e.Ref = cut(e.Reason, maxField), cut(e.Comment, maxField), cut(e.Ref, maxField)
	e.Groups, e.Tags = cutList(e.Groups), cutList(e.Tags)
}

// cut returns s as valid UTF-8 of at most n bytes.
func cut[T ~string](s T, n int) T {
	text := strings.ToValidUTF8(string(s), "\uFFFD")
	if len(text) <= n {
		return T(text)
	}
	end := n - len(cutMark)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return T(text[:end] + cutMark)
}

// cutList returns what of the list fits into maxField bytes.
func cutList[T ~string](list []T) []T {
	var short []T
	size := 0
	for _, s := range list {
		s = cut(s, maxField-1)
		if size += len(s) + 1; size > maxField {
			return append(short, cutMark)
		}
		short = append(short, s)
	}
	return short
}

// Line returns e as the log has it, which ends in a newline.
func (e Event) Line() []byte {
	e.bound()
	return appendLine(nil, &e)
}

// appendLine appends e, which has been bound, to b as one line. What does not
// print is escaped, so that a terminal shows a line and does nothing else.
func appendLine(b []byte, e *Event) []byte {
	type event Event
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Time string `json:"time"`
		event
	}{e.Time.UTC().Format(stamp), event(*e)})
	if err != nil {
		return b // texts, numbers and an address can always be encoded
	}
	rest := line.Bytes()
	for len(rest) > 0 {
		r, n := utf8.DecodeRune(rest)
		if r < unicode.MaxASCII || unicode.IsPrint(r) {
			b = append(b, rest[:n]...)
		} else {
			for _, unit := range utf16.Encode([]rune{r}) {
				b = fmt.Appendf(b, `\u%04x`, unit)
			}
		}
		rest = rest[n:]
	}
	return b
}

// parseLine is the way back.
func parseLine(line []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		return Event{}, errNoEvent
	}
	if e.Time.IsZero() || e.Kind == "" {
		return Event{}, errNoEvent
	}
	return e, nil
}
