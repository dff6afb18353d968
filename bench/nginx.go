package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// nginxConfig serves files as fast as nginx can.
const nginxConfig = `daemon off;
pid {dir}/nginx.pid;
error_log stderr error;
worker_processes auto;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 1000000000;
	default_type application/octet-stream;
	client_body_temp_path {dir}/nginx-body;
	proxy_temp_path {dir}/nginx-proxy;
	fastcgi_temp_path {dir}/nginx-fastcgi;
	uwsgi_temp_path {dir}/nginx-uwsgi;
	scgi_temp_path {dir}/nginx-scgi;
	server { listen {addr}; root {dir}/files; }
}
`

// startFiles starts nginx, where it is installed, on a folder in which blobs
// have the paths they have in a registry.
func (l *lab) startFiles() error {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		fmt.Fprintln(os.Stderr, "skipped: everything beside nginx, which is not installed (make bench-deps)")
		return nil
	}
	// Its workers may run as another user.
	for _, dir := range []string{l.dir, l.path("files")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	p, err := l.launch("nginx", nginxConfig, nginx, "-e", "stderr", "-c")
	if err != nil {
		return err
	}
	l.files = &target{name: "nginx", at: map[mode]*process{anonymous: p}}
	return nil
}

// addFile puts a blob where nginx serves it.
func (l *lab) addFile(path string, content io.WriterTo) error {
	if l.files == nil {
		return nil
	}
	name := filepath.Join(l.path("files"), filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err := content.WriteTo(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// A drive is what wrk measured.
type drive struct {
	Rate  float64       `json:"rate"`
	Bytes float64       `json:"bytes_per_second"`
	P50   time.Duration `json:"p50_ns"`
	P99   time.Duration `json:"p99_ns"`
}

// wrk sends GET requests for path from clients connections for d.
func wrk(p *process, path string, clients int, d time.Duration) (drive, error) {
	seconds := max(1, int(d.Round(time.Second)/time.Second))
	out, err := exec.Command("wrk", "--latency", "--timeout", "60s", "-t", strconv.Itoa(min(clients, 2)), "-c", strconv.Itoa(clients),
		"-d", strconv.Itoa(seconds)+"s", "http://"+p.addr+path).CombinedOutput()
	if err != nil {
		return drive{}, fmt.Errorf("run wrk: %w: %s", err, out)
	}
	return parseWrk(string(out))
}

var (
	wrkRate = regexp.MustCompile(`Requests/sec:\s*([0-9.]+)`)
	wrkSent = regexp.MustCompile(`Transfer/sec:\s*([0-9.]+)([KMGT]?)B`)
	wrkP50  = regexp.MustCompile(`(?m)^\s+50%\s+(\S+)`)
	wrkP99  = regexp.MustCompile(`(?m)^\s+99%\s+(\S+)`)
)

func parseWrk(text string) (drive, error) {
	if strings.Contains(text, "Non-2xx") || strings.Contains(text, "Socket errors") {
		return drive{}, fmt.Errorf("wrk saw errors: %s", text)
	}
	var d drive
	var err error
	rate, sent := wrkRate.FindStringSubmatch(text), wrkSent.FindStringSubmatch(text)
	p50, p99 := wrkP50.FindStringSubmatch(text), wrkP99.FindStringSubmatch(text)
	if rate == nil || sent == nil || p50 == nil || p99 == nil {
		return drive{}, fmt.Errorf("not what wrk prints: %s", text)
	}
	if d.Rate, err = strconv.ParseFloat(rate[1], 64); err != nil {
		return drive{}, err
	}
	if d.Bytes, err = strconv.ParseFloat(sent[1], 64); err != nil {
		return drive{}, err
	}
	d.Bytes *= map[string]float64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}[sent[2]]
	if d.P50, err = time.ParseDuration(p50[1]); err != nil {
		return drive{}, err
	}
	d.P99, err = time.ParseDuration(p99[1])
	return d, err
}
