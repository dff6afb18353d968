package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

const envPrefix = "REGISTRY_"

// An unknownError is of a variable that names no key.
type unknownError struct{ error }

// override puts the variables REGISTRY_* of env on top of d. "_" goes a level
// down, and each value is YAML of its key's type: REGISTRY_LOG_LEVEL=debug,
// REGISTRY_ACCESS_0_NAME=bob, REGISTRY_AUTH='{accounts: {enabled: true}}'. A
// variable of a whole section replaces it, before those of its keys are looked
// at.
//
// A variable that names no key or whose value cannot be read is ignored, with a
// warning: clusters put REGISTRY_PORT and the like into every container. Under
// auth, access and the rules beside it a value that cannot be read is an error, as
// ignoring it could open a door.
func (d *document) override(env []string) (warnings []string, err error) {
	values := make(map[string]string)
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, envPrefix) && name != "REGISTRY_CONFIGURATION_PATH" {
			values[name] = value
		}
	}
	named := make(map[string]bool) // storage drivers that variables name
	var errs []error
	for _, name := range slices.SortedFunc(maps.Keys(values), compareNames) {
		v := variable{d, name, values[name]}
		segments := strings.Split(strings.TrimPrefix(name, envPrefix), "_")
		_, err := v.set(d.root, configType, segments, "")
		section := strings.ToLower(segments[0])
		switch {
		case err == nil:
			if driver := driverOf(segments); driver != "" {
				named[driver] = true
			}
		case !errors.As(err, new(unknownError)) && slices.Contains(guarding(), section):
			errs = append(errs, err)
		default:
			warnings = append(warnings, strings.ReplaceAll(err.Error(), "\n", "; ")+"; the variable is ignored")
		}
	}
	return append(warnings, d.settleDriver(named)...), errors.Join(errs...)
}

// guarding returns the sections that keep somebody from something.
func guarding() []string { return []string{"auth", "access", "immutable", "quotas", "limits"} }

// compareNames orders variables so that general ones come before specific ones,
// and the elements of a list in their order.
func compareNames(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "_"), strings.Split(b, "_"), func(a, b string) int {
		m, errA := strconv.Atoi(a)
		n, errB := strconv.Atoi(b)
		if errA == nil && errB == nil && m != n {
			return cmp.Compare(m, n)
		}
		return cmp.Compare(a, b)
	})
}

// driverOf returns the storage driver whose parameters the variable of those
// segments sets, or "".
func driverOf(segments []string) string {
	if len(segments) < 2 || !strings.EqualFold(segments[0], "storage") {
		return ""
	}
	if driver := strings.ToLower(segments[1]); slices.Contains(drivers[:], driver) {
		return driver
	}
	return ""
}

// settleDriver takes the driver of the file away where variables name one other
// driver.
func (d *document) settleDriver(named map[string]bool) (warnings []string) {
	if len(named) != 1 {
		return nil
	}
	storage := d.at("storage")
	for _, driver := range drivers {
		if !named[driver] && lookup(storage, driver) != nil {
			remove(storage, driver)
			warnings = append(warnings, fmt.Sprintf("storage.%s of the file is not used: variables name another driver", driver))
		}
	}
	return warnings
}

// A variable is one variable on its way into a document.
type variable struct {
	d           *document
	name, value string
}

// set sets the key that segments name below n, which is of type t or nil, and
// returns n, or what is to stand in its place. Nothing has changed when it
// fails. Errors: unknownError.
func (v *variable) set(n *yaml.Node, t reflect.Type, segments []string, path string) (*yaml.Node, error) {
	if len(segments) == 0 {
		return v.parse(t, path)
	}
	switch t = pointed(t); {
	case isScalar(t):
	case t.Kind() == reflect.Struct:
		return v.setKey(n, t, segments, path)
	case t.Kind() == reflect.Slice:
		return v.setElement(n, t.Elem(), segments, path)
	case t.Kind() == reflect.Map:
		return v.setEntry(n, t.Elem(), segments, path)
	case n != nil && n.Kind == yaml.SequenceNode:
		return v.setElement(n, t, segments, path)
	default:
		return v.setEntry(n, t, segments, path)
	}
	return nil, unknownError{fmt.Errorf("$%s: %s has no keys", v.name, path)}
}

// setKey goes on below the key of a struct whose name the most segments make.
func (v *variable) setKey(n *yaml.Node, t reflect.Type, segments []string, path string) (*yaml.Node, error) {
	keys := keysOf(t)
	for i := len(segments); i > 0; i-- {
		name := strings.ToLower(strings.Join(segments[:i], "_"))
		for _, k := range keys {
			if name == k.name || k.alias != "" && name == k.alias {
				return v.child(n, k.name, k, segments[i:], path)
			}
		}
	}
	return nil, unknownError{fmt.Errorf("$%s: %w", v.name, unknownKey(t, path, strings.ToLower(segments[0])))}
}

