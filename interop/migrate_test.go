package interop

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
			t.Parallel()
			cmd := exec.CommandContext(
				t.Context(), test, "-test.v", "-test.timeout=0", "-test.run=^"+name+"$", "-mixedtime="+flags.mixedTime.String(),
				"-against="+builder.Path(t, process.Quoin()), "-other="+builder.Path(t, process.Etcd()),
			)
			cmd.Dir = "../test/cluster"
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("--- PASS: "+name)) {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("%s", bytes.Join(longestStops.FindAll(out, -1), []byte("\n")))
		})
	}
}

// longestStops are what the tests say of the pauses that clients had.
var longestStops = regexp.MustCompile(`(?m)longest time without .*$`)

// TestMigratePage runs the commands of docs/migrate.md as they stand, on three machines of a kind, in namespaces of their own; and again with
// TLS, certificates of clients, and users.
func TestMigratePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/migrate.md")
	check(t, err)
	script := shellOf(string(page))
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		runPage(t, script, "SCHEME=http")
	})
	t.Run("secured", func(t *testing.T) {
		t.Parallel()
		variables := secured(t, "10.0.0.1", "10.0.0.2", "10.0.0.3")
		runPage(t, strings.ReplaceAll(script, "http://", "https://"), append(variables, "SCHEME=https", "ETCDCTL_USER=root:secret", "ETCD_BCRYPT_COST=4")...)
	})
}

// runPage runs the commands of the page, with variables.
func runPage(t *testing.T, commands string, variables ...string) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "page.sh")
	check(t, os.WriteFile(script, []byte(commands), 0o600))
	here, err := os.Getwd()
	check(t, err)
	programs := []string{filepath.Dir(builder.Path(t, process.Quoin())), filepath.Dir(builder.Path(t, process.Etcd()))}
	tools := filepath.Join(here, "testdata", "migrate")
	cmd := exec.CommandContext(t.Context(), filepath.Join(tools, "run"), script)
	cmd.Env = append(append(os.Environ(), variables...), "MACHINES="+process.MemoryDir(t), "PATH="+strings.Join(append([]string{tools}, append(programs, os.Getenv("PATH"))...), ":"))
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
