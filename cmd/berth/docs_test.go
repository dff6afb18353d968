package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// documents returns the documentation by its paths.
func documents(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	for _, path := range append(paths, "../../README.md", "../../CONTRIBUTING.md", "../../SECURITY.md") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(data)
	}
	return texts
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// TestDocumentedConfigurations checks every example of the documentation that is
// a configuration: a block of YAML with one of the keys below at its top. That of
// another program has none of them. Files that an example names may be missing;
// it gives no cause for any other warning.
func TestDocumentedConfigurations(t *testing.T) {
	checked := 0
	for path, text := range documents(t) {
		for _, block := range yamlBlock.FindAllStringSubmatchIndex(text, -1) {
			example, line := text[block[2]:block[3]], 1+strings.Count(text[:block[2]], "\n")
			var keys map[string]any
			if err := yaml.Unmarshal([]byte(example), &keys); err != nil && !strings.Contains(example, "\n---\n") {
				t.Errorf("%s:%d: %v", path, line, err)
			}
			if keys["auth"] == nil && keys["access"] == nil && keys["version"] == nil {
				continue
			}
			checked++
			config := writeFile(t, filepath.Join(t.TempDir(), "config.yml"), example)
			_, stderr, code := command(t, "config", "check", config)
			for said := range strings.Lines(stderr) {
				if code != 0 || !strings.HasSuffix(said, noStart+"\n") && !strings.HasSuffix(said, noLogin+"\n") {
					t.Errorf("%s:%d: exit %d: %s", path, line, code, said)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d examples were found", checked)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	unsaid  = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// TestDocumentedLinks follows the links from page to page.
func TestDocumentedLinks(t *testing.T) {
	texts := documents(t)
	for path, text := range texts {
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			to := path
			if l[1] != "" {
				to = filepath.Join(filepath.Dir(path), l[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if l[2] != "" && !anchors(texts[to])[l[2]] {
				t.Errorf("%s: %s has no heading for #%s", path, to, l[2])
			}
		}
	}
}

// anchors returns what the headings of a page can be linked to by.
func anchors(text string) map[string]bool {
	all := make(map[string]bool)
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		all[strings.ReplaceAll(unsaid.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return all
}
