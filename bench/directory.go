package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
)

// The names of the users of the directory and of the password file beside it.
const (
	ofDirectory = "LDAP"
	ofFile      = "htpasswd"
)

// slapdConfig serves a directory from memory-mapped files.
const slapdConfig = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {dir}/slapd.pid
sizelimit unlimited
access to attrs=userPassword by anonymous auth by * none
access to * by * read
database mdb
maxsize 4294967296
suffix "dc=bench,dc=test"
rootdn "cn=admin,dc=bench,dc=test"
rootpw admin
directory {dir}/slapd
index objectClass,uid,member eq
dbnosync
`

// directoryConfig is berth with users in a directory and others in a file.
const directoryConfig = `version: 0.1
log: {level: error, accesslog: {disabled: true}}
http: {addr: "{addr}"}
storage: {filesystem: {rootdirectory: "{dir}/directory-data"}}
auth:
  htpasswd: {realm: bench, path: "{dir}/htpasswd-many"}
  ldap:
    - name: bench
      urls: ["ldap://{slapd}"]
      binddn: cn=admin,dc=bench,dc=test
      bindpassword: admin
      user: {base: "ou=people,dc=bench,dc=test", filter: "(uid={user})", name: uid}
      group: {base: "ou=groups,dc=bench,dc=test", filter: "(member={dn})", name: cn}
  issuer: {service: berth, expiration: 24h}
