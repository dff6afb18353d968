package berth

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// floors lists the packages from the ground up: one floor a line, and a package
// may import what stands on a lower line, or to the left on its own. The last
// word on where a package belongs is here.
const floors = `
	oci job
	registry blob auth audit layout registry/registrytest blob/blobtest
	access access/dockerauth blob/disk blob/memory blob/bucket blob/s3 blob/gcs blob/azure auth/jwks auth/htpasswd auth/account auth/certificate auth/ldap auth/oidc auth/session auth/trust auth/robot auth/token meta
	local guard
	server admin
	web
	cmd/berth
`

// forbidden holds what no arrangement of floors may allow: the gate and the
// server reach a database or a driver only through interfaces.
var forbidden = map[string][]string{
	"server": {"meta", "local", "blob/disk", "blob/memory", "blob/s3", "blob/gcs", "blob/azure", "database/sql"},
	"admin":  {"meta", "local", "blob/disk", "blob/memory", "blob/s3", "blob/gcs", "blob/azure", "database/sql"},
	"web":    {"meta", "local", "blob/disk", "blob/memory", "blob/s3", "blob/gcs", "blob/azure", "database/sql"},
	"guard":  {"meta", "local", "blob/disk", "blob/memory", "blob/s3", "blob/gcs", "blob/azure", "database/sql", "net/http"},
	"access": {"net/http", "database/sql", "net", "os"},
	"oci":    {"net/http", "database/sql", "net", "os"},
}

func TestFloors(t *testing.T) {
	floor := make(map[string]int)
	for i, name := range strings.Fields(floors) {
		floor[name] = i
	}
	for _, name := range packages(t) {
		here, ok := floor[name]
		if !ok {
			t.Errorf("package %s stands on no floor: add it to floors", name)
			continue
		}
		p, err := build.ImportDir(filepath.FromSlash(name), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range p.Imports {
			below, ours := strings.CutPrefix(path, "berth/")
			if ours && floor[below] >= here {
				t.Errorf("%s imports %s, which is not below it", name, below)
			}
			if slices.Contains(forbidden[name], below) || slices.Contains(forbidden[name], path) {
				t.Errorf("%s must not import %s", name, path)
			}
		}
	}
}

// packages returns the folders of this module that hold Go files other than
// tests, but for the programs that tests and benchmarks run.
func packages(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || path == "test" || path == "tools" || path == "bench") {
				return filepath.SkipDir
			}
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if dir != "." && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !slices.Contains(names, dir) {
			names = append(names, dir)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
