package embed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/test/freeport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig is a configuration on any free port and on dir.
func testConfig(t *testing.T, dir string) *Config {
	t.Helper()
	cfg := NewConfig()
	cfg.DataDir = dir
	cfg.UnsafeNoFsync = true
	listenOn(t, cfg, "http://127.0.0.1:0")
	if err := cfg.ListenPeerURLs.Set("http://127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func listenOn(t *testing.T, cfg *Config, urls string) {
	t.Helper()
	if err := cfg.ListenClientURLs.Set(urls); err != nil {
		t.Fatal(err)
	}
}

// start runs a member until the end of the test.
func start(t *testing.T, cfg *Config) *Member {
	t.Helper()
	m, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, m) })
	select {
	case <-m.Ready():
	case <-t.Context().Done():
	}
	return m
}

func stop(t *testing.T, m *Member) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func dial(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func put(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(t.Context(), key, value); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func get(t *testing.T, c *clientv3.Client, key string) string {
	t.Helper()
	resp, err := c.Get(t.Context(), key)
	if err != nil || len(resp.Kvs) == 0 {
		t.Fatalf("get %s: %v, %v", key, resp, err)
	}
	return string(resp.Kvs[0].Value)
}

// page is the body of a page of the member, and its status.
func page(t *testing.T, m *Member, path string) (string, int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + m.ClientAddrs()[0].String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), resp.StatusCode
}

func TestPutRestartGet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	m := start(t, testConfig(t, dir))
	put(t, dial(t, m.ClientAddrs()[0].String()), "a", "1")
	stop(t, m)
	if err := m.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	select {
	case <-m.Done():
		t.Error("a member that was closed counts as failed")
	default:
	}

	// A directory that has a log is what it is, whatever the flags say about new clusters.
	cfg := testConfig(t, dir)
	cfg.InitialClusterToken, cfg.InitialClusterState = "other", "existing"
	cfg.InitialCluster = "x=http://127.0.0.1:1,y=http://127.0.0.1:2"
	again := start(t, cfg)
	c := dial(t, again.ClientAddrs()[0].String())
	if got := get(t, c, "a"); got != "1" {
		t.Errorf("after the restart: %q", got)
	}
	if again.data.meta != m.data.meta {
		t.Errorf("ids %+v, were %+v", again.data.meta, m.data.meta)
	}
}

func TestConfigIsNotChanged(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	start(t, cfg)
	if cfg.InitialCluster != "" || cfg.QuotaBytes != 0 {
		t.Errorf("configuration changed: %+v", cfg)
	}
}

func TestStartErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, cfg *Config)
		want  string
	}{
		{"port taken", func(t *testing.T, cfg *Config) { listenOn(t, cfg, "http://"+taken.Addr().String()) }, "listening on http://" + taken.Addr().String() + ": "},
		{"second port taken", func(t *testing.T, cfg *Config) {
			listenOn(t, cfg, "http://127.0.0.1:0,http://"+taken.Addr().String())
		}, "address already in use"},
		{"tls", func(t *testing.T, cfg *Config) { listenOn(t, cfg, "https://127.0.0.1:0") }, "must be provided for client url"},
		{"a name to bind to", func(t *testing.T, cfg *Config) { listenOn(t, cfg, "http://example.com:1") }, "expected IP in URL for binding"},
		{"socket in a directory that is not there", func(t *testing.T, cfg *Config) { listenOn(t, cfg, "unix:///nowhere/s") }, "listening on unix:///nowhere/s"},
		{"existing cluster that nobody answers for", func(_ *testing.T, cfg *Config) {
			cfg.InitialCluster, cfg.InitialClusterState = "default=http://localhost:2380,b=http://127.0.0.1:1", "existing"
		}, "could not retrieve cluster information from the given URLs"},
		{"not in the cluster", func(_ *testing.T, cfg *Config) { cfg.InitialCluster = "b=http://127.0.0.1:1" }, `couldn't find local name "default" in the initial cluster configuration`},
		{"other peer URL than advertised", func(_ *testing.T, cfg *Config) { cfg.InitialCluster = "default=http://127.0.0.1:1" }, "--initial-advertise-peer-urls"},
		{"initial cluster that does not parse", func(_ *testing.T, cfg *Config) { cfg.InitialCluster = "nonsense" }, "error setting up initial cluster"},
		{"data directory is a file", func(t *testing.T, cfg *Config) {
			cfg.DataDir = filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(cfg.DataDir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is a file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			cfg := testConfig(t, dir)
			tc.spoil(t, cfg)
			before := goleak.IgnoreCurrent()
			m, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
			if err == nil {
				stop(t, m)
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want %q", err, tc.want)
			}
			if err := goleak.Find(before); err != nil {
				t.Error(err)
			}
			start(t, testConfig(t, dir)) // nothing is locked, and nothing that was made stands in the way
		})
	}
}

