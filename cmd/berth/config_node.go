package main

import (
	"errors"
	"slices"

	"go.yaml.in/yaml/v4"
)

// maxNodes bounds what aliases may blow a configuration up to.
const maxNodes = 100_000

// expand returns n with copies in the place of aliases, and with the maps of
// "<<" merged into those that hold them. It takes one from budget for each node.
func expand(n *yaml.Node, budget *int) (*yaml.Node, error) {
	if *budget--; *budget < 0 {
		return nil, errors.New("its aliases stand for too much")
	}
	if n.Kind == yaml.AliasNode {
		return expand(n.Alias, budget)
	}
	c := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.ShortTag(), Value: n.Value, Line: n.Line, Column: n.Column}
	switch n.Kind {
	case yaml.MappingNode:
		c.Tag = "!!map"
	case yaml.SequenceNode:
		c.Tag = "!!seq"
	}
	var merged []*yaml.Node
	for i := 0; i < len(n.Content); i++ {
		child, err := expand(n.Content[i], budget)
		if err != nil {
			return nil, err
		}
		if n.Kind == yaml.MappingNode && i%2 == 0 && child.Tag == "!!merge" {
			i++
			if child, err = expand(n.Content[i], budget); err != nil {
				return nil, err
			}
			merged = append(merged, child)
			continue
		}
		c.Content = append(c.Content, child)
	}
	for _, m := range merged {
		merge(c, m)
	}
	return c, nil
}

// merge adds the keys of m, or of the maps in the list m, that n does not have.
func merge(n, m *yaml.Node) {
	if m.Kind == yaml.SequenceNode {
		for _, element := range m.Content {
			merge(n, element)
		}
		return
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if lookup(n, m.Content[i].Value) == nil {
			n.Content = append(n.Content, m.Content[i], m.Content[i+1])
		}
	}
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

func sequence(elements ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: elements}
}

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// lookup returns the value of key in the map n, or nil.
func lookup(n *yaml.Node, key string) *yaml.Node {
	if i := position(n, key); i >= 0 {
		return n.Content[i+1]
	}
	return nil
}

// keyNode returns the node of key itself in the map n, or nil.
func keyNode(n *yaml.Node, key string) *yaml.Node {
	if i := position(n, key); i >= 0 {
		return n.Content[i]
	}
	return nil
}

// position returns where key is in the content of the map n, or -1.
func position(n *yaml.Node, key string) int {
	if n == nil || n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// put sets the value of key in the map n.
func put(n *yaml.Node, key string, value *yaml.Node) {
	if i := position(n, key); i >= 0 {
		n.Content[i+1] = value
		return
	}
	n.Content = append(n.Content, text(key), value)
}

// remove takes key out of the map n.
func remove(n *yaml.Node, key string) {
	if i := position(n, key); i >= 0 {
		n.Content = slices.Delete(n.Content, i, i+2)
	}
}
