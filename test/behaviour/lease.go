package behaviour

import (
	"fmt"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const unknownLease = 0x7fffffffffffff0f

func (e *env) mustGrant(r *pb.LeaseGrantRequest) *pb.LeaseGrantResponse {
	e.Helper()
	resp, err := e.lease.LeaseGrant(e.ctx, r)
	e.ok(err)
	e.revokeAtEnd(resp.ID)
	return resp
}

func (e *env) mustRevoke(id int64) *pb.LeaseRevokeResponse {
	e.Helper()
	resp, err := e.lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{ID: id})
	e.ok(err)
	return resp
}

func (e *env) timeToLive(id int64) *pb.LeaseTimeToLiveResponse {
	e.Helper()
	resp, err := e.lease.LeaseTimeToLive(e.ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true})
	e.ok(err)
	return resp
}

// attached is the sorted logical names of the lease's keys.
func (e *env) attached(id int64) string {
	e.Helper()
	var names []string
	for _, key := range e.timeToLive(id).Keys {
		names = append(names, e.name(key))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (e *env) putLeased(key string, id int64) {
	e.Helper()
	e.mustPut(&pb.PutRequest{Key: []byte(key), Value: []byte("1"), Lease: id})
}

func leaseCases() []testCase {
	cases := append(leaseGrantCases(), leaseRevokeCases()...)
	cases = append(cases, leaseAliveCases()...)
	return append(cases, leaseAttachCases()...)
}

func leaseGrantCases() []testCase {
	type row struct {
		name         string
		ttl, granted int64
	}
	rows := []row{
		{"ttl as asked", 60, 60},
		{"ttl of the minimum", 2, 2},
		{"ttl one is raised", 1, 2},
		{"ttl zero is raised", 0, 2},
		{"negative ttl is raised", -5, 2},
		{"largest ttl", 9_000_000_000, 9_000_000_000},
	}
	cases := []testCase{
		{name: "grant: server picks a positive id", run: func(e *env) {
			resp := e.mustGrant(&pb.LeaseGrantRequest{TTL: 60})
			e.isTrue("id is positive", resp.ID > 0)
			e.equal("error", resp.Error, "")
			e.fullHeader(resp.Header, e.base)
			e.wrote(0)
		}},
		{name: "grant: client's id", run: func(e *env) {
			e.equal("id", e.mustGrant(&pb.LeaseGrantRequest{TTL: 60, ID: 123456}).ID, int64(123456))
		}},
		{name: "grant: negative id", run: func(e *env) {
			e.equal("id", e.mustGrant(&pb.LeaseGrantRequest{TTL: 60, ID: -123456}).ID, int64(-123456))
		}},
		{name: "grant: id in use", run: func(e *env) {
			id := e.grant(60)
			_, err := e.lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{TTL: 60, ID: id})
			e.refused(err, leaseExists())
		}},
		{name: "grant: id of a revoked lease is free", run: func(e *env) {
			id := e.grant(60)
			e.mustRevoke(id)
			e.equal("id", e.mustGrant(&pb.LeaseGrantRequest{TTL: 60, ID: id}).ID, id)
		}},
		{name: "grant: ttl too large", run: func(e *env) {
			_, err := e.lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{TTL: 9_000_000_001})
			e.refused(err, leaseTooLarge())
		}},
		{name: "grant: id in use with too large a ttl", run: func(e *env) {
			id := e.grant(60)
			_, err := e.lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{TTL: 9_000_000_001, ID: id})
			e.refused(err, leaseTooLarge())
		}},
	}
	for _, row := range rows {
		cases = append(cases, testCase{name: "grant: " + row.name, run: func(e *env) {
			resp := e.mustGrant(&pb.LeaseGrantRequest{TTL: row.ttl})
			e.equal("ttl", resp.TTL, row.granted)
			e.equal("granted ttl", e.timeToLive(resp.ID).GrantedTTL, row.granted)
		}})
	}
	return cases
}

