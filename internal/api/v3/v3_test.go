package v3

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/api/port"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
	"github.com/quoin-kv/quoin/raft/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// edge is a member behind a gRPC server, and a client of it.
type edge struct {
	*servicetest.Member
	conn    *grpc.ClientConn
	kv      pb.KVClient
	watch   pb.WatchClient
	lease   pb.LeaseClient
	cluster pb.ClusterClient
	maint   pb.MaintenanceClient
	server  Server
	stop    func()
}

// startEdge runs a member alone in its cluster, or one of several that never lead, on new disks.
func startEdge(t testing.TB, voters int) *edge {
	t.Helper()
	m := servicetest.Start(t, servicetest.NewDisks(t, voters))
	if voters == 1 {
		check(t, m.Probe(t.Context(), true)) // it leads now
	}
	return serve(t, m)
}

// serve puts a gRPC server before a member.
func serve(t testing.TB, m *servicetest.Member) *edge {
	t.Helper()
	return serveWith(t, m, func(*Options) {})
}

// serveWith is serve with other options than the usual ones.
func serveWith(t testing.TB, m *servicetest.Member, change func(*Options)) *edge {
	t.Helper()
	opts := Options{Limits: Limits{
		MaxRequestBytes: 2 << 20, MaxStreams: math.MaxUint32, KeepAliveMinTime: 5 * time.Second, KeepAliveInterval: 2 * time.Hour,
		KeepAliveTimeout: 20 * time.Second,
	}}
	change(&opts)
	server := NewServer(m.Service, opts)
	listener, dial := port.NewPipe()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///member",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	)
	check(t, err)
	e := &edge{
		Member: m, conn: conn, kv: pb.NewKVClient(conn), watch: pb.NewWatchClient(conn), lease: pb.NewLeaseClient(conn),
		cluster: pb.NewClusterClient(conn), maint: pb.NewMaintenanceClient(conn), server: server,
	}
	e.stop = sync.OnceFunc(func() { // in the order of a member's assembly
		m.Close()
		server.Stop()
		check(t, <-served)
		m.Stop(t)
		check(t, conn.Close())
		check(t, listener.Close())
	})
	t.Cleanup(e.stop)
	return e
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantStatus fails the test unless err is a status of that code and text.
func wantStatus(t testing.TB, what string, err error, code codes.Code, text string) {
	t.Helper()
	if s := status.Convert(err); s.Code() != code || s.Message() != text {
		t.Errorf("%s: %v %q, want %v %q", what, s.Code(), s.Message(), code, text)
	}
}

// header fails the test unless h is of the member and of the revision.
func header(t testing.TB, what string, h *pb.ResponseHeader, revision int64) {
	t.Helper()
	if h.GetClusterId() != servicetest.ClusterID || h.GetMemberId() != servicetest.MemberID || h.GetRaftTerm() < 2 || h.GetRevision() != revision {
		t.Errorf("%s: header is %v, want ids, term and revision %d", what, h, revision)
	}
}

// TestUnaryCalls makes every unary call once.
func TestUnaryCalls(t *testing.T) {
	e := startEdge(t, 1)
	ctx, k := t.Context(), []byte("k")
	put, err := e.kv.Put(ctx, &pb.PutRequest{Key: k, Value: k})
	check(t, err)
	header(t, "Put", put.Header, 2)
	rng, err := e.kv.Range(ctx, &pb.RangeRequest{Key: k})
	check(t, err)
	header(t, "Range", rng.Header, 2)
	txn, err := e.kv.Txn(ctx, &pb.TxnRequest{})
	check(t, err)
	header(t, "Txn", txn.Header, 2)
	del, err := e.kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: k})
	check(t, err)
	header(t, "DeleteRange", del.Header, 3)
	compact, err := e.kv.Compact(ctx, &pb.CompactionRequest{Revision: 2})
	check(t, err)
	header(t, "Compact", compact.Header, 3)
	grant, err := e.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 100})
	check(t, err)
	header(t, "LeaseGrant", grant.Header, 3)
	ttl, err := e.lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: grant.ID})
	check(t, err)
	header(t, "LeaseTimeToLive", ttl.Header, 3)
	leases, err := e.lease.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	check(t, err)
	header(t, "LeaseLeases", leases.Header, 3)
	revoke, err := e.lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: grant.ID})
	check(t, err)
	header(t, "LeaseRevoke", revoke.Header, 3)
	health, err := healthpb.NewHealthClient(e.conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || health.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health is %v, %v", health, err)
	}
	kind, err := healthpb.NewHealthClient(e.conn).Check(ctx, &healthpb.HealthCheckRequest{Service: "quoin"})
	if err != nil || kind.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("what tells the kind of member is %v, %v", kind, err)
	}
}

