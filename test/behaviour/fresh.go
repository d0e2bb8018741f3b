package behaviour

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// historyCases run one after the other on one fresh server; each continues
// where the one before it stopped. Their hashes are the published test vectors
// of the hash of a store's history.
func historyCases() []testCase {
	raw := func(key, value string, lease int64) *pb.PutRequest {
		return &pb.PutRequest{Key: []byte(key), Value: []byte(value), Lease: lease}
	}
	return []testCase{
		{name: "a fresh store is at revision 1", run: func(e *env) { e.equal("revision", e.base, int64(1)) }},
		{name: "hash of a fresh store", run: func(e *env) { e.hashIs(0, hashKV{1084519789, -1, 1}) }},
		{name: "range at revision -1 in a txn works before the first compaction", run: func(e *env) {
			_, err := e.rangeInTxn(-1)
			e.ok(err)
		}},
		{name: "any other negative revision in a txn is compacted", run: func(e *env) {
			_, err := e.rangeInTxn(-2)
			e.refused(err, compacted())
		}},
		{name: "compact a future revision", run: func(e *env) {
			_, err := e.kv.Compact(e.ctx, &pb.CompactionRequest{Revision: 2})
			e.refused(err, futureRevision())
		}},
		{name: "compact a negative revision", run: func(e *env) {
			_, err := e.kv.Compact(e.ctx, &pb.CompactionRequest{Revision: -1})
			e.refused(err, compacted())
		}},
		{name: "the first writes", run: func(e *env) {
			e.mustGrant0(77)
			_, err := e.kv.Put(e.ctx, raw("a", "1", 0))
			e.ok(err)
			_, err = e.kv.Put(e.ctx, raw("b", "3", 0))
			e.ok(err)
			_, err = e.kv.Put(e.ctx, raw("a", "2", 0))
			e.ok(err)
			_, err = e.kv.Put(e.ctx, raw("c", "0", 77))
			e.ok(err)
			_, err = e.kv.Txn(e.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{putOp(raw("a", "t", 0)), putOp(raw("n", "1", 0))}})
			e.ok(err)
			e.wrote(5)
		}},
		{name: "physical compaction", run: func(e *env) {
			resp, err := e.kv.Compact(e.ctx, &pb.CompactionRequest{Revision: 5, Physical: true})
			e.ok(err)
			e.fullHeader(resp.Header, 6)
		}},
		{name: "hash at the compacted revision as it was before", run: func(e *env) { e.hashIs(5, hashKV{2695724927, -1, 5}) }},
		{name: "hash after the compaction", run: func(e *env) { e.hashIs(0, hashKV{3214497834, 5, 6}) }},
		{name: "hash below the compacted revision", run: func(e *env) {
			_, err := e.maint.HashKV(e.ctx, &pb.HashKVRequest{Revision: 4})
			e.refused(err, compacted())
		}},
		{name: "hash of a future revision", run: func(e *env) {
			_, err := e.maint.HashKV(e.ctx, &pb.HashKVRequest{Revision: 7})
			e.refused(err, futureRevision())
		}},
		{name: "hash of a negative revision covers nothing", run: func(e *env) {
			resp, err := e.maint.HashKV(e.ctx, &pb.HashKVRequest{Revision: -3})
			e.ok(err)
			e.equal("hash", resp.Hash, uint32(1084519789))
		}},
		{name: "revision -1 in a txn is compacted now", run: func(e *env) {
			_, err := e.rangeInTxn(-1)
			e.refused(err, compacted())
		}},
	}
}

// mustGrant0 grants a lease that stays after the case.
func (e *env) mustGrant0(id int64) {
	e.Helper()
	_, err := e.lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{ID: id, TTL: 3600})
	e.ok(err)
}

func (e *env) rangeInTxn(revision int64) (*pb.TxnResponse, error) {
	return e.kv.Txn(e.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{rangeOp(&pb.RangeRequest{Key: []byte("a"), Revision: revision})}})
}

// hashKV is an answer of HashKV.
type hashKV struct {
	hash      uint32
	compacted int64
	revision  int64
}

func (e *env) hashIs(revision int64, want hashKV) {
	e.Helper()
	resp, err := e.maint.HashKV(e.ctx, &pb.HashKVRequest{Revision: revision})
	e.ok(err)
	e.equal("hash", hashKV{resp.Hash, resp.CompactRevision, resp.HashRevision}, want)
	e.fullHeader(resp.Header, e.base)
}