func leaseRevokeCases() []testCase {
	return []testCase{
		{name: "revoke: unknown", run: func(e *env) {
			_, err := e.lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{ID: unknownLease})
			e.refused(err, leaseNotFound())
		}},
		{name: "revoke: zero", run: func(e *env) {
			_, err := e.lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{})
			e.refused(err, leaseNotFound())
		}},
		{name: "revoke: twice", run: func(e *env) {
			id := e.grant(60)
			e.mustRevoke(id)
			_, err := e.lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{ID: id})
			e.refused(err, leaseNotFound())
		}},
		{name: "revoke: no keys makes no revision", run: func(e *env) {
			e.fullHeader(e.mustRevoke(e.grant(60)).Header, e.base)
			e.wrote(0)
		}},
		{name: "revoke: all keys in one revision", run: func(e *env) {
			id := e.grant(60)
			e.putLeased("b", id)
			e.putLeased("a", id)
			e.mustPut(put("c", "1"))
			e.fullHeader(e.mustRevoke(id).Header, e.base+4)
			e.equal("state", e.state(), "c=1 c3 m3 v1")
		}},
		{name: "revoke: events in key order", run: leaseRevokeOrder},
		{name: "revoke: a put with it is refused afterwards", run: func(e *env) {
			id := e.grant(60)
			e.mustRevoke(id)
			_, err := e.kv.Put(e.ctx, e.realPut(&pb.PutRequest{Key: []byte("a"), Lease: id}))
			e.refused(err, leaseNotFound())
		}},
	}
}

func leaseRevokeOrder(e *env) {
	id := e.grant(60)
	for _, name := range []string{"b", "d", "a", "c", "aa", "a\x00"} {
		e.putLeased(name, id)
	}
	w := e.openWatch()
	w.created(watchFrom("", "*", 0))
	e.mustRevoke(id)
	e.equal("events", w.shown(1), "[DELETE a m7; DELETE a\x00 m7; DELETE aa m7; DELETE b m7; DELETE c m7; DELETE d m7]@7")
}

// keepAlive sends the ids on one stream and returns "id:ttl" for each answer.
func (e *env) keepAlive(ids ...int64) []*pb.LeaseKeepAliveResponse {
	e.Helper()
	s, err := e.lease.LeaseKeepAlive(e.ctx)
	e.ok(err)
	for _, id := range ids {
		e.ok(s.Send(&pb.LeaseKeepAliveRequest{ID: id}))
	}
	answers := make([]*pb.LeaseKeepAliveResponse, len(ids))
	for i := range ids {
		answers[i], err = s.Recv()
		e.ok(err)
	}
	e.ok(s.CloseSend())
	return answers
}

func leaseAliveCases() []testCase {
	return []testCase{
		{name: "keep alive: full ttl", run: func(e *env) {
			id := e.grant(60)
			resp := e.keepAlive(id)[0]
			e.equal("id", resp.ID, id)
			e.equal("ttl", resp.TTL, int64(60))
			e.fullHeader(resp.Header, e.base)
		}},
		{name: "keep alive: unknown has ttl zero and the stream goes on", run: func(e *env) {
			id := e.grant(60)
			answers := e.keepAlive(unknownLease, id)
			e.equal("unknown id", answers[0].ID, int64(unknownLease))
			e.equal("unknown ttl", answers[0].TTL, int64(0))
			e.equal("known ttl", answers[1].TTL, int64(60))
		}},
		{name: "keep alive: answers in request order", run: func(e *env) {
			a, b := e.grant(60), e.grant(70)
			got := ""
			for _, resp := range e.keepAlive(a, b, a, unknownLease, b) {
				got += fmt.Sprint(resp.TTL, " ")
			}
			e.equal("ttls", got, "60 70 60 0 70 ")
		}},
		{name: "keep alive: revoked", run: func(e *env) {
			id := e.grant(60)
			e.mustRevoke(id)
			e.equal("ttl", e.keepAlive(id)[0].TTL, int64(0))
		}},
		{name: "time to live: remaining and granted", run: func(e *env) {
			resp := e.timeToLive(e.grant(100))
			e.isTrue("remaining is truncated", resp.TTL >= 90 && resp.TTL <= 99)
			e.equal("granted", resp.GrantedTTL, int64(100))
			e.equal("keys", len(resp.Keys), 0)
			e.fullHeader(resp.Header, e.base)
		}},
		{name: "time to live: unknown is minus one", run: func(e *env) {
			resp := e.timeToLive(unknownLease)
			e.equal("id", resp.ID, int64(unknownLease))
			e.equal("ttl", resp.TTL, int64(-1))
			e.equal("granted", resp.GrantedTTL, int64(0))
			e.fullHeader(resp.Header, e.base)
		}},
		{name: "time to live: keys only if asked", run: func(e *env) {
			id := e.grant(60)
			e.putLeased("a", id)
			resp, err := e.lease.LeaseTimeToLive(e.ctx, &pb.LeaseTimeToLiveRequest{ID: id})
			e.ok(err)
			e.equal("keys", len(resp.Keys), 0)
			e.equal("attached", e.attached(id), "a")
		}},
		{name: "leases: listed until revoked", run: func(e *env) {
			id := e.grant(60)
			e.isTrue("listed", e.listed(id))
			e.mustRevoke(id)
			e.isTrue("not listed", !e.listed(id))
		}},
	}
}