func TestMaintenanceCalls(t *testing.T) {
	e := startEdge(t, 1)
	ctx := t.Context()
	_, err := e.kv.Put(ctx, &pb.PutRequest{Key: []byte("k")})
	check(t, err)
	st, err := e.maint.Status(ctx, &pb.StatusRequest{})
	check(t, err)
	header(t, "Status", st.Header, 2)
	if st.Version != "3.7.1" || st.Leader != servicetest.MemberID || st.DbSizeQuota != 2<<30 || st.DowngradeInfo == nil || st.RaftIndex < 3 {
		t.Errorf("status is %v", st)
	}
	alarms, err := e.maint.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 5, Alarm: pb.AlarmType_NOSPACE})
	check(t, err)
	header(t, "Alarm", alarms.Header, 2)
	if len(alarms.Alarms) != 1 || alarms.Alarms[0].MemberID != 5 {
		t.Errorf("raised %v", alarms.Alarms)
	}
	hash, err := e.maint.HashKV(ctx, &pb.HashKVRequest{})
	check(t, err)
	header(t, "HashKV", hash.Header, 2)
	if hash.CompactRevision != -1 || hash.HashRevision != 2 {
		t.Errorf("hash is %v", hash)
	}
	file, err := e.maint.Hash(ctx, &pb.HashRequest{})
	check(t, err)
	header(t, "Hash", file.Header, 2)
	defrag, err := e.maint.Defragment(ctx, &pb.DefragmentRequest{})
	if err != nil || defrag.Header != nil {
		t.Errorf("Defragment: %v, %v", defrag, err)
	}
	move, err := e.maint.MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: servicetest.MemberID})
	if err != nil || move.Header != nil {
		t.Errorf("MoveLeader: %v, %v", move, err)
	}
	_, err = e.maint.MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: 5})
	wantStatus(t, "MoveLeader", err, codes.FailedPrecondition, "etcdserver: bad leader transferee")
}

func TestClusterCalls(t *testing.T) {
	e := startEdge(t, 1)
	ctx := t.Context()
	list, err := e.cluster.MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
	check(t, err)
	header(t, "MemberList", list.Header, 0)
	if len(list.Members) != 1 || list.Members[0].ID != servicetest.MemberID || list.Members[0].PeerURLs[0] != "http://peer1:2380" {
		t.Errorf("members are %v", list.Members)
	}
	for list.Members[0].Name == "" { // it counts as started once it has announced itself
		list, err = e.cluster.MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
		check(t, err)
	}
	update, err := e.cluster.MemberUpdate(ctx, &pb.MemberUpdateRequest{ID: servicetest.MemberID, PeerURLs: []string{"http://x:1"}})
	check(t, err)
	header(t, "MemberUpdate", update.Header, 0)
	_, err = e.cluster.MemberAdd(ctx, &pb.MemberAddRequest{})
	wantStatus(t, "MemberAdd", err, codes.InvalidArgument, "etcdserver: given member URLs are invalid")
	_, err = e.cluster.MemberRemove(ctx, &pb.MemberRemoveRequest{ID: 5})
	wantStatus(t, "MemberRemove", err, codes.NotFound, "etcdserver: member not found")
	_, err = e.cluster.MemberRemove(ctx, &pb.MemberRemoveRequest{ID: servicetest.MemberID})
	wantStatus(t, "MemberRemove", err, codes.Unknown, "etcdserver: re-configuration failed due to not enough started members")
	_, err = e.cluster.MemberPromote(ctx, &pb.MemberPromoteRequest{ID: servicetest.MemberID})
	wantStatus(t, "MemberPromote", err, codes.FailedPrecondition, "etcdserver: can only promote a learner member")
}

