//go:build linux

package directory

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/go-ldap/ldap/v3"
)

// A SambaUser is what AddUser makes.
type SambaUser struct {
	CN       string // anything, such as "Smith, Bob (ops)"
	Name     string // sAMAccountName; the CN when empty
	Password string
}

// AddUser makes a user under CN=Users, whose userPrincipalName is the name at
// corp.test, and returns its DN.
func (s *Samba) AddUser(u SambaUser) string {
	s.t.Helper()
	if u.Name == "" {
		u.Name = u.CN
	}
	dn := s.DN(u.CN)
	add := ldap.NewAddRequest(dn, nil)
	add.Attribute("objectClass", []string{"user"})
	add.Attribute("sAMAccountName", []string{u.Name})
	add.Attribute("userPrincipalName", []string{u.Name + "@" + Realm})
	add.Attribute("unicodePwd", []string{unicodePassword(u.Password)})
	add.Attribute("userAccountControl", []string{"512"}) // a normal account
	s.do("add "+dn, func(c *ldap.Conn) error { return c.Add(add) })
	return dn
}

// AddGroup makes a group under CN=Users with members, by their DNs, and returns
// its own.
func (s *Samba) AddGroup(cn string, members ...string) string {
	s.t.Helper()
	dn := s.DN(cn)
	add := ldap.NewAddRequest(dn, nil)
	add.Attribute("objectClass", []string{"group"})
	if len(members) > 0 {
		add.Attribute("member", members)
	}
	s.do("add "+dn, func(c *ldap.Conn) error { return c.Add(add) })
	return dn
}

// DN returns the DN of what AddUser or AddGroup made.
func (s *Samba) DN(cn string) string {
	cn = strings.ReplaceAll(ldap.EscapeDN(cn), "=", `\=`) // which Samba insists on
	return "CN=" + cn + ",CN=Users," + s.BaseDN
}

// AddMember adds members to a group, all by their DNs.
func (s *Samba) AddMember(group string, members ...string) {
	s.t.Helper()
	m := ldap.NewModifyRequest(group, nil)
	m.Add("member", members)
	s.do("add to "+group, func(c *ldap.Conn) error { return c.Modify(m) })
}

// SetPrimaryGroup makes a group the primary one of a member of it, both by their
// DNs, which takes him off the list of its members.
func (s *Samba) SetPrimaryGroup(user, group string) {
	s.t.Helper()
	var sid []byte
	s.do("read "+group, func(c *ldap.Conn) error {
		result, err := c.Search(ldap.NewSearchRequest(group, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false,
			"(objectClass=*)", []string{"objectSid"}, nil))
		if err != nil || len(result.Entries) != 1 {
			return fmt.Errorf("%v, %w", result, err)
		}
		sid = result.Entries[0].GetRawAttributeValue("objectSid")
		return nil
	})
	s.Set(user, "primaryGroupID", fmt.Sprint(binary.LittleEndian.Uint32(sid[len(sid)-4:])))
}

// RemoveMember takes members out of a group, all by their DNs.
func (s *Samba) RemoveMember(group string, members ...string) {
	s.t.Helper()
	m := ldap.NewModifyRequest(group, nil)
	m.Delete("member", members)
	s.do("remove from "+group, func(c *ldap.Conn) error { return c.Modify(m) })
}

// SetPassword sets the password of a DN, as its owner's administrator.
func (s *Samba) SetPassword(dn, password string) {
	s.t.Helper()
	s.Set(dn, "unicodePwd", unicodePassword(password))
}

// Disable disables the account of a DN.
func (s *Samba) Disable(dn string) {
	s.t.Helper()
	s.Set(dn, "userAccountControl", "514") // a normal account, disabled
}

// Enable ends Disable.
func (s *Samba) Enable(dn string) {
	s.t.Helper()
	s.Set(dn, "userAccountControl", "512")
}

// Expire ends the account of a DN yesterday.
func (s *Samba) Expire(dn string) {
	s.t.Helper()
	const until1970 = 11_644_473_600 // seconds from 1601, from where AD counts
	at := (time.Now().Add(-24*time.Hour).Unix() + until1970) * 10_000_000
	s.Set(dn, "accountExpires", fmt.Sprint(at))
}

// MustChange makes the owner of a DN change its password at the next login.
func (s *Samba) MustChange(dn string) {
	s.t.Helper()
	s.Set(dn, "pwdLastSet", "0")
}

// Lock locks the account of a DN, by wrong passwords.
func (s *Samba) Lock(dn string) {
	s.t.Helper()
	for range LockoutThreshold + 1 {
		if err := s.Bind(dn, "not-the-password"); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
			s.t.Fatalf("a wrong password of %s: %v", dn, err)
		}
	}
}

// Bind logs in with a DN and a password, as the directory answers it.
func (s *Samba) Bind(dn, password string) error {
	c, err := s.Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Bind(dn, password)
}

// Set replaces the values of an attribute.
func (s *Samba) Set(dn, attribute string, values ...string) {
	s.t.Helper()
	m := ldap.NewModifyRequest(dn, nil)
	m.Replace(attribute, values)
	s.do("set "+attribute+" of "+dn, func(c *ldap.Conn) error { return c.Modify(m) })
}

// Delete removes the entry of a DN.
func (s *Samba) Delete(dn string) {
	s.t.Helper()
	s.do("delete "+dn, func(c *ldap.Conn) error { return c.Del(ldap.NewDelRequest(dn, nil)) })
}

func (s *Samba) do(what string, f func(*ldap.Conn) error) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := f(s.admin); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

// unicodePassword is a password as AD takes it: quoted, in UTF-16LE.
func unicodePassword(password string) string {
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, utf16.Encode([]rune(`"`+password+`"`)))
	return b.String()
}