// compactCases share one fresh server; each compacts only below its own writes.
func compactCases() []testCase {
	return []testCase{
		{name: "compact zero works once on a fresh store", run: func(e *env) {
			e.mustPut(put("a", "1"))
			_, err := e.kv.Compact(e.ctx, &pb.CompactionRequest{Physical: true})
			e.ok(err)
			_, err = e.kv.Compact(e.ctx, &pb.CompactionRequest{Physical: true})
			e.refused(err, compacted())
		}},
		{name: "the compacted revision is readable, the one before not", run: func(e *env) {
			e.writeHistory()
			e.mustCompact(e.base + 4)
			at := get("", "*")
			at.Revision = e.base + 4
			e.equal("records", e.shows(e.mustGet(at).Kvs), "a=4 c3 m3 v1; b=5 c2 m2 v1; c=1 c4 m4 v1; d=3 c1 m1 v1")
			_, err := e.kv.Range(e.ctx, &pb.RangeRequest{Key: []byte("a"), Revision: e.base + 3})
			e.refused(err, compacted())
		}},
		{name: "makes no revision", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustCompact(e.base + 1)
			e.wrote(1)
		}},
		{name: "twice", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustCompact(e.base + 1)
			_, err := e.kv.Compact(e.ctx, &pb.CompactionRequest{Revision: e.base + 1})
			e.refused(err, compacted())
		}},
		{name: "future", run: func(e *env) {
			_, err := e.kv.Compact(e.ctx, &pb.CompactionRequest{Revision: e.base + 1})
			e.refused(err, futureRevision())
		}},
		{name: "not physical", run: func(e *env) {
			e.mustPut(put("a", "1"))
			resp, err := e.kv.Compact(e.ctx, &pb.CompactionRequest{Revision: e.base + 1})
			e.ok(err)
			e.fullHeader(resp.Header, e.base+1)
			_, err = e.kv.Range(e.ctx, &pb.RangeRequest{Key: []byte("a"), Revision: e.base})
			e.refused(err, compacted())
		}},
		{name: "keeps the latest of each key", run: func(e *env) {
			e.writeHistory()
			e.mustCompact(e.base + 7)
			e.equal("state", e.state(), "a=4 c3 m3 v1; b=2 c2 m5 v2; c=1 c4 m4 v1; d=3 c1 m1 v1")
		}},
		{name: "serializable read of a compacted revision", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustCompact(e.base + 1)
			_, err := e.kv.Range(e.ctx, &pb.RangeRequest{Key: []byte("a"), Revision: e.base, Serializable: true})
			e.refused(err, compacted())
		}},
		{name: "txn with a compacted read applies nothing", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustCompact(e.base + 1)
			past := &pb.RangeRequest{Key: []byte("a"), Revision: e.base}
			_, err := e.kv.Txn(e.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{p(string(e.key("b"))), rangeOp(past)}})
			e.refused(err, compacted())
			e.wrote(1)
		}},
		{name: "stream of a compacted revision", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustCompact(e.base + 1)
			_, err := e.stream(&pb.RangeRequest{Key: []byte("a"), Revision: e.base})
			e.refused(err, compacted())
		}},
		{name: "version goes on after a compaction", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustPut(put("a", "2"))
			e.mustCompact(e.base + 2)
			e.mustPut(put("a", "3"))
			e.equal("state", e.state(), "a=3 c1 m3 v3")
		}},
		{name: "watch below: created, then canceled", run: watchBelowCompaction},
		{name: "watch below: id stays in use and progress is dropped", run: watchBelowStays},
		{name: "watch from the compacted revision is complete", run: func(e *env) {
			e.watchHistory()
			e.mustCompact(e.base + 4)
			w := e.openWatch()
			w.created(watchFrom("", "*", 4))
			e.equal("events", w.shown(1), "[DELETE a m4; PUT c=1 c5 m5 v1]@5")
		}},
		{name: "no previous record of a compacted revision", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustPut(put("b", "1"))
			e.mustPut(put("a", "2"))
			e.mustPut(put("a", "3"))
			e.mustCompact(e.base + 3)
			w := e.openWatch()
			r := watchFrom("a", "", 3)
			r.PrevKv = true
			w.created(r)
			e.equal("events", w.shown(1), "[PUT a=2 c1 m3 v2; PUT a=3 c1 m4 v3 was a=2 c1 m3 v2]@4")
		}},
	}
}

