package process

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/test/freeport"
)

// readyTimeout bounds how long a server may take from its start to its first
// answer with a known leader.
const readyTimeout = 60 * time.Second

// Config says what to start.
type Config struct {
	Program Program
	Builder *Builder
	DataDir string   // empty: a fresh directory of the test
	Peer    string   // peer address, host:port; empty: a free one
	Name    string   // the member's; empty: m1
	Cluster string   // initial cluster; empty: this member alone
	Flags   []string // appended to the addresses and the directory
	Env     []string // name=value, added to the environment

	// Volatile gives up what a loss of power would need: the directory is in
	// memory if the system offers that, and the server never syncs.
	Volatile bool
}

// Server is one member on its own data directory and ports. Its methods are
// for one goroutine, the test's; Endpoint, URL and Dial may be called by any.
type Server struct {
	tb      testing.TB
	cfg     Config
	binary  string
	client  string // host:port
	peer    string // host:port
	logPath string
	cmd     *exec.Cmd
	exited  chan struct{} // closed when cmd has ended
}

// Start starts a server and waits until it answers. The server is killed at
// the end of the test, and the end of its log is printed if the test failed.
func Start(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	s := newServer(tb, cfg)
	s.Restart()
	return s
}

// Prepare returns a server that is not running yet, for Launch and Restart.
// What Start says of the end of the test holds for it.
func Prepare(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	return newServer(tb, cfg)
}

// StartCluster starts a cluster of one member for each program and waits until
// all answer. cfg says what they have in common. What Start says of the end of
// the test holds for each.
func StartCluster(tb testing.TB, cfg Config, programs ...Program) []*Server {
	tb.Helper()
	var members []*Server
	var cluster []string
	for i, p := range programs {
		one := cfg
		one.Program, one.Name, one.Peer = p, fmt.Sprintf("m%d", i+1), freeport.Address(tb)
		members = append(members, newServer(tb, one))
		cluster = append(cluster, one.Name+"=http://"+one.Peer)
	}
	for _, s := range members {
		s.cfg.Cluster = strings.Join(cluster, ",")
		s.Launch()
	}
	for _, s := range members {
		s.WaitReady()
	}
	return members
}

// newServer prepares a server that is not running.
func newServer(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	if cfg.DataDir == "" {
		cfg.DataDir = filepath.Join(freshDir(tb, cfg.Volatile), "data")
	}
	if cfg.Peer == "" {
		cfg.Peer = freeport.Address(tb)
	}
	if cfg.Volatile {
		cfg.Flags = append([]string{"--unsafe-no-fsync"}, cfg.Flags...)
	}
	cfg.Name = cmp.Or(cfg.Name, "m1")
	cfg.Cluster = cmp.Or(cfg.Cluster, cfg.Name+"=http://"+cfg.Peer)
	s := &Server{
		tb:      tb,
		cfg:     cfg,
		binary:  cfg.Builder.Path(tb, cfg.Program),
		client:  freeport.Address(tb),
		peer:    cfg.Peer,
		logPath: filepath.Join(tb.TempDir(), cfg.Program.Name+".log"),
	}
	tb.Cleanup(s.finish)
	return s
}

func freshDir(tb testing.TB, volatile bool) string {
	tb.Helper()
	if volatile {
		return MemoryDir(tb)
	}
	return tb.TempDir()
}

// MemoryDir returns a directory in memory, or an ordinary one if the system
// offers none. It is removed at the end of the test.
func MemoryDir(tb testing.TB) string {
	tb.Helper()
	const memory = "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		return tb.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "quoin-interop-")
	if err != nil {
		tb.Fatalf("make a directory in memory: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Endpoint is the client address as host:port.
func (s *Server) Endpoint() string { return s.client }

// URL is the base URL of the client address.
func (s *Server) URL() string { return "http://" + s.client }

// Peer is the peer address as host:port.
func (s *Server) Peer() string { return s.peer }

// DataDir is the server's data directory.
func (s *Server) DataDir() string { return s.cfg.DataDir }

// Program is the program that the server runs.
func (s *Server) Program() Program { return s.cfg.Program }

// PID is the process id of the running server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Become makes the server, which must not be running, one of another program
// on the same directory and ports.
func (s *Server) Become(p Program) {
	s.tb.Helper()
	s.cfg.Program, s.binary = p, s.cfg.Builder.Path(s.tb, p)
}

// Restart starts the server on its directory and ports and waits until it
// answers and knows a leader. The server must not be running.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Launch()
	s.WaitReady()
}

// Launch starts the process without waiting for it to answer.
func (s *Server) Launch() {
	s.tb.Helper()
	log, err := os.OpenFile(s.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.tb.Fatalf("open the log of %s: %v", s.cfg.Program.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(s.binary, s.args()...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), s.cfg.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.tb.Fatalf("start %s: %v", s.cfg.Program.Name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	s.cmd, s.exited = cmd, exited
}

func (s *Server) args() []string {
	return append(append([]string{}, s.cfg.Program.args...), append([]string{
		"--name", s.cfg.Name,
		"--data-dir", s.cfg.DataDir,
		"--listen-client-urls", s.URL(),
		"--advertise-client-urls", s.URL(),
		"--listen-peer-urls", "http://" + s.peer,
		"--initial-advertise-peer-urls", "http://" + s.peer,
		"--initial-cluster", s.cfg.Cluster,
	}, s.cfg.Flags...)...)
}

// WaitReady waits until the server answers and knows a leader.
func (s *Server) WaitReady() {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), readyTimeout)
	defer cancel()
	conn := s.Dial(s.tb)
	defer conn.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		if last = ready(ctx, conn); last == nil {
			return
		}
		select {
		case <-tick.C:
		case <-s.exited:
			s.tb.Fatalf("%s ended before it answered\n%s", s.cfg.Program.Name, s.tail())
		case <-ctx.Done():
			s.tb.Fatalf("%s does not answer: %v\n%s", s.cfg.Program.Name, last, s.tail())
		}
	}
}

func ready(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn.Connect()
	resp, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		conn.ResetConnectBackoff()
		return err
	}
	if resp.Leader == 0 {
		return fmt.Errorf("no leader yet")
	}
	return nil
}

// Dial returns a new connection to the server; the caller closes it. It
// redials quickly, so that a restart is noticed at once.
func (s *Server) Dial(tb testing.TB) *grpc.ClientConn {
	tb.Helper()
	return Dial(tb, s.client)
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (s *Server) Kill() { s.signal(syscall.SIGKILL) }

// Stop ends the process with SIGTERM and waits until it is gone.
func (s *Server) Stop() { s.signal(syscall.SIGTERM) }

func (s *Server) signal(sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig)
	<-s.exited
}

// Running says whether the process has not ended.
func (s *Server) Running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

func (s *Server) finish() {
	if s.cmd != nil && s.exited != nil {
		s.Kill()
	}
	if s.tb.Failed() {
		s.tb.Logf("end of the log of %s:\n%s", s.cfg.Program.Name, s.tail())
	}
}

// tail returns the last bytes of the log.
func (s *Server) tail() string {
	const most = 8 << 10
	data, err := os.ReadFile(s.logPath)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-most):])
}
