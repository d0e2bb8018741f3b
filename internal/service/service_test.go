package service_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
	"github.com/quoin-kv/quoin/internal/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// method is a call on wire bytes.
type method func(ctx context.Context, raw []byte) ([]byte, error)

// call encodes the request, calls and decodes the response into out.
func call[M proto.Message](ctx context.Context, fn method, in proto.Message, out M) (M, error) {
	raw, err := proto.Marshal(in)
	if err != nil {
		return out, err
	}
	reply, err := fn(ctx, raw)
	if err != nil {
		return out, err
	}
	return out, proto.Unmarshal(reply, out)
}

// must is call for calls that succeed.
func must[M proto.Message](t testing.TB, fn method, in proto.Message, out M) M {
	t.Helper()
	out, err := call(t.Context(), fn, in, out)
	if err != nil {
		t.Fatalf("%T: %v", in, err)
	}
	return out
}

// start runs a member alone in its cluster on new disks and waits until it leads.
func start(t testing.TB, change ...func(*servicetest.Options)) *servicetest.Member {
	t.Helper()
	return startOn(t, servicetest.NewDisks(t, 1), change...)
}

func startOn(t testing.TB, d servicetest.Disks, change ...func(*servicetest.Options)) *servicetest.Member {
	t.Helper()
	m := servicetest.Start(t, d, change...)
	check(t, m.Probe(t.Context(), true))
	return m
}

func put(t testing.TB, m *servicetest.Member, key, value string) *pb.PutResponse {
	t.Helper()
	return must(t, m.Put, &pb.PutRequest{Key: []byte(key), Value: []byte(value)}, new(pb.PutResponse))
}

func get(t testing.TB, m *servicetest.Member, key string) *pb.RangeResponse {
	t.Helper()
	return must(t, m.Range, &pb.RangeRequest{Key: []byte(key)}, new(pb.RangeResponse))
}

// gate lets an operation of the log's disk wait.
type gate struct {
	shut atomic.Bool
	open chan struct{}
}

// startGated runs a member whose log does not sync while the gate is shut.
func startGated(t testing.TB, change ...func(*servicetest.Options)) (*servicetest.Member, *gate) {
	t.Helper()
	g := &gate{open: make(chan struct{})}
	change = append(change, func(o *servicetest.Options) {
		o.FS = vfs.Intercept(o.FS, func(op vfs.Op) error {
			if op.Kind == vfs.OpSync && g.shut.Load() {
				<-g.open
			}
			return nil
		})
	})
	return start(t, change...), g
}

// header fails the test unless h is of the member and of the revision.
func header(t testing.TB, what string, h *pb.ResponseHeader, revision int64) {
	t.Helper()
	if h == nil || h.ClusterId != servicetest.ClusterID || h.MemberId != servicetest.MemberID || h.RaftTerm < 2 || h.Revision != revision {
		t.Errorf("%s: header is %v, want ids, term and revision %d", what, h, revision)
	}
}

// wantError fails the test unless err is want.
func wantError(t testing.TB, what string, err error, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error is %v, want %v", what, err, want)
	}
}

// TestHeaders calls everything that answers with a header of its own making once.
func TestHeaders(t *testing.T) {
	m := start(t)
	key := []byte("k")
	header(t, "put", put(t, m, "k", "1").Header, 2)
	header(t, "range", get(t, m, "k").Header, 2)
	header(t, "delete of nothing", must(t, m.DeleteRange, &pb.DeleteRangeRequest{Key: []byte("x")}, new(pb.DeleteRangeResponse)).Header, 2)
	header(t, "delete", must(t, m.DeleteRange, &pb.DeleteRangeRequest{Key: key}, new(pb.DeleteRangeResponse)).Header, 3)
	read := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}}}
	header(t, "read-only txn", must(t, m.Txn, read, new(pb.TxnResponse)).Header, 3)
	write := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key}}}}}
	header(t, "txn", must(t, m.Txn, write, new(pb.TxnResponse)).Header, 4)
	past := must(t, m.Range, &pb.RangeRequest{Key: key, Revision: 2}, new(pb.RangeResponse))
	header(t, "range in the past", past.Header, 4)
	if string(past.Kvs[0].Value) != "1" {
		t.Errorf("value at revision 2 is %q", past.Kvs[0].Value)
	}
	header(t, "compact", must(t, m.Compact, &pb.CompactionRequest{Revision: 3, Physical: true}, new(pb.CompactionResponse)).Header, 4)
	grant := must(t, m.LeaseGrant, &pb.LeaseGrantRequest{TTL: 60}, new(pb.LeaseGrantResponse))
	header(t, "grant", grant.Header, 4)
	header(t, "keep alive", must(t, m.LeaseKeepAlive, &pb.LeaseKeepAliveRequest{ID: grant.ID}, new(pb.LeaseKeepAliveResponse)).Header, 4)
	header(t, "time to live", must(t, m.LeaseTimeToLive, &pb.LeaseTimeToLiveRequest{ID: grant.ID}, new(pb.LeaseTimeToLiveResponse)).Header, 4)
	header(t, "leases", must(t, m.LeaseLeases, &pb.LeaseLeasesRequest{}, new(pb.LeaseLeasesResponse)).Header, 4)
	header(t, "revoke", must(t, m.LeaseRevoke, &pb.LeaseRevokeRequest{ID: grant.ID}, new(pb.LeaseRevokeResponse)).Header, 4)
}