func watchBelowCompaction(e *env) {
	e.watchHistory()
	e.mustCompact(e.base + 4)
	w := e.openWatch()
	w.created(watchFrom("a", "", 2))
	resp := w.next()
	e.isTrue("canceled", resp.Canceled && !resp.Created)
	e.equal("compact revision", resp.CompactRevision-e.base, int64(4))
	e.equal("header revision", resp.Header.Revision, int64(0))
	e.equal("reason", resp.CancelReason, "")
}

func watchBelowStays(e *env) {
	e.watchHistory()
	e.mustCompact(e.base + 4)
	w := e.openWatch()
	r := watchFrom("a", "", 2)
	r.WatchId = 4
	id := w.created(r)
	e.isTrue("canceled", w.next().Canceled)
	again := watchFrom("a", "", 0)
	again.WatchId = 4
	w.create(again)
	w.refusal("mvcc: duplicate watch ID provided on the WatchStream")
	w.progress()
	w.quiet()
	w.cancel(id)
	e.isTrue("canceled again", w.next().Canceled)
}

// alarmCases share one fresh server; each clears what it raised.
func alarmCases() []testCase {
	cases := []testCase{
		{name: "none", run: func(e *env) { e.equal("alarms", e.alarms(), "") }},
		{name: "activate answers with it and is idempotent", run: func(e *env) {
			for range 2 {
				resp := e.setAlarm(pb.AlarmRequest_ACTIVATE, 3, pb.AlarmType_NOSPACE)
				e.equal("alarms", showAlarms(resp.Alarms), "3:NOSPACE")
				e.fullHeader(resp.Header, e.base)
			}
			e.equal("alarms", e.alarms(), "3:NOSPACE")
		}},
		{name: "member zero is not a wildcard", run: func(e *env) {
			e.setAlarm(pb.AlarmRequest_ACTIVATE, 3, pb.AlarmType_NOSPACE)
			resp := e.setAlarm(pb.AlarmRequest_DEACTIVATE, 0, pb.AlarmType_NOSPACE)
			e.equal("alarms", showAlarms(resp.Alarms), "")
			e.equal("alarms", e.alarms(), "3:NOSPACE")
		}},
		{name: "deactivate answers with it", run: func(e *env) {
			e.setAlarm(pb.AlarmRequest_ACTIVATE, 3, pb.AlarmType_NOSPACE)
			resp := e.setAlarm(pb.AlarmRequest_DEACTIVATE, 3, pb.AlarmType_NOSPACE)
			e.equal("alarms", showAlarms(resp.Alarms), "3:NOSPACE")
			e.equal("alarms", e.alarms(), "")
		}},
		{name: "get by type", run: func(e *env) {
			e.setAlarm(pb.AlarmRequest_ACTIVATE, 3, pb.AlarmType_NOSPACE)
			resp := e.setAlarm(pb.AlarmRequest_GET, 0, pb.AlarmType_CORRUPT)
			e.equal("corrupt alarms", showAlarms(resp.Alarms), "")
			resp = e.setAlarm(pb.AlarmRequest_GET, 99, pb.AlarmType_NOSPACE)
			e.equal("space alarms", showAlarms(resp.Alarms), "3:NOSPACE")
		}},
		{name: "activating no type does nothing", run: func(e *env) {
			e.setAlarm(pb.AlarmRequest_ACTIVATE, 3, pb.AlarmType_NONE)
			e.equal("alarms", e.alarms(), "")
		}},
		{name: "status lists it", run: func(e *env) {
			e.setAlarm(pb.AlarmRequest_ACTIVATE, 3, pb.AlarmType_NOSPACE)
			resp, err := e.maint.Status(e.ctx, &pb.StatusRequest{})
			e.ok(err)
			e.equal("errors", len(resp.Errors), 1)
		}},
	}
	for _, row := range alarmRows() {
		cases = append(cases, testCase{name: row.alarm.String() + ": " + row.name, run: func(e *env) { e.alarmRow(row) }})
	}
	for i := range cases {
		run := cases[i].run
		cases[i].run = func(e *env) {
			e.Cleanup(e.clearAlarms)
			run(e)
		}
	}
	return cases
}

// alarmRow is one call while an alarm is raised.
type alarmRow struct {
	alarm pb.AlarmType
	name  string
	call  func(e *env) error
	want  refusal // zero: it works
}

