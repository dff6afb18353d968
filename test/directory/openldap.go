// Package directory starts real directory servers for tests: each on ports and
// in folders of its own, on the loopback interface, ended with its test.
//
// What a test needs and the machine lacks is a reason to skip it; with CI=true
// in the environment it is a failure. "make deps" installs all of it.
package directory

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Names in an OpenLDAP.
const (
	openLDAPBase  = "dc=corp,dc=test"
	openLDAPAdmin = "cn=admin," + openLDAPBase
)

// An OpenLDAP is a slapd with people under ou=people and groups under ou=groups.
// memberOf of people is kept by an overlay, for groups that AddGroup makes. The
// password policy locks an account after ten wrong passwords, and knows
// pwdReset. Only the service account may search.
type OpenLDAP struct {
	URL      string // ldap://, where StartTLS can be asked for
	TLSURL   string // ldaps://
	CAFile   string // of the certificate, which is for 127.0.0.1 and localhost
	BaseDN   string
	BindDN   string // of the service account
	Password string // of the service account

	t      testing.TB
	dir    string
	admin  string // password of the administrator
	conn   *ldap.Conn
	hangs  bool // between Stop and Cont
	marks  int
	cmd    *exec.Cmd
	exited chan struct{}
	log    *output
}

// StartOpenLDAP starts a slapd that ends with the test.
func StartOpenLDAP(t testing.TB) *OpenLDAP {
	t.Helper()
	need(t, "slapd")
	s := &OpenLDAP{
		BaseDN:   openLDAPBase,
		BindDN:   "cn=berth,ou=services," + openLDAPBase,
		Password: "service-secret",
		t:        t,
		dir:      t.TempDir(),
		admin:    "admin-secret",
		log:      new(output),
	}
	s.CAFile = filepath.Join(s.dir, "ca.pem")
	writeCertificates(t, s.dir)
	s.writeConfig()
	s.URL, s.TLSURL = "ldap://"+freeAddr(t), "ldaps://"+freeAddr(t)
	t.Cleanup(s.Kill)
	s.Start()
	s.fill()
	return s
}

