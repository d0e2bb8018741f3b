package main

import (
	"net"
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
