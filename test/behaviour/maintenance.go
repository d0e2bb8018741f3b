package behaviour

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func maintenanceCases() []testCase {
	return []testCase{
		{name: "status", run: func(e *env) {
			resp, err := e.maint.Status(e.ctx, &pb.StatusRequest{})
			e.ok(err)
			e.fullHeader(resp.Header, e.base)
			e.isTrue("version is 3.7.x", strings.HasPrefix(resp.Version, "3.7."))
			e.equal("storage version", resp.StorageVersion, "3.7.0")
			e.isTrue("leader is known", resp.Leader != 0)
			if !e.target.Restless {
				e.equal("follows", resp.Leader != resp.Header.MemberId, e.target.Follower)
			}
			e.equal("term", resp.RaftTerm, resp.Header.RaftTerm)
			e.equal("quota", resp.DbSizeQuota, int64(2147483648))
			e.equal("errors", len(resp.Errors), 0)
			e.isTrue("sizes are set", resp.DbSize > 0 && resp.DbSizeInUse > 0 && resp.DbSizeInUse <= resp.DbSize)
			e.isTrue("downgrade info is set", resp.DowngradeInfo != nil && !resp.DowngradeInfo.Enabled)
			e.isTrue("not a learner", !resp.IsLearner)
		}},
		{name: "status follows the log", run: func(e *env) {
			first, err := e.maint.Status(e.ctx, &pb.StatusRequest{})
			e.ok(err)
			e.mustPut(put("a", "1"))
			second, err := e.maint.Status(e.ctx, &pb.StatusRequest{})
			e.ok(err)
			e.isTrue("raft index grew", second.RaftIndex > first.RaftIndex)
			e.isTrue("applied index grew", second.RaftAppliedIndex > first.RaftAppliedIndex)
		}},
		{name: "hash of the backend", run: func(e *env) {
			resp, err := e.maint.Hash(e.ctx, &pb.HashRequest{})
			e.ok(err)
			e.isTrue("hash is set", resp.Hash != 0)
			e.fullHeader(resp.Header, e.base)
		}},
		{name: "hash of the history grows with it", run: func(e *env) {
			first, err := e.maint.HashKV(e.ctx, &pb.HashKVRequest{})
			e.ok(err)
			e.mustPut(put("a", "1"))
			past, err := e.maint.HashKV(e.ctx, &pb.HashKVRequest{Revision: e.base})
			e.ok(err)
			now, err := e.maint.HashKV(e.ctx, &pb.HashKVRequest{})
			e.ok(err)
			e.equal("the past keeps its hash", past.Hash, first.Hash)
			e.isTrue("the present has another", now.Hash != first.Hash)
			e.equal("hash revision", now.HashRevision, e.base+1)
			e.equal("past hash revision", past.HashRevision, e.base)
			e.fullHeader(past.Header, e.base+1)
		}},
		{name: "snapshot", run: snapshotCase},
		{name: "defragment has no header", run: func(e *env) {
			e.mustPut(put("a", "1"))
			resp, err := e.maint.Defragment(e.ctx, &pb.DefragmentRequest{})
			e.ok(err)
			e.isTrue("no header", resp.Header == nil)
			e.equal("state", e.state(), "a=1 c1 m1 v1")
			e.mustPut(put("a", "2"))
		}},
		{name: "move leader to itself", settled: true, run: func(e *env) {
			status, err := e.maint.Status(e.ctx, &pb.StatusRequest{})
			e.ok(err)
			resp, err := e.maint.MoveLeader(e.ctx, &pb.MoveLeaderRequest{TargetID: status.Leader})
			if e.target.Follower {
				e.refused(err, notLeader())
				return
			}
			e.ok(err)
			e.isTrue("no header", resp.Header == nil)
		}},
		{name: "move leader to nobody", settled: true, run: func(e *env) {
			_, err := e.maint.MoveLeader(e.ctx, &pb.MoveLeaderRequest{TargetID: 12345})
			if e.target.Follower {
				e.refused(err, notLeader())
				return
			}
			e.refused(err, refusal{codes.FailedPrecondition, "etcdserver: bad leader transferee"})
		}},
	}
}

