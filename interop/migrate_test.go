package interop

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/quoin-kv/quoin/interop/process"
)

// TestTwoKinds runs those tests of test/cluster that need a real etcd beside Quoin: faults in clusters of both, for -mixedtime, and
// `quoin migrate` forth and back under load.
func TestTwoKinds(t *testing.T) {
	t.Parallel()
	test := filepath.Join(t.TempDir(), "cluster.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", test, "./test/cluster")
	build.Dir = ".."
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"TestMixed", "TestMigrate"} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(
				t.Context(), test, "-test.v", "-test.timeout=0", "-test.run=^"+name+"$", "-resume=20", "-mixedtime="+flags.mixedTime.String(),
				"-against="+builder.Path(t, process.Quoin()), "-other="+builder.Path(t, process.Etcd()),
			)
			cmd.Dir = "../test/cluster"
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("--- PASS: "+name)) {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

// TestMigratePage runs the commands of docs/migrate.md as they stand, on three machines of a kind, in namespaces of their own.
func TestMigratePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/migrate.md")
	check(t, err)
	script := filepath.Join(t.TempDir(), "page.sh")
	check(t, os.WriteFile(script, []byte(shellOf(string(page))), 0o600))
	here, err := os.Getwd()
	check(t, err)
	programs := []string{filepath.Dir(builder.Path(t, process.Quoin())), filepath.Dir(builder.Path(t, process.Etcd()))}
	tools := filepath.Join(here, "testdata", "migrate")
	cmd := exec.CommandContext(t.Context(), filepath.Join(tools, "run"), script)
	cmd.Env = append(os.Environ(), "MACHINES="+process.MemoryDir(t), "PATH="+strings.Join(append([]string{tools}, append(programs, os.Getenv("PATH"))...), ":"))
	cmd.SysProcAttr = ownNamespaces()
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(out, []byte("all is there\n")) {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"All members are quoin.", "All members are etcd.", "would be done", "[y/N]"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q was not printed:\n%s", want, out)
		}
	}
}

// shellOf is all shell commands of a page, in order.
func shellOf(page string) string {
	var script strings.Builder
	inside := false
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = strings.TrimSpace(line) == "```sh"
		case inside:
			script.WriteString(line)
		}
	}
	return script.String()
}

// ownNamespaces keep mounts, addresses and processes of a command to itself; everything ends with it.
func ownNamespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attr
}
