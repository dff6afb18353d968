package certificate

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/auth"
	"berth/test/authority"
)

var start = time.Now().Truncate(time.Second)

// client returns the certificate of a client, changed as the test says.
func client(t testing.TB, a *authority.Authority, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	return a.Client(t, "bob", func(c *x509.Certificate) {
		c.NotAfter = start.Add(time.Hour)
		if change != nil {
			change(c)
		}
	}).Leaf
}

func trustIn(t testing.TB, lists []byte, authorities ...*authority.Authority) *Trust {
	t.Helper()
	var roots []byte
	for _, a := range authorities {
		roots = append(roots, authority.PEM(a.Cert)...)
	}
	trust, err := NewTrust(roots, lists)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func users(t testing.TB, trust *Trust, o Options) *Users {
	t.Helper()
	if o.User == "" {
		o.User = CommonName
	}
	if o.Now == nil {
		o.Now = func() time.Time { return start }
	}
	u, err := New(trust, o)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func chain(certs ...*x509.Certificate) []*x509.Certificate { return certs }

func TestNames(t *testing.T) {
	root := authority.New(t, "root")
	uri := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, test := range []struct {
		name   string
		user   Field
		prefix string
		change func(*x509.Certificate)
		want   string // empty: it names no user
	}{
		{"common name", CommonName, "cert/", nil, "cert/bob"},
		{"common name, plain", CommonName, "", nil, "bob"},
		{"another prefix", CommonName, "ci/", nil, "ci/bob"},
		{"host", DNSName, "cert/", func(c *x509.Certificate) { c.DNSNames = []string{"ci.example.org"} }, "cert/ci.example.org"},
		{"address of mail", Email, "cert/", func(c *x509.Certificate) { c.EmailAddresses = []string{"bob@example.org"} }, "cert/bob@example.org"},
		{"workload", URI, "cert/", func(c *x509.Certificate) { c.URIs = []*url.URL{uri("spiffe://example.org/ci")} }, "cert/spiffe://example.org/ci"},
		{"no host", DNSName, "cert/", nil, ""},
		{"two hosts", DNSName, "cert/", func(c *x509.Certificate) { c.DNSNames = []string{"a.test", "b.test"} }, ""},
		{"two common names", CommonName, "cert/", func(c *x509.Certificate) {
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: commonName(), Value: "alice"}, {Type: commonName(), Value: "bob"}}
		}, ""},
		{"no common name", CommonName, "cert/", func(c *x509.Certificate) { c.Subject = pkix.Name{Organization: []string{"x"}} }, ""},
		{"an empty one", CommonName, "cert/", func(c *x509.Certificate) {
			c.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: commonName(), Value: ""}}}
		}, ""},
		{"everybody", CommonName, "", func(c *x509.Certificate) { c.Subject.CommonName = "*" }, ""},
		{"nobody", CommonName, "", func(c *x509.Certificate) { c.Subject.CommonName = "anonymous" }, ""},
		{"a robot's name, plain", CommonName, "", func(c *x509.Certificate) { c.Subject.CommonName = "robot:ci" }, ""},
		{"another provider's name, plain", CommonName, "", func(c *x509.Certificate) { c.Subject.CommonName = "sso/bob" }, ""},
		{"a line break", CommonName, "cert/", func(c *x509.Certificate) { c.Subject.CommonName = "bob\nroot" }, ""},
		{"a long name", CommonName, "cert/", func(c *x509.Certificate) { c.Subject.CommonName = strings.Repeat("b", 252) }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			stranger := func(context.Context, string) (auth.Identity, error) { return auth.Identity{}, auth.ErrNoMatch }
			u := users(t, trustIn(t, nil, root), Options{User: test.user, Prefix: test.prefix, Owner: stranger})
			s, err := u.Subject(chain(client(t, root, test.change)))
			if test.want == "" {
				var rejected *auth.RejectedError
				if !errors.As(err, &rejected) || rejected.Told == "" {
					t.Fatalf("%+v, %v", s, err)
				}
				return
			}
			if err != nil || s.Name != test.want || s.Provider != Provider || len(s.Credential) != 64 {
				t.Fatalf("%+v, %v", s, err)
			}
			id, err := u.Resolve(context.Background(), s)
			if err != nil || id.Subject != s {
				t.Errorf("resolved %+v, %v", id, err)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	root := authority.New(t, "root")
	units := func(names ...string) *x509.Certificate {
		return client(t, root, func(c *x509.Certificate) { c.Subject.OrganizationalUnit = names })
	}
	u := users(t, trustIn(t, nil, root), Options{Prefix: "cert/", Units: true})
	s, err := u.Subject(chain(units("ops", "dev", "ops")))
	if err != nil {
		t.Fatal(err)
	}
	id, err := u.Resolve(context.Background(), s)
	if diff := cmp.Diff([]string{"cert/dev", "cert/ops"}, id.Groups); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := u.Subject(chain(units("dev", "*"))); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("a group for everybody: %v", err)
	}
	without := users(t, trustIn(t, nil, root), Options{Prefix: "cert/"})
	if s, err = without.Subject(chain(units("ops"))); err != nil {
		t.Fatal(err)
	}
	if id, err := without.Resolve(context.Background(), s); err != nil || id.Groups != nil {
		t.Errorf("not asked for: %v, %v", id.Groups, err)
	}
}

