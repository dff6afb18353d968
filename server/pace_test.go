package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/access"
	"berth/audit"
	"berth/auth"
	"berth/oci"
	"berth/registry"
)

func limited(list ...Limit) func(*Options) {
	l := NewLimits(list)
	return func(o *Options) { o.Limits = func() *Limits { return l } }
}

func paceOf(l Limit) *pace { return NewLimits([]Limit{l}).paces[0] }

func TestLimitOfACaller(t *testing.T) {
	p := paceOf(Limit{Of: CountRequests, Per: PerAddress, Rate: 10, Window: time.Second, Burst: 3})
	began := p.began
	bob := paced{subject: auth.Subject{Name: "bob"}}
	for i, tt := range []struct {
		who   paced
		after time.Duration
		n     int
		left  int
		wait  time.Duration
	}{
		{bob, 0, 1, 2, 0},
		{bob, 0, 1, 1, 0},
		{bob, 0, 0, 1, 0}, // only asks
		{bob, 0, 1, 0, 0},
		{bob, 0, 1, 0, 100 * time.Millisecond},
		{bob, 50 * time.Millisecond, 1, 0, 50 * time.Millisecond},
		{paced{}, 50 * time.Millisecond, 1, 2, 0}, // another
		{bob, 100 * time.Millisecond, 1, 0, 0},
		{bob, time.Hour, 1, 2, 0},
	} {
		left, wait := p.take(tt.who, tt.n, began.Add(tt.after))
		if left != tt.left || wait != tt.wait {
			t.Errorf("call %d: %d left, wait %v, want %d and %v", i, left, wait, tt.left, tt.wait)
		}
	}
	day := paceOf(Limit{Rate: 1 << 40, Window: time.Second})
	if day.interval <= 0 {
		t.Error("a rate without an end has no interval")
	}
}

// TestLimitRemembersSoMany has more callers than are remembered.
func TestLimitRemembersSoMany(t *testing.T) {
	p := paceOf(Limit{Rate: 10, Window: time.Hour})
	caller := func(i int) paced {
		return paced{addr: netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})}
	}
	busy := caller(-1)
	p.take(busy, 10, p.began)
	for i := range maxPaced + 1000 {
		p.take(caller(i), 1, p.began)
	}
	if len(p.due) != maxPaced {
		t.Errorf("%d callers are remembered", len(p.due))
	}
	if _, wait := p.take(busy, 1, p.began); wait == 0 {
		t.Error("who has used the most was forgotten")
	}
	p.take(caller(maxPaced+2000), 1, p.began.Add(2*time.Hour))
	if len(p.due) != 1 {
		t.Errorf("%d callers are remembered when all have all of it again", len(p.due))
	}
}

func TestLimits(t *testing.T) {
	pulls := func(per string) Limit { return Limit{Of: CountPulls, Per: per, Rate: 2, Window: 6 * time.Hour} }
	f := newFixture(t, limited(pulls(PerIdentity), pulls(PerAnonymous)))
	f.reg.addManifest("docs", "v1")
	const path = "/v2/docs/manifests/v1"
	f.wantStatus(f.do(get, path, "", as("root")), 200)
	a := f.do(head, path, "", as("root"))
	f.wantStatus(a, 200)
	if h := a.Header; h.Get("RateLimit-Limit") != "2;w=21600" || h.Get("RateLimit-Remaining") != "1;w=21600" {
		t.Errorf("HEAD tells of the limit in %v", h)
	}
	f.wantStatus(f.do(get, path, "", f.bearer("root", "repository:docs:pull")), 200) // the same user
	a = f.do(get, path, "", as("root"))
	f.wantStatus(a, 429)
	if a.code() != oci.TooManyRequests || a.Header.Get("Retry-After") == "" || a.Header.Get("RateLimit-Remaining") != "0;w=21600" || !strings.Contains(a.body, "2 in 6h of each user") {
		t.Errorf("%v %s", a.Header, a.body)
	}
	f.wantStatus(f.do(get, "/v2/docs/tags/list", "", as("root")), 200) // no pull
	for range 2 {
		f.wantStatus(f.do(get, path, ""), 200)
	}
	f.wantStatus(f.do(get, path, ""), 429)
	f.wantStatus(f.do(get, path, "", as("puller")), 200) // who logs in has his own
}

func TestLimitsOfAddresses(t *testing.T) {
	proxy := func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	f := newFixture(t, proxy, limited(Limit{Of: CountRequests, Per: PerAddress, Rate: 2, Window: time.Hour}))
	from := func(addr string) string { return "X-Forwarded-For: " + addr }
	for range 2 {
		f.wantStatus(f.do(get, "/v2/", "", from("192.0.2.1"), "Authorization: Basic d3Jvbmc6d3Jvbmc="), 401) // wrong ones count too
	}
	f.wantStatus(f.do(get, "/v2/", "", from("192.0.2.1"), as("root")), 429)
	f.wantStatus(f.do(get, "/v2/", "", from("192.0.2.2"), as("root")), 200)
	f.wantStatus(f.do(get, "/v2/", "", from("2001:db8::1"), as("root")), 200)
	f.wantStatus(f.do(get, "/v2/", "", from("2001:db8::2"), as("root")), 200)
	f.wantStatus(f.do(get, "/v2/", "", from("2001:db8::3"), as("root")), 429) // one network
	for range 5 {
		f.wantStatus(f.do(get, "/livez", "", from("192.0.2.1")), 200)
		f.wantStatus(f.do(get, "/readyz", "", from("192.0.2.1")), 200)
		f.wantStatus(f.do(get, "/auth/token", "", from("192.0.2.1"), as("root")), 200)
	}
}

