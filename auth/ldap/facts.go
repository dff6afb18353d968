package ldap

import (
	"context"
	"slices"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

// What a rootDSE says of its server.
const (
	capabilityAD    = "1.2.840.113556.1.4.800"
	capabilityPaged = goldap.ControlTypePaging
	matchInChain    = "1.2.840.113556.1.4.1941"
)

// facts are what a server says of itself in its rootDSE (RFC 4512, 5.1).
type facts struct {
	known           bool
	vendor          string
	activeDirectory bool // it knows rules such as matchInChain
	paged           bool
	base            string   // of the domain, or of the only tree
	configuration   string   // where Active Directory describes its domains
	domains         []string // what may stand before a backslash, in lower case
}

var factAttrs = []string{"vendorName", "vendorVersion", "supportedCapabilities", "supportedControl",
	"namingContexts", "defaultNamingContext", "configurationNamingContext"}

// readFacts asks the server about itself. A server that does not say is one
// without facts.
func (c *conn) readFacts(ctx context.Context, domains bool) error {
	root, err := c.read(ctx, "", "(objectClass=*)", factAttrs)
	if err != nil && !isAnswer(err) {
		return err
	}
	if root == nil {
		return nil
	}
	values := root.GetEqualFoldAttributeValues
	first := func(name string) string {
		if v := values(name); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	c.facts = facts{
		known:           true,
		vendor:          strings.TrimSpace(first("vendorName") + " " + first("vendorVersion")),
		activeDirectory: slices.Contains(values("supportedCapabilities"), capabilityAD),
		paged:           slices.Contains(values("supportedControl"), capabilityPaged),
		base:            first("defaultNamingContext"),
		configuration:   first("configurationNamingContext"),
	}
	if trees := values("namingContexts"); c.facts.base == "" && len(trees) == 1 {
		c.facts.base = trees[0]
	}
	if domains {
		return c.readDomains(ctx)
	}
	return nil
}

// readDomains finds what the domain is called: corp.test and, as Windows has
// it, CORP.
func (c *conn) readDomains(ctx context.Context) error {
	if dns := dnsName(c.facts.base); dns != "" {
		c.facts.domains = []string{dns}
	}
	if c.facts.configuration == "" {
		return nil
	}
	entries, err := c.search(ctx, query{
		base:   c.facts.configuration,
		scope:  goldap.ScopeWholeSubtree,
		filter: "(&(objectClass=crossRef)(nETBIOSName=*)(nCName=" + goldap.EscapeFilter(c.facts.base) + "))",
		attrs:  []string{"nETBIOSName"},
		most:   10,
	})
	if err != nil && !isAnswer(err) && err != errTooMany {
		return err
	}
	for _, e := range entries {
		c.facts.domains = append(c.facts.domains, strings.ToLower(e.GetEqualFoldAttributeValue("nETBIOSName")))
	}
	if len(entries) == 0 { // not allowed to look: Windows takes the first part by default
		short, _, _ := strings.Cut(dnsName(c.facts.base), ".")
		c.facts.domains = append(c.facts.domains, short)
	}
	return nil
}

// dnsName returns corp.test for DC=corp,DC=test, and "" for what is no such DN.
func dnsName(base string) string {
	dn, err := goldap.ParseDN(base)
	if err != nil {
		return ""
	}
	var labels []string
	for _, rdn := range dn.RDNs {
		if len(rdn.Attributes) != 1 || !strings.EqualFold(rdn.Attributes[0].Type, "dc") {
			return ""
		}
		labels = append(labels, strings.ToLower(rdn.Attributes[0].Value))
	}
	return strings.Join(labels, ".")
}
