package behaviour

import (
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func limitCases() []testCase {
	const limit = 1572864
	return []testCase{
		{name: "put below the request limit", run: func(e *env) { e.ok(e.putSize(limit - 512)) }},
		{name: "put of the request limit", run: func(e *env) { e.tooLarge(e.putSize(limit)) }},
		{name: "put above the request limit", run: func(e *env) { e.tooLarge(e.putSize(limit + 4096)) }},
		{name: "txn above the request limit", run: func(e *env) {
			half := strings.Repeat("v", limit/2)
			_, err := e.kv.Txn(e.ctx, e.realTxn(&pb.TxnRequest{Success: []*pb.RequestOp{putOp(put("a", half)), putOp(put("b", half))}}))
			e.tooLarge(err)
		}},
		{name: "compare above the request limit", run: func(e *env) {
			big := value("a", eq, strings.Repeat("v", limit))
			_, err := e.kv.Txn(e.ctx, e.realTxn(&pb.TxnRequest{Compare: []*pb.Compare{big}, Success: []*pb.RequestOp{p("a")}}))
			e.tooLarge(err)
		}},
		{name: "key above the request limit", run: func(e *env) {
			_, err := e.kv.Put(e.ctx, e.realPut(put(strings.Repeat("k", limit), "")))
			e.tooLarge(err)
		}},
		{name: "message above the receive limit", run: func(e *env) {
			err := e.putSize(limit + 524288)
			e.equal("code", status.Code(err), codes.ResourceExhausted)
			text := status.Convert(err).Message()
			e.isTrue("text", strings.HasPrefix(text, "grpc: received message larger than max (") && strings.HasSuffix(text, " vs. 2097152)"))
			e.wrote(0)
		}},
		{name: "a read is not limited", run: func(e *env) {
			value := strings.Repeat("v", limit-512)
			for _, name := range []string{"a", "b", "c"} {
				e.mustPut(put(name, value))
			}
			e.equal("records", len(e.mustGet(get("", "*")).Kvs), 3)
		}},
	}
}

func (e *env) putSize(n int) error {
	_, err := e.kv.Put(e.ctx, e.realPut(put("a", strings.Repeat("v", n))))
	return err
}

func (e *env) tooLarge(err error) {
	e.Helper()
	e.refused(err, requestTooLarge())
	e.wrote(0)
}

// flagCases run on a server with --max-request-bytes=10000 and --max-txn-ops=3.
func flagCases() []testCase {
	return []testCase{
		{name: "request below", run: func(e *env) { e.ok(e.putSize(9000)) }},
		{name: "request above", run: func(e *env) { e.tooLarge(e.putSize(10000)) }},
		{name: "message above", run: func(e *env) {
			err := e.putSize(10000 + 524288)
			e.equal("code", status.Code(err), codes.ResourceExhausted)
			e.isTrue("text", strings.HasSuffix(status.Convert(err).Message(), " vs. 534288)"))
		}},
		{name: "three operations", run: func(e *env) { e.mustTxn(&pb.TxnRequest{Success: manyPuts("k", 3)}) }},
		{name: "four operations", run: func(e *env) {
			_, err := e.kv.Txn(e.ctx, e.realTxn(&pb.TxnRequest{Success: manyPuts("k", 4)}))
			e.refused(err, tooManyOps())
		}},
		{name: "two beside one child", run: func(e *env) {
			_, err := e.kv.Txn(e.ctx, e.realTxn(&pb.TxnRequest{Success: []*pb.RequestOp{p("a"), t(manyPuts("k", 2)...)}}))
			e.refused(err, tooManyOps())
		}},
	}
}

// quotaCases run on a server with --quota-backend-bytes=1048576: a put that does
// not fit raises the alarm of this member and makes no revision.
func quotaCases() []testCase {
	return []testCase{
		{name: "full: refused, alarm raised, reads and deletes go on", run: func(e *env) {
			e.mustPut(put("a", "1"))
			_, err := e.kv.Put(e.ctx, e.realPut(put("b", strings.Repeat("v", 1<<20))))
			e.refused(err, noSpace())
			e.wrote(1)
			_, err = e.kv.Put(e.ctx, e.realPut(put("c", "1")))
			e.refused(err, noSpace())
			alarms := e.setAlarm(pb.AlarmRequest_GET, 0, pb.AlarmType_NONE).Alarms
			e.equal("alarms", len(alarms), 1)
			e.equal("member", alarms[0].MemberID, e.member())
			e.equal("alarm", alarms[0].Alarm, pb.AlarmType_NOSPACE)
			e.equal("state", e.state(), "a=1 c1 m1 v1")
			e.equal("deleted", e.mustDelete(del("a", "")).Deleted, int64(1))
			e.setAlarm(pb.AlarmRequest_DEACTIVATE, alarms[0].MemberID, pb.AlarmType_NOSPACE)
			e.mustPut(put("c", "1"))
		}},
		{name: "status shows the quota", run: func(e *env) {
			resp, err := e.maint.Status(e.ctx, &pb.StatusRequest{})
			e.ok(err)
			e.equal("quota", resp.DbSizeQuota, int64(1048576))
		}},
	}
}
