package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writeCertificate makes a certificate of that serial number for 127.0.0.1.
func writeCertificate(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: "berth test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", private)
	writePEM(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", der)
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs berth with a configuration of the test's own, without waiting, and
// ends it with the test.
func start(t *testing.T, config string, prepare func(*exec.Cmd)) *server {
	t.Helper()
	binary, err := shared.berth()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(config, "$DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{dir: dir, log: new(output), exited: make(chan struct{})}
	s.cmd = exec.Command(binary, "serve", path)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if prepare != nil {
		prepare(s.cmd)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("the server said:\n%s", s.log)
		}
	})
	return s
}

// eventually fails unless ok is true within ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 10 s: %s", what)
}

func TestTLSCertificateIsReloaded(t *testing.T) {
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	certs := t.TempDir()
	writeCertificate(t, certs, 1)
	start(t, "storage: {filesystem: {rootdirectory: $DIR/data}}\nhttp: {addr: '"+addr+"', tls: {certificate: "+certs+"/cert.pem, key: "+certs+"/key.pem}}\n", nil)

	serial := func() int64 {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return 0
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	eventually(t, "the first certificate", func() bool { return serial() == 1 })
	if c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("TLS 1.1 is accepted")
	}
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := client.Get("https://" + addr + "/v2/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK {
		t.Errorf("over TLS: %s %s", resp.Proto, resp.Status)
	}

	if err := os.WriteFile(filepath.Join(certs, "cert.pem"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a broken certificate shows", func() bool {
		resp, err := client.Get("https://" + addr + "/readyz")
		if err != nil {
			t.Fatalf("the old certificate is gone: %v", err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return strings.Contains(string(body), "http.tls")
	})
	writeCertificate(t, certs, 2)
	eventually(t, "the second certificate", func() bool { return serial() == 2 })
}

func TestUnixSocket(t *testing.T) {
	s := start(t, "storage: {filesystem: {rootdirectory: $DIR/data}}\nhttp: {net: unix, addr: $DIR/http.sock}\n", nil)
	var d net.Dialer
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", filepath.Join(s.dir, "http.sock"))
	}}}
	eventually(t, "an answer on the socket", func() bool {
		resp, err := client.Get("http://registry/v2/")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// TestSocketActivation passes a socket as systemd does. The shell knows the
// number that its process will keep.
func TestSocketActivation(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	s := start(t, "storage: {filesystem: {rootdirectory: $DIR/data}}\nhttp: {addr: '127.0.0.1:1'}\n", func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		cmd.ExtraFiles = []*os.File{f}
	})
	f.Close()
	if err := awaitReady(addr, s.exited); err != nil {
		t.Fatal(err)
	}
}

func TestHangupReloadsRules(t *testing.T) {
	s := serve(t, "team.yml")
	config := filepath.Join(s.dir, "team.yml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	user2 := &client{base: s.url(), user: "user2", password: "secret2"}
	if resp := user2.do(t, "POST", "/v2/hangup/app/blobs/uploads/", nil, nil); resp.status != http.StatusForbidden {
		t.Fatalf("before: %d", resp.status)
	}
	rule := "access:\n  - {name: user2, type: repository, repositories: ['hangup/**'], action: push}\n"
	if err := os.WriteFile(config, bytes.Replace(text, []byte("access:\n"), []byte(rule), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new rule", func() bool {
		return user2.do(t, "POST", "/v2/hangup/app/blobs/uploads/", nil, nil).status == http.StatusAccepted
	})
}

// TestDrain stops the server while a blob is on its way: it arrives.
func TestDrain(t *testing.T) {
	s := serve(t, "team.yml")
	c := &client{base: s.url(), user: "user1", password: "secret1"}
	layer := bytes.Repeat([]byte("drain "), 1000)
	resp := c.do(t, "POST", "/v2/team/drain/blobs/uploads/", nil, nil)
	location := resp.header.Get("Location")
	if resp.status != http.StatusAccepted || location == "" {
		t.Fatalf("begin an upload: %d", resp.status)
	}
	body, feed := io.Pipe()
	req, err := http.NewRequest("PUT", s.url()+location+"?digest="+digestOf(layer), body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(len(layer))
	req.SetBasicAuth(c.user, c.password)
	status := make(chan string, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			status <- err.Error()
			return
		}
		resp.Body.Close()
		status <- strconv.Itoa(resp.StatusCode)
	}()
	if _, err := feed.Write(layer[:100]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // the request is being served by then
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no more connections are taken", func() bool {
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if _, err := feed.Write(layer[100:]); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	if got := <-status; got != "201" {
		t.Fatalf("the upload ended with %s", got)
	}
	<-s.exited
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
	if resp := c.do(t, "GET", "/v2/team/drain/blobs/"+digestOf(layer), nil, nil); resp.status != http.StatusOK || !bytes.Equal(resp.body, layer) {
		t.Errorf("after the restart: %d", resp.status)
	}
}
