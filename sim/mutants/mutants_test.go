package main

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// mutantsMin is how many mutants the project has promised itself.
const mutantsMin = 25

// TestMutantsStillApply holds every mutant to the code as it is now: its old text stands there once, and what comes of it can be parsed.
func TestMutantsStillApply(t *testing.T) {
	all, err := readAll(".", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < mutantsMin {
		t.Errorf("%d mutants, expected at least %d", len(all), mutantsMin)
	}
	for _, m := range all {
		changed, err := m.apply("../..")
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		for file, text := range changed {
			if _, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		}
	}
}

const sample = `What is wrong,
in two lines.
class: a kind
flags: -a 1 -b

file: dir/a.go
--- old
	one
	two
--- new
	three
--- end

file: dir/b.go
--- old
x
--- new
--- end
`

func TestParse(t *testing.T) {
	m, err := parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	if m.what != "What is wrong, in two lines." || m.class != "a kind" || len(m.flags) != 3 || len(m.edits) != 2 {
		t.Fatalf("%+v", m)
	}
	if m.edits[0] != (edit{"dir/a.go", "\tone\n\ttwo\n", "\tthree\n"}) || m.edits[1] != (edit{"dir/b.go", "x\n", ""}) {
		t.Fatalf("%+v", m.edits)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, change := range map[string][2]string{
		"no class":     {"class: a kind\n", ""},
		"no old text":  {"\tone\n\ttwo\n", ""},
		"no file":      {"file: dir/a.go\n", ""},
		"no end":       {"--- new\n--- end\n", "--- new\n"},
		"new twice":    {"\tthree\n", "--- new\n"},
		"stray line":   {"file: dir/b.go\n", "something\n"},
		"end too soon": {"--- old\nx\n--- new\n--- end\n", "--- old\nx\n--- end\n"},
	} {
		if m, err := parse(strings.Replace(sample, change[0], change[1], 1)); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// TestWatch reads the simulator's words.
func TestWatch(t *testing.T) {
	for _, tc := range []struct {
		text string
		want trial
	}{
		{"first seed 40, 2 at a time\nFAIL seed 42: log-matching: entry 7\nand more\nFAIL seed 41: x: y\n", trial{found: true, seed: 42, check: "log-matching", seeds: 3}},
		{"first seed 40, 2 at a time\n12 seeds in 3s (4.00 per second), and so on\n", trial{seeds: 12}},
		{"", trial{}},
	} {
		if got := watch(strings.NewReader(tc.text)); got != tc.want {
			t.Errorf("%+v of %q, expected %+v", got, tc.text, tc.want)
		}
	}
}