// TestTrust: what does not hold at the moment of a request is refused, however
// long the connection has been there.
func TestTrust(t *testing.T) {
	root, other := authority.New(t, "root"), authority.New(t, "other")
	between := root.Below(t, "between")
	good := client(t, root, nil)
	deep := client(t, between, nil)
	now := start
	u := users(t, trustIn(t, nil, root), Options{Prefix: "cert/", Now: func() time.Time { return now }})
	refused := func(what string, sent ...*x509.Certificate) {
		t.Helper()
		if s, err := u.Subject(sent); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
	accepted := func(what string, sent ...*x509.Certificate) auth.Subject {
		t.Helper()
		s, err := u.Subject(sent)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return s
	}
	refused("nothing")
	refused("another authority's", client(t, other, nil))
	refused("a server's", client(t, root, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))
	refused("one that has run out", client(t, root, func(c *x509.Certificate) { c.NotAfter = start.Add(-time.Second) }))
	refused("one that is not yet valid", client(t, root, func(c *x509.Certificate) { c.NotBefore = start.Add(time.Second) }))
	refused("without what is between", deep)
	accepted("with what is between", deep, between.Cert)
	s := accepted("good", good)

	resolve := func() error { _, err := u.Resolve(context.Background(), s); return err }
	if err := resolve(); err != nil {
		t.Error(err)
	}
	u.SetTrust(trustIn(t, nil, other))
	refused("of an authority that is no longer trusted", good)
	if err := resolve(); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("its token: %v", err)
	}
	u.SetTrust(trustIn(t, root.List(t, nil, good), root))
	refused("revoked", good)
	if err := resolve(); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("its token: %v", err)
	}
	accepted("not revoked", deep, between.Cert)
	u.SetTrust(trustIn(t, root.List(t, nil, between.Cert), root))
	refused("of a revoked authority", deep, between.Cert)
	u.SetTrust(trustIn(t, slices.Concat(root.List(t, nil), between.List(t, nil, deep)), root, between))
	refused("revoked by the authority between", deep, between.Cert)
	accepted("good again", good)
	now = start.Add(time.Hour + time.Second)
	refused("when it has run out", good)
	if err := resolve(); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("its token: %v", err)
	}
}

func TestResolveRefuses(t *testing.T) {
	root := authority.New(t, "root")
	u := users(t, trustIn(t, nil, root), Options{Prefix: "cert/"})
	s, err := u.Subject(chain(client(t, root, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*auth.Subject){
		"by the name alone":     func(s *auth.Subject) { *s = auth.Subject{Name: s.Name} },
		"another provider":      func(s *auth.Subject) { s.Provider = "accounts" },
		"another name":          func(s *auth.Subject) { s.Name = "cert/root" },
		"one that is not known": func(s *auth.Subject) { s.Credential = strings.Repeat("0", 64) },
	} {
		other := s
		change(&other)
		if id, err := u.Resolve(context.Background(), other); !errors.Is(err, auth.ErrNoMatch) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
	c := auth.Credentials{User: s.Name, Password: auth.Secret(s.Credential)}
	if _, err := u.Authenticate(context.Background(), c); !errors.Is(err, auth.ErrNoMatch) || u.Recognizes(c) {
		t.Errorf("as a password: %v", err)
	}
}

// TestOwner: a plain name is nobody's who has it elsewhere.
func TestOwner(t *testing.T) {
	root := authority.New(t, "root")
	down := errors.New("the directory does not answer")
	for name, test := range map[string]struct{ said, want error }{
		"nobody's":        {auth.ErrNoMatch, nil},
		"another's":       {nil, auth.ErrBadCredentials},
		"a disabled one":  {auth.ErrBadCredentials, auth.ErrBadCredentials},
		"not to be known": {down, down},
	} {
		u := users(t, trustIn(t, nil, root), Options{Owner: func(context.Context, string) (auth.Identity, error) {
			return auth.Identity{Subject: auth.Subject{Provider: "accounts", Name: "bob"}}, test.said
		}})
		s, err := u.Subject(chain(client(t, root, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Resolve(context.Background(), s); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	trust := trustIn(t, nil, authority.New(t, "root"))
	for name, o := range map[string]Options{
		"no field":             {Prefix: "cert/"},
		"no prefix, no owners": {User: CommonName},
	} {
		if _, err := New(trust, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTrustRefuses(t *testing.T) {
	root, other := authority.New(t, "root"), authority.New(t, "other")
	list := root.List(t, nil)
	block, _ := pem.Decode(list)
	delta := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}
	for name, test := range map[string]struct{ roots, lists []byte }{
		"no authority":            {nil, nil},
		"no certificate":          {[]byte("text"), nil},
		"a list as a certificate": {list, nil},
		"a broken certificate":    {bytes.Replace(authority.PEM(root.Cert), []byte("MII"), []byte("MIJ"), 1), nil},
		"a broken list":           {authority.PEM(root.Cert), []byte("text")},
		"a certificate as a list": {authority.PEM(root.Cert), authority.PEM(root.Cert)},
		"a list of a stranger":    {authority.PEM(other.Cert), list},
		"a part of a list":        {authority.PEM(root.Cert), root.List(t, func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{delta} })},
	} {
		if _, err := NewTrust(test.roots, test.lists); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, lists := range map[string][]byte{"PEM": list, "DER": block.Bytes, "two": append(root.List(t, nil), other.List(t, nil)...)} {
		trust, err := NewTrust(append(authority.PEM(root.Cert), authority.PEM(other.Cert)...), lists)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// The lists were made within the seconds since the start.
		if late := trust.Ends().Sub(start.Add(24 * time.Hour)); late < 0 || late > time.Minute {
			t.Errorf("%s: it ends %v after it should", name, late)
		}
	}
}
