package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Program names one binary that the tests can build and run.
type Program struct {
	Name string   // the binary's file name
	pkg  string   // the Go package to build, relative to the module directory
	dir  string   // the module's directory, relative to the interop module
	args []string // arguments in front of the caller's
}

// Quoin is the server under test, started through its "server" verb.
func Quoin() Program {
	return Program{Name: "quoin", pkg: "./cmd/quoin", dir: "..", args: []string{"server"}}
}

// Etcd is the real etcd server.
func Etcd() Program { return Program{Name: "etcd", pkg: "./cmd/etcd", dir: "."} }

// Etcd36 is the real etcd server of version 3.6.
func Etcd36() Program { return Program{Name: "etcd-3.6", pkg: ".", dir: "older/v36"} }

// Etcd35 is the real etcd server of version 3.5.
func Etcd35() Program { return Program{Name: "etcd-3.5", pkg: ".", dir: "older/v35"} }

// Etcdctl is etcd's own client program.
func Etcdctl() Program { return Program{Name: "etcdctl", pkg: "./cmd/etcdctl", dir: "."} }

// Etcdutl is etcd's own offline program.
func Etcdutl() Program { return Program{Name: "etcdutl", pkg: "./cmd/etcdutl", dir: "."} }

// Builder builds programs into one directory, each at most once. It is safe
// for concurrent use.
type Builder struct {
	root string // directory of the interop module
	out  string // where binaries go

	mu struct {
		sync.Mutex
		built map[string]error
	}
}

// NewBuilder returns a builder that puts binaries into out. root is the
// directory of the interop module. The caller removes out.
func NewBuilder(root, out string) *Builder {
	b := &Builder{root: root, out: out}
	b.mu.built = make(map[string]error)
	return b
}

// Path returns the path of the program's binary and builds it when it is asked
// for the first time. It ends the test if the build fails.
func (b *Builder) Path(tb testing.TB, p Program) string {
	tb.Helper()
	path := filepath.Join(b.out, p.Name)
	b.mu.Lock()
	defer b.mu.Unlock()
	err, done := b.mu.built[p.Name]
	if !done {
		err = b.build(p, path)
		b.mu.built[p.Name] = err
	}
	if err != nil {
		tb.Fatalf("build %s: %v", p.Name, err)
	}
	return path
}

// Link returns the path of the program's binary under another name, by which
// some programs choose what they are.
func (b *Builder) Link(tb testing.TB, p Program, name string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.Symlink(b.Path(tb, p), path); err != nil {
		tb.Fatalf("link %s: %v", p.Name, err)
	}
	return path
}

func (b *Builder) build(p Program, path string) error {
	cmd := exec.Command("go", "build", "-o", path, p.pkg)
	cmd.Dir = filepath.Join(b.root, p.dir)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// Command returns the words that call a program, without arguments of the
// caller's. It builds as Path does.
func (b *Builder) Command(tb testing.TB, p Program) []string {
	tb.Helper()
	return append([]string{b.Path(tb, p)}, p.args...)
}

// Run runs a program to its end and returns what it printed on both outputs.
// It ends the test if the program fails.
func (b *Builder) Run(tb testing.TB, p Program, args ...string) string {
	tb.Helper()
	words := append(b.Command(tb, p), args...)
	cmd := exec.CommandContext(tb.Context(), words[0], words[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%s %v: %v\n%s", p.Name, args, err, out)
	}
	return string(out)
}