// TestMalformedRequests gives every call that takes bytes some that are no message.
func TestMalformedRequests(t *testing.T) {
	m := start(t)
	for name, fn := range map[string]method{
		"Range": m.Range, "Put": m.Put, "DeleteRange": m.DeleteRange, "Txn": m.Txn, "Compact": m.Compact,
		"LeaseGrant": m.LeaseGrant, "LeaseRevoke": m.LeaseRevoke, "LeaseTimeToLive": m.LeaseTimeToLive, "LeaseKeepAlive": m.LeaseKeepAlive,
		"RangeStream": func(ctx context.Context, raw []byte) ([]byte, error) {
			return nil, m.RangeStream(ctx, raw, func([]byte) error { return nil })
		},
	} {
		_, err := fn(t.Context(), []byte{0x0a, 0xff})
		wantError(t, name, err, request.ErrMalformed)
	}
}

func TestRefusals(t *testing.T) {
	m := start(t, func(o *servicetest.Options) { o.Service.MaxRequestBytes = 1000 })
	put(t, m, "a", "1")
	put(t, m, "a", "2")
	must(t, m.Compact, &pb.CompactionRequest{Revision: 3}, new(pb.CompactionResponse))
	empty := new(pb.RangeResponse)
	key := []byte("a")
	for _, c := range []struct {
		what string
		fn   method
		in   proto.Message
		want error
	}{
		{"range without key", m.Range, &pb.RangeRequest{}, kverr.EmptyKey},
		{"range with an unknown order", m.Range, &pb.RangeRequest{Key: key, SortOrder: 9}, kverr.InvalidSortOption},
		{"range at a compacted revision", m.Range, &pb.RangeRequest{Key: key, Revision: 2}, kverr.Compacted},
		{"range at a future revision", m.Range, &pb.RangeRequest{Key: key, Revision: 4}, kverr.FutureRev},
		{"put without key", m.Put, &pb.PutRequest{}, kverr.EmptyKey},
		{"put with value and ignore", m.Put, &pb.PutRequest{Key: key, Value: key, IgnoreValue: true}, kverr.ValueProvided},
		{"put with lease and ignore", m.Put, &pb.PutRequest{Key: key, Lease: 1, IgnoreLease: true}, kverr.LeaseProvided},
		{"put with an unknown lease", m.Put, &pb.PutRequest{Key: key, Lease: 1}, kverr.LeaseNotFound},
		{"put that ignores the value of no key", m.Put, &pb.PutRequest{Key: []byte("x"), IgnoreValue: true}, kverr.KeyNotFound},
		{"too large a put", m.Put, &pb.PutRequest{Key: key, Value: make([]byte, 1000)}, kverr.RequestTooLarge},
		{"delete without key", m.DeleteRange, &pb.DeleteRangeRequest{}, kverr.EmptyKey},
		{"txn with an empty op", m.Txn, &pb.TxnRequest{Success: []*pb.RequestOp{{}}}, kverr.KeyNotFound},
		{"txn with too many ops", m.Txn, &pb.TxnRequest{Compare: make([]*pb.Compare, 129)}, kverr.TooManyOps},
		{"compaction of the past", m.Compact, &pb.CompactionRequest{Revision: 3}, kverr.Compacted},
		{"compaction of the future", m.Compact, &pb.CompactionRequest{Revision: 4}, kverr.FutureRev},
		{"grant of eternity", m.LeaseGrant, &pb.LeaseGrantRequest{TTL: 9_000_000_001}, kverr.LeaseTTLTooLarge},
		{"revocation of nothing", m.LeaseRevoke, &pb.LeaseRevokeRequest{ID: 5}, kverr.LeaseNotFound},
	} {
		_, err := call(t.Context(), c.fn, c.in, empty)
		wantError(t, c.what, err, c.want)
	}
	if h := get(t, m, "a").Header; h.Revision != 3 {
		t.Errorf("after refusals the revision is %d, want 3", h.Revision)
	}
}

func TestContextErrors(t *testing.T) {
	d := servicetest.NewDisks(t, 2) // never has a leader
	m := servicetest.Start(t, d)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := call(gone, m.Put, &pb.PutRequest{Key: []byte("k")}, new(pb.PutResponse))
	wantError(t, "put of a client that has gone", err, context.Canceled)
	_, err = call(gone, m.Range, &pb.RangeRequest{Key: []byte("k")}, new(pb.RangeResponse))
	wantError(t, "read of a client that has gone", err, context.Canceled)
	_, err = call(gone, m.LeaseKeepAlive, &pb.LeaseKeepAliveRequest{ID: 1}, new(pb.LeaseKeepAliveResponse))
	wantError(t, "keep-alive of a client that has gone", err, context.Canceled)
	must(t, m.Range, &pb.RangeRequest{Key: []byte("k"), Serializable: true}, new(pb.RangeResponse))
	m.Stop(t)
	for name, fn := range map[string]method{"range": m.Range, "put": m.Put, "delete": m.DeleteRange} {
		_, err := call(t.Context(), fn, &pb.PutRequest{Key: []byte("k")}, new(pb.PutResponse))
		wantError(t, name+" after the stop", err, kverr.Stopped)
	}
}