// setEntry goes on below an entry of a map with free keys. One that is there is
// found without regard to case; a new one is in lower case. In a map of maps a
// segment is a key, in any other the key is the rest, up to an index.
func (v *variable) setEntry(n *yaml.Node, elem reflect.Type, segments []string, path string) (*yaml.Node, error) {
	length := len(segments)
	switch elem.Kind() {
	case reflect.Interface:
		length = 1
	case reflect.Slice:
		if i := slices.IndexFunc(segments[1:], isIndex); i >= 0 {
			length = i + 1
		}
	}
	name := strings.ToLower(strings.Join(segments[:length], "_"))
	if n != nil && n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if strings.ToLower(n.Content[i].Value) == name {
				name = n.Content[i].Value
				break
			}
		}
	}
	return v.child(n, name, key{typ: elem}, segments[length:], path)
}

func isIndex(segment string) bool {
	_, err := strconv.ParseUint(segment, 10, 31)
	return err == nil
}

// child sets what the rest of segments names below the key name of n.
func (v *variable) child(n *yaml.Node, name string, k key, segments []string, path string) (*yaml.Node, error) {
	child, err := v.set(lookup(n, name), k.typ, segments, join(path, name))
	if err != nil {
		return nil, err
	}
	if n == nil || n.Kind != yaml.MappingNode {
		n = mapping()
		v.d.origin[n] = v.name
	}
	put(n, name, child)
	return n, nil
}

// setElement goes on below an element of a list, or a new one at its end.
func (v *variable) setElement(n *yaml.Node, elem reflect.Type, segments []string, path string) (*yaml.Node, error) {
	if !isIndex(segments[0]) {
		return nil, unknownError{fmt.Errorf("$%s: %s is a list, and %q no number of an element", v.name, path, segments[0])}
	}
	var old *yaml.Node
	i, _ := strconv.Atoi(segments[0])
	switch length := len(nodesOf(n)); {
	case i < length:
		old = n.Content[i]
	case i > length:
		return nil, fmt.Errorf("$%s: %s has %d elements, so the next is %d", v.name, path, length, length)
	}
	element, err := v.set(old, elem, segments[1:], join(path, segments[0]))
	if err != nil {
		return nil, err
	}
	if n == nil {
		n = sequence()
		v.d.origin[n] = v.name
	}
	if old == nil {
		n.Content = append(n.Content, element)
	} else {
		n.Content[i] = element
	}
	return n, nil
}

// parse returns the value as a node that was checked against t.
func (v *variable) parse(t reflect.Type, path string) (*yaml.Node, error) {
	if !utf8.ValidString(v.name + v.value) {
		return nil, fmt.Errorf("$%s is not text in UTF-8", strings.ToValidUTF8(v.name, "\uFFFD"))
	}
	n, err := v.read(t)
	if err != nil {
		return nil, fmt.Errorf("$%s: the value of %s is not YAML", v.name, path)
	}
	own := &document{name: "$" + v.name}
	unplaced(n)
	if err := own.check(n, t, path); err != nil {
		return nil, err
	}
	v.d.mark(n, v.name)
	return n, nil
}

// read returns the value as a node: YAML where t has a structure, else the
// words as they are.
func (v *variable) read(t reflect.Type) (*yaml.Node, error) {
	null := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	value := strings.TrimSpace(v.value)
	words := isScalar(t)
	if t.Kind() == reflect.Slice && isScalar(t.Elem()) {
		words = value != "" && value[0] != '[' && !strings.HasPrefix(value, "- ")
	}
	switch {
	case words && value == "" && pointed(t).Kind() != reflect.String:
		return null, nil
	case words:
		return text(unquoted(value)), nil
	}
	n, err := parseYAML([]byte(value))
	if n == nil {
		n = null
	}
	return n, err
}

// unplaced takes the lines of a variable's value away: they are not the file's.
func unplaced(n *yaml.Node) {
	n.Line = 0
	for _, child := range n.Content {
		unplaced(child)
	}
}

// mark notes that n, and all below it, comes from a variable.
func (d *document) mark(n *yaml.Node, variable string) {
	d.origin[n] = variable
	for _, child := range n.Content {
		d.mark(child, variable)
	}
}

// unquoted returns what stands between the quotes of a YAML string, and any
// other value as it is: what looks like a number or a comment in YAML can well
// be a password.
func unquoted(value string) string {
	if value == "" || value[0] != '"' && value[0] != '\'' {
		return value
	}
	n, err := parseYAML([]byte(value))
	if err != nil || n == nil || n.Kind != yaml.ScalarNode || n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0 {
		return value
	}
	return n.Value
}
