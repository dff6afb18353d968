package main

import (
	"fmt"
	"slices"
	"time"

	"berth/access"
	"berth/local"
	"berth/oci"
)

// gcConfig says when garbage is collected, and what it leaves alone.
type gcConfig struct {
	Enabled  *bool         `yaml:"enabled"` // true
	Interval time.Duration `yaml:"interval"`
	Grace    time.Duration `yaml:"grace"`
	// Aside is for how long an object of the blob store must be unknown before it
	// goes.
	Aside time.Duration `yaml:"aside"`
}

// A retentionConfig is one rule of what goes from repositories by itself.
type retentionConfig struct {
	Repositories []string       `yaml:"repositories"`
	Tags         []string       `yaml:"tags,omitempty"`
	Keep         int            `yaml:"keep,omitempty"`
	Within       time.Duration  `yaml:"within,omitempty"`
	Pulled       time.Duration  `yaml:"pulled,omitempty"`
	Untagged     *time.Duration `yaml:"untagged,omitempty"`
}

const (
	defaultGCInterval = 24 * time.Hour
	defaultGrace      = 24 * time.Hour
	defaultAside      = 7 * 24 * time.Hour
	minGCInterval     = 10 * time.Millisecond
	minGrace          = time.Second
	// shortGrace is what some pushes take longer than.
	shortGrace = time.Hour
	maxKeep    = 1000
)

func (c *gcConfig) setDefaults() {
	if c.Enabled == nil {
		on := true
		c.Enabled = &on
	}
	setDefault(&c.Interval, defaultGCInterval)
	setDefault(&c.Grace, defaultGrace)
	setDefault(&c.Aside, defaultAside)
}

func (c *Config) checkGC(add func(path, format string, args ...any)) {
	if c.GC.Interval < minGCInterval {
		add("gc.interval", "it must be at least %v", minGCInterval)
	}
	if c.GC.Grace < minGrace {
		add("gc.grace", "it must be at least %v", minGrace)
	}
	if c.GC.Aside < c.GC.Grace {
		add("gc.aside", "it must not be shorter than gc.grace")
	}
	for i, r := range c.Retention {
		path := fmt.Sprintf("retention.%d", i)
		r.check(func(key, format string, args ...any) { add(path+key, format, args...) })
	}
}

// check tells add what is wrong, of the rule or, with its name, of a key.
func (r retentionConfig) check(add func(key, format string, args ...any)) {
	if len(r.Repositories) == 0 {
		add("", `repositories is missing: write "**" for all`)
	}
	for _, p := range r.Repositories {
		if _, err := access.Matcher(p); err != nil {
			add(".repositories", "%v", err)
		}
	}
	for _, p := range r.Tags {
		if _, err := access.TagMatcher(p); err != nil {
			add(".tags", "%v", err)
		}
	}
	if r.Keep < 0 || r.Keep > maxKeep {
		add(".keep", "it must be from 1 to %d", maxKeep)
	}
	if r.Within < 0 || r.Pulled < 0 || r.Untagged != nil && *r.Untagged < 0 {
		add("", "a time must not be negative")
	}
	switch {
	case r.removesTags():
	case len(r.Tags) > 0:
		add("", "it names tags, and does not say which of them to keep: add keep, within or pulled")
	case r.Untagged == nil:
		add("", "it removes nothing: add keep, within, pulled or untagged")
	}
}

func (r retentionConfig) removesTags() bool { return r.Keep > 0 || r.Within > 0 || r.Pulled > 0 }

func (c *Config) gcWarnings() (warnings []string) {
	if c.GC.Grace < shortGrace {
		warnings = append(warnings, fmt.Sprintf("gc.grace is %v: a push that takes longer may be refused at its end", c.GC.Grace))
	}
	if !*c.GC.Enabled && len(c.Retention) > 0 {
		warnings = append(warnings, "retention is applied by `berth gc` alone, as gc.enabled is false")
	}
	for i, r := range c.Retention {
		frees := slices.ContainsFunc(c.Retention, func(other retentionConfig) bool { return other.Untagged != nil })
		if r.removesTags() && !frees {
			warnings = append(warnings, fmt.Sprintf("retention: rule %d removes tags, and no rule what they named: it stays, without a tag, unless a rule has untagged", i+1))
		}
	}
	return warnings
}

// linger returns how long bytes stay whose row is gone. In a store of objects
// somebody may read them under an address, or a part at a time.
func (c *Config) linger() time.Duration {
	if c.isRemote() {
		return urlLifetime
	}
	return 0
}

// retentionRules returns retention: as package local reads it. The patterns were
// checked.
func (c *Config) retentionRules() []local.RetentionRule {
	rules := make([]local.RetentionRule, 0, len(c.Retention))
	for _, r := range c.Retention {
		repositories, tags := matchers(r.Repositories, access.Matcher), matchers(r.Tags, access.TagMatcher)
		rules = append(rules, local.RetentionRule{
			Repository: repositories,
			Tag:        func(t oci.Tag) bool { return len(r.Tags) == 0 || tags(t) },
			Keep:       r.Keep,
			Within:     r.Within,
			Pulled:     r.Pulled,
			Untagged:   r.Untagged,
		})
	}
	return rules
}

// matchers returns a function that reports whether one of the patterns matches.
func matchers[T ~string](patterns []string, compile func(string) (func(T) bool, error)) func(T) bool {
	var list []func(T) bool
	for _, p := range patterns {
		if match, err := compile(p); err == nil {
			list = append(list, match)
		}
	}
	return func(name T) bool {
		return slices.ContainsFunc(list, func(match func(T) bool) bool { return match(name) })
	}
}
