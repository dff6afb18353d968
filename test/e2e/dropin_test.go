package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestShippedConfigurations starts berth with the example files that
// Distribution 2.8 and 3 ship, and with what the image of the latter holds.
// Only what belongs to the machine is set, from the environment.
func TestShippedConfigurations(t *testing.T) {
	for _, tt := range []struct {
		name, module, file string
		auth               bool
	}{
		{"2.8", "github.com/docker/distribution@v2.8.3+incompatible", "cmd/registry/config-example.yml", true},
		{"3", "github.com/distribution/distribution/v3@v3.1.2", "cmd/registry/config-example.yml", true},
		{"image of 3", "", "testdata/dropin/registry3.yml", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := prepare(dir, "team.yml"); err != nil {
				t.Fatal(err)
			}
			debug, err := freeAddr()
			if err != nil {
				t.Fatal(err)
			}
			env := []string{
				"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=" + filepath.Join(dir, "data"),
				"REGISTRY_AUTH_HTPASSWD_PATH=" + filepath.Join(dir, "htpasswd"),
				"REGISTRY_HTTP_DEBUG_ADDR=" + debug,
			}
			if !tt.auth {
				env = append(env[:1], env[2])
			}
			file, err := filepath.Abs(filepath.Join(moduleDir(t, tt.module), tt.file))
			if err != nil {
				t.Fatal(err)
			}
			s, err := launch(dir, []string{"serve", file}, env)
			if err != nil {
				t.Fatal(err)
			}
			defer s.stop()

			c := &client{base: s.url()}
			if tt.auth {
				challenge := c.expect(t, 401, "GET", "/v2/").header.Values("WWW-Authenticate")
				if len(challenge) != 1 || challenge[0] != `Basic realm="basic-realm"` {
					t.Errorf("challenge: %q", challenge)
				}
				c.user, c.password = "user2", "wrong"
				c.expect(t, 401, "GET", "/v2/")
				c.password = "secret2"
			} else if !strings.Contains(strings.ToLower(s.log.String()), "warn") {
				t.Errorf("no warning that there is no authentication:\n%s", s.log)
			}
			c.expect(t, 200, "GET", "/v2/")
			img := newImage("moved in")
			c.mustPush(t, "team/app", "v1", img)
			if err := c.pull("team/app", "v1", img); err != nil {
				t.Error(err)
			}
		})
	}
}

// moduleDir returns the folder of a module's source, or "" for this folder.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	if module == "" {
		return ""
	}
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	var answer struct{ Dir, Error string }
	if err == nil {
		err = json.Unmarshal(out, &answer)
	}
	if err != nil || answer.Error != "" {
		lacking(t, "download "+module+": "+answer.Error)
	}
	return answer.Dir
}

// TestEnvironment sets what Distribution lets one set, in the forms in which it
// fails or is silent.
func TestEnvironment(t *testing.T) {
	img := newImage("env")
	for _, tt := range []struct {
		name string
		env  string
		// Statuses of starting an upload, and of deleting a tag.
		upload, remove int
	}{
		{"as configured", "BERTH_TEST=1", 202, 405},
		{"delete", "REGISTRY_STORAGE_DELETE_ENABLED=true", 202, 202},
		{"delete, whole", "REGISTRY_STORAGE_DELETE={enabled: true}", 202, 202},
		{"read only, leaf", "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED=true", 405, 405},
		{"read only, whole", "REGISTRY_STORAGE_MAINTENANCE_READONLY={enabled: true}", 405, 405},
		{"an unusable one of a cluster", "REGISTRY_PORT=tcp://10.0.0.1:5000", 202, 405},
		{"an unknown one", "REGISTRY_NO_SUCH_KEY=1", 202, 405},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			config := filepath.Join(dir, "config.yml")
			text := "version: 0.1\nstorage:\n  filesystem: {rootdirectory: \"" + filepath.Join(dir, "data") + "\"}\n"
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := launch(dir, []string{"serve", config}, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := &client{base: s.url()}
			c.mustPush(t, "team/app", "v1", img)
			s.stop()

			s.env = []string{tt.env}
			if err := s.restart(); err != nil {
				t.Fatal(err)
			}
			defer s.stop()
			c.expect(t, http.StatusOK, "GET", "/v2/team/app/manifests/v1")
			c.expect(t, tt.upload, "POST", "/v2/team/app/blobs/uploads/")
			c.expect(t, tt.remove, "DELETE", "/v2/team/app/manifests/v1")
		})
	}
}
