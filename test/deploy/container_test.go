package deploy

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inside is the variable that tells the test binary that it runs in namespaces of its own, where it may mount and make networks.
const inside = "QUOIN_TEST_NAMESPACE"

// binary is what is tested, under the names that command lines may call it.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" {
		os.Exit(reexec())
	}
	os.Exit(run(m))
}

// reexec runs this test again in namespaces of its own, so that nothing it mounts, connects or starts is left on the machine.
func reexec() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "in namespaces of its own:", err)
		return 1
	}
	return 0
}

// run builds the binary, makes the machine's directories private, and runs the tests.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "quoin-deploy-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "quoin")
	for _, step := range []func() error{
		prepare,
		func() error { return os.Symlink("quoin", filepath.Join(dir, "etcd")) },
		privateDirectories,
		func() error { return command("ip", "link", "set", "lo", "up") },
		func() error { return command("ip", "link", "add", bridge, "type", "bridge") },
		func() error { return command("ip", "addr", "add", "192.0.2.1/24", "dev", bridge) },
		func() error { return command("ip", "link", "set", bridge, "up") },
	} {
		if err := step(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// prepare builds the binary, or copies the one that is to be tested.
func prepare() error {
	if given := os.Getenv("QUOIN_BINARY"); given != "" {
		return command("cp", given, binary)
	}
	return command("go", "build", "-o", binary, "../../cmd/quoin")
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// privateDirectories puts file systems in memory over the directories that containers write to or are configured in.
func privateDirectories() error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for _, dir := range []string{"/run", "/etc", "/var/lib"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			return fmt.Errorf("mounting over %s: %w", dir, err)
		}
	}
	return nil
}

// bridge joins the containers with the test.
const bridge = "quoin0"

// A container is a process with a host name, a network address and files of its own.
type container struct {
	name, address string
	root          string // its files, by their path
	cmd           *exec.Cmd
	log           bytes.Buffer // complete once the process has ended
}

// newContainers makes a container for each address; each knows the others by name.
func newContainers(t *testing.T, addresses map[string]string) map[string]*container {
	t.Helper()
	hosts := "127.0.0.1 localhost\n"
	for name, address := range addresses {
		hosts += address + " " + name + "\n"
	}
	all := map[string]*container{}
	for name, address := range addresses {
		c := &container{name: name, address: address, root: t.TempDir()}
		must(t, command("ip", "netns", "add", name))
		must(t, command("ip", "link", "add", "v"+name, "type", "veth", "peer", "name", "eth0", "netns", name))
		must(t, command("ip", "link", "set", "v"+name, "master", bridge, "up"))
		must(t, command("ip", "-n", name, "addr", "add", address+"/24", "dev", "eth0"))
		must(t, command("ip", "-n", name, "link", "set", "eth0", "up"))
		must(t, command("ip", "-n", name, "link", "set", "lo", "up"))
		t.Cleanup(func() {
			must(t, command("ip", "link", "del", "v"+name))
			must(t, command("ip", "netns", "del", name))
		})
		c.write(t, "/etc/hosts", []byte(hosts))
		c.write(t, "/var/lib/.container", nil)
		all[name] = c
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write puts a file into the container that is not started yet.
func (c *container) write(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(c.root+path), 0o755))
	must(t, os.WriteFile(c.root+path, data, 0o600))
}

// start runs a program as it is written down, with the container's /etc and /var/lib, and the binary under test wherever it is looked for.
func (c *container) start(t *testing.T, p program) {
	t.Helper()
	const script = `set -e; mount --bind "$0/etc" /etc; mount --bind "$0/var/lib" /var/lib; exec "$@"`
	args := append([]string{"netns", "exec", c.name, "sh", "-c", script, c.root, filepath.Join(filepath.Dir(binary), filepath.Base(p.args[0]))}, p.args[1:]...)
	c.cmd = exec.Command("ip", args...)
	c.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, p.env...)
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	must(t, c.cmd.Start())
	t.Cleanup(func() { c.stop(t) })
}

// stop ends the program as init does and demands that it ends in order.
func (c *container) stop(t *testing.T) {
	if c.cmd == nil {
		return
	}
	late := time.AfterFunc(20*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	must(t, c.cmd.Process.Signal(syscall.SIGTERM))
	err := c.cmd.Wait()
	c.cmd = nil
	status, ok := exitStatus(err)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("%s ended with %v, want the signal that it was sent", c.name, err)
	}
	if t.Failed() {
		t.Logf("log of %s:\n%s", c.name, c.log.Bytes())
	}
}

func exitStatus(err error) (syscall.WaitStatus, bool) {
	exit, ok := err.(*exec.ExitError)
	if !ok {
		return 0, false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return status, ok
}

// dial connects from within the container.
func (c *container) dial(ctx context.Context, _, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, since it is in the wrong namespace
		file, err := os.Open("/run/netns/" + c.name)
		if err != nil {
			done <- result{err: err}
			return
		}
		defer file.Close()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{err: err}
			return
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// has tells whether the container has a file.
func (c *container) has(path string) bool {
	_, err := os.Stat(c.root + path)
	return err == nil
}
