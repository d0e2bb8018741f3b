package behaviour

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// caseTimeout bounds one case; nothing in it waits for longer than a few
// seconds when the server is right.
const caseTimeout = 30 * time.Second

// Target is the server to judge.
type Target struct {
	// Endpoint is the gRPC address, host:port, plaintext.
	Endpoint string
	// HTTP is the base URL of the JSON gateway and the plain HTTP endpoints.
	// Empty leaves their cases out.
	HTTP string
	// Fresh starts another server with an empty store, with the given flags in
	// addition, for the duration of the test. Nil leaves the cases out that
	// need one. Target.Fresh of its result is not used.
	Fresh func(t *testing.T, flags ...string) Target
	// Members is how many members the server's cluster has; 0 is one.
	Members int
	// Follower says that the server does not lead its cluster.
	Follower bool
	// Restless says that leadership moves all the time. Calls may then be
	// refused with what tells a client to try again, and are tried again; any
	// other refusal counts.
	Restless bool
	// V2 says that the servers that Fresh starts know --enable-v2, which etcd
	// no longer does.
	V2 bool
}

// suite is the cases of one service, or of one subject of a large service.
type suite struct {
	name  string
	flags []string // of the fresh server
	fresh bool     // the whole suite shares one fresh server
	http  bool     // needs Target.HTTP
	v2    bool     // needs Target.V2, or is left out
	cases []testCase
}

// testCase is one observation. A case marked alone gets a fresh server for
// itself; one marked single is about a cluster of one member, one marked settled
// about who leads.
type testCase struct {
	name    string
	alone   bool
	single  bool
	settled bool
	run     func(e *env)
}

func suites() []suite {
	return append([]suite{
		{name: "kv/range", cases: rangeCases()},
		{name: "kv/range-errors", cases: rangeErrorCases()},
		{name: "kv/put", cases: putCases()},
		{name: "kv/delete", cases: deleteCases()},
		{name: "txn/check", cases: txnCheckCases()},
		{name: "txn/duplicates", cases: txnDuplicateCases()},
		{name: "txn/limits", cases: txnLimitCases()},
		{name: "txn/compare", cases: txnCompareCases()},
		{name: "txn/execute", cases: txnCases()},
		{name: "kv/range-stream", cases: rangeStreamCases()},
		{name: "watch/create", cases: watchCreateCases()},
		{name: "watch/events", cases: watchEventCases()},
		{name: "watch/cancel", cases: watchCancelCases()},
		{name: "watch/progress", cases: watchProgressCases()},
		{name: "watch/fragment", cases: watchFragmentCases()},
		{name: "watch/notify", fresh: true, flags: []string{"--watch-progress-notify-interval=100ms"}, cases: watchNotifyCases()},
		{name: "lease", cases: leaseCases()},
		{name: "maintenance", cases: maintenanceCases()},
		{name: "cluster", cases: clusterCases()},
		{name: "health", cases: healthCases()},
		{name: "metadata", cases: metadataCases()},
		{name: "limits", cases: limitCases()},
		{name: "limits/flags", fresh: true, flags: []string{"--max-request-bytes=10000", "--max-txn-ops=3"}, cases: flagCases()},
		{name: "limits/quota", fresh: true, flags: []string{"--quota-backend-bytes=1048576"}, cases: quotaCases()},
		{name: "http/unary", http: true, cases: httpUnaryCases()},
		{name: "http/stream", http: true, cases: httpStreamCases()},
		{name: "http/plain", http: true, cases: httpPlainCases()},
		{name: "http/alarm", http: true, fresh: true, cases: httpAlarmCases()},
		{name: "fresh/history", fresh: true, cases: historyCases()},
		{name: "fresh/compact", fresh: true, cases: compactCases()},
		{name: "fresh/alarm", fresh: true, cases: alarmCases()},
	}, slices.Concat(spaceSuites(), authSuites(), queueSuites(), gatewaySuites(), v2Suites())...)
}

// Run runs every suite as a subtest of t against the target.
func Run(t *testing.T, target Target) {
	number := 0
	run := fmt.Sprintf("~behaviour/%016x/", time.Now().UnixNano())
	for _, s := range suites() {
		if s.v2 && !target.V2 {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			target := suiteTarget(t, s, target)
			for _, c := range s.cases {
				if c.single && target.Members > 1 || c.settled && target.Restless {
					continue
				}
				number++
				prefix := fmt.Sprintf("%s%04d/", run, number)
				t.Run(c.name, func(t *testing.T) { runCase(t, s, c, target, prefix) })
			}
		})
	}
}

// suiteTarget picks the server for a suite and skips the suite if the target
// cannot offer it.
func suiteTarget(t *testing.T, s suite, target Target) Target {
	t.Helper()
	if s.http && target.HTTP == "" {
		t.Skip("the target has no HTTP address")
	}
	if !s.fresh {
		return target
	}
	return freshTarget(t, s, target)
}

func freshTarget(t *testing.T, s suite, target Target) Target {
	t.Helper()
	if target.Fresh == nil {
		t.Skip("the target cannot start a fresh server")
	}
	fresh := target.Fresh(t, s.flags...)
	fresh.Fresh = target.Fresh
	return fresh
}

func runCase(t *testing.T, s suite, c testCase, target Target, prefix string) {
	if c.alone {
		target = freshTarget(t, s, target)
	}
	c.run(newEnv(t, target, prefix))
}

// env is what a case works with: the clients, its key prefix, and the revision
// at its start. Logical key names ("a") become real keys under the prefix.
type env struct {
	*testing.T
	ctx     context.Context
	target  Target
	conn    *grpc.ClientConn
	kv      pb.KVClient
	watch   pb.WatchClient
	lease   pb.LeaseClient
	maint   pb.MaintenanceClient
	cluster pb.ClusterClient
	health  healthpb.HealthClient
	prefix  string
	base    int64 // store revision at the start of the case
}

func newEnv(t *testing.T, target Target, prefix string) *env {
	t.Helper()
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)),
	}
	if target.Restless {
		options = append(options, grpc.WithUnaryInterceptor(tryAgain))
	}
	conn, err := grpc.NewClient("passthrough:///"+target.Endpoint, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), caseTimeout)
	t.Cleanup(cancel)
	e := &env{
		T: t, ctx: ctx, target: target, conn: conn, prefix: prefix,
		kv: pb.NewKVClient(conn), watch: pb.NewWatchClient(conn), lease: pb.NewLeaseClient(conn),
		maint: pb.NewMaintenanceClient(conn), cluster: pb.NewClusterClient(conn), health: healthpb.NewHealthClient(conn),
	}
	e.base = e.revision()
	return e
}

// tryAgain repeats a call that was refused only because leadership moved: it
// certainly had no effect.
func tryAgain(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	for {
		if err := invoke(ctx, method, req, reply, cc, opts...); !leaderMoved(err) {
			return err
		}
	}
}

// leaderMoved says whether a call was refused only for that.
func leaderMoved(err error) bool {
	return status.Code(err) == codes.Unavailable && status.Convert(err).Message() == "etcdserver: leader changed"
}
