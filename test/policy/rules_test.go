package policy

import (
	"fmt"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	// maxFunctionLines bounds a function outside tests, signature to brace.
	maxFunctionLines = 70
	// maxFileLines bounds every file.
	maxFileLines = 1000
)

// A rule looks at one file and returns a sentence for each breach.
type rule struct {
	name  string
	check func(source) []string
}

// rules returns the habits that are checked file by file.
func rules() []rule {
	return []rule{
		{"no init function", noInit},
		{"no sleep in tests", noSleepInTests},
		{"short functions", shortFunctions},
		{"short files", shortFiles},
		{"no mutable package variables", noMutableVariables},
		{"exported things are documented", documented},
		{"no empty names", noEmptyNames},
		{"nothing left to do", nothingLeftToDo},
		{"kernels are pure", kernelsArePure},
	}
}

// TestHouseRules runs every rule over every file of the module.
func TestHouseRules(t *testing.T) {
	sources := module(t)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for _, s := range sources {
				for _, complaint := range r.check(s) {
					t.Error(complaint)
				}
			}
		})
	}
}

// TestPackageComments: each package says what it is for, in one place at least.
func TestPackageComments(t *testing.T) {
	has := map[string]bool{}
	for _, s := range module(t) {
		if !s.isTest() {
			has[s.dir()] = has[s.dir()] || s.file.Doc != nil
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(has)) {
		if !has[dir] {
			t.Errorf("package %s has no package comment", dir)
		}
	}
}

// TestLongFunctionsStillLong: the list of exceptions holds nothing that has
// become short or gone.
func TestLongFunctionsStillLong(t *testing.T) {
	long := map[string]bool{}
	for _, s := range module(t) {
		for name := range longIn(s) {
			long[name] = true
		}
	}
	for name, reason := range longFunctions() {
		if !long[name] {
			t.Errorf("longFunctions lists %s, which is not long", name)
		}
		if reason == "" {
			t.Errorf("longFunctions lists %s without a reason", name)
		}
	}
}

func noInit(s source) []string {
	var found []string
	for _, f := range functions(s) {
		if f.Name.Name == "init" && f.Recv == nil {
			found = append(found, s.at(f.Pos())+": func init: do it in a constructor")
		}
	}
	return found
}

// noSleepInTests lets a file sleep that runs its tests in synctest bubbles:
// the sleep there costs no time and waits for nothing real.
func noSleepInTests(s source) []string {
	if !s.isTest() || imports(s, "testing/synctest") {
		return nil
	}
	return selectors(s, "time", []string{"Sleep"}, "time.Sleep in a test: wait for the event, or use testing/synctest")
}

func shortFunctions(s source) []string {
	if s.isTest() {
		return nil
	}
	var found []string
	long := longIn(s)
	for _, name := range slices.Sorted(maps.Keys(long)) {
		if _, listed := longFunctions()[name]; !listed {
			found = append(found, fmt.Sprintf("%s has %d lines, more than %d", name, long[name], maxFunctionLines))
		}
	}
	return found
}

// longIn returns the functions of a file that exceed the bound, with their lengths.
func longIn(s source) map[string]int {
	long := map[string]int{}
	for _, f := range functions(s) {
		lines := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
		if lines > maxFunctionLines {
			long[s.dir()+"."+qualified(f)] = lines
		}
	}
	return long
}

func shortFiles(s source) []string {
	lines := s.fset.Position(s.file.FileEnd).Line
	if lines <= maxFileLines {
		return nil
	}
	return []string{fmt.Sprintf("%s has %d lines, more than %d", s.name, lines, maxFileLines)}
}

// documented wants a doc comment on every exported declaration. Methods that
// only satisfy a well-known interface need none.
func documented(s source) []string {
	if s.isTest() || s.file.Name.Name == "main" {
		return nil
	}
	var found []string
	for _, decl := range s.file.Decls {
		for _, name := range undocumented(decl) {
			found = append(found, s.at(decl.Pos())+": "+name+" is exported and has no doc comment")
		}
	}
	return found
}

// undocumented returns the exported names of a declaration that no comment explains.
func undocumented(decl ast.Decl) []string {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && ast.IsExported(receiver(d)) && !obvious(d.Name.Name) {
			return []string{qualified(d)}
		}
	case *ast.GenDecl:
		if d.Doc != nil {
			return nil
		}
		var names []string
		for _, spec := range d.Specs {
			names = append(names, undocumentedSpec(spec)...)
		}
		return names
	}
	return nil
}

