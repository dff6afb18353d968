package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// A source is where the configuration comes from.
type source struct {
	path string   // of the file; "" is the built-in default
	env  []string // as os.Environ returns it
}

// load reads the configuration, as it is now. Each warning is one line.
func (s source) load() (*Config, []string, error) { return loadConfig(s.path, s.env) }

// name says where the configuration comes from, for people.
func (s source) name() string {
	if s.path == "" {
		return "built-in configuration"
	}
	return s.path
}

// sourceOf returns what a command reads: its argument, the flag --config, or
// what is found.
func sourceOf(cmd *cobra.Command, args []string) (source, error) {
	flag, err := cmd.Flags().GetString("config")
	if err != nil {
		return source{}, err
	}
	if len(args) > 0 && flag != "" && flag != args[0] {
		return source{}, fmt.Errorf("two configurations are given, %s and --config %s: leave one out", args[0], flag)
	}
	if flag != "" {
		args = []string{flag}
	}
	env := os.Environ()
	return source{findConfig(args, env, os.Stat), env}, nil
}

// configOf returns the configuration that a command other than serve reads.
func configOf(cmd *cobra.Command) (*Config, error) {
	src, err := sourceOf(cmd, nil)
	if err != nil {
		return nil, err
	}
	cfg, _, err := src.load()
	return cfg, err
}

// findConfig returns the path of the file to read, or "" where there is none. A
// file that cannot be looked at counts as there, and fails when it is read.
func findConfig(args, env []string, stat func(string) (fs.FileInfo, error)) string {
	if len(args) > 0 {
		return args[0]
	}
	if path := getenv(env, "REGISTRY_CONFIGURATION_PATH"); path != "" {
		return path
	}
	for _, path := range []string{"/etc/berth/config.yml", "/etc/docker/registry/config.yml", "/etc/distribution/config.yml"} {
		if _, err := stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
}

func getenv(env []string, name string) string {
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// home returns the folder for the data of whom names none.
func home(env []string) string { return cmp.Or(getenv(env, "BERTH_DATA"), "berth-data") }

// builtIn returns the configuration of whom gives none.
func builtIn(env []string) []byte {
	return fmt.Appendf(nil, `
version: 0.1
http: {addr: 127.0.0.1:5000}
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}
auth: {accounts: {enabled: true}}
access: [{name: admin, type: registry, action: "*"}]
`, home(env))
}

// loadConfig reads the file path, or the built-in configuration if path is "",
// puts the variables of env on top, fills in defaults, and checks all of it.
// Each warning is one line. The error names every fault that was found, a line
// each.
func loadConfig(path string, env []string) (cfg *Config, warnings []string, err error) {
	data := builtIn(env)
	if path != "" {
		if data, err = os.ReadFile(path); err != nil {
			return nil, nil, fmt.Errorf("read the configuration: %w", err)
		}
	}
	return parseConfig(source{path: path}.name(), data, env)
}

// parseConfig is loadConfig of a file of that name with those contents.
func parseConfig(name string, data []byte, env []string) (*Config, []string, error) {
	d, err := parseDocument(filepath.Base(name), data)
	if err != nil {
		return nil, nil, err
	}
	warnings, err := d.override(env)
	if err != nil {
		return nil, nil, err
	}
	cfg := &Config{home: home(env)}
	if err := d.root.Decode(cfg); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", d.name, err)
	}
	cfg.setGiven(d)
	cfg.setDefaults()
	if err := cfg.check(d); err != nil {
		return nil, nil, err
	}
	policy, err := cfg.compile()
	if err != nil {
		return nil, nil, err
	}
	warnings = append(warnings, cfg.warnings()...)
	if cfg.accessGiven {
		warnings = append(warnings, policy.Lint()...)
	}
	return cfg, warnings, nil
}

// A document is a configuration on its way to a Config: a tree of nodes that
// has only known keys, each once, and values of their types.
type document struct {
	name string // of the file
	root *yaml.Node
	// origin holds the variable that a node comes from; for all others it is
	// the file.
	origin map[*yaml.Node]string
}

func parseDocument(name string, data []byte) (*document, error) {
	d := &document{name: name, origin: make(map[*yaml.Node]string)}
	root, err := parseYAML(data)
	var bad *yaml.LoadError
	switch {
	case errors.As(err, &bad) && bad.Mark.Line > 0:
		return nil, fmt.Errorf("%s:%d: %s", name, bad.Mark.Line, bad.Message)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case root == nil:
		return nil, fmt.Errorf("%s is empty", name)
	case root.Kind != yaml.MappingNode:
		return nil, fmt.Errorf("%s:%d: it must be a list of keys and values, such as version: 0.1", name, root.Line)
	}
	d.root = root
	return d, d.check(root, configType, "")
}

// parseYAML returns the node of the only document in data, without aliases, or
// nil when there is none.
func parseYAML(data []byte) (*yaml.Node, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithV3Defaults())
	if err != nil {
		return nil, err
	}
	n, next := new(yaml.Node), new(yaml.Node)
	switch err := loader.Load(n); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := loader.Load(next); err == nil {
		return nil, errors.New("it holds more than one document: take the --- lines out")
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n.Kind == yaml.DocumentNode {
		n = n.Content[0]
	}
	budget := maxNodes
	return expand(n, &budget)
}

// place says where n comes from, for people.
func (d *document) place(n *yaml.Node) string {
	if n != nil && d.origin[n] != "" {
		return "$" + d.origin[n]
	}
	if n == nil || n.Line == 0 {
		return d.name
	}
	return fmt.Sprintf("%s:%d", d.name, n.Line)
}

// at returns the node of a path such as "http.addr" or "access.0.name", or nil.
func (d *document) at(path string) *yaml.Node {
	n := d.root
	for key := range strings.SplitSeq(path, ".") {
		if n.Kind == yaml.SequenceNode {
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(n.Content) {
				return nil
			}
			n = n.Content[i]
		} else if n = lookup(n, key); n == nil {
			return nil
		}
	}
	return n
}

// nearest returns the key of a path in the file, or of as much of it as there
// is, or what a variable has put there.
func (d *document) nearest(path string) *yaml.Node {
	for path != "" {
		n := d.at(path)
		parent, name := d.root, path
		if i := strings.LastIndexByte(path, '.'); i >= 0 {
			parent, name = d.at(path[:i]), path[i+1:]
			path = path[:i]
		} else {
			path = ""
		}
		if n == nil {
			continue
		}
		if d.origin[n] != "" {
			return n
		}
		return cmp.Or(keyNode(parent, name), n)
	}
	return nil
}

// nodesOf returns the elements of a list, which may be nil.
func nodesOf(n *yaml.Node) []*yaml.Node {
	if n == nil {
		return nil
	}
	return n.Content
}