// writeConfig writes what slapd reads.
func (s *OpenLDAP) writeConfig() {
	s.t.Helper()
	if err := os.Mkdir(filepath.Join(s.dir, "db"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	config := strings.NewReplacer("$DIR", s.dir, "$BASE", s.BaseDN, "$ADMIN", openLDAPAdmin, "$SECRET", s.admin, "$BIND", s.BindDN).Replace(slapdConfig)
	if err := os.WriteFile(filepath.Join(s.dir, "slapd.conf"), []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

const slapdConfig = `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
pidfile $DIR/slapd.pid
TLSCACertificateFile $DIR/ca.pem
TLSCertificateFile $DIR/cert.pem
TLSCertificateKeyFile $DIR/key.pem
access to dn.base="" by * read
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="$BIND" read by self read by * none
database mdb
suffix "$BASE"
rootdn "$ADMIN"
rootpw $SECRET
directory $DIR/db
maxsize 134217728
dbnosync
index objectClass,uid,cn,member,memberUid eq
limits dn.exact="$BIND" size=unlimited
overlay memberof
memberof-group-oc groupOfNames
overlay ppolicy
ppolicy_default "cn=policy,$BASE"
ppolicy_use_lockout
`

// fill makes what every directory has.
func (s *OpenLDAP) fill() {
	s.t.Helper()
	s.Add(s.BaseDN, map[string][]string{"objectClass": {"dcObject", "organization"}, "dc": {"corp"}, "o": {"corp"}})
	for _, ou := range []string{"people", "groups", "services"} {
		s.Add("ou="+ou+","+s.BaseDN, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {ou}})
	}
	s.Add("cn=policy,"+s.BaseDN, map[string][]string{
		"objectClass": {"device", "pwdPolicy"}, "cn": {"policy"}, "pwdAttribute": {"userPassword"},
		"pwdLockout": {"TRUE"}, "pwdMaxFailure": {"10"}, "pwdMustChange": {"TRUE"},
	})
	s.Add(s.BindDN, map[string][]string{
		"objectClass": {"organizationalRole", "simpleSecurityObject"}, "cn": {"berth"}, "userPassword": {s.Password},
	})
}

// AddUser adds uid=name under ou=people, and returns the DN.
func (s *OpenLDAP) AddUser(name, password string) (dn string) {
	s.t.Helper()
	dn = "uid=" + ldap.EscapeDN(name) + ",ou=people," + s.BaseDN
	s.Add(dn, map[string][]string{
		"objectClass": {"inetOrgPerson"}, "uid": {name}, "cn": {name}, "sn": {name}, "userPassword": {password},
	})
	return dn
}

// AddGroup adds a groupOfNames cn=name under ou=groups with the members, which
// are DNs, and returns its DN.
func (s *OpenLDAP) AddGroup(name string, members ...string) (dn string) {
	s.t.Helper()
	dn = "cn=" + ldap.EscapeDN(name) + ",ou=groups," + s.BaseDN
	// Such a group may not be empty.
	s.Add(dn, map[string][]string{"objectClass": {"groupOfNames"}, "cn": {name}, "member": append([]string{"cn=nobody," + s.BaseDN}, members...)})
	return dn
}

// AddPosixGroup adds a posixGroup with the members, which are names.
func (s *OpenLDAP) AddPosixGroup(name string, gid int, members ...string) (dn string) {
	s.t.Helper()
	dn = "cn=" + ldap.EscapeDN(name) + ",ou=groups," + s.BaseDN
	attrs := map[string][]string{"objectClass": {"posixGroup"}, "cn": {name}, "gidNumber": {fmt.Sprint(gid)}}
	if len(members) > 0 {
		attrs["memberUid"] = members
	}
	s.Add(dn, attrs)
	return dn
}

// AddMember makes the member, which is a DN, one of a group of AddGroup.
func (s *OpenLDAP) AddMember(group, member string) {
	s.t.Helper()
	m := ldap.NewModifyRequest(group, nil)
	m.Add("member", []string{member})
	s.do(func(c *ldap.Conn) error { return c.Modify(m) })
}

// RemoveMember takes a member out of a group.
func (s *OpenLDAP) RemoveMember(group, member string) {
	s.t.Helper()
	m := ldap.NewModifyRequest(group, nil)
	m.Delete("member", []string{member})
	s.do(func(c *ldap.Conn) error { return c.Modify(m) })
}

// SetPassword gives the entry of that DN another password.
func (s *OpenLDAP) SetPassword(dn, password string) {
	s.t.Helper()
	s.Set(dn, "userPassword", password)
	s.Set(dn, "pwdReset") // which the policy sets for what is not the user's own change
}

// Set replaces the values of an attribute; without values it goes.
func (s *OpenLDAP) Set(dn, attr string, values ...string) {
	s.t.Helper()
	m := ldap.NewModifyRequest(dn, nil)
	m.Replace(attr, values)
	s.do(func(c *ldap.Conn) error { return c.Modify(m) })
}

// Add adds an entry.
func (s *OpenLDAP) Add(dn string, attrs map[string][]string) {
	s.t.Helper()
	r := ldap.NewAddRequest(dn, nil)
	for name, values := range attrs {
		r.Attribute(name, values)
	}
	s.do(func(c *ldap.Conn) error { return c.Add(r) })
}

// Rename gives the entry of that DN the name, as its only uid, and returns its DN.
func (s *OpenLDAP) Rename(dn, name string) string {
	s.t.Helper()
	rdn := "uid=" + ldap.EscapeDN(name)
	s.do(func(c *ldap.Conn) error { return c.ModifyDN(ldap.NewModifyDNRequest(dn, rdn, true, "")) })
	_, parent, _ := strings.Cut(dn, ",")
	return rdn + "," + parent
}

// Remove removes an entry.
func (s *OpenLDAP) Remove(dn string) {
	s.t.Helper()
	s.do(func(c *ldap.Conn) error { return c.Del(ldap.NewDelRequest(dn, nil)) })
}

// do runs f as the administrator.
func (s *OpenLDAP) do(f func(*ldap.Conn) error) {
	s.t.Helper()
	if s.conn == nil || s.conn.IsClosing() {
		c, err := s.dial()
		if err != nil {
			s.t.Fatalf("%v\n%s", err, s.Log())
		}
		s.conn = c
	}
	if err := f(s.conn); err != nil {
		s.t.Fatalf("%v\n%s", err, s.Log())
	}
}

func (s *OpenLDAP) dial() (*ldap.Conn, error) {
	c, err := ldap.DialURL(s.URL, ldap.DialWithDialer(&net.Dialer{Timeout: time.Second}))
	if err != nil {
		return nil, err
	}
	c.SetTimeout(5 * time.Second)
	if err := c.Bind(openLDAPAdmin, s.admin); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Start starts the slapd again after Kill, with its old data and addresses.
func (s *OpenLDAP) Start() {
	s.t.Helper()
	s.cmd = exec.Command(program("slapd"), "-d", "stats", "-f", filepath.Join(s.dir, "slapd.conf"), "-h", s.URL+" "+s.TLSURL)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	cmd, exited := s.cmd, make(chan struct{})
	s.exited = exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	deadline := time.Now().Add(20 * time.Second)
	for {
		c, err := s.dial()
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-exited:
			s.t.Fatalf("slapd does not start:\n%s", s.Log())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("slapd does not answer: %v\n%s", err, s.Log())
		}
	}
}

// Stop makes the slapd hang: connections to it are accepted and not answered.
func (s *OpenLDAP) Stop() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	s.hangs = true
}

// Cont lets a stopped slapd go on.
func (s *OpenLDAP) Cont() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
	s.hangs = false
}

func (s *OpenLDAP) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends the slapd: connections to it are refused. It may be called again.
func (s *OpenLDAP) Kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// Log returns what the slapd has logged: each operation, with its filter. All
// that has been answered before is in it.
func (s *OpenLDAP) Log() string {
	if s.conn == nil || s.hangs {
		return s.log.String()
	}
	s.marks++
	mark := fmt.Sprintf("(cn=mark-%d)", s.marks)
	_, _ = s.conn.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 1, false, mark, nil, nil))
	for range 200 {
		if text := s.log.String(); strings.Contains(text, mark) {
			return text
		}
		time.Sleep(5 * time.Millisecond)
	}
	return s.log.String()
}

// Binds counts the binds with a password as that DN so far.
func (s *OpenLDAP) Binds(dn string) int {
	return strings.Count(s.Log(), `BIND dn="`+dn+`" method=128`+"\n")
}

// output gathers what a program prints. It is safe for concurrent use.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