func undocumentedSpec(spec ast.Spec) []string {
	var names []string
	switch v := spec.(type) {
	case *ast.TypeSpec:
		if v.Doc == nil && v.Comment == nil && v.Name.IsExported() {
			names = append(names, v.Name.Name)
		}
	case *ast.ValueSpec:
		for _, name := range v.Names {
			if v.Doc == nil && v.Comment == nil && name.IsExported() {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

// obvious names methods whose meaning an interface of the standard library gives.
func obvious(name string) bool {
	return slices.Contains([]string{"Error", "String", "Unwrap", "Len", "Less", "Swap"}, name)
}

func noEmptyNames(s source) []string {
	empty := regexp.MustCompile(`(Manager|Helper|Util|Utils|Handler2)$`)
	var found []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok && empty.MatchString(spec.Name.Name) {
			found = append(found, s.at(spec.Pos())+": type "+spec.Name.Name+": the name says nothing")
		}
		return true
	})
	return found
}

func nothingLeftToDo(s source) []string {
	marks := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)
	var found []string
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			if marks.MatchString(c.Text) {
				found = append(found, s.at(c.Pos())+": "+c.Text)
			}
		}
	}
	return found
}

// kernelsArePure: what decides has no goroutine, lock, clock, file or random
// source. It holds for the two lowest floors and the replica.
func kernelsArePure(s source) []string {
	if s.isTest() || !pure(s.dir()) {
		return nil
	}
	var found []string
	for _, name := range []string{"sync", "os", "math/rand", "math/rand/v2", "crypto/rand", "log/slog", "context"} {
		if imports(s, name) {
			found = append(found, s.name+": imports "+name+" in a room that only decides")
		}
	}
	clocks := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	found = append(found, selectors(s, "time", clocks, "a clock in a room that only decides")...)
	calls := []string{"Dial", "DialTimeout", "Dialer", "Listen", "LookupHost", "LookupIP", "ResolveTCPAddr", "Interfaces"}
	found = append(found, selectors(s, "net", calls, "a network in a room that only decides")...)
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.GoStmt, *ast.SelectStmt, *ast.ChanType:
			found = append(found, s.at(n.Pos())+": concurrency in a room that only decides")
		}
		return true
	})
	return found
}

func pure(dir string) bool {
	for _, r := range house() {
		if r.path == dir {
			return r.floor <= kernel || dir == "internal/replica"
		}
	}
	return false
}

// functions returns the declared functions and methods of a file.
func functions(s source) []*ast.FuncDecl {
	var all []*ast.FuncDecl
	for _, decl := range s.file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			all = append(all, f)
		}
	}
	return all
}

// receiver returns the name of a method's type; for a function a name that
// counts as exported.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return "F"
	}
	expr := f.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

func qualified(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	return receiver(f) + "." + f.Name.Name
}

func imports(s source, name string) bool {
	return slices.ContainsFunc(s.file.Imports, func(spec *ast.ImportSpec) bool {
		return spec.Path.Value == strconv.Quote(name)
	})
}

// selectors finds uses of pkg.name for the given names.
func selectors(s source, pkg string, names []string, why string) []string {
	var found []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || !slices.Contains(names, sel.Sel.Name) {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && id.Name == pkg {
			found = append(found, s.at(n.Pos())+": "+why)
		}
		return true
	})
	return found
}

