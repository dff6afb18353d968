package ldap

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"berth/auth"
)

// Defaults of Options.
const (
	DefaultInterval = 5 * time.Minute
	DefaultStale    = time.Hour
	DefaultAttempts = 5
	DefaultPoolSize = 8
)

// Filters of Active Directory.
const (
	adUserFilter  = "(&(objectCategory=person)(objectClass=user)(|(sAMAccountName={user})(userPrincipalName={user})))"
	adGroupFilter = "(member={dn})"
)

// Options configure a Directory.
type Options struct {
	// Name of the directory, the provider of its users. It is part of what
	// tokens say: another name makes other users of them.
	Name string
	// URLs of the servers, ldaps://host[:port] or ldap://host[:port], in the
	// order in which they are asked.
	URLs []string
	// StartTLS secures connections to ldap:// before anything else is said. A
	// server that refuses it is not used.
	StartTLS bool
	// Insecure allows ldap:// without StartTLS to what is not this machine:
	// passwords can be read on the way.
	Insecure bool
	// CAFile holds the certificates that the servers' are signed by, in PEM;
	// those of the system when empty. It is read again when it changes.
	CAFile string
	// CertFile and KeyFile are shown to servers that want a certificate of
	// their clients.
	CertFile, KeyFile string
	// ServerName is the name that a server's certificate must have; the one in
	// its URL when empty.
	ServerName string
	// BindDN is the account that searches. Without it searches are anonymous.
	BindDN       string
	BindPassword auth.Secret
	// BindPasswordFile holds BindPassword. It is read again when it changes.
	BindPasswordFile string
	// ActiveDirectory fills what is left open of User and Group for Active
	// Directory and Samba, and lets DOMAIN\name stand for name.
	ActiveDirectory bool
	User            User
	Group           Group
	// Interval is how long the answer of the directory about a user counts; 5
	// minutes when zero.
	Interval time.Duration
	// Stale is how long beyond the Interval a user whom the directory knew goes
	// on while it does not answer; an hour when zero, not at all when negative.
	Stale time.Duration
	// Attempts is how many wrong passwords of a user reach the directory in ten
	// minutes, from addresses that he never logged in from, and from each that
	// he did; 5 when zero. It should be less than what locks him out there.
	Attempts int
	// PoolSize is how many connections search at a time, and how many users can
	// be verified at a time; 8 when zero.
	PoolSize int
	// Hasher makes a wrong password take as long as an unknown name does, which
	// it answers for; nil is no longer than the directory.
	Hasher *auth.Hasher
	Log    *slog.Logger     // slog.Default when nil
	Now    func() time.Time // time.Now when nil
}

// A User says how users are found.
type User struct {
	// Base of the search; with ActiveDirectory the domain when empty.
	Base string
	// Filter of the search; {user} stands for what the user calls himself.
	// "(uid={user})" when empty.
	Filter string
	// Name is the attribute whose value, in lower case, is the name of the
	// user; uid when empty, sAMAccountName with ActiveDirectory.
	Name string
	// DN binds users without a search: "uid={user},ou=people,dc=corp,dc=test",
	// "{user}@corp.test" or `CORP\{user}`. It goes without a BindDN: what the
	// directory knows of a user is then read with his own rights when he logs
	// in, and not in between.
	DN string
}

// A Group says how the groups of a user are found.
type Group struct {
	// Base of the search; with ActiveDirectory the domain when empty.
	Base string
	// Filter of the search; {dn} stands for the user's DN and {user} for his
	// name as the directory spells it. Without a filter the groups are those
	// that memberOf of the user names; with ActiveDirectory it is
	// "(member={dn})".
	Filter string
	// Name is the attribute whose value, in lower case, is the name of the
	// group; cn when empty.
	Name string
	// Nested makes the groups of a group those of its members too.
	Nested bool
}