// snapshotCase reads the snapshot stream: chunks of 32 KiB that count down,
// then a message with the SHA-256 of what came before.
func snapshotCase(e *env) {
	e.mustPut(put("a", strings.Repeat("v", 1<<20)))
	s, err := e.maint.Snapshot(e.ctx, &pb.SnapshotRequest{})
	e.ok(err)
	var chunks []*pb.SnapshotResponse
	for {
		resp, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		e.ok(err)
		chunks = append(chunks, resp)
	}
	e.isTrue("several chunks", len(chunks) > 32)
	e.checkChunks(chunks)
}

func (e *env) checkChunks(chunks []*pb.SnapshotResponse) {
	e.Helper()
	data, digest := chunks[:len(chunks)-1], chunks[len(chunks)-1]
	sum := sha256.New()
	remaining := data[0].RemainingBytes + uint64(len(data[0].Blob))
	for i, c := range data {
		e.isTrue("no header", c.Header == nil)
		e.equal("version", c.Version, "3.7.0")
		e.isTrue("chunk is 32 KiB unless it is the last", len(c.Blob) == 32<<10 || i == len(data)-1)
		remaining -= uint64(len(c.Blob))
		e.equal("remaining bytes", c.RemainingBytes, remaining)
		sum.Write(c.Blob)
	}
	e.equal("remaining bytes at the end", remaining, uint64(0))
	e.equal("remaining bytes beside the digest", digest.RemainingBytes, uint64(0))
	e.isTrue("digest", bytes.Equal(digest.Blob, sum.Sum(nil)))
}

func clusterCases() []testCase {
	return []testCase{
		{name: "list", run: func(e *env) { e.memberList(false) }},
		{name: "list, linearizable", run: func(e *env) { e.memberList(true) }},
		{name: "remove: unknown", run: func(e *env) {
			_, err := e.cluster.MemberRemove(e.ctx, &pb.MemberRemoveRequest{ID: 12345})
			e.refused(err, memberNotFound())
		}},
		{name: "remove: the last voter", single: true, run: func(e *env) {
			_, err := e.cluster.MemberRemove(e.ctx, &pb.MemberRemoveRequest{ID: e.member()})
			e.refused(err, refusal{codes.Unknown, "etcdserver: re-configuration failed due to not enough started members"})
		}},
		{name: "update: unknown", run: func(e *env) {
			_, err := e.cluster.MemberUpdate(e.ctx, &pb.MemberUpdateRequest{ID: 12345, PeerURLs: []string{"http://127.0.0.1:1"}})
			e.refused(err, memberNotFound())
		}},
		{name: "promote: unknown", run: func(e *env) {
			_, err := e.cluster.MemberPromote(e.ctx, &pb.MemberPromoteRequest{ID: 12345})
			e.refused(err, memberNotFound())
		}},
		{name: "promote: a voter", settled: true, run: func(e *env) {
			_, err := e.cluster.MemberPromote(e.ctx, &pb.MemberPromoteRequest{ID: e.member()})
			e.refused(err, refusal{codes.FailedPrecondition, "etcdserver: can only promote a learner member"})
		}},
		{name: "add: no url", run: func(e *env) { e.badURL() }},
		{name: "add: no port", run: func(e *env) { e.badURL("http://127.0.0.1") }},
		{name: "add: with a path", run: func(e *env) { e.badURL("http://127.0.0.1:1/path") }},
		{name: "add: other scheme", run: func(e *env) { e.badURL("ftp://127.0.0.1:1") }},
		{name: "add: no scheme", run: func(e *env) { e.badURL("127.0.0.1:1") }},
		{name: "add: url in use", run: func(e *env) {
			resp, err := e.cluster.MemberList(e.ctx, &pb.MemberListRequest{})
			e.ok(err)
			err = e.addConnected(&pb.MemberAddRequest{PeerURLs: resp.Members[0].PeerURLs, IsLearner: true})
			e.refused(err, refusal{codes.FailedPrecondition, "etcdserver: Peer URLs already exists"})
		}},
	}
}

func notLeader() refusal {
	return refusal{codes.FailedPrecondition, "etcdserver: not leader"}
}

func memberNotFound() refusal {
	return refusal{codes.NotFound, "etcdserver: member not found"}
}

func (e *env) member() uint64 {
	e.Helper()
	return e.mustGet(get("a", "")).Header.MemberId
}

func (e *env) badURL(urls ...string) {
	e.Helper()
	_, err := e.cluster.MemberAdd(e.ctx, &pb.MemberAddRequest{PeerURLs: urls})
	e.refused(err, refusal{codes.InvalidArgument, "etcdserver: given member URLs are invalid"})
}

