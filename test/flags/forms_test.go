package flags

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// options are values by the name of the flag: texts, numbers and booleans.
type options map[string]any

// with returns the options and more, which come before those.
func (o options) with(more options) options {
	all := options{}
	maps.Copy(all, o)
	maps.Copy(all, more)
	return all
}

// form is a way to give options to the binary.
type form int

const (
	flags form = iota
	variables
	file
)

func forms() []form { return []form{flags, variables, file} }

func (f form) String() string { return [...]string{"flags", "variables", "file"}[f] }

// write returns arguments and environment that give the options in this form; a file goes to dir.
func (f form) write(t *testing.T, o options, dir string) (args, env []string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(o)) {
		switch f {
		case flags:
			args = append(args, fmt.Sprintf("--%s=%v", name, o[name]))
		case variables:
			env = append(env, fmt.Sprintf("ETCD_%s=%v", strings.ToUpper(strings.ReplaceAll(name, "-", "_")), o[name]))
		}
	}
	if f == file {
		args = []string{"--config-file=" + writeFile(t, o, filepath.Join(dir, "conf.yml"))}
	}
	return args, env
}

// writeFile writes a configuration file. JSON is YAML.
func writeFile(t *testing.T, o options, path string) string {
	t.Helper()
	root := map[string]any{}
	for name, value := range o {
		keys := strings.Split(table(t)[name], ".")
		inside := root
		for _, key := range keys[:len(keys)-1] {
			if inside[key] == nil {
				inside[key] = map[string]any{}
			}
			inside = inside[key].(map[string]any)
		}
		inside[keys[len(keys)-1]] = value
	}
	content, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// table is every option with its key in a configuration file, as the documentation has it.
var table = func() func(t *testing.T) map[string]string {
	var once sync.Once
	var all map[string]string
	return func(t *testing.T) map[string]string {
		once.Do(func() { all = readTable(t) })
		return all
	}
}()

func readTable(t *testing.T) map[string]string {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `--([^`]+)` \\| ([^|]*) \\|").FindAllStringSubmatch(string(page), -1) {
		name, key := row[1], strings.Trim(row[2], "` ")
		if key == "" {
			key = name
		}
		all[name] = key
	}
	if len(all) < 100 {
		t.Fatalf("only %d options in the documentation", len(all))
	}
	return all
}