// withDefaults returns o with everything filled in that it leaves open.
func (o Options) withDefaults() Options {
	user, name, group := "(uid={user})", "uid", ""
	if o.ActiveDirectory {
		user, name, group = adUserFilter, "sAMAccountName", adGroupFilter
	}
	setDefault(&o.User.Name, name)
	if o.User.DN == "" || !strings.Contains(o.User.DN, "=") {
		setDefault(&o.User.Filter, user)
	}
	setDefault(&o.Group.Filter, group)
	setDefault(&o.Group.Name, "cn")
	setDefault(&o.Interval, DefaultInterval)
	setDefault(&o.Stale, DefaultStale)
	o.Stale = max(o.Stale, 0)
	setDefault(&o.Attempts, DefaultAttempts)
	setDefault(&o.PoolSize, DefaultPoolSize)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// Check returns an error that names, a line each, what no directory can be made
// of. It reads no file and talks to nobody.
func (o Options) Check() error {
	o = o.withDefaults()
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := auth.CheckName(o.Name); err != nil {
		add("name: %w", err)
	}
	if len(o.URLs) == 0 {
		add("urls: it is missing, such as [ldaps://dc1.corp.test]")
	}
	for _, u := range o.URLs {
		if _, err := o.parseURL(u); err != nil {
			add("urls: %w", err)
		}
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		add("certfile and keyfile go together")
	}
	if o.BindPassword != "" && o.BindPasswordFile != "" {
		add("bindpassword and bindpasswordfile: leave one out")
	}
	if given := o.BindPassword != "" || o.BindPasswordFile != ""; given != (o.BindDN != "") {
		add("binddn and its password go together: a bind without a password proves nothing")
	}
	if o.Interval < 0 || o.Attempts < 0 || o.PoolSize < 0 {
		add("interval, attempts and poolsize must not be negative")
	}
	return errors.Join(append(errs, o.checkUser(), o.checkGroup())...)
}

func (o Options) checkUser() error {
	var errs []error
	add := func(text string) { errs = append(errs, errors.New(text)) }
	template := strings.Contains(o.User.DN, "=")
	switch {
	case o.User.DN != "" && o.BindDN != "":
		add("user.dn binds users without a search, and binddn is for searches: leave one out")
	case o.User.DN != "" && strings.Count(o.User.DN, "{user}") != 1:
		add(`user.dn: {user} must stand in it once, as in "uid={user},ou=people,dc=corp,dc=test" or "{user}@corp.test"`)
	case template:
		if _, err := goldap.ParseDN(strings.ReplaceAll(o.User.DN, "{user}", "x")); err != nil {
			add("user.dn: it is no DN: " + err.Error())
		}
	case o.User.Base == "" && !o.ActiveDirectory:
		add(`user.base: it is missing, such as "ou=people,dc=corp,dc=test"`)
	}
	if !template && !strings.Contains(o.User.Filter, "{user}") {
		add(`user.filter: {user} must stand in it, as in "(uid={user})": otherwise everybody is the same user`)
	}
	if o.User.Filter != "" {
		errs = append(errs, checkFilter("user.filter", o.User.Filter))
	}
	for _, base := range [][2]string{{"user.base", o.User.Base}, {"group.base", o.Group.Base}} {
		if _, err := goldap.ParseDN(base[1]); err != nil {
			add(base[0] + ": it is no DN: " + err.Error())
		}
	}
	return errors.Join(errs...)
}

func (o Options) checkGroup() error {
	g := o.Group
	switch {
	case g.Filter == "" && g.Nested:
		return errors.New(`group.nested: it needs group.base and group.filter, such as "(member={dn})"`)
	case g.Filter == "":
		return nil
	case g.Base == "" && !o.ActiveDirectory:
		return errors.New(`group.base: it is missing, such as "ou=groups,dc=corp,dc=test"`)
	case !strings.Contains(g.Filter, "{dn}") && !strings.Contains(g.Filter, "{user}"):
		return errors.New(`group.filter: {dn} or {user} must stand in it, as in "(member={dn})": otherwise everybody is in every group`)
	case g.Nested && !strings.Contains(g.Filter, "{dn}"):
		return errors.New(`group.nested: {dn} must stand in group.filter, as groups are members by their DN`)
	}
	return checkFilter("group.filter", g.Filter)
}

func checkFilter(key, filter string) error {
	filter = strings.NewReplacer("{user}", "x", "{dn}", "cn=x").Replace(filter)
	if _, err := goldap.CompileFilter(filter); err != nil {
		return fmt.Errorf("%s: it is no filter: %w", key, err)
	}
	return nil
}

// parseURL returns the server of a URL.
func (o Options) parseURL(raw string) (*server, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("a URL cannot be read, it must be such as ldaps://dc1.corp.test")
	case u.User != nil:
		return nil, errors.New("a URL holds a user: use binddn and bindpasswordfile")
	case u.Scheme != "ldap" && u.Scheme != "ldaps", u.Hostname() == "", strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("%q must be such as ldaps://dc1.corp.test or ldap://dc1.corp.test:389", raw)
	}
	s := &server{url: u.Scheme + "://" + u.Host, name: u.Hostname(), secure: u.Scheme == "ldaps"}
	port := u.Port()
	switch {
	case port == "" && s.secure:
		port = goldap.DefaultLdapsPort
	case port == "":
		port = goldap.DefaultLdapPort
	}
	s.addr = net.JoinHostPort(s.name, port)
	if !s.secure && !o.StartTLS && !o.Insecure && !isLoopback(s.name) {
		return nil, fmt.Errorf("%s would send passwords in clear text: use ldaps://, or starttls: true, or say insecure: true", s.url)
	}
	if o.ServerName != "" {
		s.name = o.ServerName
	}
	return s, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
