package behaviour

import (
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// spaceSuites are about the space that a server uses, and what it does to use
// less.
func spaceSuites() []suite {
	return []suite{
		{name: "space/quota", fresh: true, flags: []string{"--quota-backend-bytes=1048576"}, cases: fullCases()},
		{name: "space/no-quota", fresh: true, flags: []string{"--quota-backend-bytes=-1"}, cases: noQuotaCases()},
		{name: "space/quota-zero", fresh: true, flags: []string{"--quota-backend-bytes=0"}, cases: []testCase{
			{name: "is two gigabytes", run: func(e *env) { e.equal("quota", e.status().DbSizeQuota, int64(2147483648)) }},
		}},
		{name: "space/defragment", fresh: true, cases: defragmentCases()},
		{name: "space/gate", fresh: true, flags: []string{"--feature-gates=StopGRPCServiceOnDefrag=true"}, cases: []testCase{
			{name: "serves again after a defragmentation", run: servesAfterDefragment},
		}},
		{name: "space/auto-compaction", fresh: true, flags: []string{"--auto-compaction-mode=periodic", "--auto-compaction-retention=1s"}, cases: []testCase{
			{name: "history of a second is kept", run: historyGoes},
		}},
	}
}

// pollPause is the time between two looks at what a server does by itself.
const pollPause = 50 * time.Millisecond

// until looks again and again until it is so; the case ends when its time is
// over.
func (e *env) until(what string, so func() bool) {
	e.Helper()
	again := time.NewTicker(pollPause)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-e.ctx.Done():
			e.Fatalf("%s: it never came to that", what)
		}
	}
}

func (e *env) status() *pb.StatusResponse {
	e.Helper()
	resp, err := e.maint.Status(e.ctx, &pb.StatusRequest{})
	e.ok(err)
	return resp
}

// huge is a value that no quota of a megabyte has room for.
func huge() string { return strings.Repeat("v", 1<<20) }

