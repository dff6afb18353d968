package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHealthChecks: a check of one's own takes a server out of service, and
// nothing else.
func TestHealthChecks(t *testing.T) {
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, "storage: {filesystem: {rootdirectory: $DIR/data}}\nhttp: {addr: '"+addr+"'}\n"+
		"health:\n  storagedriver: {enabled: true, interval: 50ms, threshold: 2}\n  file: [{file: $DIR/out, interval: 50ms}]\n", nil)
	s.addr = addr
	c := s.client()
	ready := func(status int, part string) func() bool {
		return func() bool {
			resp, err := c.send("GET", "/readyz", nil, nil)
			return err == nil && resp.status == status && strings.Contains(string(resp.body), part)
		}
	}
	eventually(t, "it is ready", ready(200, `"ok"`))
	out := filepath.Join(s.dir, "out")
	if err := os.WriteFile(out, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file takes it out", ready(503, "health.file.0"))
	c.expect(t, 200, "GET", "/v2/")
	if err := os.Remove(out); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is back", ready(200, `"ok"`))
	mark := filepath.Join(s.dir, "data", "berth-instance")
	if err := os.Rename(mark, mark+".away"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store is another one", ready(503, "health.storagedriver"))
	if err := os.Rename(mark+".away", mark); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store is back", ready(200, `"ok"`))
}
