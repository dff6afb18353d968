package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConn(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 10_000)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sized", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(long)))
		_, _ = io.WriteString(w, long)
	})
	mux.HandleFunc("GET /chunked", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, long[:1000])
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, long[1000:])
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://127.0.0.1:1/next?a=b")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.Copy(w, r.Body)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	c, err := dial(server.Listener.Addr().String(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for range 2 { // what one request leaves unread would be the next one's answer
		for _, path := range []string{"/sized", "/chunked"} {
			if err := fetch(c, head("GET", path), int64(len(long))); err != nil {
				t.Error(err)
			}
		}
		if err := fetch(c, head("HEAD", "/sized"), 0); err != nil {
			t.Error(err)
		}
		if n, err := c.do(202, head("POST", "/echo", contentLength(5)), bytesBody("hello")); n != 5 || err != nil {
			t.Errorf("echo: %d, %v", n, err)
		}
		if c.location != "/next?a=b" {
			t.Errorf("the location is %q", c.location)
		}
		if _, err := c.do(200, head("GET", "/none"), nil); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("a 404 is %v", err)
		}
	}
}

func TestConnRejects(t *testing.T) {
	for _, answer := range []string{"", "HTTP/1.1 2\r\n\r\n", "HTTP/1.1 abc no\r\n\r\n", "HTTP/1.1 200 OK\r\nno field\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"} {
		c := conn{r: bufio.NewReader(strings.NewReader(answer))}
		if err := c.readHeader(false); err == nil {
			t.Errorf("%q is taken", answer)
		}
	}
}

func TestSource(t *testing.T) {
	for _, size := range []int64{tailSize + 1, configSize, layerSize, 3<<20 + 7} {
		s := newSource(size, 1)
		seen := make(map[string]bool)
		for range 3 {
			b, err := s.next()
			if err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			n, err := b.WriteTo(h)
			if err != nil || n != size {
				t.Errorf("a blob of %d bytes: wrote %d, %v", size, n, err)
			}
			if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != b.digest {
				t.Errorf("a blob of %d bytes: the digest is %s, and not %s", size, got, b.digest)
			}
			seen[b.digest] = true
		}
		if len(seen) != 3 {
			t.Errorf("blobs of %d bytes are the same", size)
		}
	}
}

func TestPercentile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, tt := range []struct {
		sorted []time.Duration
		p      int
		want   time.Duration
	}{
		{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100},
		{hundred[:1], 50, 1}, {hundred[:1], 99, 1}, {hundred[:3], 50, 2},
	} {
		if got := percentile(tt.sorted, tt.p); got != tt.want {
			t.Errorf("%d percent of %d: %d, not %d", tt.p, len(tt.sorted), got, tt.want)
		}
	}
}