access:
  - {name: anonymous, type: repository, repositories: [public/**], action: [pull, push]}
  - {name: "*", type: registry, action: pull}
`

// A directory is a berth whose users are in slapd, and others in a password
// file. Each of both is a target of its own.
type directory struct {
	ldap, file *target
	users      int
	next       map[*target]*atomic.Int64 // the user who has not logged in yet
}

// directories returns both, or nothing where slapd is not installed.
func directories(l *lab) []*target {
	if l.directory == nil {
		return nil
	}
	return []*target{l.directory.ldap, l.directory.file}
}

// startDirectory starts slapd and a berth that asks it, with users of each kind,
// and gives them an image to pull.
func (l *lab) startDirectory(users int, i *image) error {
	slapd, err := exec.LookPath("slapd")
	if err != nil {
		fmt.Fprintln(os.Stderr, "skipped: everything with LDAP, as slapd is not installed (make bench-deps)")
		return nil
	}
	if err := errors.Join(l.writeFileUsers(users), l.writeDirectoryUsers(users), os.Mkdir(l.path("slapd"), 0o700)); err != nil {
		return err
	}
	addr, err := l.launchSlapd(slapd)
	if err != nil {
		return err
	}
	l.slapd = addr
	p, err := l.launch("directory", directoryConfig, l.path("berth"), "serve")
	if err != nil {
		return err
	}
	at := map[mode]*process{basic: p}
	d := &directory{ldap: &target{name: ofDirectory, at: at}, file: &target{name: ofFile, at: at}, users: users}
	d.next = map[*target]*atomic.Int64{d.ldap: new(atomic.Int64), d.file: new(atomic.Int64)}
	c, err := dial(p.addr, patience)
	if err != nil {
		return err
	}
	defer c.close()
	l.directory = d
	return pushImage(c, repoPublic, "", imageTag, i)
}

// launchSlapd fills the directory and starts slapd on it.
func (l *lab) launchSlapd(slapd string) (string, error) {
	addr, err := freeAddr()
	if err != nil {
		return "", err
	}
	config := l.path("slapd.conf")
	if err := os.WriteFile(config, []byte(l.fill(slapdConfig, addr)), 0o600); err != nil {
		return "", err
	}
	if err := run(l.dir, nil, "slapadd", "-q", "-f", config, "-l", l.path("users.ldif")); err != nil {
		return "", err
	}
	_, err = l.run("slapd", addr, slapd, "-d", "0", "-f", config, "-h", "ldap://"+addr+"/")
	return addr, err
}

// writeFileUsers writes a password file. All have the same hash, which makes
// none of them quicker.
func (l *lab) writeFileUsers(users int) error {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 10)
	if err != nil {
		return err
	}
	return l.writeLines("htpasswd-many", users, func(w *bufio.Writer, i int) {
		fmt.Fprintf(w, "%s:%s\n", userName(ofFile, i), hash)
	})
}

// writeDirectoryUsers writes the entries of the directory: people, a hundred in
// each group.
func (l *lab) writeDirectoryUsers(users int) error {
	const inGroup = 100
	return l.writeLines("users.ldif", users, func(w *bufio.Writer, i int) {
		if i == 0 {
			fmt.Fprint(w, "dn: dc=bench,dc=test\nobjectClass: domain\ndc: bench\n\n",
				"dn: ou=people,dc=bench,dc=test\nobjectClass: organizationalUnit\nou: people\n\n",
				"dn: ou=groups,dc=bench,dc=test\nobjectClass: organizationalUnit\nou: groups\n\n")
		}
		name := userName(ofDirectory, i)
		fmt.Fprintf(w, "dn: uid=%s,ou=people,dc=bench,dc=test\nobjectClass: inetOrgPerson\nuid: %s\ncn: %s\nsn: %s\nuserPassword: %s\n\n",
			name, name, name, name, password)
		if i%inGroup != inGroup-1 && i != users-1 {
			return
		}
		fmt.Fprintf(w, "dn: cn=group-%d,ou=groups,dc=bench,dc=test\nobjectClass: groupOfNames\ncn: group-%d\n", i/inGroup, i/inGroup)
		for j := i / inGroup * inGroup; j <= i; j++ {
			fmt.Fprintf(w, "member: uid=%s,ou=people,dc=bench,dc=test\n", userName(ofDirectory, j))
		}
		fmt.Fprintln(w)
	})
}

func (l *lab) writeLines(name string, n int, write func(*bufio.Writer, int)) error {
	f, err := os.OpenFile(l.path(name), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for i := range n {
		write(w, i)
	}
	return errors.Join(w.Flush(), f.Close())
}

func userName(kind string, i int) string {
	if kind == ofDirectory {
		return fmt.Sprintf("l%06d", i)
	}
	return fmt.Sprintf("h%06d", i)
}

func basicOf(user string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// again does a request as the same user every time, who is remembered.
func (d *directory) again(t *target, request func(auth string) []byte) op {
	return repeat(200, request(basicOf(userName(t.name, 0))))
}

// anew does a request as another user every time, who was never here before.
func (d *directory) anew(t *target, request func(auth string) []byte) op {
	return func(c *conn) error {
		i := int(d.next[t].Add(1))
		if i >= d.users {
			return fmt.Errorf("all %d users have logged in: -users must be higher", d.users)
		}
		_, err := c.do(200, request(basicOf(userName(t.name, i))), nil)
		return err
	}
}

func loginRequest(auth string) []byte {
	return head("GET", "/auth/token?offline_token=true&client_id=bench&service="+service, auth)
}

func pullRequest(auth string) []byte {
	return head("HEAD", "/v2/"+repoPublic+"/manifests/"+imageTag, auth, accept)
}

// directoryRows returns the work of users of a directory, beside those of a
// password file: remembered, and at their first request.
func (f *fixture) directoryRows(n sizes) []row {
	prepare := func(l *lab) error {
		return l.once("directory", func() error {
			i, err := newImage(f.configs, f.layers, imageLayers)
			if err != nil {
				return err
			}
			return l.startDirectory(n.users, i)
		})
	}
	of := func(name string, how func(*directory, *target, func(string) []byte) op, request func(string) []byte) row {
		return row{
			name: name, modes: []mode{basic}, clients: []int{1, 8}, against: directories, prepare: prepare, quick: true,
			work: func(l *lab, _ mode) maker {
				return func(t *target) (op, error) { return how(l.directory, t, request), nil }
			},
		}
	}
	return []row{
		of(nameLogin, (*directory).again, loginRequest),
		of(nameFirstLogin, (*directory).anew, loginRequest),
		of(nameUserPull, (*directory).again, pullRequest),
		of(nameFirstPull, (*directory).anew, pullRequest),
	}
}