func (e *env) alarmRow(row alarmRow) {
	e.mustPut(put("a", "1"))
	e.mustGrant(&pb.LeaseGrantRequest{ID: 4711, TTL: 60})
	e.Cleanup(e.clearAlarms) // runs before the lease is revoked, which the alarm would refuse
	e.setAlarm(pb.AlarmRequest_ACTIVATE, 3, row.alarm)
	err := row.call(e)
	if row.want == (refusal{}) {
		e.ok(err)
		return
	}
	e.refused(err, row.want)
	e.wrote(1)
}

func alarmRows() []alarmRow {
	const space, bad = pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT
	var works refusal
	return []alarmRow{
		{space, "put", callPut, noSpace()},
		{space, "lease grant", callGrant, noSpace()},
		{space, "txn with a put", func(e *env) error { return e.callTxn(p("b")) }, noSpace()},
		{space, "txn with a put in the branch not taken", callOtherPut, noSpace()},
		{space, "txn with a put in a child", func(e *env) error { return e.callTxn(t(p("b"))) }, noSpace()},
		{space, "txn that deletes", func(e *env) error { return e.callTxn(d("a", "")) }, works},
		{space, "txn that reads", func(e *env) error { return e.callTxn(g("a", "")) }, works},
		{space, "range", callRange, works},
		{space, "delete", callDelete, works},
		{space, "revoke", callRevoke, works},
		{space, "keep alive", callKeepAlive, works},
		{space, "compact", callCompact, works},
		{bad, "put", callPut, corrupt()},
		{bad, "delete", callDelete, corrupt()},
		{bad, "lease grant", callGrant, corrupt()},
		{bad, "revoke", callRevoke, corrupt()},
		{bad, "compact", callCompact, corrupt()},
		{bad, "txn with a put", func(e *env) error { return e.callTxn(p("b")) }, corrupt()},
		{bad, "txn that deletes", func(e *env) error { return e.callTxn(d("a", "")) }, corrupt()},
		{bad, "txn that reads", func(e *env) error { return e.callTxn(g("a", "")) }, works},
		{bad, "range", callRange, works},
		{bad, "keep alive", callKeepAlive, works},
	}
}

func callPut(e *env) error {
	_, err := e.kv.Put(e.ctx, e.realPut(put("b", "1")))
	return err
}

func callDelete(e *env) error {
	_, err := e.kv.DeleteRange(e.ctx, e.realDelete(del("a", "")))
	return err
}

func callRange(e *env) error {
	_, err := e.kv.Range(e.ctx, e.realRange(get("a", "")))
	return err
}

func callGrant(e *env) error {
	_, err := e.lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{TTL: 60})
	return err
}

func callRevoke(e *env) error {
	_, err := e.lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{ID: 4711})
	return err
}

func callKeepAlive(e *env) error {
	e.equal("ttl", e.keepAlive(4711)[0].TTL, int64(60))
	return nil
}

func callCompact(e *env) error {
	_, err := e.kv.Compact(e.ctx, &pb.CompactionRequest{Revision: e.base + 1})
	return err
}

func callOtherPut(e *env) error {
	_, err := e.kv.Txn(e.ctx, e.realTxn(&pb.TxnRequest{Failure: []*pb.RequestOp{p("b")}}))
	return err
}

func (e *env) callTxn(op *pb.RequestOp) error {
	_, err := e.kv.Txn(e.ctx, e.realTxn(&pb.TxnRequest{Success: []*pb.RequestOp{op}}))
	return err
}

func (e *env) setAlarm(action pb.AlarmRequest_AlarmAction, member uint64, alarm pb.AlarmType) *pb.AlarmResponse {
	e.Helper()
	resp, err := e.maint.Alarm(e.ctx, &pb.AlarmRequest{Action: action, MemberID: member, Alarm: alarm})
	e.ok(err)
	return resp
}

func (e *env) alarms() string {
	e.Helper()
	return showAlarms(e.setAlarm(pb.AlarmRequest_GET, 0, pb.AlarmType_NONE).Alarms)
}

func showAlarms(list []*pb.AlarmMember) string {
	s := ""
	for i, a := range list {
		if i > 0 {
			s += " "
		}
		s += fmt.Sprintf("%d:%s", a.MemberID, a.Alarm)
	}
	return s
}

func (e *env) clearAlarms() {
	for _, a := range e.setAlarm(pb.AlarmRequest_GET, 0, pb.AlarmType_NONE).Alarms {
		e.setAlarm(pb.AlarmRequest_DEACTIVATE, a.MemberID, a.Alarm)
	}
}
