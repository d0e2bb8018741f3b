package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one deliberate bug.
type mutant struct {
	name  string // of its file, without the ending
	what  string
	class string
	flags []string // for the simulator
	edits []edit
}

// edit replaces text that stands in a file once.
type edit struct {
	file     string // from the root, with slashes
	old, new string
}

// The lines between the parts of an edit.
const (
	oldMark = "--- old"
	newMark = "--- new"
	endMark = "--- end"
)

// readAll reads the mutants of a folder by name, all or those that are named.
func readAll(dir string, names []string) ([]*mutant, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	var all []*mutant
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		m, err := read(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, m)
	}
	if len(all) == 0 || len(names) > 0 && len(all) != len(names) {
		return nil, fmt.Errorf("%d mutants in %s, expected %v", len(all), dir, names)
	}
	return all, nil
}

func read(file string) (*mutant, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	m, err := parse(string(text))
	if err == nil {
		m.name = strings.TrimSuffix(filepath.Base(file), ".txt")
	}
	return m, err
}

// reading goes through a mutant's file line by line.
type reading struct {
	mutant mutant
	file   string           // of the next edit
	part   string           // mark of the part of an edit that is being read, empty outside of one
	text   *strings.Builder // of that part
	old    string
}

func parse(text string) (*mutant, error) {
	p := &reading{}
	for line := range strings.Lines(text) {
		take := p.outside
		if p.part != "" {
			take = p.inside
		}
		if err := take(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, err
		}
	}
	m := &p.mutant
	if p.part != "" || len(m.edits) == 0 || m.what == "" || m.class == "" {
		return nil, fmt.Errorf("incomplete: %d edits, class %q, what it is %q", len(m.edits), m.class, m.what)
	}
	return m, nil
}

// outside takes a line that is not part of an edit.
func (p *reading) outside(line string) error {
	m := &p.mutant
	key, value, _ := strings.Cut(line, ": ")
	switch {
	case line == "":
	case key == "class":
		m.class = value
	case key == "flags":
		m.flags = strings.Fields(value)
	case key == "file":
		p.file = value
	case line == oldMark:
		p.begin(oldMark)
	case m.class != "":
		return fmt.Errorf("unexpected line %q", line)
	default:
		m.what = strings.TrimSpace(m.what + " " + line)
	}
	return nil
}

func (p *reading) begin(part string) { p.part, p.text = part, &strings.Builder{} }

// inside takes a line of an edit.
func (p *reading) inside(line string) error {
	switch line {
	case newMark:
		if p.part != oldMark {
			return fmt.Errorf("%q twice", newMark)
		}
		p.old = p.text.String()
		p.begin(newMark)
	case endMark:
		if p.part != newMark || p.old == "" || p.file == "" {
			return fmt.Errorf("edit without a file, an old or a new text")
		}
		p.mutant.edits = append(p.mutant.edits, edit{p.file, p.old, p.text.String()})
		p.part = ""
	default:
		p.text.WriteString(line + "\n")
	}
	return nil
}

// apply returns the changed text of each file that a mutant changes, by its path from root.
func (m *mutant) apply(root string) (map[string]string, error) {
	changed := map[string]string{}
	for _, e := range m.edits {
		text, ok := changed[e.file]
		if !ok {
			raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file)))
			if err != nil {
				return nil, err
			}
			text = string(raw)
		}
		if n := strings.Count(text, e.old); n != 1 || e.old == e.new {
			return nil, fmt.Errorf("%s holds the text to be replaced %d times, expected once:\n%s", e.file, n, e.old)
		}
		changed[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return changed, nil
}
