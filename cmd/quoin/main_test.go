package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// actAsQuoin makes the test's own program be quoin, which spares building it.
const actAsQuoin = "QUOIN_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(actAsQuoin) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// command prepares a run of the program under the given name.
func command(t *testing.T, env []string, name string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Args[0] = name
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{actAsQuoin + "=1", "PATH=" + os.Getenv("PATH")}, env...)
	return cmd
}

// runToEnd returns what the program printed and its exit code.
func runToEnd(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestOutputsAndExitCodes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		env    []string
		args   string // the first word is the program's name
		code   int
		stdout string
		stderr string
	}{
		{"version", nil, "quoin server --version", 0, "etcd Version: 3.7.", ""},
		{"version as etcd", nil, "etcd --version", 0, "etcd Version: 3.7.", ""},
		{"version command", nil, "quoin version", 0, "etcd Version: 3.7.", ""},
		{"help", nil, "quoin server --help", 0, "--listen-client-urls 'http://localhost:2379'", ""},
		{"help as etcd", nil, "/usr/local/bin/etcd -h", 0, "--listen-client-urls 'http://localhost:2379'", ""},
		{"help of the whole", nil, "quoin --help", 0, "Start a member", ""},
		{"unknown flag", nil, "quoin server --nonsense", 2, "", "flag provided but not defined: -nonsense\nUsage:\n"},
		{"bad value", nil, "etcd --initial-cluster-state=foo", 2, "", `invalid value "foo" for flag -initial-cluster-state: invalid value`},
		{"left-over argument", nil, "etcd serve", 1, "", `"error":"\"serve\" is not a valid flag"`},
		{"values that do not fit", nil, "etcd --election-timeout=1", 1, "", `"level":"warn"`},
		{"flag and variable", []string{"ETCD_NAME=a"}, "etcd --name=b", 1, "", "shadowed by corresponding command-line flag"},
		{"bad variable", []string{"ETCD_MAX_TXN_OPS=x"}, "etcd", 1, "", `"msg":"failed to verify flags"`},
		{"tls", nil, "etcd --listen-client-urls=https://127.0.0.1:0 --advertise-client-urls=https://127.0.0.1:1", 1, "", "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:0 with HTTPS scheme"},
		{"existing cluster that nobody answers for", nil, "etcd --listen-client-urls=http://127.0.0.1:0 --advertise-client-urls=http://127.0.0.1:1 --listen-peer-urls=http://127.0.0.1:0 --initial-cluster=default=http://localhost:2380,b=http://127.0.0.1:1 --initial-cluster-state=existing", 1, "", "could not retrieve cluster information"},
		{"unknown variable is warned of", []string{"ETCD_NONSENSE=1"}, "etcd --listen-client-urls=http://127.0.0.1:0 --advertise-client-urls=http://127.0.0.1:1 --listen-peer-urls=http://127.0.0.1:0 --initial-cluster-state=existing", 1, "", `"msg":"unrecognized environment variable","environment-variable":"ETCD_NONSENSE"`},
		{"config file", nil, "etcd --config-file=/nowhere/conf", 1, "", `"msg":"failed to verify flags","error":"open /nowhere/conf: no such file or directory"`},
		{"bad log level", nil, "etcd --log-level=loud", 2, "", `unrecognized level: "loud"`},
		{"no journal", nil, "etcd --log-outputs=systemd/journal", 1, "", `can't find journal`},
		{"log that cannot be opened", nil, "etcd --log-outputs=/nowhere/log", 1, "", "opening log output"},
		{"unknown command", nil, "quoin nonsense", 1, "", `unknown command "nonsense"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			words := strings.Fields(tc.args)
			stdout, stderr, code := runToEnd(t, command(t, tc.env, words[0], words[1:]...))
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			for _, out := range []struct{ name, got, want string }{{"stdout", stdout, tc.stdout}, {"stderr", stderr, tc.stderr}} {
				if !strings.Contains(out.got, out.want) || out.want == "" && out.got != "" {
					t.Errorf("%s %q, want %q", out.name, out.got, out.want)
				}
			}
		})
	}
}

func TestVersionLines(t *testing.T) {
	stdout, _, _ := runToEnd(t, command(t, nil, "etcd", "--version"))
	lines := strings.Split(stdout, "\n")
	for i, want := range []string{"etcd Version: 3.", "Git SHA: ", "Go Version: go1.", "Go OS/Arch: linux/"} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d of %q, want %q", i+1, stdout, want)
		}
	}
}

// server is a running member.
type server struct {
	cmd     *exec.Cmd
	address string
	log     *bufio.Scanner
}

// startServer runs a member on dir and waits until its log says that it serves.
func startServer(t *testing.T, dir string) *server {
	t.Helper()
	cmd := command(t, nil, "etcd", "--data-dir", dir, "--listen-peer-urls", "http://127.0.0.1:0", "--listen-client-urls", "http://127.0.0.1:0", "--advertise-client-urls", "http://127.0.0.1:1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	s := &server{cmd: cmd, log: bufio.NewScanner(stderr)}
	s.address, _ = s.waitLog(t, "ready to serve client requests")["address"].(string)
	return s
}

// waitLog reads the log up to a line with that message.
func (s *server) waitLog(t *testing.T, msg string) map[string]any {
	t.Helper()
	for s.log.Scan() {
		var line map[string]any
		if err := json.Unmarshal(s.log.Bytes(), &line); err != nil {
			t.Fatalf("line %q: %v", s.log.Text(), err)
		}
		if line["msg"] == msg {
			return line
		}
	}
	t.Fatalf("the log ended without %q", msg)
	return nil
}

func (s *server) client(t *testing.T) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.address}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestTermination: SIGTERM under open watches and puts ends the process soon, by that signal, and what was answered is durable.
func TestTermination(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := startServer(t, dir)
	c := s.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := c.Watch(ctx, "", clientv3.WithPrefix())
	acked := 0
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			if _, err := c.Put(ctx, "key", fmt.Sprint(acked+1)); err != nil {
				return
			}
			acked++
		}
	})
	<-watch
	begin := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.waitLog(t, "stopped")
	for s.log.Scan() {
		t.Errorf("a line after the last: %s", s.log.Text())
	}
	if endedBy(t, s.cmd) != syscall.SIGTERM {
		t.Errorf("ended with %v", s.cmd.ProcessState)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	cancel()
	writer.Wait()

	resp, err := startServer(t, dir).client(t).Get(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	var got int
	if _, err := fmt.Sscan(string(resp.Kvs[0].Value), &got); err != nil || got < acked || acked == 0 {
		t.Errorf("value %d, was told of %d (%v)", got, acked, err)
	}
}

// endedBy waits for the end of a process and returns the signal that ended it, -1 if none did.
func endedBy(t *testing.T, cmd *exec.Cmd) syscall.Signal {
	t.Helper()
	_ = cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return -1
	}
	return status.Signal()
}

// TestSecondSignal: while a client that says nothing holds up the end, another signal ends the process at once.
func TestSecondSignal(t *testing.T) {
	s := startServer(t, t.TempDir())
	slow, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := slow.Write([]byte("GET / HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client(t).Put(t.Context(), "a", "b"); err != nil { // accepted after the slow one
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s.log.Scan() {
		}
		_ = s.cmd.Wait()
	}()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for running := true; running; {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
			running = false
		case <-again.C:
		}
	}
	if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v", s.cmd.ProcessState)
	}
}

// TestSecondMember on the same directory is refused, and the first goes on.
func TestSecondMember(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir)
	_, stderr, code := runToEnd(t, command(t, nil, "etcd", "--data-dir", dir, "--listen-peer-urls", "http://127.0.0.1:0", "--listen-client-urls", "http://127.0.0.1:0", "--advertise-client-urls", "http://127.0.0.1:1"))
	if code != exitFault || !strings.Contains(stderr, "in use by another process") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	_, stderr, code = runToEnd(t, command(t, nil, "etcd", "--listen-peer-urls", "http://127.0.0.1:0", "--listen-client-urls", "http://"+s.address, "--advertise-client-urls", "http://127.0.0.1:1"))
	if code != exitFault || !strings.Contains(stderr, "address already in use") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if _, err := s.client(t).Put(t.Context(), "a", "b"); err != nil {
		t.Error(err)
	}
}