func TestMedian(t *testing.T) {
	got := median([]sample{{Rate: 1, P50: 9, Peak: 5}, {Rate: 7, P50: 1, Peak: 8}, {Rate: 3, P50: 2, Peak: 1}})
	if want := (sample{Rate: 3, P50: 2, Peak: 8}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
	if got := median([]sample{{Rate: 1}, {Rate: 2}}).Rate; got != 1.5 {
		t.Errorf("the median of 1 and 2 is %v", got)
	}
}

func TestStatTicks(t *testing.T) {
	const line = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 17 4 0 0 20 0 9 0 1"
	if n, err := statTicks(line); n != 21 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := statTicks("42 (a) S 1"); err == nil {
		t.Error("a short line is taken")
	}
}

func TestParseWrk(t *testing.T) {
	const text = `  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   500.00us    1.00ms   9.00ms   98.50%
    Req/Sec     8.64k     1.00k   10.00k    87.99%
  Latency Distribution
     50%  241.00us
     75%    1.00ms
     90%    2.00ms
     99%    7.00ms
  17286 requests in 1.00s, 1.06GB read
Requests/sec:  17286.12
Transfer/sec:      1.06GB
`
	got, err := parseWrk(text)
	want := drive{Rate: 17286.12, Bytes: 1.06 * (1 << 30), P50: 241 * time.Microsecond, P99: 7 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", text + "  Non-2xx or 3xx responses: 4\n", text + "  Socket errors: connect 0, read 1, write 0, timeout 0\n"} {
		if _, err := parseWrk(bad); err == nil {
			t.Errorf("%.30q is taken", bad)
		}
	}
}

func TestDecisions(t *testing.T) {
	const text = `goos: linux
BenchmarkDecide/rules=10/anonymous-2         	 1000000	       101.5 ns/op	       0 B/op	       0 allocs/op
BenchmarkDecide/rules=1000/anonymous-2       	  500000	       202 ns/op	       0 B/op	       1 allocs/op
BenchmarkDecide/rules=1000/admin             	  500000	        33 ns/op	       0 B/op	       0 allocs/op
PASS
`
	all, err := parseDecisions(text)
	if err != nil || len(all) != 3 || all[0] != (decision{Rules: 10, Name: "anonymous", Nanos: 101.5}) || all[1].Allocs != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	r := report{Decisions: all}
	want := "| request | 10 rules | 1000 rules |\n|---|---:|---:|\n| anonymous | 102 | 202 |\n| admin |  | 33 |\n"
	if text := r.markdown(); !strings.Contains(text, want) {
		t.Errorf("the report is\n%s", text)
	}
}

func TestReportOfDirectory(t *testing.T) {
	r := report{Results: []result{
		{Work: nameFirstLogin, Auth: basic, Clients: 8, Median: map[string]sample{ofDirectory: {Rate: 500}, ofFile: {Rate: 20}}},
		{Work: nameLogin, Auth: basic, Clients: 8, Error: "no answer"},
	}}
	text := r.markdown()
	for _, want := range []string{"| login, first | 8 | 500 · 20 | 25 |", "| login, remembered | 8 | failed |"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "Beside Distribution") {
		t.Errorf("no row is beside Distribution in\n%s", text)
	}
}

func TestInsert(t *testing.T) {
	const page = "# Performance\nabove\n" + begin + "old\n" + end + "below\n"
	for _, tt := range []struct{ page, want string }{
		{"", "# Performance\n\n" + begin + "new\n" + end},
		{"# By hand\n", "# By hand\n\n" + begin + "new\n" + end},
		{page, strings.Replace(page, "old", "new", 1)},
	} {
		if got := insert(tt.page, "new\n"); got != tt.want {
			t.Errorf("%q becomes %q", tt.page, got)
		}
	}
}

func TestJudge(t *testing.T) {
	head := func(m mode, ours, theirs sample) result {
		return result{Work: nameHead, Auth: m, Clients: at, Median: map[string]sample{"berth": ours, "Distribution": theirs}}
	}
	r := report{Peak: 65 << 20, Results: []result{
		head(basic, sample{Rate: 8_999}, sample{Rate: 30}),
		head(anonymous, sample{Rate: 10_000, CPU: 50}, sample{Rate: 1_000, CPU: 400}),
	}}
	r.judge()
	var got []string
	for _, g := range r.Goals {
		got = append(got, fmt.Sprintf("%s: %s: %v", g.Want, g.Have, g.Met))
	}
	want := []string{
		"300x the rate of Distribution: 300x: false",
		"0.9 of the rate without credentials: 0.90: false",
		"6x the rate of Distribution: 10x: true",
		"8x less processor time than Distribution: 8x: true",
		"at most 64 MiB: 65 MiB: false",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("judged:\n%s", strings.Join(got, "\n"))
	}
}

func TestReportOfFailedRow(t *testing.T) {
	r := report{Results: []result{{Work: nameHead, Auth: basic, Clients: 8, Error: "no answer"}}}
	r.judge()
	if text := r.markdown(); !strings.Contains(text, "| HEAD manifest by tag | Basic | 8 | failed |") {
		t.Errorf("the row is not in\n%s", text)
	}
	if err := r.charts(t.TempDir()); err != nil {
		t.Error(err)
	}
}

func TestCharts(t *testing.T) {
	folder := t.TempDir()
	both := map[string]sample{"berth": {Rate: 2000, CPU: 70_000}, "Distribution": {Rate: 0.4}, "nginx": {Rate: 9000}}
	r := report{Results: []result{{Work: nameBlob, Auth: anonymous, Clients: at, Median: both}}}
	if err := r.charts(folder); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rate", "cpu", "nginx"} {
		if files, _ := filepath.Glob(filepath.Join(folder, "performance-"+name+".svg")); len(files) != 1 {
			t.Errorf("there is no chart of %s", name)
		}
	}
}

func TestRowsAgain(t *testing.T) {
	folder := t.TempDir()
	row := func(work string, clients int, rate float64) result {
		return result{Work: work, Auth: anonymous, Clients: clients, Median: map[string]sample{"berth": {Rate: rate}, "Distribution": {Rate: 1}}}
	}
	first := &report{Many: 100, Results: []result{row(nameHead, 8, 5), row(nameGet, 8, 6)}, Peak: 1}
	if err := first.write(folder); err != nil {
		t.Fatal(err)
	}
	again := &report{Many: 100, Command: "go run . -rows HEAD", Results: []result{row(nameHead, 8, 7), row(nameHead, 64, 8)}, Peak: 2}
	got, err := again.onto(folder)
	if err != nil {
		t.Fatal(err)
	}
	var rates []float64
	for _, res := range got.Results {
		rates = append(rates, res.Median["berth"].Rate)
	}
	if fmt.Sprint(rates) != "[7 6 8]" || got.Peak != 1 || len(got.Goals) == 0 || !strings.Contains(got.markdown(), again.Command) {
		t.Errorf("rates %v, peak %d, goals %v", rates, got.Peak, got.Goals)
	}
	if _, err := (&report{Many: 200}).onto(folder); err == nil {
		t.Error("figures of other sizes were mixed")
	}
}
