package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/access"
	"berth/local"
	"berth/oci"
	"berth/registry"
	"berth/server"
)

// An immutableRule lets tags that are there neither move nor go.
type immutableRule struct {
	Repositories []string `yaml:"repositories"`
	// Tags are those that the rule is about, all when empty, but for Except.
	Tags   []string `yaml:"tags,omitempty"`
	Except []string `yaml:"except,omitempty"`
}

// A quotaRule bounds what the repositories of a folder hold together.
type quotaRule struct {
	Repositories string   `yaml:"repositories"`
	Bytes        byteSize `yaml:"bytes,omitempty"`
	Count        int      `yaml:"count,omitempty"` // of repositories
	Tags         int      `yaml:"tags,omitempty"`
}

// A limitRule bounds how often something is done.
type limitRule struct {
	Of    string `yaml:"of"`
	Per   string `yaml:"per"`
	Rate  string `yaml:"rate"` // such as 100/s or 200/6h
	Burst int    `yaml:"burst,omitempty"`
}

func (r *immutableRule) name(i int) string {
	return fmt.Sprintf("immutable rule %d: %s", i+1, strings.Join(r.Repositories, ", "))
}

func (q *quotaRule) name(i int) string { return fmt.Sprintf("quota %d (%s)", i+1, q.Repositories) }

// compile returns the rule as the registry keeps to it.
func (r *immutableRule) compile(i int) (local.ImmutableRule, error) {
	rule := local.ImmutableRule{Name: r.name(i)}
	var repositories []func(oci.Name) bool
	for _, p := range r.Repositories {
		match, err := access.Matcher(p)
		if err != nil {
			return rule, err
		}
		repositories = append(repositories, match)
	}
	tags, err := tagMatchers(r.Tags)
	if err != nil {
		return rule, err
	}
	except, err := tagMatchers(r.Except)
	if err != nil {
		return rule, err
	}
	rule.Repository = func(n oci.Name) bool { return anyOf(repositories, n) }
	rule.Tag = func(t oci.Tag) bool { return (len(tags) == 0 || anyOf(tags, t)) && !anyOf(except, t) }
	return rule, nil
}

func tagMatchers(patterns []string) (list []func(oci.Tag) bool, err error) {
	for _, p := range patterns {
		match, err := access.TagMatcher(p)
		if err != nil {
			return nil, err
		}
		list = append(list, match)
	}
	return list, nil
}

func anyOf[T any](list []func(T) bool, v T) bool {
	return slices.ContainsFunc(list, func(match func(T) bool) bool { return match(v) })
}

// contentRules returns what may be written, beyond who may write.
func (c *Config) contentRules() (local.Rules, error) {
	var rules local.Rules
	for i := range c.Immutable {
		rule, err := c.Immutable[i].compile(i)
		if err != nil {
			return rules, fmt.Errorf("immutable.%d: %w", i, err)
		}
		rules.Immutable = append(rules.Immutable, rule)
	}
	for i := range c.Quotas {
		q := &c.Quotas[i]
		span, err := access.Folders(q.Repositories)
		if err != nil {
			return rules, fmt.Errorf("quotas.%d: %w", i, err)
		}
		rules.Quotas = append(rules.Quotas, local.Quota{Name: q.name(i), Span: span, Limit: q.limit()})
	}
	return rules, nil
}

func (q *quotaRule) limit() registry.Usage {
	return registry.Usage{Bytes: int64(q.Bytes), Repositories: int64(q.Count), Tags: int64(q.Tags)}
}

// limits returns how often a caller may come; nil for as often as he likes.
func (c *Config) limits() (*server.Limits, error) {
	if len(c.Limits) == 0 {
		return nil, nil
	}
	var list []server.Limit
	for i, l := range c.Limits {
		rate, window, err := parseRate(l.Rate)
		if err != nil {
			return nil, fmt.Errorf("limits.%d.rate: %w", i, err)
		}
		list = append(list, server.Limit{Of: l.Of, Per: l.Per, Rate: rate, Window: window, Burst: l.Burst})
	}
	return server.NewLimits(list), nil
}

// Bounds of a rate.
const (
	maxRate       = 1_000_000
	maxRateWindow = 31 * 24 * time.Hour
)

// parseRate parses a number and the time in which it counts: 100/s, 200/6h.
func parseRate(s string) (n int, window time.Duration, err error) {
	number, in, ok := strings.Cut(strings.ReplaceAll(s, " ", ""), "/")
	n, err = strconv.Atoi(number)
	if !ok || err != nil || n < 1 || n > maxRate {
		return 0, 0, fmt.Errorf("it must be a number, up to %d, and a time, such as 100/s or 200/6h", maxRate)
	}
	if strings.Trim(in, "0123456789") == in {
		in = "1" + in
	}
	if window, err = parseDuration(in); err != nil || window < time.Second || window > maxRateWindow {
		return 0, 0, fmt.Errorf("%q is not a time from 1s to 31d", in)
	}
	return n, window, nil
}

// checkRules checks the rules about content and the limits.
func (c *Config) checkRules(add func(path, format string, args ...any)) {
	for i := range c.Immutable {
		c.Immutable[i].check(fmt.Sprintf("immutable.%d", i), add)
	}
	for i := range c.Quotas {
		c.Quotas[i].check(fmt.Sprintf("quotas.%d", i), add)
	}
	for i := range c.Limits {
		c.Limits[i].check(fmt.Sprintf("limits.%d", i), add)
	}
}

