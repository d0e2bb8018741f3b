package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSystemd: whoever asks for it is told when the member is ready and when it stops, and each signal ends the process as itself.
func TestSystemd(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		path := filepath.Join(t.TempDir(), "notify")
		socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		cmd := command(t, []string{"NOTIFY_SOCKET=" + path}, "etcd", "--data-dir", t.TempDir(), "--listen-peer-urls", "http://127.0.0.1:0", "--listen-client-urls", "http://127.0.0.1:0", "--advertise-client-urls", "http://127.0.0.1:1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, socket); got != "READY=1" {
			t.Errorf("told %q", got)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, socket); got != "STOPPING=1" {
			t.Errorf("told %q", got)
		}
		if got := endedBy(t, cmd); got != sig {
			t.Errorf("%v: ended with %v", sig, cmd.ProcessState)
		}
	}
}

func receive(t *testing.T, socket *net.UnixConn) string {
	t.Helper()
	if err := socket.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := socket.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// TestDescriptors: a member does not start where it could hardly accept a connection.
func TestDescriptors(t *testing.T) {
	server := command(t, nil, "etcd")
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `ulimit -n 140; exec "$0" server`, server.Path)
	cmd.Env, cmd.Dir = server.Env, server.Dir
	_, stderr, code := runToEnd(t, cmd)
	if code != exitFault || !strings.Contains(stderr, `"level":"fatal"`) || !strings.Contains(stderr, "the limit of file descriptors is too low: 140, want more than 150") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// TestOldProxy: the directory of what etcd's old versions could be besides a member is not touched.
func TestOldProxy(t *testing.T) {
	for _, tc := range []struct {
		dirs []string
		code int
		want string
	}{
		{[]string{"proxy"}, 2, "v2 http proxy has already been deprecated in 3.6"},
		{[]string{"proxy", "member"}, 1, "invalid datadir; both member and proxy directories exist"},
	} {
		cmd := command(t, nil, "etcd", "--data-dir=data")
		for _, dir := range tc.dirs {
			if err := os.MkdirAll(filepath.Join(cmd.Dir, "data", dir), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if _, stderr, code := runToEnd(t, cmd); code != tc.code || !strings.Contains(stderr, tc.want) {
			t.Errorf("%v: exit code %d, %s", tc.dirs, code, stderr)
		}
	}
}

// TestSignalDuringStart: a member that still looks for its cluster ends by the signal, too.
func TestSignalDuringStart(t *testing.T) {
	cmd := command(t, nil, "etcd", "--discovery-endpoints=127.0.0.1:1", "--discovery-token=t", "--discovery-dial-timeout=10ms", "--discovery-request-timeout=10ms",
		"--listen-peer-urls=http://127.0.0.1:0", "--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://127.0.0.1:1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{cmd: cmd, log: bufio.NewScanner(stderr)}
	s.waitLog(t, "retry connecting to discovery service")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.waitLog(t, "stopped before the start")
	if got := endedBy(t, cmd); got != syscall.SIGTERM {
		t.Errorf("ended with %v", cmd.ProcessState)
	}
}
