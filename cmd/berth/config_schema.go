package main

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

var (
	configType   = reflect.TypeFor[Config]()
	storageType  = reflect.TypeFor[storageConfig]()
	authType     = reflect.TypeFor[authConfig]()
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[byteSize]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// A key is one key of a struct type.
type key struct {
	name  string
	alias string // another spelling, for variables
	typ   reflect.Type
	rule  string // of the tag config
	index int    // of the field
}

// keysOf returns the keys that a struct type has in YAML.
func keysOf(t reflect.Type) []key {
	var keys []key
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		keys = append(keys, key{name, f.Tag.Get("env"), f.Type, f.Tag.Get("config"), i})
	}
	return keys
}

// check checks the tree n against t and brings it into the shape that decodes
// into t: one value where a list is expected becomes a list of it, one word for
// storage or auth becomes a map with that one key, and what is text stays the text as it is
// written. The error names every fault, a line each.
func (d *document) check(n *yaml.Node, t reflect.Type, path string) error {
	t = pointed(t)
	switch {
	case isScalar(t):
		return d.checkScalar(n, t, path)
	case isNull(n) && t.Kind() != reflect.Interface:
		*n = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line}
		if t.Kind() == reflect.Slice {
			n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		}
		return nil
	case t.Kind() == reflect.Struct:
		return d.checkStruct(n, t, path)
	case t.Kind() == reflect.Slice:
		return d.checkList(n, t, path)
	}
	return d.checkMap(n, t, path)
}

func (d *document) checkStruct(n *yaml.Node, t reflect.Type, path string) error {
	if n.Kind == yaml.ScalarNode && (t == storageType || t == authType) {
		word, empty := *n, *mapping()
		empty.Line = n.Line
		*n = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Content: []*yaml.Node{&word, &empty}}
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("%s: %s must hold keys and values", d.place(n), path)
	}
	errs := d.duplicates(n, path)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, ok := find(keysOf(t), n.Content[i].Value)
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %w", d.place(n.Content[i]), unknownKey(t, path, n.Content[i].Value)))
			continue
		}
		errs = append(errs, d.check(n.Content[i+1], k.typ, join(path, k.name)))
	}
	return errors.Join(errs...)
}

func (d *document) checkList(n *yaml.Node, t reflect.Type, path string) error {
	if n.Kind == yaml.ScalarNode && isScalar(t.Elem()) {
		only := *n
		*n = yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: n.Line, Content: []*yaml.Node{&only}}
	}
	if n.Kind != yaml.SequenceNode {
		return fmt.Errorf("%s: %s must be a list", d.place(n), path)
	}
	var errs []error
	for i, element := range n.Content {
		errs = append(errs, d.check(element, t.Elem(), join(path, strconv.Itoa(i))))
	}
	return errors.Join(errs...)
}

// checkMap checks a map whose keys are free, or a value of any type.
func (d *document) checkMap(n *yaml.Node, t reflect.Type, path string) error {
	elem := t
	if t.Kind() == reflect.Map {
		elem = t.Elem()
		if n.Kind != yaml.MappingNode {
			return fmt.Errorf("%s: %s must hold keys and values", d.place(n), path)
		}
	}
	var errs []error
	switch n.Kind {
	case yaml.MappingNode:
		errs = d.duplicates(n, path)
		for i := 0; i+1 < len(n.Content); i += 2 {
			n.Content[i].Tag, n.Content[i].Style = "!!str", 0
			errs = append(errs, d.check(n.Content[i+1], elem, join(path, n.Content[i].Value)))
		}
	case yaml.SequenceNode:
		for i, element := range n.Content {
			errs = append(errs, d.check(element, elem, join(path, strconv.Itoa(i))))
		}
	}
	return errors.Join(errs...)
}

// duplicates returns an error for each key of n that stands there twice, or is
// no text.
func (d *document) duplicates(n *yaml.Node, path string) []error {
	var errs []error
	seen := make(map[string]*yaml.Node)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode {
			errs = append(errs, fmt.Errorf("%s: a key must be text", d.place(k)))
			continue
		}
		if first, twice := seen[k.Value]; twice {
			errs = append(errs, fmt.Errorf("%s: %s is given twice, first at %s", d.place(k), join(path, k.Value), d.place(first)))
			continue
		}
		seen[k.Value] = k
	}
	return errs
}

// checkScalar checks n, and writes it as t reads it.
func (d *document) checkScalar(n *yaml.Node, t reflect.Type, path string) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("%s: %s must be one value", d.place(n), path)
	}
	if isNull(n) {
		return nil
	}
	ok, want := true, ""
	n.Tag, n.Style = "!!str", 0
	switch {
	case t.Kind() == reflect.String:
	case t == prefixType:
		n.Value, ok = network(n.Value)
		want = "a network such as 10.0.0.0/8"
	case t.Kind() == reflect.Struct:
		_, err := netip.ParseAddr(n.Value)
		ok, want = err == nil, "an address such as 10.0.0.1"
	case t.Kind() == reflect.Bool:
		n.Tag = "!!bool"
		n.Value, ok = boolean(n.Value)
		want = "true or false"
	case t == durationType:
		n.Value, ok = duration(n.Value)
		want = "a duration such as 10s or 24h"
	case t == sizeType:
		n.Tag = "!!int"
		n.Value, ok = size(n.Value)
		want = "a size such as 64MB or 64MiB"
	default:
		n.Tag = "!!int"
		n.Value, ok = number(n.Value, t.Bits())
		want = "a whole number"
	}
	if !ok {
		// The value is not named: it may be a secret at the wrong place.
		return fmt.Errorf("%s: %s must be %s", d.place(n), path, want)
	}
	return nil
}

// network returns an address as the network that holds it alone, and a network
// as it is.
func network(s string) (string, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()).String(), true
	}
	_, err := netip.ParsePrefix(s)
	return s, err == nil
}

// boolean returns what YAML 1.1 takes for a truth value as one of YAML 1.2.
func boolean(s string) (string, bool) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "y":
		return "true", true
	case "false", "no", "off", "n":
		return "false", true
	}
	return s, false
}

// duration returns a duration as Go writes it. 90d is 90 days; a plain number is
// nanoseconds, as it is in Distribution.
func duration(s string) (string, bool) {
	d, err := parseDuration(s)
	if err != nil {
		var n int64
		n, err = strconv.ParseInt(s, 0, 64)
		d = time.Duration(n)
	}
	return d.String(), err == nil
}

// parseDuration parses a duration, which may be a number of days.
func parseDuration(s string) (time.Duration, error) {
	days, ok := strings.CutSuffix(s, "d")
	if !ok {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	return time.Duration(n) * 24 * time.Hour, err
}

// number returns a whole number in decimal.
func number(s string, bits int) (string, bool) {
	i, err := strconv.ParseInt(s, 0, bits)
	return strconv.FormatInt(i, 10), err == nil
}

// isScalar reports whether a value of t is one word.
func isScalar(t reflect.Type) bool {
	switch t = pointed(t); t.Kind() {
	case reflect.Interface, reflect.Map, reflect.Slice:
		return false
	}
	return t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(textType)
}

func pointed(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

func find(keys []key, name string) (key, bool) {
	for _, k := range keys {
		if k.name == name {
			return k, true
		}
	}
	return key{}, false
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