// TestMalformedRequests sends bytes that are no message where the service decodes them itself, and where gRPC does.
func TestMalformedRequests(t *testing.T) {
	e := startEdge(t, 1)
	bad := &frame{bytes: []byte{0x0a, 0xff}}
	force := grpc.ForceCodecV2(newCodec())
	for _, name := range []string{"KV/Range", "KV/Put", "KV/Txn", "Lease/LeaseGrant", "Cluster/MemberAdd"} {
		err := e.conn.Invoke(t.Context(), "/etcdserverpb."+name, bad, new(frame), force)
		if s := status.Convert(err); s.Code() != codes.Internal || !hasPrefix(s.Message(), "grpc: error unmarshalling request: ", "grpc: failed to unmarshal the received message: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"KV/RangeStream", "Lease/LeaseKeepAlive", "Watch/Watch"} {
		stream, err := e.conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/etcdserverpb."+name, force)
		check(t, err)
		check(t, stream.SendMsg(bad))
		check(t, stream.CloseSend())
		err = stream.RecvMsg(new(frame))
		if s := status.Convert(err); s.Code() != codes.Internal || !hasPrefix(s.Message(), "grpc: failed to unmarshal the received message: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if len(s) > len(p) && s[:len(p)] == p {
			return true
		}
	}
	return false
}

func TestSizes(t *testing.T) {
	e := startEdge(t, 1)
	_, err := e.kv.Put(t.Context(), &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 1536<<10)})
	wantStatus(t, "a put above the bound of requests", err, codes.InvalidArgument, "etcdserver: request is too large")
	_, err = e.kv.Put(t.Context(), &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 2<<20)})
	wantStatus(t, "a put above the bound of messages", err, codes.ResourceExhausted, "grpc: received message larger than max (2097160 vs. 2097152)")
}

func TestKeepAliveStream(t *testing.T) {
	e := startEdge(t, 1)
	grant, err := e.lease.LeaseGrant(t.Context(), &pb.LeaseGrantRequest{TTL: 100})
	check(t, err)
	s, err := e.lease.LeaseKeepAlive(t.Context())
	check(t, err)
	for _, id := range []int64{grant.ID, 5, grant.ID} {
		check(t, s.Send(&pb.LeaseKeepAliveRequest{ID: id}))
	}
	for _, want := range []int64{100, 0, 100} {
		r, err := s.Recv()
		check(t, err)
		header(t, "LeaseKeepAlive", r.Header, 1)
		if r.TTL != want {
			t.Errorf("TTL is %d, want %d", r.TTL, want)
		}
	}
	check(t, s.CloseSend())
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err)
	}
}

// TestSnapshot checks the framing: blobs of one size, what remains, and the digest at the end.
func TestSnapshot(t *testing.T) {
	e := startEdge(t, 1)
	for range 100 {
		_, err := e.kv.Put(t.Context(), &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 1000)})
		check(t, err)
	}
	s, err := e.maint.Snapshot(t.Context(), &pb.SnapshotRequest{})
	check(t, err)
	var blobs []*pb.SnapshotResponse
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		blobs = append(blobs, r)
	}
	wantSnapshot(t, blobs)
}

func TestRangeStream(t *testing.T) {
	e := startEdge(t, 1)
	for _, k := range "abcdefghijkl" {
		_, err := e.kv.Put(t.Context(), &pb.PutRequest{Key: []byte(string(k))})
		check(t, err)
	}
	s, err := e.kv.RangeStream(t.Context(), &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte{0}})
	check(t, err)
	first, err := s.Recv()
	check(t, err)
	second, err := s.Recv()
	check(t, err)
	if len(first.RangeResponse.Kvs) != 10 || first.RangeResponse.Header != nil || len(second.RangeResponse.Kvs) != 2 || second.RangeResponse.Count != 12 {
		t.Errorf("chunks are %v, %v", first, second)
	}
	header(t, "RangeStream", second.RangeResponse.Header, 13)
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err)
	}
	s, err = e.kv.RangeStream(t.Context(), &pb.RangeRequest{Key: []byte("a"), SortOrder: pb.RangeRequest_DESCEND})
	check(t, err)
	_, err = s.Recv()
	wantStatus(t, "RangeStream", err, codes.Unimplemented, "RangeStream does not support custom sort orders")
}

// withLeader asks for a leader.
func withLeader(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, metaHasLeader, "true")
}

func TestHasLeader(t *testing.T) {
	e := startEdge(t, 2)
	const text = "etcdserver: no leader"
	_, err := e.kv.Range(withLeader(t.Context()), &pb.RangeRequest{Key: []byte("k"), Serializable: true})
	wantStatus(t, "Range", err, codes.Unavailable, text)
	_, err = e.kv.Range(t.Context(), &pb.RangeRequest{Key: []byte("k"), Serializable: true})
	check(t, err)
	w, err := e.watch.Watch(withLeader(t.Context()))
	check(t, err)
	_, err = w.Recv()
	wantStatus(t, "Watch", err, codes.Unavailable, text)
}

