//go:build linux

package directory

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// The domain of a Samba.
const (
	Realm  = "corp.test"
	Domain = "CORP"

	administrator   = "Administrator@" + Realm
	adminPassword   = "Of-nobody-1"
	servicePassword = "Of-a-service-1"
	// LockoutThreshold is how many wrong passwords in a row lock an account.
	LockoutThreshold = 10
)

// A Samba is the domain controller of an Active Directory domain, for one test.
// It listens on ports that cannot be chosen, and so in a network of its own;
// relays on 127.0.0.1 lead to it, and it is in nobody's way. That, and Samba
// itself, need root. Starting it takes ten seconds.
type Samba struct {
	URL    string // ldap://; Samba takes passwords there after StartTLS only
	TLSURL string // ldaps://
	CAFile string
	BaseDN string
	// BindDN and Password are those of a user without rights of its own.
	BindDN, Password string

	t       testing.TB
	dir     string
	log     *output
	network namespace
	cmd     *exec.Cmd
	stdin   io.Closer // Samba ends when it is closed, so that it never outlives the test
	exited  chan struct{}
	relays  []net.Listener
	relayed sync.WaitGroup // by them

	mu    sync.Mutex
	admin *ldap.Conn
}

// StartSamba starts a domain that ends with the test.
func StartSamba(t testing.TB) *Samba {
	t.Helper()
	need(t, "samba", "samba-tool")
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal("root is needed for Samba")
	default:
		t.Skip("root is needed for Samba")
	}
	s := &Samba{BaseDN: "DC=corp,DC=test", Password: servicePassword, t: t, dir: t.TempDir(), log: new(output)}
	s.CAFile = s.path("ca.pem")
	writeCertificates(t, s.dir, "dc1."+Realm)
	t.Cleanup(s.Close)
	if err := s.start(); err != nil {
		t.Fatalf("start Samba: %v\n%s", err, s.Log())
	}
	s.BindDN = s.AddUser(SambaUser{CN: "berth", Password: s.Password})
	return s
}

func (s *Samba) start() (err error) {
	if s.network, err = newNamespace(); err != nil {
		return err
	}
	for _, step := range []func() error{s.provision, s.run, s.connect, s.relax} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// provision makes the domain, whatever the machine's own configuration says.
func (s *Samba) provision() error {
	if err := os.WriteFile(s.path("none.conf"), []byte("[global]\n"), 0o600); err != nil {
		return err
	}
	return s.network.do(func() error {
		cmd := exec.Command("samba-tool", "domain", "provision",
			"--realm="+Realm, "--domain="+Domain, "--adminpass="+adminPassword,
			"--server-role=dc", "--dns-backend=NONE", "--targetdir="+s.path("domain"),
			"--host-ip=127.0.0.1", "--host-name=dc1",
			"--option=interfaces=lo", "--option=bind interfaces only=yes", "--option=ldb:nosync=true")
		cmd.Env = append(os.Environ(), "SMB_CONF_PATH="+s.path("none.conf"))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("provision: %w\n%s", err, out)
		}
		return nil
	})
}

// run starts the server and the relays, and returns when it answers.
func (s *Samba) run() error {
	args := []string{"-i", "-M", "single", "--debug-stdout", "-s", s.path("domain/etc/smb.conf")}
	for _, option := range []string{
		"server services=ldap", "ldb:nosync=true",
		"tls keyfile=" + s.path("key.pem"), "tls certfile=" + s.path("cert.pem"), "tls cafile=" + s.CAFile,
		"pid directory=" + s.dir, "lock directory=" + s.path("domain"), "ncalrpc dir=" + s.path("ncalrpc"),
	} {
		args = append(args, "--option="+option)
	}
	s.cmd = exec.Command("samba", args...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.WaitDelay = 5 * time.Second // for children that outlive it
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := s.network.do(s.cmd.Start); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func() {
		s.cmd.Wait()
		close(s.exited)
	}()
	for _, r := range []struct {
		url          *string
		scheme, port string
	}{{&s.URL, "ldap", "389"}, {&s.TLSURL, "ldaps", "636"}} {
		if err := s.awaitPort("127.0.0.1:" + r.port); err != nil {
			return err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.relays = append(s.relays, l)
		s.relayed.Go(func() { s.relay(l, "127.0.0.1:"+r.port) })
		*r.url = r.scheme + "://" + l.Addr().String()
	}
	return nil
}

func (s *Samba) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Samba) awaitPort(addr string) error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := s.network.dial(addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-s.exited:
			return errors.New("it exited before it listened")
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not listen after 30 s: %w", err)
		}
	}
}

// relay leads what connects to l to an address inside, until l is closed.
func (s *Samba) relay(l net.Listener, addr string) {
	for {
		outside, err := l.Accept()
		if err != nil {
			return
		}
		s.relayed.Go(func() {
			defer outside.Close()
			inside, err := s.network.dial(addr)
			if err != nil {
				return
			}
			defer inside.Close()
			go func() {
				io.Copy(inside, outside)
				inside.Close()
			}()
			io.Copy(outside, inside)
		})
	}
}

// connect logs in as who may do everything.
func (s *Samba) connect() error {
	conn, err := s.Dial()
	if err != nil {
		return err
	}
	s.admin = conn
	return conn.Bind(administrator, adminPassword)
}

// Dial returns a connection over TLS that nobody is bound to.
func (s *Samba) Dial() (*ldap.Conn, error) {
	config, err := clientTLS(s.CAFile)
	if err != nil {
		return nil, err
	}
	return ldap.DialURL(s.TLSURL, ldap.DialWithTLSConfig(config))
}

// relax lets tests set passwords as they like, and locks accounts.
func (s *Samba) relax() error {
	m := ldap.NewModifyRequest(s.BaseDN, nil)
	const halfHour = "-18000000000" // in steps of 100 ns
	for name, value := range map[string]string{
		"pwdProperties": "0", "minPwdLength": "4", "pwdHistoryLength": "0", "minPwdAge": "0",
		"lockoutThreshold": fmt.Sprint(LockoutThreshold), "lockoutDuration": halfHour, "lockOutObservationWindow": halfHour,
	} {
		m.Replace(name, []string{value})
	}
	return s.admin.Modify(m)
}

// clientTLS trusts the authority in a file, and nobody else.
func clientTLS(caFile string) (*tls.Config, error) {
	data, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// Log returns the end of what the server has logged.
func (s *Samba) Log() string {
	text := s.log.String()
	return text[max(0, len(text)-8192):]
}

// Stop makes the server hang: it takes connections and answers nothing.
func (s *Samba) Stop() { syscall.Kill(-s.cmd.Process.Pid, syscall.SIGSTOP) }

// Cont ends Stop.
func (s *Samba) Cont() { syscall.Kill(-s.cmd.Process.Pid, syscall.SIGCONT) }

// Close ends the server. It may be called twice.
func (s *Samba) Close() {
	for _, l := range s.relays {
		l.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admin != nil {
		s.admin.Close()
		s.admin = nil
	}
	if s.exited != nil {
		s.Cont()
		s.stdin.Close()
		select {
		case <-s.exited:
		case <-time.After(5 * time.Second):
			syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
			<-s.exited
		}
		s.exited = nil
	}
	s.relayed.Wait() // what is relayed ends with the server
	if s.network.file != nil {
		s.network.close()
	}
}
