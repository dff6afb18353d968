package ldap

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"berth/auth"
)

// A fake is a server that misbehaves in a way that no real one can be brought
// to. It has alice, and says of each request what reply says.
type fake struct {
	url string

	mu    sync.Mutex
	seen  []ber.Tag // of the requests
	conns []net.Conn
	open  int // of them
}

// reply writes the answer to the request with that ID. It returns false for the
// one that a server that behaves would give.
type reply func(w io.Writer, id int64, request *ber.Packet) bool

func startFake(t *testing.T, r reply) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{url: "ldap://" + l.Addr().String()}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, c)
			f.open++
			f.mu.Unlock()
			work.Go(func() { f.serve(c, r) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
		work.Wait()
	})
	return f
}

func (f *fake) serve(c net.Conn, r reply) {
	defer func() {
		c.Close()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.open--
	}()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, request := p.Children[0].Value.(int64), p.Children[1]
		f.mu.Lock()
		f.seen = append(f.seen, request.Tag)
		f.mu.Unlock()
		if r(c, id, request) {
			continue
		}
		switch request.Tag {
		case goldap.ApplicationBindRequest:
			send(c, id, result(goldap.ApplicationBindResponse, 0, ""))
		case goldap.ApplicationSearchRequest:
			if strings.Contains(filterOf(request), "uid=alice") {
				send(c, id, found("uid=alice,dc=test", "uid", "alice"))
			}
			send(c, id, result(goldap.ApplicationSearchResultDone, 0, ""))
		}
	}
}

// count returns how many requests of a kind there were.
func (f *fake) count(tag ber.Tag) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.seen {
		if s == tag {
			n++
		}
	}
	return n
}

// connections returns how many connections there are.
func (f *fake) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

func filterOf(request *ber.Packet) string {
	text, err := goldap.DecompileFilter(request.Children[6])
	if err != nil {
		return ""
	}
	return text
}