// TestFailedStartFreesPorts: what listened before the failure listens no more.
func TestFailedStartFreesPorts(t *testing.T) {
	dir := t.TempDir()
	start(t, testConfig(t, dir))
	client := freeport.Address(t)
	cfg := testConfig(t, dir)
	listenOn(t, cfg, "http://"+client)
	if _, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Fatalf("second member on the directory: %v", err)
	}
	again, err := net.Listen("tcp", client)
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	_ = again.Close()
}

// TestDamagedDirectories: the error says which file, and nothing is left open.
func TestDamagedDirectories(t *testing.T) {
	for _, tc := range []struct{ name, glob, want string }{
		{"database file", "member/snap/db", "db"},
		{"log", "member/wal/*.wal", ".wal"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			stop(t, start(t, testConfig(t, dir)))
			files, err := filepath.Glob(filepath.Join(dir, tc.glob))
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			if err := os.WriteFile(files[0], bytes.Repeat([]byte("rubbish"), 10000), 0o600); err != nil {
				t.Fatal(err)
			}
			before := goleak.IgnoreCurrent()
			_, err = Start(t.Context(), testConfig(t, dir), slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v", err)
			}
			if err := goleak.Find(before); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUnixSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "socket")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false) // as after kill -9
	_ = stale.Close()

	cfg := testConfig(t, filepath.Join(dir, "data"))
	listenOn(t, cfg, "unix://"+path)
	m := start(t, cfg)
	c := dial(t, "unix://"+path)
	put(t, c, "a", "1")
	if got := get(t, c, "a"); got != "1" {
		t.Errorf("got %q", got)
	}

	other := testConfig(t, filepath.Join(dir, "other"))
	listenOn(t, other, "unix://"+path)
	if _, err := Start(t.Context(), other, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second member on the socket: %v", err)
	}
	stop(t, m)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("started on a path that is an ordinary file")
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "precious" {
		t.Errorf("the file is now %q, %v", got, err)
	}
}

// TestCloseUnderLoad: a member with open watches and puts under way closes soon, and every put that was answered is there afterwards.
func TestCloseUnderLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	m := start(t, testConfig(t, dir))
	c := dial(t, m.ClientAddrs()[0].String())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := c.Watch(ctx, "", clientv3.WithPrefix())

	var acked [8]int // per writer, the last number that was answered
	var started, writers sync.WaitGroup
	started.Add(len(acked))
	for w := range acked {
		writers.Go(func() {
			for i := 1; ; i++ {
				if _, err := c.Put(ctx, fmt.Sprintf("%d", w), fmt.Sprint(i)); err != nil {
					return
				}
				if acked[w] = i; i == 3 {
					started.Done()
				}
			}
		})
	}
	started.Wait()
	if resp := <-watch; resp.Err() != nil {
		t.Fatal(resp.Err())
	}
	begin := time.Now()
	stop(t, m)
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("closing took %v", took)
	}
	cancel()
	writers.Wait()

	again := start(t, testConfig(t, dir))
	c = dial(t, again.ClientAddrs()[0].String())
	for w, want := range acked {
		var got int
		if _, err := fmt.Sscan(get(t, c, fmt.Sprint(w)), &got); err != nil || got < want {
			t.Errorf("writer %d: %d, was told of %d (%v)", w, got, want, err)
		}
	}
}

func TestMemberThatFails(t *testing.T) {
	m, err := Start(t.Context(), testConfig(t, t.TempDir()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	m.failed(nil)
	m.failed(broken)
	m.failed(errors.New("later"))
	<-m.Done()
	for range 2 {
		if err := m.Close(); !errors.Is(err, broken) {
			t.Errorf("Close: %v", err)
		}
	}
}

// lines collects whole log lines.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestLog: the words that programs wait for stand there once the member has a leader, after the line that names the leader.
func TestLog(t *testing.T) {
	out := new(lines)
	cfg := testConfig(t, t.TempDir())
	m, err := Start(t.Context(), cfg, config.NewLogger(out, cfg))
	if err != nil {
		t.Fatal(err)
	}
	<-m.Ready()
	stop(t, m)
	at := -1
	for _, want := range []string{`"msg":"starting an etcd server"`, `"flag":"unsafe-no-fsync"`, `"msg":"leader changed"`, `"msg":"ready to serve client requests","address":"` + m.ClientAddrs()[0].String(), `"msg":"serving client traffic insecurely; this is strongly discouraged!"`, `"msg":"stopped"`} {
		i := strings.Index(out.String(), want)
		if i < at || i < 0 {
			t.Errorf("%s is not where it should be in\n%s", want, out)
		}
		at = i
	}
	if strings.Contains(out.String(), `"level":"error"`) {
		t.Errorf("errors in\n%s", out)
	}
}
