package flags

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// patience bounds every wait for something that should come soon, on a slow machine.
const patience = 30 * time.Second

// member is a process of the binary.
type member struct {
	dir  string // for itself; its data are in data
	form form
	cmd  *exec.Cmd
	done chan struct{} // closed at its end
	log  lines         // of stderr
	out  lines         // of stdout
	url  string        // of clients
}

// base is what makes a member that starts at once and meets no other.
func base(dir string) options {
	return options{
		"name": "a", "data-dir": filepath.Join(dir, "data"), "listen-client-urls": "http://127.0.0.1:0", "advertise-client-urls": "http://127.0.0.1:1",
		"listen-peer-urls": "http://127.0.0.1:0", "heartbeat-interval": 10, "election-timeout": 50,
	}
}

// launch starts a process in dir with these options over the base's.
func launch(t *testing.T, f form, dir string, o options) *member {
	t.Helper()
	args, env := f.write(t, base(dir).with(o), dir)
	m := command(t, dir, args, env)
	m.form = f
	m.run(t)
	return m
}

// command prepares a process in dir.
func command(t *testing.T, dir string, args, env []string) *member {
	t.Helper()
	m := &member{dir: dir, done: make(chan struct{}), cmd: exec.Command(program, args...)}
	m.cmd.Dir = dir
	m.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return m
}

// run starts the process and reads what it writes.
func (m *member) run(t *testing.T) {
	t.Helper()
	var readers sync.WaitGroup
	for _, o := range []struct {
		pipe func() (io.ReadCloser, error)
		into *lines
	}{{m.cmd.StderrPipe, &m.log}, {m.cmd.StdoutPipe, &m.out}} {
		pipe, err := o.pipe()
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() { o.into.read(pipe) })
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		readers.Wait()
		_ = m.cmd.Wait()
		close(m.done)
	}()
	t.Cleanup(func() {
		m.kill()
		if t.Failed() {
			t.Logf("%s of %s", m.log.text(), m.form)
		}
	})
}

// start launches a member and waits until it serves.
func start(t *testing.T, f form, dir string, o options) *member {
	t.Helper()
	starts <- struct{}{}
	defer func() { <-starts }()
	m := launch(t, f, dir, o)
	m.ready(t)
	return m
}

// ready waits until the member serves, and learns where.
func (m *member) ready(t *testing.T) {
	t.Helper()
	line := m.waitLog(t, "ready to serve client requests")
	m.url, _ = line["address"].(string)
}

// waitLog waits for a line of the log with that message, in stderr.
func (m *member) waitLog(t *testing.T, msg string) map[string]any {
	t.Helper()
	var found map[string]any
	m.eventually(t, "the log says "+msg, func() bool {
		found = m.logged(msg)
		return found != nil
	})
	return found
}

// logged returns the first line with that message so far, nil without one.
func (m *member) logged(msg string) map[string]any {
	if all := m.logs(msg); len(all) > 0 {
		return all[0]
	}
	return nil
}

// eventually waits for something while the process runs.
func (m *member) eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if !until(m.done, holds) {
		t.Fatalf("not so: %s", what)
	}
}

// until looks again and again until it holds, something has ended, or patience has.
func until(end <-chan struct{}, holds func() bool) bool {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-end:
			return holds()
		case <-late.C:
			return false
		}
	}
	return true
}

// ended waits for the end of the process and returns its exit code, -1 if a signal ended it.
func (m *member) ended(t *testing.T) int {
	t.Helper()
	select {
	case <-m.done:
	case <-time.After(patience):
		t.Fatal("the process goes on")
	}
	return m.cmd.ProcessState.ExitCode()
}

func (m *member) kill() {
	_ = m.cmd.Process.Kill()
	<-m.done
}

// again stops the member in order and starts it with other options.
func (m *member) again(t *testing.T, o options) *member {
	t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.ended(t)
	return start(t, m.form, m.dir, o)
}

// client returns a client of the member.
func (m *member) client(t *testing.T) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{m.url}, Logger: zap.NewNop(), DialTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// put writes keys one by one.
func put(t *testing.T, c *clientv3.Client, n int, value string) {
	t.Helper()
	for i := range n {
		if _, err := c.Put(soon(t), "k"+strconv.Itoa(i%10), value); err != nil {
			t.Fatal(err)
		}
	}
}

// get fetches a page from the client address.
func (m *member) get(t *testing.T, path string, header ...string) (status int, body string, h http.Header) {
	t.Helper()
	return get(t, "http://"+m.url+path, header...)
}

func get(t *testing.T, url string, header ...string) (status int, body string, h http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(soon(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(content), resp.Header
}

// metric returns a value of /metrics, and false if there is none of that name and labels.
func (m *member) metric(t *testing.T, name string) (float64, bool) {
	t.Helper()
	_, body, _ := m.get(t, "/metrics")
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return value, true
		}
	}
	return 0, false
}

// soon is a context for calls that must not take long.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// lines are what a process has written to one of its outputs.
type lines struct {
	mu   sync.Mutex
	list []string
}

func (l *lines) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		l.mu.Lock()
		l.list = append(l.list, s.Text())
		l.mu.Unlock()
	}
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list[:len(l.list):len(l.list)]
}

func (l *lines) text() string { return strings.Join(l.all(), "\n") }

// exists tells whether there is a file of that pattern.
func exists(t *testing.T, pattern ...string) bool {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil {
		t.Fatal(err)
	}
	return len(found) > 0
}

// logs returns all lines with that message so far.
func (m *member) logs(msg string) (found []map[string]any) {
	for _, line := range m.log.all() {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == msg {
			found = append(found, fields)
		}
	}
	return found
}

// dial opens a connection that ends with the test.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// serve runs a gRPC server until the end of the test and returns its address.
func serve(t *testing.T, server *grpc.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = server.Serve(l)
		close(done)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return l.Addr().String()
}

// raw is a codec that leaves messages as they are.
type raw struct{}

// Marshal returns the bytes.
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

// Unmarshal keeps the bytes.
func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// Name is that of the codec which it takes the place of.
func (raw) Name() string { return "proto" }
