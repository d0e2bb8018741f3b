package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// hashTimeout bounds a hash, for which everything is read.
const hashTimeout = 5 * time.Minute

// kindService is what the health service of a Quoin member knows, and that of etcd does not.
const kindService = "quoin"

// errOther is the answer at an address that is another member's.
var errOther = errors.New("another member answers there")

// live is a cluster that is asked over its client URLs. Members are asked for themselves: at the address of those given that is theirs, or at
// what they advertise.
type live struct {
	given   []string
	dial    func(endpoint string) (*clientv3.Client, error)
	timeout time.Duration // of a question to a member
	mu      struct {
		sync.Mutex
		clients map[string]*clientv3.Client
		at      map[uint64]string // where a member has answered
		known   []*etcdserverpb.Member
	}
}

func newLive(given []string, timeout time.Duration, dial func(string) (*clientv3.Client, error)) *live {
	l := &live{given: given, timeout: timeout, dial: dial}
	l.mu.clients, l.mu.at = map[string]*clientv3.Client{}, map[uint64]string{}
	return l
}

// close closes all connections.
func (l *live) close() (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.mu.clients {
		err = errors.Join(err, c.Close())
	}
	return err
}

// client returns the client of one address. Logging in to a server that is not there fails, and is tried again the next time.
func (l *live) client(endpoint string) (*clientv3.Client, error) {
	l.mu.Lock()
	c := l.mu.clients[endpoint]
	l.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := l.dial(endpoint)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if there := l.mu.clients[endpoint]; there != nil {
		return there, c.Close()
	}
	l.mu.clients[endpoint] = c
	return c, nil
}

// Look implements Cluster.
func (l *live) Look(ctx context.Context) (*Survey, error) {
	s, through, err := l.members(ctx)
	if err != nil {
		return nil, err
	}
	var asking sync.WaitGroup
	for i := range s.Members {
		asking.Go(func() { l.ask(ctx, &s.Members[i]) })
	}
	asking.Wait()
	return s, l.alarms(ctx, s, through)
}

// members asks all known addresses in turn who the members are.
func (l *live) members(ctx context.Context) (*Survey, *clientv3.Client, error) {
	var failures []error
	for _, endpoint := range l.addresses() {
		c, list, err := l.list(ctx, endpoint)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", endpoint, plain(err)))
			continue
		}
		s := &Survey{ClusterID: list.Header.ClusterId}
		for _, m := range list.Members {
			s.Members = append(s.Members, Member{ID: m.ID, Name: m.Name, Learner: m.IsLearner, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs})
		}
		slices.SortFunc(s.Members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
		l.mu.Lock()
		l.mu.known = list.Members
		l.mu.Unlock()
		return s, c, nil
	}
	return nil, nil, errors.Join(failures...)
}

func (l *live) list(ctx context.Context, endpoint string) (*clientv3.Client, *etcdserverpb.MemberListResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	c, err := l.client(endpoint)
	if err != nil {
		return nil, nil, err
	}
	conn, err := c.Dial(endpoint)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	list, err := etcdserverpb.NewClusterClient(conn).MemberList(ctx, &etcdserverpb.MemberListRequest{Linearizable: true})
	return c, list, err
}

// addresses are those given, and then those that members have told before.
func (l *live) addresses() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.given)
	for _, m := range l.mu.known {
		for _, url := range m.ClientURLs {
			if !slices.Contains(all, url) {
				all = append(all, url)
			}
		}
	}
	return all
}

// ask has a member tell about itself.
func (l *live) ask(ctx context.Context, m *Member) {
	l.mu.Lock()
	at := l.mu.at[m.ID]
	l.mu.Unlock()
	candidates := append(slices.Clone(l.given), m.ClientURLs...)
	if at != "" {
		candidates = []string{at}
	}
	m.Err = errors.New("it has no address")
	for _, endpoint := range candidates {
		m.Endpoint, m.Err = endpoint, l.askAt(ctx, m, endpoint)
		if m.Err == nil {
			l.mu.Lock()
			l.mu.at[m.ID] = endpoint
			l.mu.Unlock()
			return
		}
	}
}

// askAt asks at one address. The stubs are used for what needs no login: the client would try for long where nobody is.
func (l *live) askAt(ctx context.Context, m *Member, endpoint string) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	c, err := l.client(endpoint)
	if err != nil {
		return plain(err)
	}
	conn, err := c.Dial(endpoint)
	if err != nil {
		return plain(err)
	}
	defer conn.Close()
	s, err := etcdserverpb.NewMaintenanceClient(conn).Status(ctx, &etcdserverpb.StatusRequest{})
	if err != nil {
		return plain(err)
	}
	if s.Header.MemberId != m.ID {
		return errOther
	}
	m.Version, m.Leader, m.Term, m.Applied, m.Revision = s.Version, s.Leader, s.RaftTerm, s.RaftAppliedIndex, s.Header.Revision
	m.Lowering = s.DowngradeInfo.GetEnabled()
	if m.Kind, err = kindOf(ctx, conn); err != nil {
		return plain(err)
	}
	if _, err := c.Get(ctx, "health"); err != nil && !errors.Is(err, rpctypes.ErrPermissionDenied) {
		m.Reads = plain(err)
	}
	return nil
}

// kindOf finds out which program a member runs.
func kindOf(ctx context.Context, conn *grpc.ClientConn) (Kind, error) {
	_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: kindService})
	switch status.Code(err) {
	case codes.OK:
		return Quoin, nil
	case codes.NotFound:
		return Etcd, nil
	}
	return "", err
}

// alarms adds the alarms to a survey.
func (l *live) alarms(ctx context.Context, s *Survey, through *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	list, err := through.AlarmList(ctx)
	if err != nil {
		return fmt.Errorf("alarms: %w", plain(err))
	}
	for _, a := range list.Alarms {
		on := fmt.Sprintf("%x", a.MemberID)
		if m := s.byID(a.MemberID); m != nil {
			on = m.title()
		}
		s.Alarms = append(s.Alarms, a.Alarm.String()+" on "+on)
	}
	return nil
}

// Hash implements Cluster.
func (l *live) Hash(ctx context.Context, m *Member, revision int64) (Hash, error) {
	ctx, cancel := context.WithTimeout(ctx, hashTimeout)
	defer cancel()
	c, err := l.client(m.Endpoint)
	if err != nil {
		return Hash{}, plain(err)
	}
	h, err := c.HashKV(ctx, m.Endpoint, revision)
	if err != nil {
		return Hash{}, plain(err)
	}
	return Hash{Sum: h.Hash, Compacted: h.CompactRevision}, nil
}

// Leases implements Cluster.
func (l *live) Leases(ctx context.Context, m *Member) ([]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	c, err := l.client(m.Endpoint)
	if err != nil {
		return nil, plain(err)
	}
	list, err := c.Leases(ctx)
	if err != nil {
		return nil, plain(err)
	}
	var ids []int64
	for _, lease := range list.Leases {
		ids = append(ids, int64(lease.ID))
	}
	slices.Sort(ids)
	return ids, nil
}

// MoveLeader implements Cluster.
func (l *live) MoveLeader(ctx context.Context, from, to *Member) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	c, err := l.client(from.Endpoint)
	if err != nil {
		return plain(err)
	}
	_, err = c.MoveLeader(ctx, to.ID)
	return plain(err)
}

// plain is an error in the server's words.
func plain(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(rpctypes.ErrorDesc(err))
}
