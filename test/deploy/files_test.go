package deploy

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// A program is what a file says is to be run: a command with its environment.
type program struct {
	args []string
	env  []string
}

// A probe is where a file says that the health of the program is to be asked for, on its own host.
type probe struct {
	Host, Path, Scheme string
	Port               int
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// readPod reads the command and the probes of a pod with one container.
func readPod(t *testing.T, path string) (program, []probe) {
	t.Helper()
	type check struct{ HTTPGet probe }
	var pod struct {
		Spec struct {
			Containers []struct {
				Command                                     []string
				StartupProbe, ReadinessProbe, LivenessProbe check
			}
		}
	}
	readYAML(t, path, &pod)
	if len(pod.Spec.Containers) != 1 {
		t.Fatalf("%s: %d containers", path, len(pod.Spec.Containers))
	}
	c := pod.Spec.Containers[0]
	return program{args: c.Command}, []probe{c.StartupProbe.HTTPGet, c.ReadinessProbe.HTTPGet, c.LivenessProbe.HTTPGet}
}

// readCompose reads the services of a compose file by name. A service without the name of a program runs that of its image, entry.
func readCompose(t *testing.T, path, entry string) map[string]program {
	t.Helper()
	var file struct {
		Services map[string]struct {
			Command     any // one text or a list
			Environment map[string]string
		}
	}
	readYAML(t, path, &file)
	programs := map[string]program{}
	for name, s := range file.Services {
		var p program
		switch c := s.Command.(type) {
		case string:
			p.args = strings.Fields(c)
		case []any:
			p.args = []string{entry}
			for _, arg := range c {
				p.args = append(p.args, arg.(string))
			}
		}
		for _, key := range slices.Sorted(maps.Keys(s.Environment)) {
			p.env = append(p.env, key+"="+s.Environment[key])
		}
		programs[name] = p
	}
	return programs
}

// readUnit reads what a systemd unit runs, with the variables of its environment files, found in dir by their last element.
func readUnit(t *testing.T, path, dir string) program {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var p program
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "ExecStart":
			p.args = strings.Fields(value)
		case "Environment":
			p.env = append(p.env, strings.ReplaceAll(strings.Trim(value, `"`), "%H", "node"))
		case "EnvironmentFile":
			p.env = append(p.env, readVariables(t, dir+value[strings.LastIndexByte(value, '/'):])...)
		}
	}
	return p
}

func readVariables(t *testing.T, path string) (env []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			env = append(env, line)
		}
	}
	return env
}
