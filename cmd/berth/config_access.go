package main

import (
	"berth/access"
)

// rules returns access: as package access reads it.
func (c *Config) rules() []access.Rule {
	rules := make([]access.Rule, 0, len(c.Access))
	for _, r := range c.Access {
		rules = append(rules, access.Rule{
			Names:        r.Name,
			Groups:       r.Group,
			Type:         r.Type,
			Repositories: r.Repositories,
			Tags:         r.Tags,
			From:         r.From,
			Deny:         r.Effect == "deny",
			Actions:      r.Action,
			Comment:      r.Comment,
			Line:         r.line,
		})
	}
	return rules
}

func (c *Config) tests() []access.Test {
	tests := make([]access.Test, 0, len(c.AccessTests))
	for _, t := range c.AccessTests {
		test := access.Test{
			User:       t.User,
			Groups:     t.Groups,
			Action:     t.Action,
			Repository: t.Repository,
			Expect:     t.Expect,
			Line:       t.line,
		}
		if t.From != nil {
			test.From = *t.From
		}
		tests = append(tests, test)
	}
	return tests
}

// policy returns what the rules amount to. Without auth: everybody has all
// rights on repositories, and without access: everybody who is logged in, but
// for bearers of outside tokens, who have those of their tokens. The error names
// each of the accesstests that does not hold.
func (c *Config) policy() (*access.Policy, error) {
	p, err := c.compile()
	if err != nil {
		return nil, err
	}
	return p, p.Check(c.tests())
}

func (c *Config) compile() (*access.Policy, error) {
	switch {
	case c.accessGiven:
		return access.Compile(c.rules())
	case c.Auth.Token != nil:
		return access.Delegated(), nil
	case c.authenticates():
		return access.Authenticated(), nil
	}
	return access.Open(), nil
}