func send(w io.Writer, id int64, response *ber.Packet) {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(response)
	_, _ = w.Write(p.Bytes())
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func result(tag ber.Tag, code int, text string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	p.AppendChild(octets(""))
	p.AppendChild(octets(text))
	return p
}

// found is an entry with attributes of one value each.
func found(dn string, attrs ...string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(octets(dn))
	list := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for i := 0; i < len(attrs); i += 2 {
		attr := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		attr.AppendChild(octets(attrs[i]))
		values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		values.AppendChild(octets(attrs[i+1]))
		attr.AppendChild(values)
		list.AppendChild(attr)
	}
	p.AppendChild(list)
	return p
}

// openFake returns the directory of a fake, with short times.
func openFake(t *testing.T, f *fake, change func(*Options)) *Directory {
	t.Helper()
	d := mustNew(t, func(o *Options) {
		o.URLs = []string{f.url}
		o.BindDN, o.BindPassword = "cn=berth", "service-secret"
		o.Group = Group{}
		if change != nil {
			change(o)
		}
	})
	d.limits = limits{dial: 200 * time.Millisecond, operation: 200 * time.Millisecond, total: 500 * time.Millisecond, down: time.Hour, absent: time.Minute, recent: time.Minute, silence: time.Second}
	return d
}

func searching(of string, then func(w io.Writer, id int64)) reply {
	return func(w io.Writer, id int64, request *ber.Packet) bool {
		if request.Tag != goldap.ApplicationSearchRequest || !strings.Contains(filterOf(request), of) {
			return false
		}
		then(w, id)
		return true
	}
}

// TestMisbehaviour: whatever a server does, a login is over in time and nobody
// is let in, and what was a failure of the server is not a wrong password.
func TestMisbehaviour(t *testing.T) {
	hang := func(io.Writer, int64, *ber.Packet) bool { return true }
	long := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name  string
		reply reply
		want  string // part of the error
		down  bool   // the server is marked down
	}{
		{"it never answers", hang, "did not answer in time", true},
		{"it answers no search", searching("uid=alice", func(io.Writer, int64) {}), "did not answer in time", true},
		{"it ends the connection", func(w io.Writer, _ int64, _ *ber.Packet) bool { w.(net.Conn).Close(); return true }, "", true},
		{"it speaks something else", func(w io.Writer, _ int64, _ *ber.Packet) bool {
			_, _ = io.WriteString(w, "HTTP/1.1 400 Bad Request\r\n\r\n")
			w.(net.Conn).Close()
			return true
		}, "", true},
		{"it answers another request", searching("uid=alice", func(w io.Writer, id int64) {
			send(w, id+1, result(goldap.ApplicationSearchResultDone, 0, ""))
		}), "did not answer in time", true},
		{"it is busy", searching("uid=alice", func(w io.Writer, id int64) {
			send(w, id, result(goldap.ApplicationSearchResultDone, goldap.LDAPResultBusy, "x"))
		}), "Busy", true},
		{"it refers to another server", searching("uid=alice", func(w io.Writer, id int64) {
			send(w, id, result(goldap.ApplicationSearchResultDone, goldap.LDAPResultReferral, ""))
		}), "the base is another server's", false},
		{"it is not allowed", searching("uid=alice", func(w io.Writer, id int64) {
			send(w, id, result(goldap.ApplicationSearchResultDone, goldap.LDAPResultInsufficientAccessRights, ""))
		}), "set binddn", false},
		{"its answer is huge", searching("uid=alice", func(w io.Writer, id int64) {
			for range 20 {
				send(w, id, found("uid=alice,dc=test", "uid", "alice", "memberOf", long))
			}
			send(w, id, result(goldap.ApplicationSearchResultDone, 0, ""))
		}), errTooLong.Error(), true},
		{"its answer never ends", searching("uid=alice", func(w io.Writer, id int64) {
			for !closed(w) {
				send(w, id, found("uid=alice,dc=test", "uid", "alice"))
			}
		}), "did not answer in time", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t, tt.reply)
			d := openFake(t, f, nil)
			if tt.want == errTooLong.Error() { // which takes a while to read
				d.limits.operation, d.limits.total = 10*time.Second, 10*time.Second
			}
			began := time.Now()
			_, err := login(d, "alice", "alice-secret")
			if took := time.Since(began); took > 2*d.limits.total+time.Second {
				t.Errorf("after %v", took)
			}
			if err == nil || errors.Is(err, auth.ErrNoMatch) || errors.Is(err, auth.ErrBadCredentials) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if down := d.Degraded() != ""; down != tt.down {
				t.Errorf("degraded is %q", d.Degraded())
			}
			if f.count(goldap.ApplicationBindRequest) > 1 {
				t.Error("the user was bound")
			}
			began = time.Now()
			if _, err := login(d, "alice", "alice-secret"); err == nil || tt.down && time.Since(began) > 100*time.Millisecond {
				t.Errorf("afterwards: %v, after %v", err, time.Since(began))
			}
		})
	}
}

// closed reports whether the other side has ended a connection.
func closed(w io.Writer) bool {
	c := w.(net.Conn)
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

// TestHalfOpen is a server that accepts and says nothing, where a handshake
// should come.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	f := startFake(t, func(io.Writer, int64, *ber.Packet) bool { return true })
	d := openFake(t, f, func(o *Options) { o.URLs = []string{strings.Replace(f.url, "ldap:", "ldaps:", 1)} })
	began := time.Now()
	_, err := login(d, "alice", "alice-secret")
	if !errors.As(err, new(*DownError)) || time.Since(began) > time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestStartTLSRefused: nothing secret goes to a server that will not have TLS.
func TestStartTLSRefused(t *testing.T) {
	for name, r := range map[string]reply{
		"refused": func(w io.Writer, id int64, _ *ber.Packet) bool {
			send(w, id, result(goldap.ApplicationExtendedResponse, goldap.LDAPResultProtocolError, "unsupported extended operation"))
			return true
		},
		"not now": func(w io.Writer, id int64, _ *ber.Packet) bool {
			send(w, id, result(goldap.ApplicationExtendedResponse, goldap.LDAPResultUnavailable, ""))
			return true
		},
		"agreed, and no TLS": func(w io.Writer, id int64, _ *ber.Packet) bool {
			send(w, id, result(goldap.ApplicationExtendedResponse, 0, ""))
			_, _ = io.WriteString(w, "no TLS at all")
			return true
		},
		"never answered": func(io.Writer, int64, *ber.Packet) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t, r)
			d := openFake(t, f, func(o *Options) { o.StartTLS = true })
			for range 2 {
				if _, err := login(d, "alice", "alice-secret"); !errors.As(err, new(*DownError)) {
					t.Error(err)
				}
			}
			if f.count(goldap.ApplicationBindRequest) > 0 {
				t.Error("there was a bind in clear text")
			}
		})
	}
}