// fullCases share a server with a quota of a megabyte; each clears the alarms
// that it raised.
func fullCases() []testCase {
	cases := []testCase{
		{name: "put", run: func(e *env) { e.fills(func() error { return e.putSize(1 << 20) }) }},
		{name: "txn", run: func(e *env) { e.fills(func() error { return e.callTxn(putOp(put("b", huge()))) }) }},
		{name: "txn whose branch is not taken", run: func(e *env) {
			e.fills(func() error {
				_, err := e.kv.Txn(e.ctx, e.realTxn(&pb.TxnRequest{
					Compare: []*pb.Compare{value("none", eq, "x")},
					Success: []*pb.RequestOp{putOp(put("b", huge()))}, Failure: []*pb.RequestOp{p("c")},
				}))
				return err
			})
		}},
		{name: "txn within a txn", run: func(e *env) { e.fills(func() error { return e.callTxn(t(putOp(put("b", huge())))) }) }},
		{name: "branches are not added up", run: func(e *env) {
			half := strings.Repeat("v", 400<<10)
			_, err := e.kv.Txn(e.ctx, e.realTxn(&pb.TxnRequest{
				Success: []*pb.RequestOp{p("a")}, Failure: []*pb.RequestOp{putOp(put("b", half))},
			}))
			e.ok(err)
			e.equal("alarms", e.alarms(), "")
		}},
		{name: "what frees space goes on", run: fullGoesOn},
		{name: "an operator's way back", single: true, run: wayBack},
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

// fills expects a call to be refused for want of space, to raise the alarm of
// the member, and to do nothing else.
func (e *env) fills(call func() error) {
	e.Helper()
	e.mustPut(put("a", "1"))
	e.refused(call(), noSpace())
	e.wrote(1)
	alarms := e.setAlarm(pb.AlarmRequest_GET, 0, pb.AlarmType_NONE).Alarms
	e.equal("alarms", showAlarms(alarms), fmt.Sprintf("%d:NOSPACE", e.member()))
	e.refused(callPut(e), noSpace())
	e.refused(callGrant(e), noSpace())
	e.equal("state", e.state(), "a=1 c1 m1 v1")
	e.equal("errors of the status", len(e.status().Errors), 1)
}

func fullGoesOn(e *env) {
	e.mustGrant(&pb.LeaseGrantRequest{ID: 4711, TTL: 60})
	e.fills(func() error { return e.putSize(1 << 20) })
	for _, call := range []func(e *env) error{callRange, callDelete, callKeepAlive, callRevoke, callCompact} {
		e.ok(call(e))
	}
	_, err := e.maint.Defragment(e.ctx, &pb.DefragmentRequest{})
	e.ok(err)
	e.equal("state", e.state(), "")
}

// wayBack is what operators do when the quota is used up by history. In a
// cluster they would have to do it at every member.
func wayBack(e *env) {
	value := strings.Repeat("v", 64<<10)
	var err error
	e.until("there is no space left", func() bool { // the file is looked at, which follows the writes
		_, err = e.kv.Put(e.ctx, e.realPut(put("a", value)))
		return err != nil
	})
	e.refused(err, noSpace())
	e.mustCompact(e.revision())
	_, err = e.maint.Defragment(e.ctx, &pb.DefragmentRequest{})
	e.ok(err)
	e.clearAlarms()
	for range 3 {
		e.mustPut(put("a", value))
	}
	e.isTrue("used space is below the quota", e.status().DbSizeInUse < 1<<20)
	e.mustCompact(e.revision())
}

func noQuotaCases() []testCase {
	return []testCase{
		{name: "nothing is refused", run: func(e *env) {
			e.ok(e.putSize(1 << 20))
			e.equal("quota", e.status().DbSizeQuota, int64(-1))
			e.equal("alarms", e.alarms(), "")
		}},
	}
}

func defragmentCases() []testCase {
	return []testCase{
		{name: "the file shrinks, what is in it stays", run: func(e *env) {
			e.mustPut(put("kept", "1"))
			e.makeFree()
			before := e.status()
			e.isTrue("much is free", before.DbSizeInUse < before.DbSize/2)
			_, err := e.maint.Defragment(e.ctx, &pb.DefragmentRequest{})
			e.ok(err)
			after := e.status()
			e.isTrue("it is smaller", after.DbSize < before.DbSize/2)
			e.isTrue("little is free", after.DbSizeInUse <= after.DbSize && after.DbSizeInUse > after.DbSize/4)
			e.equal("state", e.state(), "kept=1 c1 m1 v1")
			e.equal("revisions", e.revision(), before.Header.Revision)
		}},
		{name: "watches and leases live through it", run: func(e *env) {
			e.mustGrant(&pb.LeaseGrantRequest{ID: 4712, TTL: 60})
			w := e.openWatch()
			w.created(watchFrom("", "*", 0))
			for _, v := range []string{"1", "2"} {
				e.mustPut(put("a", v))
				_, err := e.maint.Defragment(e.ctx, &pb.DefragmentRequest{})
				e.ok(err)
			}
			for _, v := range []string{"1", "2"} {
				events := w.next().Events
				e.equal("events", len(events), 1)
				e.equal("value", string(events[0].Kv.Value), v)
			}
			e.equal("ttl", e.keepAlive(4712)[0].TTL, int64(60))
		}},
		{name: "again and again", run: func(e *env) {
			e.mustPut(put("a", "1"))
			for range 5 {
				_, err := e.maint.Defragment(e.ctx, &pb.DefragmentRequest{})
				e.ok(err)
			}
			e.equal("state", e.state(), "a=1 c1 m1 v1")
		}},
	}
}

// makeFree leaves megabytes of free space in the file.
func (e *env) makeFree() {
	e.Helper()
	value := strings.Repeat("v", 64<<10)
	for i := range 64 {
		e.mustPut(put(fmt.Sprint("bulk", i), value))
	}
	e.until("it is in the file", func() bool { return e.status().DbSize > 4<<20 })
	e.mustDelete(del("bulk", "bulk~"))
	e.mustCompact(e.revision())
	e.until("it is out of the file", func() bool {
		e.mustPut(put("bulk", "")) // pages are free once something else was written
		return e.status().DbSizeInUse < 2<<20
	})
	e.mustDelete(del("bulk", ""))
}

func servesAfterDefragment(e *env) {
	for range 3 {
		_, err := e.maint.Defragment(e.ctx, &pb.DefragmentRequest{})
		e.ok(err)
		resp, err := e.health.Check(e.ctx, &healthpb.HealthCheckRequest{})
		e.ok(err)
		e.equal("health", resp.Status, healthpb.HealthCheckResponse_SERVING)
	}
}

// historyGoes: what is older than the retention cannot be read any more, without
// anybody having asked for a compaction, and what is younger can.
func historyGoes(e *env) {
	old := e.mustPut(put("a", "1")).Header.Revision
	latest := old
	e.until("the first revision is compacted", func() bool {
		before := latest
		latest = e.mustPut(put("a", "2")).Header.Revision
		_, err := e.kv.Range(e.ctx, &pb.RangeRequest{Key: e.key("a"), Revision: before})
		e.ok(err)
		_, err = e.kv.Range(e.ctx, &pb.RangeRequest{Key: e.key("a"), Revision: old - 1})
		if err != nil {
			e.refused(err, compacted())
		}
		return err != nil
	})
	e.equal("value", e.mustGet(get("a", "")).Kvs[0].Version, latest-old+1)
}
