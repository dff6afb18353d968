package e2e

import (
	"context"
	"crypto/x509"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/authority"
)

// dockerWithCertificate pushes and pulls without a login. Docker shows no
// certificate to an address of the loopback network, so the registry has another
// one, in a network where nothing else is.
const dockerWithCertificate = `
set -e
ip link set lo up
ip addr add 192.0.2.1/32 dev lo
mkdir -p "$DIR/layers"
mount -t tmpfs layers "$DIR/layers"
mkdir -p "$DIR/layers/upper" "$DIR/layers/work"
mount -t overlay layer -o "lowerdir=/etc,upperdir=$DIR/layers/upper,workdir=$DIR/layers/work" /etc
mkdir -p /etc/docker/certs.d/192.0.2.1:5443
cp "$DIR/ca.crt" "$DIR/client.cert" "$DIR/client.key" /etc/docker/certs.d/192.0.2.1:5443/
"$BERTH" serve "$DIR/config.yml" >"$DIR/berth.log" 2>&1 &
dockerd --data-root "$DIR/data" --exec-root "$DIR/exec" -p "$DIR/pid" -H "unix://$DIR/docker.sock" \
	--storage-driver vfs --iptables=false --ip6tables=false --bridge=none >"$DIR/dockerd.log" 2>&1 &
n=0
until docker version >/dev/null 2>&1; do
	n=$((n + 1))
	[ $n -lt 300 ] || { cat "$DIR/dockerd.log"; exit 1; }
	sleep 0.1
done
docker import "$DIR/layer.tar" 192.0.2.1:5443/team/app:v1
docker tag 192.0.2.1:5443/team/app:v1 192.0.2.1:5443/other/app:v1
docker push 192.0.2.1:5443/team/app:v1 || { cat "$DIR/berth.log"; exit 1; }
docker rmi 192.0.2.1:5443/team/app:v1
docker pull 192.0.2.1:5443/team/app:v1
! docker push 192.0.2.1:5443/other/app:v1
echo all is well
`

func TestDockerWithCertificate(t *testing.T) {
	need(t, "root", "docker", "dockerd", "unshare", "ip")
	binary, err := shared.berth()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	root := authority.New(t, "root")
	key := authority.NewKey(t, "P-256")
	authority.Write(t, path("server.pem"), path("server.key"), key,
		root.Issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key.Public()))
	authority.Write(t, path("ca.crt"), "", nil, root.Cert)
	bob := root.Client(t, "bob", nil)
	authority.Write(t, path("client.cert"), path("client.key"), bob.PrivateKey, bob.Leaf)
	layer, err := layerOf("hello.txt", "hello\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"layer.tar": string(layer), "config.yml": strings.ReplaceAll(`
storage: {filesystem: {rootdirectory: $DIR/registry}}
http: {addr: '192.0.2.1:5443', tls: {certificate: $DIR/server.pem, key: $DIR/server.key, clientcas: $DIR/ca.crt}}
auth: {certificate: {user: subject.commonname}}
access: [{name: cert/bob, type: repository, repositories: ["team/**"], action: [pull, push]}]
`, "$DIR", dir)} {
		if err := os.WriteFile(path(name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// What was started in there ends with it.
	cmd := exec.CommandContext(ctx, "unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", dockerWithCertificate)
	cmd.Env = append(os.Environ(), "DIR="+dir, "HOME="+dir, "BERTH="+binary, "DOCKER_HOST=unix://"+path("docker.sock"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all is well") {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "denied: ") {
		t.Errorf("why the other push was refused is not said:\n%s", out)
	}
}