// TestReferences: a search that also refers elsewhere finds what is here.
func TestReferences(t *testing.T) {
	t.Parallel()
	reference := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultReference, nil, "")
	reference.AppendChild(octets("ldap://127.0.0.1:1/dc=elsewhere"))
	f := startFake(t, searching("uid=alice", func(w io.Writer, id int64) {
		send(w, id, reference)
		send(w, id, found("uid=alice,dc=test", "uid", "alice"))
		send(w, id, reference)
		send(w, id, result(goldap.ApplicationSearchResultDone, 0, ""))
	}))
	if id, err := login(openFake(t, f, nil), "alice", "alice-secret"); err != nil || id.Name != "alice" {
		t.Errorf("%+v, %v", id, err)
	}
}

// TestEndlessPages is a server whose pages of groups never end.
func TestEndlessPages(t *testing.T) {
	t.Parallel()
	f := startFake(t, func(w io.Writer, id int64, request *ber.Packet) bool {
		if request.Tag != goldap.ApplicationSearchRequest || !strings.Contains(filterOf(request), "member=") {
			return false
		}
		p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
		p.AppendChild(result(goldap.ApplicationSearchResultDone, 0, ""))
		page := goldap.NewControlPaging(pageSize)
		page.SetCookie([]byte("more"))
		controls := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
		controls.AppendChild(page.Encode())
		p.AppendChild(controls)
		_, _ = w.Write(p.Bytes())
		return true
	})
	d := openFake(t, f, func(o *Options) { o.Group = Group{Base: "dc=test", Filter: "(member={dn})"} })
	began := time.Now()
	_, err := login(d, "alice", "alice-secret")
	if !errors.As(err, new(*DownError)) || time.Since(began) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestRangedMemberOf is a user of more groups than Active Directory sends at a
// time.
func TestRangedMemberOf(t *testing.T) {
	t.Parallel()
	f := startFake(t, func(w io.Writer, id int64, request *ber.Packet) bool {
		if request.Tag != goldap.ApplicationSearchRequest {
			return false
		}
		attrs := request.Children[7]
		first := attrs.Children[0].Value.(string)
		switch {
		case strings.Contains(filterOf(request), "uid=alice"):
			send(w, id, found("uid=alice,dc=test", "uid", "alice", "memberOf;range=0-0", "cn=g0,dc=test"))
		case strings.HasPrefix(first, "memberOf;range="):
			var n int
			_, _ = fmt.Sscanf(first, "memberOf;range=%d-*", &n)
			last := fmt.Sprint(n)
			if n == 3 {
				last = "*"
			}
			send(w, id, found("uid=alice,dc=test", fmt.Sprintf("memberOf;range=%d-%s", n, last), fmt.Sprintf("cn=g%d,dc=test", n)))
		}
		send(w, id, result(goldap.ApplicationSearchResultDone, 0, ""))
		return true
	})
	id, err := login(openFake(t, f, nil), "alice", "alice-secret")
	if got := strings.Join(id.Groups, " "); err != nil || got != "g0 g1 g2 g3" {
		t.Errorf("%q, %v", got, err)
	}
}