func TestLearner(t *testing.T) {
	e := serve(t, servicetest.Start(t, servicetest.NewLearnerDisks(t)))
	check(t, e.Node.WaitApplied(t.Context(), 2))
	ctx, key := t.Context(), []byte("k")
	st, err := e.maint.Status(ctx, &pb.StatusRequest{})
	if err != nil || !st.IsLearner {
		t.Errorf("status is %v, %v", st, err)
	}
	_, err = e.kv.Range(ctx, &pb.RangeRequest{Key: key, Serializable: true})
	check(t, err)
	snapshot, err := e.maint.Snapshot(ctx, &pb.SnapshotRequest{})
	check(t, err)
	_, err = snapshot.Recv()
	check(t, err)
	refused := func(what string, err error) {
		t.Helper()
		wantStatus(t, what, err, codes.FailedPrecondition, "etcdserver: rpc not supported for learner")
	}
	_, err = e.kv.Range(withLeader(ctx), &pb.RangeRequest{Key: key})
	refused("Range", err)
	_, err = e.kv.Put(ctx, &pb.PutRequest{Key: key})
	refused("Put", err)
	_, err = e.cluster.MemberList(ctx, &pb.MemberListRequest{})
	refused("MemberList", err)
	_, err = e.maint.HashKV(ctx, &pb.HashKVRequest{})
	refused("HashKV", err)
	_, err = healthpb.NewHealthClient(e.conn).Check(ctx, &healthpb.HealthCheckRequest{})
	refused("health", err)
	stream, err := e.kv.RangeStream(ctx, &pb.RangeRequest{Key: key, Serializable: true})
	check(t, err)
	_, err = stream.Recv()
	refused("RangeStream", err)
	w, err := e.watch.Watch(ctx)
	check(t, err)
	_, err = w.Recv()
	refused("Watch", err)
}

// TestStreamsAreCutWithoutALeader: streams that asked for a leader end when it is lost, whatever they wait for.
func TestStreamsAreCutWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := startEdge(t, 2)
		e.Node.Step(wire.Message{Type: wire.MsgHeartbeat, From: 2, To: servicetest.MemberID, Term: 5})
		synctest.Wait()
		begin := time.Now()
		w, err := e.watch.Watch(withLeader(t.Context()))
		check(t, err)
		check(t, w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("k")}}}))
		_, err = w.Recv()
		check(t, err)
		k, err := e.lease.LeaseKeepAlive(withLeader(t.Context()))
		check(t, err)
		other, cancel := context.WithCancel(t.Context())
		stays, err := e.watch.Watch(other)
		check(t, err)
		_, err = w.Recv()
		wantStatus(t, "Watch", err, codes.Unavailable, "etcdserver: no leader")
		_, err = k.Recv()
		wantStatus(t, "LeaseKeepAlive", err, codes.Unavailable, "etcdserver: no leader")
		if took := time.Since(begin); took < 3*servicetest.ElectionTimeout || took > 5*servicetest.ElectionTimeout {
			t.Errorf("they were cut off after %v", took)
		}
		if stays.Context().Err() != nil {
			t.Error("a stream that did not ask for a leader was cut off")
		}
		cancel()
	})
}

func TestAdmission(t *testing.T) {
	m := servicetest.Start(t, servicetest.NewDisks(t, 1))
	var seen []string
	g := &guard{svc: m.Service, observe: func(kind, version string) { seen = append(seen, kind+" "+version) }}
	for _, c := range []struct {
		md   metadata.MD
		code codes.Code
		text string
	}{
		{nil, codes.OK, ""},
		{metadata.Pairs(metaAPIVersion, "3.6.1"), codes.OK, ""},
		{metadata.Pairs(metaAPIVersion, "\xff"), codes.InvalidArgument, "etcdserver: invalid client api version"},
	} {
		ctx := metadata.NewIncomingContext(t.Context(), c.md)
		_, err := g.unary(ctx, nil, new(grpc.UnaryServerInfo), func(context.Context, any) (any, error) { return nil, nil })
		wantStatus(t, "unary", err, c.code, c.text)
		err = g.stream(nil, contextStream{ctx: ctx}, new(grpc.StreamServerInfo), func(any, grpc.ServerStream) error { return nil })
		wantStatus(t, "stream", err, c.code, c.text)
	}
	if want := []string{"unary unknown", "stream unknown", "unary 3.6.1", "stream 3.6.1"}; len(seen) != 4 || seen[2] != want[2] || seen[1] != want[1] {
		t.Errorf("observed %q, want %q", seen, want)
	}
}

// contextStream is a stream that has a context and nothing else.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s contextStream) Context() context.Context { return s.ctx }
