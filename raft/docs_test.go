package raft_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentNamesItsTests: each test and script that docs/raft.md names exists, and each test that is named after a
// section is named there.
func TestDocumentNamesItsTests(t *testing.T) {
	text, err := os.ReadFile("../docs/raft.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z]\w*`).FindAllString(string(text), -1) {
		named[name] = true
		if !tests[name] {
			t.Errorf("the document names %s, which does not exist", name)
		}
	}
	for name := range tests {
		if (strings.HasPrefix(name, "TestPaper") || strings.HasPrefix(name, "TestThesis")) && !named[name] {
			t.Errorf("the document does not name %s", name)
		}
	}
	for _, name := range regexp.MustCompile("`(\\w+\\.txt)`").FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(filepath.Join("testdata", name[1])); err != nil {
			t.Errorf("the document names a script that does not exist: %v", err)
		}
	}
}

// testNames are the tests of this room and those below it, and of the comparison with etcd's messages.
func testNames(t *testing.T) map[string]bool {
	names := map[string]bool{}
	for _, pattern := range []string{"*_test.go", "*/*_test.go", "../interop/raftwire/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", pattern, err)
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range parsed.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok {
					names[fn.Name.Name] = true
				}
			}
		}
	}
	return names
}
