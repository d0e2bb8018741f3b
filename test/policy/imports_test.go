package policy

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// uses is what the non-test files of one package import.
type uses struct {
	rooms   map[string]bool // directories of this module
	outside map[string]bool // import paths with a dot in the first element
}

// TestImportsOnlyGoDown compares the module's imports with the table of rooms.
func TestImportsOnlyGoDown(t *testing.T) {
	for _, complaint := range checkImports(house(), collectUses(module(t))) {
		t.Error(complaint)
	}
}

// collectUses gathers the imports of each package, tests left out.
func collectUses(sources []source) map[string]uses {
	all := map[string]uses{}
	for _, s := range sources {
		u, ok := all[s.dir()]
		if !ok {
			u = uses{rooms: map[string]bool{}, outside: map[string]bool{}}
			all[s.dir()] = u
		}
		if s.isTest() {
			continue
		}
		for _, spec := range s.file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the parser has checked it
			}
			if rest, ok := strings.CutPrefix(name, modulePath+"/"); ok {
				u.rooms[rest] = true
			} else if strings.Contains(strings.Split(name, "/")[0], ".") {
				u.outside[name] = true
			}
		}
	}
	return all
}

// checkImports returns one sentence for each difference between table and code.
func checkImports(table []room, code map[string]uses) []string {
	floors := map[string]int{}
	for _, r := range table {
		floors[r.path] = r.floor
	}
	var complaints []string
	for _, dir := range slices.Sorted(maps.Keys(code)) {
		if _, ok := floors[dir]; !ok {
			complaints = append(complaints, fmt.Sprintf("package %s is on no floor: add it to house()", dir))
		}
	}
	for _, r := range table {
		u, ok := code[r.path]
		if !ok {
			complaints = append(complaints, fmt.Sprintf("house() lists %s, which has no code", r.path))
			continue
		}
		complaints = append(complaints, checkRooms(r, u, floors)...)
		complaints = append(complaints, checkOutside(r, u)...)
	}
	return complaints
}

// checkRooms compares one room's imports of other rooms with its line.
func checkRooms(r room, u uses, floors map[string]int) []string {
	var complaints []string
	complain := func(format string, args ...any) {
		complaints = append(complaints, fmt.Sprintf(format, args...))
	}
	for _, dir := range slices.Sorted(maps.Keys(u.rooms)) {
		floor, known := floors[dir]
		switch {
		case !known:
			complain("%s imports %s, which is on no floor", r.path, dir)
		case floor > r.floor:
			complain("%s (floor %d) imports %s (floor %d): imports only go down", r.path, r.floor, dir, floor)
		case floor == r.floor && !slices.Contains(r.sideways, dir):
			complain("%s imports %s on its own floor: not in its sideways list", r.path, dir)
		case floor < r.floor && !slices.Contains(r.imports, dir):
			complain("%s imports %s: not in its imports list", r.path, dir)
		}
	}
	for _, dir := range slices.Concat(r.imports, r.sideways) {
		if !u.rooms[dir] {
			complain("%s no longer imports %s: take it off its line", r.path, dir)
		}
	}
	return complaints
}

// checkOutside compares one room's imports of other modules with its line.
func checkOutside(r room, u uses) []string {
	var complaints []string
	needed := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(u.outside)) {
		mod := longestPrefix(name, r.outside)
		if mod == "" {
			complaints = append(complaints, fmt.Sprintf("%s imports %s: not in its outside list", r.path, name))
		}
		needed[mod] = true
	}
	for _, mod := range r.outside {
		if !needed[mod] {
			complaints = append(complaints, fmt.Sprintf("%s no longer imports %s: take it off its line", r.path, mod))
		}
	}
	return complaints
}

// longestPrefix returns the longest of the modules that holds the package.
func longestPrefix(name string, modules []string) string {
	best := ""
	for _, mod := range modules {
		if (name == mod || strings.HasPrefix(name, mod+"/")) && len(mod) > len(best) {
			best = mod
		}
	}
	return best
}

// TestOutsideModulesHaveReasons: each module that a room uses stands in the
// document that says why.
func TestOutsideModulesHaveReasons(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range house() {
		for _, mod := range r.outside {
			if !strings.Contains(string(text), "`"+mod+"`") {
				t.Errorf("%s uses %s, for which docs/dependencies.md gives no reason", r.path, mod)
			}
		}
	}
}

// TestEdgesDoNotShareTypes: no edge of the server imports another edge's
// package tree, so that each protocol can go without touching the others.
func TestEdgesDoNotShareTypes(t *testing.T) {
	for _, r := range house() {
		for _, dir := range r.sideways {
			if r.floor == edge && path.Dir(dir) == "internal/api" {
				t.Errorf("%s imports the edge %s", r.path, dir)
			}
		}
	}
}

// TestImportCheckFinds shows each kind of difference to the check.
func TestImportCheckFinds(t *testing.T) {
	table := []room{
		{path: "low", floor: 0, outside: []string{"example.org/m"}},
		{path: "left", floor: 1, imports: []string{"low"}},
		{path: "right", floor: 1, sideways: []string{"left"}},
	}
	set := func(names ...string) map[string]bool {
		m := map[string]bool{}
		for _, n := range names {
			m[n] = true
		}
		return m
	}
	lawful := func() map[string]uses {
		return map[string]uses{
			"low":   {outside: set("example.org/m")},
			"left":  {rooms: set("low")},
			"right": {rooms: set("left")},
		}
	}
	cases := []struct {
		name string
		code map[string]uses // what differs from the lawful
		want string
	}{
		{"clean", map[string]uses{"left": {rooms: set("low")}, "right": {rooms: set("left")}}, ""},
		{"upward", map[string]uses{"low": {rooms: set("left"), outside: set("example.org/m")}}, "imports only go down"},
		{"sideways", map[string]uses{"left": {rooms: set("low", "right")}}, "not in its sideways list"},
		{"unlisted edge", map[string]uses{"right": {rooms: set("left", "low")}}, "not in its imports list"},
		{"stale edge", map[string]uses{"left": {}}, "no longer imports low"},
		{"unlisted room", map[string]uses{"attic": {}}, "on no floor"},
		{"unlisted module", map[string]uses{"left": {rooms: set("low"), outside: set("example.org/n/x")}}, "not in its outside list"},
		{"stale module", map[string]uses{"low": {}}, "no longer imports example.org/m"},
		{"module by prefix", map[string]uses{"low": {outside: set("example.org/m/sub")}}, ""},
		{"module by name only", map[string]uses{"low": {outside: set("example.org/m", "example.org/mm")}}, "example.org/mm"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			code := lawful()
			maps.Copy(code, c.code)
			expectOne(t, checkImports(table, code), c.want)
		})
	}
}

// TestImportCheckFindsEmptyRooms: a line without code is stale too.
func TestImportCheckFindsEmptyRooms(t *testing.T) {
	expectOne(t, checkImports([]room{{path: "gone"}}, map[string]uses{}), "has no code")
}

// expectOne wants exactly one complaint that contains want, or none for "".
func expectOne(t *testing.T, got []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("unexpected: %q", got)
	case want != "" && (len(got) != 1 || !strings.Contains(got[0], want)):
		t.Errorf("got %q, want one that contains %q", got, want)
	}
}