func TestLimitOfTokens(t *testing.T) {
	f := newFixture(t, limited(Limit{Of: CountTokens, Per: PerAddress, Rate: 1, Window: time.Hour}))
	f.wantStatus(f.do(get, "/auth/token", "", as("root")), 200)
	f.wantStatus(f.do(get, "/auth/token", "", as("root")), 429)
	f.wantStatus(f.do(get, "/v2/", "", as("root")), 200)
}

// TestLimitsHoldAgainstMany asks from many at once.
func TestLimitsHoldAgainstMany(t *testing.T) {
	p := paceOf(Limit{Rate: 100, Window: time.Hour})
	var passed atomic.Int64
	var work sync.WaitGroup
	for range 20 {
		work.Go(func() {
			for range 20 {
				if _, wait := p.take(paced{}, 1, p.began); wait == 0 {
					passed.Add(1)
				}
			}
		})
	}
	work.Wait()
	if n := passed.Load(); n != 100 {
		t.Errorf("%d of 100 have passed", n)
	}
}

func TestRefusalsByRules(t *testing.T) {
	var events []audit.Event
	var mu sync.Mutex
	meter := new(ruleMeter)
	f := newFixture(t, func(o *Options) {
		o.Meter = meter
		o.Audit = func(e audit.Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
		}
	}, limited(Limit{Of: CountRequests, Per: PerIdentity, Rate: 3, Window: time.Hour}))
	f.reg.rule = &registry.RuleError{Kind: registry.RuleQuota, Rule: "quota 1", Message: "quota 1 has no room"}
	scope := f.bearer("pusher", "repository:team/app:pull,push")
	for _, header := range []string{as("pusher"), scope} {
		a := f.do(put, "/v2/team/app/manifests/v1", string(imageManifest("", "x")), header)
		f.wantStatus(a, 403)
		if a.code() != oci.Denied || a.Header.Get("WWW-Authenticate") != "" || !strings.Contains(a.body, "quota 1 has no room (ref ") {
			t.Errorf("%v %s", a.Header, a.body)
		}
	}
	f.wantStatus(f.do(post, "/v2/team/app/blobs/uploads/?mount="+someDigest+"&from=team/other", "", as("pusher")), 403)
	f.wantStatus(f.do(post, "/v2/team/app/blobs/uploads/", "", as("pusher")), 429)
	f.Close() // and nobody writes to the lists any more
	var kinds []string
	for _, e := range events {
		if e.Kind == audit.Refused {
			kinds = append(kinds, fmt.Sprint(e.Result, " ", e.Status, " ", e.Comment, " ", e.Rule))
		}
	}
	if got := strings.Join(kinds, "; "); got != "denied 403 quota 1 0; denied 403 quota 1 0; denied 403 quota 1 0; throttled 429  0" {
		t.Errorf("the audit was told of %s", got)
	}
	if got := strings.Join(meter.rules, " "); got != "quota quota quota limit" {
		t.Errorf("the meter was told of %s", got)
	}
	if len(f.refused) != 3 || f.refused[0].Rule != "quota 1" {
		t.Errorf("refused: %+v", f.refused)
	}
}

type ruleMeter struct{ rules []string }

func (m *ruleMeter) Begin(string) {}
func (m *ruleMeter) End(s Sample) { m.rules = append(m.rules, s.Rule) }

// BenchmarkLimits is what limits cost a request.
func BenchmarkLimits(b *testing.B) {
	for _, bench := range []struct {
		name  string
		limit func(*Options)
	}{
		{"off", func(*Options) {}},
		{"none", func(o *Options) { o.Limits = func() *Limits { return nil } }},
		{"on", limited(
			Limit{Of: CountRequests, Per: PerAddress, Rate: 1 << 30, Window: time.Second},
			Limit{Of: CountPulls, Per: PerAnonymous, Rate: 1 << 30, Window: time.Second})},
	} {
		b.Run(bench.name, func(b *testing.B) {
			f := newFixture(b, open, func(o *Options) { o.AccessLog = nil }, bench.limit)
			f.reg.addManifest("docs", "v1")
			r := httptest.NewRequest(head, "/v2/docs/manifests/v1", nil)
			r.Body = http.NoBody
			b.ReportAllocs()
			for b.Loop() {
				f.Config.Handler.ServeHTTP(&sink{make(http.Header)}, r)
			}
		})
	}
}

// TestNoLimitsCostNothing counts what is allocated for them.
func TestNoLimitsCostNothing(t *testing.T) {
	s := New(Options{View: func(access.Caller) registry.Registry { return nil }, Limits: func() *Limits { return nil }})
	x := new(exchange)
	if n := testing.AllocsPerRun(100, func() {
		if s.keepPace(x, false) != nil || s.keepPace(x, true) != nil {
			t.Fatal("a request is held back")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