// addConnected adds a member, once the members of a young cluster have been
// connected for long enough that they may.
func (e *env) addConnected(r *pb.MemberAddRequest) error {
	e.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		_, err := e.cluster.MemberAdd(e.ctx, r)
		if status.Convert(err).Message() != "etcdserver: unhealthy cluster" {
			return err
		}
		select {
		case <-again.C:
		case <-e.ctx.Done():
			return err
		}
	}
}

func (e *env) memberList(linearizable bool) {
	e.Helper()
	resp, err := e.cluster.MemberList(e.ctx, &pb.MemberListRequest{Linearizable: linearizable})
	e.ok(err)
	e.fullHeader(resp.Header, 0)
	e.equal("members", len(resp.Members), max(1, e.target.Members))
	e.isTrue("sorted by id", slices.IsSortedFunc(resp.Members, func(a, b *pb.Member) int { return cmp.Compare(a.ID, b.ID) }))
	i := slices.IndexFunc(resp.Members, func(m *pb.Member) bool { return m.ID == resp.Header.MemberId })
	e.isTrue("this member is among them", i >= 0)
	m := resp.Members[i]
	e.isTrue("name and addresses", m.Name != "" && len(m.PeerURLs) > 0 && len(m.ClientURLs) > 0)
	e.isTrue("not a learner", !m.IsLearner)
}

func healthCases() []testCase {
	return []testCase{
		{name: "check: the server is serving", run: func(e *env) {
			resp, err := e.health.Check(e.ctx, &healthpb.HealthCheckRequest{})
			e.ok(err)
			e.equal("status", resp.Status, healthpb.HealthCheckResponse_SERVING)
		}},
		{name: "check: unknown service", run: func(e *env) {
			_, err := e.health.Check(e.ctx, &healthpb.HealthCheckRequest{Service: "etcdserverpb.KV"})
			e.refused(err, refusal{codes.NotFound, "unknown service"})
		}},
		{name: "watch: serving at once", run: func(e *env) {
			s, err := e.health.Watch(e.ctx, &healthpb.HealthCheckRequest{})
			e.ok(err)
			resp, err := s.Recv()
			e.ok(err)
			e.equal("status", resp.Status, healthpb.HealthCheckResponse_SERVING)
		}},
		{name: "watch: unknown service", run: func(e *env) {
			s, err := e.health.Watch(e.ctx, &healthpb.HealthCheckRequest{Service: "x"})
			e.ok(err)
			resp, err := s.Recv()
			e.ok(err)
			e.equal("status", resp.Status, healthpb.HealthCheckResponse_SERVICE_UNKNOWN)
		}},
	}
}

func metadataCases() []testCase {
	with := func(pairs ...string) func(e *env) {
		return func(e *env) {
			e.ctx = metadata.AppendToOutgoingContext(e.ctx, pairs...)
			e.mustPut(put("a", "1"))
			e.equal("state", e.state(), "a=1 c1 m1 v1")
			w := e.openWatch()
			w.created(watchFrom("a", "", 0))
		}
	}
	return []testCase{
		{name: "hasleader", settled: true, run: with("hasleader", "true")},
		{name: "hasleader of another value", run: with("hasleader", "maybe")},
		{name: "token is ignored while auth is off", run: with("token", "garbage")},
		{name: "authorization is ignored while auth is off", run: with("authorization", "Bearer garbage")},
		{name: "client api version", run: with("client-api-version", "3.99")},
		{name: "unknown service", run: func(e *env) {
			err := e.conn.Invoke(e.ctx, "/etcdserverpb.Nothing/Range", &pb.RangeRequest{}, &pb.RangeResponse{})
			e.refused(err, refusal{codes.Unimplemented, "unknown service etcdserverpb.Nothing"})
		}},
		{name: "unknown method", run: func(e *env) {
			err := e.conn.Invoke(e.ctx, "/etcdserverpb.KV/Nothing", &pb.RangeRequest{}, &pb.RangeResponse{})
			e.refused(err, refusal{codes.Unimplemented, "unknown method Nothing for service etcdserverpb.KV"})
		}},
		{name: "no reflection", run: func(e *env) {
			err := e.conn.Invoke(e.ctx, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &pb.RangeRequest{}, &pb.RangeResponse{})
			e.refused(err, refusal{codes.Unimplemented, "unknown service grpc.reflection.v1.ServerReflection"})
		}},
	}
}