// TestRulesFind shows each rule a breach of it and its lawful twin.
func TestRulesFind(t *testing.T) {
	long := "package p\nfunc f() {\n" + strings.Repeat("_ = 0\n", maxFunctionLines-2) + "}\n"
	cases := []struct {
		rule, name, text, want string
	}{
		{"no init function", "p/a.go", "package p\nfunc init() {}", "func init"},
		{"no init function", "p/a.go", "package p\nfunc (T) init() {}", ""},
		{"no sleep in tests", "p/a_test.go", `package p; import "time"; func f() { time.Sleep(1) }`, "time.Sleep"},
		{"no sleep in tests", "p/a.go", `package p; import "time"; func f() { time.Sleep(1) }`, ""},
		{"no sleep in tests", "p/a_test.go", `package p; import ("time"; "testing/synctest"); func f() { time.Sleep(1) }`, ""},
		{"short functions", "p/a.go", long, ""},
		{"short functions", "p/a.go", strings.Replace(long, "_ = 0\n", "_ = 0\n_ = 1\n", 1), "p.f has 71 lines"},
		{"short functions", "test/p/a.go", strings.Replace(long, "_ = 0\n", "_ = 0\n_ = 1\n", 1), ""},
		{"short files", "p/a.go", "package p\n" + strings.Repeat("\n", maxFileLines), "more than 1000"},
		{"no mutable package variables", "p/a.go", "package p\nvar x = []int{1}\nfunc f() int { return x[0] }", ""},
		{"no mutable package variables", "p/a.go", "package p\nvar x = []int{1}\nfunc f() { x[0] = 2 }", "changes the package variable x"},
		{"no mutable package variables", "p/a.go", "package p\nvar x = 1\nfunc f() { x++ }", "changes the package variable x"},
		{"no mutable package variables", "p/a.go", "package p\nvar x = 1\nfunc f() { x := 2; x++ }", ""},
		{"no mutable package variables", "p/a.go", "package p\nvar m map[int]int\nfunc f() { delete(m, 1) }", "changes the package variable m"},
		{"no mutable package variables", "p/a.go", `package p; import "sync"; var mu sync.Mutex`, "sync.Mutex"},
		{"exported things are documented", "p/a.go", "package p\nfunc F() {}", "F is exported"},
		{"exported things are documented", "p/a.go", "package p\ntype t int\nfunc (t) F() {}", ""},
		{"exported things are documented", "p/a.go", "package p\n// T is a type.\ntype T int\nfunc (*T) F() {}", "T.F is exported"},
		{"exported things are documented", "p/a.go", "package p\n// All of them.\nconst (\nA = 1\nB = 2\n)", ""},
		{"exported things are documented", "p/a.go", "package p\nconst A = 1", "A is exported"},
		{"no empty names", "p/a.go", "package p\ntype leaseManager int", "leaseManager"},
		{"nothing left to do", "p/a.go", "package p\n// TO" + "DO: all of it", "a.go:2"},
		{"kernels are pure", "raft/a.go", "package raft\nfunc f() { go f() }", "concurrency"},
		{"kernels are pure", "raft/a.go", `package raft; import "time"; func f() { time.Now() }`, "a clock"},
		{"kernels are pure", "raft/a.go", `package raft; import "sync"`, "imports sync"},
		{"kernels are pure", "raft/a.go", `package raft; import "net"; func f() { net.LookupHost("") }`, "a network"},
		{"kernels are pure", "raft/a.go", `package raft; import "net"; func f() { net.SplitHostPort("") }`, ""},
		{"kernels are pure", "raft/a_test.go", "package raft\nfunc f() { go f() }", ""},
		{"kernels are pure", "internal/node/a.go", "package node\nfunc f() { go f() }", ""},
	}
	byName := map[string]func(source) []string{}
	for _, r := range rules() {
		byName[r.name] = r.check
	}
	for i, c := range cases {
		t.Run(fmt.Sprintf("%d %s", i, c.rule), func(t *testing.T) {
			expectOne(t, byName[c.rule](snippet(t, c.name, c.text)), c.want)
		})
	}
}
