package cluster

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

// A member is one process with its directory, or what is left of it.
type member struct {
	cluster *cluster
	index   int
	name    string
	dir     string
	at      addresses
	id      uint64
	conn    *grpc.ClientConn
	log     *os.File
	process *exec.Cmd
	done    chan struct{} // closed when the process has ended
	small   bool          // the directory is a small file system of its own
	env     []string      // of the process, beside the test's own
	program string        // empty: the cluster's
	login   *login        // nil: without users
	points  string        // where its fault points are served, if it has any
}

func (c *cluster) newMember(t *testing.T) *member {
	c.last++
	m := &member{cluster: c, index: c.last, name: fmt.Sprintf("m%d", c.last)}
	m.dir = filepath.Join(c.dir, m.name)
	m.at = c.network.join(t, m.index)
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(c.dir, m.name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	m.log = log
	if n := len(c.members); n < len(c.programs) {
		m.program = c.programs[n]
	}
	if c.users {
		m.login = &login{}
	}
	m.conn = dial(t, m.at.client, m.login.options()...)
	c.members = append(c.members, m)
	return m
}

// dial makes a connection that retries nothing by itself.
func dial(t *testing.T, address string, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, append(more,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.3, MaxDelay: 200 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
	)...)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (m *member) peerURL() string { return "http://" + m.at.advertised }

// start runs the process on the member's directory. cluster and state are its
// --initial-cluster and --initial-cluster-state.
func (m *member) start(t *testing.T, cluster, state string) {
	t.Helper()
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	m.process = m.cluster.network.command(m.index, cmp.Or(m.program, m.cluster.program, program), append([]string{
		"--name=" + m.name, "--data-dir=" + filepath.Join(m.dir, "data"),
		"--listen-client-urls=http://" + m.at.client, "--advertise-client-urls=http://" + m.at.client,
		"--listen-peer-urls=http://" + m.at.peer, "--initial-advertise-peer-urls=" + m.peerURL(),
		"--initial-cluster=" + cluster, "--initial-cluster-state=" + state, "--initial-cluster-token=" + m.cluster.token,
		"--election-timeout=" + ms(flags.election), "--heartbeat-interval=" + ms(flags.election/10),
		"--quota-backend-bytes=" + strconv.Itoa(8<<30), "--log-level=info",
		// Strictly, a member that came moments ago forbids the next change for five seconds.
		"--strict-reconfig-check=" + strconv.FormatBool(flags.long),
	}, m.cluster.extra...)...)
	m.process.Env = append(os.Environ(), m.env...)
	m.process.Stdout, m.process.Stderr = m.log, m.log
	m.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.process.Start(); err != nil {
		t.Fatalf("%s: %v", m.name, err)
	}
	m.done = make(chan struct{})
	go func(p *exec.Cmd, done chan struct{}) {
		_ = p.Wait()
		close(done)
	}(m.process, m.done)
}

// restart runs the process again after it has ended.
func (m *member) restart(t *testing.T) {
	t.Helper()
	m.start(t, m.cluster.founding(), "existing")
}

func (m *member) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := m.process.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("%s: %v: %v", m.name, s, err)
	}
}

// kill ends the process without a word and waits for its end.
func (m *member) kill(t *testing.T) {
	t.Helper()
	m.signal(t, syscall.SIGKILL)
	<-m.done
}

func (m *member) running() bool {
	if m.done == nil {
		return false
	}
	select {
	case <-m.done:
		return false
	default:
		return true
	}
}

// discard ends the member and gives back everything but its log.
func (m *member) discard() {
	if m.running() {
		_ = m.process.Process.Kill()
		<-m.done
	}
	_ = m.conn.Close()
	_ = m.log.Close()
	m.unmount()
	m.cluster.network.leave(m.index)
	_ = os.RemoveAll(m.dir)
}

// status asks the member about itself.
func (m *member) status(ctx context.Context) (*etcdserverpb.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return etcdserverpb.NewMaintenanceClient(m.conn).Status(ctx, &etcdserverpb.StatusRequest{})
}

// serves says whether the member answers a read that needs the cluster.
func (m *member) serves(ctx context.Context) error {
	if !m.running() {
		return fmt.Errorf("%s has ended; the end of its log:\n%s", m.name, m.tail(15))
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := etcdserverpb.NewKVClient(m.conn).Range(ctx, &etcdserverpb.RangeRequest{Key: []byte("ready")})
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

// tail returns the last lines of the member's log.
func (m *member) tail(lines int) string {
	text, err := os.ReadFile(m.log.Name())
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var b strings.Builder
	for _, line := range all[max(0, len(all)-lines):] {
		fmt.Fprintf(&b, "  %.400s\n", line)
	}
	return b.String()
}
