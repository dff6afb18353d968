package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/authority"
)

// A keeper is a berth that knows its clients by their certificates.
type keeper struct {
	*server
	root  *authority.Authority
	certs string // the folder of ca.crt, server.pem, server.key, revoked.pem
}

// startKeeper runs berth over TLS: bob's certificate may push what the team
// makes, and anybody who gets as far as that may read what is public.
func startKeeper(t *testing.T, mode string) *keeper {
	t.Helper()
	k := &keeper{root: authority.New(t, "root"), certs: t.TempDir()}
	key := authority.NewKey(t, "P-256")
	leaf := k.root.Issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key.Public())
	authority.Write(t, k.path("server.pem"), k.path("server.key"), key, leaf)
	authority.Write(t, k.path("ca.crt"), "", nil, k.root.Cert)
	k.revoke(t)
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	k.server = start(t, strings.NewReplacer("$ADDR", addr, "$CERTS", k.certs, "$MODE", mode).Replace(`
storage: {filesystem: {rootdirectory: $DIR/data}, delete: {enabled: true}}
http:
  addr: $ADDR
  tls: {certificate: $CERTS/server.pem, key: $CERTS/server.key, clientcas: [$CERTS/ca.crt], clientauth: $MODE}
auth:
  accounts: {enabled: true}
  certificate: {user: subject.commonname, groups: subject.organizationalunit, crlfile: $CERTS/revoked.pem}
access:
  - {name: cert/bob, type: repository, repositories: ["team/**"], action: [pull, push]}
  - {group: cert/readers, type: repository, repositories: ["team/**"], action: pull}
  - {name: anonymous, type: repository, repositories: ["public/**"], action: pull}
`), nil)
	k.addr = addr
	eventually(t, "a handshake", func() bool {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return k
}

func (k *keeper) path(name string) string { return filepath.Join(k.certs, name) }

// revoke writes the list of revoked certificates.
func (k *keeper) revoke(t *testing.T, certs ...*x509.Certificate) {
	t.Helper()
	if err := os.WriteFile(k.path("revoked.pem"), k.root.List(t, nil, certs...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// get does a request over a new connection, and returns the status and the body.
func (k *keeper) get(cert *tls.Certificate, path string) (int, string, error) {
	config := &tls.Config{InsecureSkipVerify: true}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://" + k.addr + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// TestBadCertificates: what is not to be believed ends in TLS: nobody goes on as
// anonymous.
func TestBadCertificates(t *testing.T) {
	for _, mode := range []string{"verify-client-cert-if-given", "require-and-verify-client-cert"} {
		t.Run(mode, func(t *testing.T) {
			k := startKeeper(t, mode)
			other := authority.New(t, "root") // of the same name
			good := k.root.Client(t, "bob", nil)
			status, _, err := k.get(nil, "/v2/")
			if strings.HasPrefix(mode, "require") {
				if err == nil || !strings.Contains(err.Error(), "certificate required") {
					t.Errorf("without a certificate: %d, %v", status, err)
				}
			} else if status != http.StatusUnauthorized || err != nil {
				t.Errorf("without a certificate: %d, %v", status, err)
			}
			if status, _, err := k.get(good, "/v2/"); err != nil || status != http.StatusOK {
				t.Errorf("a good certificate: %d, %v", status, err)
			}
			for name, test := range map[string]struct {
				cert  *tls.Certificate
				alert string
			}{
				"run out": {k.root.Client(t, "bob", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), "expired certificate"},
				"early":   {k.root.Client(t, "bob", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), "certificate"},
				"foreign": {other.Client(t, "bob", nil), "certificate"},
				"a server's": {k.root.Client(t, "bob", func(c *x509.Certificate) {
					c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
				}), "bad certificate"},
				"with another key": {&tls.Certificate{Certificate: good.Certificate, PrivateKey: authority.NewKey(t, "P-256")}, "tls"},
			} {
				for _, path := range []string{"/v2/", "/v2/public/app/tags/list", "/auth/token", "/livez"} {
					status, body, err := k.get(test.cert, path)
					if err == nil || !strings.Contains(err.Error(), test.alert) {
						t.Errorf("%s: %d %s, %v", name, status, body, err)
					}
				}
			}
		})
	}
}

// TestCertificatesAreReloaded: who is revoked is out at once, on the connection
// that he has as well.
func TestCertificatesAreReloaded(t *testing.T) {
	k := startKeeper(t, "verify-client-cert-if-given")
	bob := k.root.Client(t, "bob", nil)
	reader := k.root.Client(t, "carol", func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{"readers"} })
	if status, body, err := k.get(reader, "/v2/team/app/tags/list"); err != nil || status != http.StatusNotFound {
		t.Errorf("a reader: %d %s, %v", status, body, err)
	}
	open := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*bob}},
	}}
	status := func() int {
		resp, err := open.Get("https://" + k.addr + "/v2/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	if s := status(); s != http.StatusOK {
		t.Fatalf("bob: %d", s)
	}
	k.revoke(t, bob.Leaf)
	eventually(t, "bob is out", func() bool { return status() == http.StatusUnauthorized })
	if s, _, err := k.get(bob, "/v2/"); err == nil || !strings.Contains(err.Error(), "bad certificate") {
		t.Errorf("bob comes again: %d, %v", s, err)
	}
	if s, _, err := k.get(reader, "/v2/"); err != nil || s != http.StatusOK {
		t.Errorf("the reader: %d, %v", s, err)
	}

	if err := os.WriteFile(k.path("ca.crt"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "broken authorities show", func() bool {
		_, body, err := k.get(reader, "/readyz")
		if err != nil {
			t.Fatalf("the old authorities are gone: %v", err)
		}
		return strings.Contains(body, "http.tls.clientcas")
	})
	k.root = authority.New(t, "root")
	k.revoke(t)
	authority.Write(t, k.path("ca.crt"), "", nil, k.root.Cert)
	next := k.root.Client(t, "bob", nil)
	eventually(t, "the next authority", func() bool { s, _, err := k.get(next, "/v2/"); return err == nil && s == http.StatusOK })
	if s, _, err := k.get(reader, "/v2/"); err == nil {
		t.Errorf("of the authority before: %d", s)
	}
}

// TestClientsWithCertificates pushes and pulls with a certificate and without a
// login.
func TestClientsWithCertificates(t *testing.T) {
	need(t, "curl", "skopeo")
	k := startKeeper(t, "require-and-verify-client-cert")
	folder := func(name string) string {
		t.Helper()
		cert, dir := k.root.Client(t, name, nil), t.TempDir()
		authority.Write(t, filepath.Join(dir, "client.cert"), filepath.Join(dir, "client.key"), cert.PrivateKey, cert.Leaf)
		authority.Write(t, filepath.Join(dir, "ca.crt"), "", nil, k.root.Cert)
		return dir
	}
	bob, eve := folder("bob"), folder("eve")
	layout := writeLayout(t)
	run := func(want string, name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "REGISTRY_AUTH_FILE="+filepath.Join(t.TempDir(), "none.json"))
		out, err := cmd.CombinedOutput()
		if (err == nil) != (want == "") || !strings.Contains(string(out), want) {
			t.Fatalf("%s %s: %v, want an error of %q: %s", name, strings.Join(args, " "), err, want, out)
		}
	}
	image := "docker://" + k.addr + "/team/app:v1"
	curl := func(dir string) []string {
		return []string{"-sS", "--fail", "--cacert", dir + "/ca.crt", "--cert", dir + "/client.cert", "--key", dir + "/client.key", "https://" + k.addr + "/v2/"}
	}
	run("", "curl", curl(bob)...)
	run("403 (Forbidden)", "skopeo", "copy", "--dest-cert-dir", eve, "oci:"+layout, image)
	run("", "skopeo", "copy", "--dest-cert-dir", bob, "oci:"+layout, image)
	run("", "skopeo", "inspect", "--cert-dir", bob, image)
	run("", "skopeo", "copy", "--src-cert-dir", bob, image, "dir:"+t.TempDir())
	run("denied", "skopeo", "inspect", "--cert-dir", eve, image)
}

// writeLayout writes an image as an OCI layout, and returns its folder.
func writeLayout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	layer, err := layerOf("hello.txt", "hello\n")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, digestOf(layer))
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`, mediaTypeManifest, digestOf(config), len(config), mediaTypeLayer, digestOf(layer), len(layer))
	index := fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, mediaTypeManifest, digestOf(manifest), len(manifest))
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`), "index.json": index}
	for _, blob := range [][]byte{config, layer, manifest} {
		files[filepath.Join("blobs", "sha256", strings.TrimPrefix(digestOf(blob), "sha256:"))] = blob
	}
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
