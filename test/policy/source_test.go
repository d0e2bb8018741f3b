package policy

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/quoin-kv/quoin"

// A source is one parsed Go file of the module.
type source struct {
	name string // slash-separated, relative to the module's root
	fset *token.FileSet
	file *ast.File
}

func (s source) dir() string { return path.Dir(s.name) }

// isTest says whether a file serves tests alone, as everything under test/ does.
func (s source) isTest() bool {
	return strings.HasSuffix(s.name, "_test.go") || strings.HasPrefix(s.name, "test/")
}

// at renders the position of a node as file:line.
func (s source) at(pos token.Pos) string {
	p := s.fset.Position(pos)
	return s.name + ":" + strconv.Itoa(p.Line)
}

// module parses every Go file of the root module. Nested modules, testdata,
// generated files and hidden directories are left out.
func module(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	fset := token.NewFileSet()
	var sources []source
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if entry.IsDir() {
			return skipDir(file, name)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(fset, file, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		if !ast.IsGenerated(parsed) {
			sources = append(sources, source{name: name, fset: fset, file: parsed})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) == 0 {
		t.Fatal("found no Go file: is the test in <root>/test/policy?")
	}
	return sources
}

// skipDir says whether the walk leaves a directory out.
func skipDir(file, name string) error {
	base := path.Base(name)
	switch {
	case name == ".":
		return nil
	case base == "testdata", strings.HasPrefix(base, "."), strings.HasPrefix(base, "_"):
		return fs.SkipDir
	}
	_, err := os.Stat(filepath.Join(file, "go.mod"))
	if err == nil {
		return fs.SkipDir // a module of its own
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// snippet parses source text as if it were the named file of the module.
func snippet(t *testing.T, name, text string) source {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return source{name: name, fset: fset, file: file}
}