func (r *immutableRule) check(path string, add func(path, format string, args ...any)) {
	if len(r.Repositories) == 0 {
		add(path, "repositories is missing: write [\"**\"] for all")
	}
	for _, p := range r.Repositories {
		if _, err := access.Matcher(p); err != nil {
			add(path+".repositories", "%v", err)
		} else if strings.Contains(p, "{user}") {
			add(path+".repositories", "pattern %q can match nothing: {user} stands for nobody here", p)
		}
	}
	for _, key := range []struct {
		name     string
		patterns []string
	}{{"tags", r.Tags}, {"except", r.Except}} {
		for _, p := range key.patterns {
			if _, err := access.TagMatcher(p); err != nil {
				add(path+"."+key.name, "%v", err)
			}
		}
	}
}

func (q *quotaRule) check(path string, add func(path, format string, args ...any)) {
	if q.Repositories == "" {
		add(path, "repositories is missing: write \"**\" for all together")
	} else if _, err := access.Folders(q.Repositories); err != nil {
		add(path+".repositories", "%v", err)
	}
	if q.limit() == (registry.Usage{}) {
		add(path, "it bounds nothing: give bytes, count or tags")
	}
	if q.Count < 0 || q.Tags < 0 {
		add(path, "count and tags must not be negative")
	}
}

func (l *limitRule) check(path string, add func(path, format string, args ...any)) {
	ofs := []string{server.CountRequests, server.CountPulls, server.CountTokens}
	pers := []string{server.PerIdentity, server.PerAnonymous, server.PerAddress}
	if !slices.Contains(ofs, l.Of) {
		add(path+".of", "%q is none of %s", l.Of, strings.Join(ofs, ", "))
	}
	if !slices.Contains(pers, l.Per) {
		add(path+".per", "%q is none of %s", l.Per, strings.Join(pers, ", "))
	}
	if l.Of == server.CountTokens && slices.Contains(pers, l.Per) && l.Per != server.PerAddress {
		add(path+".per", "who asks for a token has not said who he is: tokens are counted per address")
	}
	if _, _, err := parseRate(l.Rate); err != nil {
		add(path+".rate", "%v", err)
	}
	if l.Burst < 0 || l.Burst > maxRate {
		add(path+".burst", "it must be from 1 to %d", maxRate)
	}
}

// ruleWarnings names the rules that do nothing.
func (c *Config) ruleWarnings() (warnings []string) {
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	for i := range c.Immutable {
		r := &c.Immutable[i]
		tags := r.Tags
		if len(tags) == 0 {
			tags = []string{"*"}
		}
		for _, p := range tags {
			if slices.ContainsFunc(r.Except, func(e string) bool { return access.TagCovers(e, p) }) {
				warn("immutable.%d: the tags %s can never match: all of them are in except", i, p)
			}
		}
	}
	for i := range c.Retention {
		if r := &c.Retention[i]; r.removesTags() && slices.ContainsFunc(c.Immutable, func(m immutableRule) bool { return m.covers(r) }) {
			warn("retention.%d can never remove a tag: all of them are immutable", i)
		}
	}
	for i := range c.Quotas {
		q := &c.Quotas[i]
		if q.Count > 0 && !strings.HasSuffix(q.Repositories, "**") {
			warn("quotas.%d: count bounds nothing: %s is one repository at a time; end it in /** for all that is in a folder", i, q.Repositories)
		}
		for j := range c.Quotas {
			if c.Quotas[j].neverReached(q) {
				warn("quotas.%d can never be reached: %s is within %s, which has less", j, c.Quotas[j].Repositories, q.Repositories)
			}
		}
	}
	for i, l := range c.Limits {
		switch {
		case l.Per == server.PerIdentity && !c.authenticates():
			warn("limits.%d counts nobody: without auth nobody is logged in", i)
		case l.Of == server.CountTokens && (!c.logsIn() || c.basicOnly()):
			warn("limits.%d counts nothing: there is no token server here", i)
		}
	}
	return warnings
}

// covers reports whether all the tags that a rule of retention is about are
// immutable.
func (r *immutableRule) covers(other *retentionConfig) bool {
	repositories := slices.Contains(r.Repositories, "**") ||
		!slices.ContainsFunc(other.Repositories, func(p string) bool { return !slices.Contains(r.Repositories, p) })
	tags := len(r.Tags) == 0 || len(other.Tags) > 0 && !slices.ContainsFunc(other.Tags, func(p string) bool {
		return !slices.ContainsFunc(r.Tags, func(mine string) bool { return access.TagCovers(mine, p) })
	})
	return repositories && tags && len(r.Except) == 0
}

// neverReached reports whether all that q is about is within a folder of which
// wide bounds as much, and no higher.
func (q *quotaRule) neverReached(wide *quotaRule) bool {
	folder, ok := strings.CutSuffix(wide.Repositories, "**")
	if !ok || q == wide || strings.Contains(folder, "*") || !strings.HasPrefix(q.Repositories, folder) || q.Repositories == wide.Repositories {
		return false
	}
	reached := func(mine, theirs int64) bool { return mine > 0 && (theirs == 0 || mine < theirs) }
	a, b := q.limit(), wide.limit()
	return !reached(a.Bytes, b.Bytes) && !reached(a.Repositories, b.Repositories) && !reached(a.Tags, b.Tags)
}