func (e *env) listed(id int64) bool {
	e.Helper()
	resp, err := e.lease.LeaseLeases(e.ctx, &pb.LeaseLeasesRequest{})
	e.ok(err)
	e.fullHeader(resp.Header, e.base)
	return slices.ContainsFunc(resp.Leases, func(l *pb.LeaseStatus) bool { return l.ID == id })
}

func leaseAttachCases() []testCase {
	return []testCase{
		{name: "attach: put", run: func(e *env) {
			id := e.grant(60)
			e.putLeased("b", id)
			e.putLeased("a", id)
			e.equal("attached", e.attached(id), "a b")
			e.equal("record", e.shows(e.mustGet(get("a", "")).Kvs), fmt.Sprintf("a=1 c2 m2 v1 l%d", id))
		}},
		{name: "attach: put with another lease moves the key", run: func(e *env) {
			first, second := e.grant(60), e.grant(60)
			e.putLeased("a", first)
			e.putLeased("a", second)
			e.equal("first", e.attached(first), "")
			e.equal("second", e.attached(second), "a")
			e.mustRevoke(first)
			e.equal("count", e.mustGet(get("a", "")).Count, int64(1))
		}},
		{name: "attach: put without a lease detaches", run: func(e *env) {
			id := e.grant(60)
			e.putLeased("a", id)
			e.mustPut(put("a", "2"))
			e.equal("attached", e.attached(id), "")
			e.mustRevoke(id)
			e.equal("state", e.state(), "a=2 c1 m2 v2")
		}},
		{name: "attach: delete detaches", run: func(e *env) {
			id := e.grant(60)
			e.putLeased("a", id)
			e.mustDelete(del("a", ""))
			e.equal("attached", e.attached(id), "")
			e.mustRevoke(id)
			e.wrote(2)
		}},
		{name: "attach: ignore lease keeps it", run: func(e *env) {
			id := e.grant(60)
			e.putLeased("a", id)
			e.mustPut(&pb.PutRequest{Key: []byte("a"), Value: []byte("2"), IgnoreLease: true})
			e.equal("attached", e.attached(id), "a")
		}},
		{name: "attach: in a txn", run: func(e *env) {
			id := e.grant(60)
			e.mustTxn(&pb.TxnRequest{Success: []*pb.RequestOp{putOp(&pb.PutRequest{Key: []byte("a"), Lease: id}), t(putOp(&pb.PutRequest{Key: []byte("b"), Lease: id}))}})
			e.equal("attached", e.attached(id), "a b")
		}},
		{name: "attach: the same lease twice is once", run: func(e *env) {
			id := e.grant(60)
			e.putLeased("a", id)
			e.putLeased("a", id)
			e.equal("attached", e.attached(id), "a")
		}},
		{name: "expiry deletes the keys", settled: true, run: leaseExpiry},
	}
}

func leaseExpiry(e *env) {
	w := e.openWatch()
	w.created(watchFrom("a", "", 0))
	id := e.grant(2)
	e.putLeased("a", id)
	e.equal("put", w.shown(1), fmt.Sprintf("[PUT a=1 c1 m1 v1 l%d]@1", id))
	e.equal("expiry", w.shown(1), "[DELETE a m2]@2")
	e.equal("ttl", e.timeToLive(id).TTL, int64(-1))
}
