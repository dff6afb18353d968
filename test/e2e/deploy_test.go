package e2e

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// run runs a program of the tests and returns what it prints.
func run(t *testing.T, env []string, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, said.Bytes())
	}
	return out
}

// checkConfig has berth check a configuration.
func checkConfig(t *testing.T, text string) {
	t.Helper()
	binary, err := shared.berth()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, []string{"REGISTRY_STORAGE_S3_ACCESSKEY=a", "REGISTRY_STORAGE_S3_SECRETKEY=b"}, binary, "config", "check", path)
}

// TestChart renders the Helm chart: it is valid, and so is the configuration in it.
func TestChart(t *testing.T) {
	need(t, "helm")
	const chart = "../../deploy/helm/berth"
	home := []string{"HOME=" + t.TempDir()}
	run(t, home, "helm", "lint", "--strict", chart)
	for name, set := range map[string]string{
		"as it is":     "",
		"all of it":    "ingress.enabled=true,adminSecret=admin,serviceAccount.annotations.role=x,extraEnv[0].name=A,extraEnv[0].value=b,podAnnotations.a=b",
		"little of it": "podDisruptionBudget.enabled=false,serviceAccount.create=false,secret=",
	} {
		t.Run(name, func(t *testing.T) {
			kinds := make(map[string]map[string]any)
			out := run(t, home, "helm", "template", "registry", chart, "--set", set)
			for d := yaml.NewDecoder(bytes.NewReader(out)); ; {
				var doc map[string]any
				err := d.Decode(&doc)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if kind, ok := doc["kind"].(string); ok {
					kinds[kind] = doc
				}
			}
			if kinds["Deployment"] == nil || kinds["Service"] == nil || (kinds["Ingress"] != nil) != (name == "all of it") ||
				(kinds["PodDisruptionBudget"] == nil) != (name == "little of it") {
				t.Fatalf("%d kinds:\n%s", len(kinds), out)
			}
			config, _ := kinds["ConfigMap"]["data"].(map[string]any)["config.yml"].(string)
			checkConfig(t, config)
			for _, want := range []string{"path: /readyz", "path: /livez", "runAsNonRoot: true", "maxUnavailable: 0"} {
				if !bytes.Contains(out, []byte(want)) {
					t.Errorf("it does not say %s", want)
				}
			}
		})
	}
}

// TestDeployments checks the other files of deploy that nothing else runs.
func TestDeployments(t *testing.T) {
	for _, path := range []string{"cluster/config.yml", "compose/config.yml"} {
		data, err := os.ReadFile(filepath.Join("../../deploy", path))
		if err != nil {
			t.Fatal(err)
		}
		checkConfig(t, string(data))
	}
	data, err := os.ReadFile("../../deploy/compose/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Environment map[string]string `yaml:"environment"`
			Command     any               `yaml:"command"`
			Volumes     []string          `yaml:"volumes"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal(data, &compose); err != nil {
		t.Fatal(err)
	}
	balancer := compose.Services["haproxy"].Environment
	for _, name := range []string{"CLUSTER_NODE1", "CLUSTER_NODE2", "CLUSTER_NODE3"} {
		node, _, _ := strings.Cut(balancer[name], ":")
		if compose.Services[node].Environment["REGISTRY_METADATA_POSTGRES_URL"] == "" {
			t.Errorf("%s is %q, which is no node", name, balancer[name])
		}
	}
	for name, service := range compose.Services {
		for _, volume := range service.Volumes {
			file, _, _ := strings.Cut(volume, ":")
			if _, err := os.Stat(filepath.Join("../../deploy/compose", file)); strings.HasPrefix(file, ".") && err != nil {
				t.Errorf("service %s: %v", name, err)
			}
		}
	}
	need(t, "haproxy")
	env := []string{"CLUSTER_ADDR=127.0.0.1:1", "CLUSTER_NODE1=127.0.0.1:2", "CLUSTER_NODE2=127.0.0.1:3", "CLUSTER_NODE3=127.0.0.1:4"}
	run(t, env, "haproxy", "-c", "-f", "../../deploy/cluster/haproxy.cfg")
}
