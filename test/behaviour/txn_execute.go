package behaviour

import (
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// answers writes a transaction's responses as text: "put@1", "del2@1",
// "get[a b]@0", "txn+[...]"; the number after @ is the inner header's revision
// relative to the start of the case, + and - say which branch a child ran.
func (e *env) answers(list []*pb.ResponseOp) string {
	parts := make([]string, len(list))
	for i, op := range list {
		parts[i] = e.answer(op)
	}
	return strings.Join(parts, " ")
}

func (e *env) answer(op *pb.ResponseOp) string {
	switch r := op.Response.(type) {
	case *pb.ResponseOp_ResponsePut:
		return "put" + e.innerHeader(r.ResponsePut.Header)
	case *pb.ResponseOp_ResponseDeleteRange:
		return fmt.Sprintf("del%d", r.ResponseDeleteRange.Deleted) + e.innerHeader(r.ResponseDeleteRange.Header)
	case *pb.ResponseOp_ResponseRange:
		return "get[" + e.names(r.ResponseRange.Kvs) + "]" + e.innerHeader(r.ResponseRange.Header)
	case *pb.ResponseOp_ResponseTxn:
		branch := "-"
		if r.ResponseTxn.Succeeded {
			branch = "+"
		}
		if h := r.ResponseTxn.Header; h == nil || h.Revision != 0 || h.ClusterId != 0 || h.MemberId != 0 || h.RaftTerm != 0 {
			e.Fatalf("header of a nested txn: got %v, want a zero one", h)
		}
		return "txn" + branch + "[" + e.answers(r.ResponseTxn.Responses) + "]"
	}
	return "nothing"
}

func (e *env) innerHeader(h *pb.ResponseHeader) string {
	if h == nil {
		return "@none"
	}
	if h.ClusterId != 0 || h.MemberId != 0 || h.RaftTerm != 0 {
		e.Fatalf("header of an operation in a txn: got %v, want only a revision", h)
	}
	return fmt.Sprintf("@%d", h.Revision-e.base)
}

// txnRow runs one transaction after puts of a=1 (revision base+1) and b=1 (+2).
type txnRow struct {
	name      string
	txn       *pb.TxnRequest
	succeeded bool
	answers   string
	revision  int64 // header, relative
	state     string
}

const before = "a=1 c1 m1 v1; b=1 c2 m2 v1"

func txnRows() []txnRow {
	type ops = []*pb.RequestOp
	otherwise := &pb.TxnRequest{Compare: []*pb.Compare{version("a", eq, 0)}, Success: ops{p("x")}, Failure: ops{p("y")}}
	return []txnRow{
		{"no operations", &pb.TxnRequest{}, true, "", 2, before},
		{"put", &pb.TxnRequest{Success: ops{p("c")}}, true, "put@3", 3, before + "; c=1 c3 m3 v1"},
		{"failure branch", otherwise, false, "put@3", 3, before + "; y=1 c3 m3 v1"},
		{"empty branch taken", &pb.TxnRequest{Failure: ops{p("y")}}, true, "", 2, before},
		{"puts share a revision", &pb.TxnRequest{Success: ops{p("a"), p("c")}}, true, "put@3 put@3", 3, "a=1 c1 m3 v2; b=1 c2 m2 v1; c=1 c3 m3 v1"},
		{"read before and after a write", &pb.TxnRequest{Success: ops{g("a", "*"), p("c"), g("a", "*")}}, true, "get[a b]@2 put@3 get[a b c]@3", 3, before + "; c=1 c3 m3 v1"},
		{"delete", &pb.TxnRequest{Success: ops{d("a", "")}}, true, "del1@3", 3, "b=1 c2 m2 v1"},
		{"delete of nothing", &pb.TxnRequest{Success: ops{d("x", "")}}, true, "del0@2", 2, before},
		{"delete of nothing after a write", &pb.TxnRequest{Success: ops{p("c"), d("x", "")}}, true, "put@3 del0@3", 3, before + "; c=1 c3 m3 v1"},
		{"delete of nothing before a write", &pb.TxnRequest{Success: ops{d("x", ""), p("c")}}, true, "del0@2 put@3", 3, before + "; c=1 c3 m3 v1"},
		{"delete twice", &pb.TxnRequest{Success: ops{d("a", ""), d("a", "")}}, true, "del1@3 del0@3", 3, "b=1 c2 m2 v1"},
		{"overlapping deletes", &pb.TxnRequest{Success: ops{d("a", "b"), d("a", "*")}}, true, "del1@3 del1@3", 3, ""},
		{"read after a delete", &pb.TxnRequest{Success: ops{d("a", ""), g("a", "*")}}, true, "del1@3 get[b]@3", 3, "b=1 c2 m2 v1"},
		{"child", &pb.TxnRequest{Success: ops{t(p("c"))}}, true, "txn+[put@3]", 3, before + "; c=1 c3 m3 v1"},
		{"empty child", &pb.TxnRequest{Success: ops{t()}}, true, "txn+[]", 2, before},
		{"child reads", &pb.TxnRequest{Success: ops{t(g("a", ""))}}, true, "txn+[get[a]@2]", 2, before},
		{"child sees the parent's writes", &pb.TxnRequest{Success: ops{p("c"), t(g("a", "*"))}}, true, "put@3 txn+[get[a b c]@3]", 3, before + "; c=1 c3 m3 v1"},
		{"parent sees the child's writes", &pb.TxnRequest{Success: ops{t(p("c")), g("a", "*")}}, true, "txn+[put@3] get[a b c]@3", 3, before + "; c=1 c3 m3 v1"},
		{"child's compare does not see the parent's writes", &pb.TxnRequest{Success: ops{p("c"), txnOp(&pb.TxnRequest{Compare: []*pb.Compare{version("c", eq, 0)}, Success: ops{p("d")}})}}, true, "put@3 txn+[put@3]", 3, before + "; c=1 c3 m3 v1; d=1 c3 m3 v1"},
		{"child's failure branch", &pb.TxnRequest{Success: ops{txnOp(&pb.TxnRequest{Compare: []*pb.Compare{version("a", eq, 0)}, Success: ops{p("c")}, Failure: ops{g("b", "")}})}}, true, "txn-[get[b]@2]", 2, before},
		{"grandchild", &pb.TxnRequest{Success: ops{t(t(p("c")), g("c", ""))}}, true, "txn+[txn+[put@3] get[c]@3]", 3, before + "; c=1 c3 m3 v1"},
		{"later sibling deletes what an earlier put", &pb.TxnRequest{Success: ops{t(p("c")), t(d("c", ""))}}, true, "txn+[put@3] txn+[del1@3]", 3, before},
		{"delete from key then put behind it", &pb.TxnRequest{Success: ops{d("b", fromKey), p("z")}}, true, "del1@3 put@3", 3, "a=1 c1 m1 v1; z=1 c3 m3 v1"},
	}
}

func (e *env) txnRow(row txnRow) {
	e.mustPut(put("a", "1"))
	e.mustPut(put("b", "1"))
	resp := e.mustTxn(row.txn)
	e.equal("succeeded", resp.Succeeded, row.succeeded)
	e.equal("answers", e.answers(resp.Responses), row.answers)
	e.fullHeader(resp.Header, e.base+row.revision)
	e.equal("state", e.state(), row.state)
}

func txnCases() []testCase {
	cases := []testCase{
		{name: "put with previous record", run: txnPrevKV},
		{name: "delete with previous records sees the txn's own put", run: txnDeletePrev},
		{name: "put of an existing key behind a delete from key starts a new life", run: txnDeleteThenPut},
		{name: "ignore value of a key put by an earlier sibling", run: txnIgnoreSibling},
		{name: "range at a past revision", run: txnPastRange},
		{name: "count only after a write", run: txnCount},
		{name: "serializable ranges only", run: txnSerializable},
	}
	for _, row := range txnRows() {
		cases = append(cases, testCase{name: row.name, run: func(e *env) { e.txnRow(row) }})
	}
	return append(cases, txnFailCases()...)
}

func txnPrevKV(e *env) {
	e.mustPut(put("a", "1"))
	resp := e.mustTxn(&pb.TxnRequest{Success: []*pb.RequestOp{putOp(&pb.PutRequest{Key: []byte("a"), Value: []byte("2"), PrevKv: true})}})
	e.equal("previous", e.show(resp.Responses[0].GetResponsePut().PrevKv), "a=1 c1 m1 v1")
}

func txnDeletePrev(e *env) {
	e.mustPut(put("a", "1"))
	remove := txnOp(&pb.TxnRequest{Success: []*pb.RequestOp{deleteOp(&pb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("*"), PrevKv: true})}})
	resp := e.mustTxn(&pb.TxnRequest{Success: []*pb.RequestOp{t(p("c")), remove}})
	child := resp.Responses[1].GetResponseTxn()
	e.equal("previous", e.shows(child.Responses[0].GetResponseDeleteRange().PrevKvs), "a=1 c1 m1 v1; c=1 c2 m2 v1")
	e.equal("state", e.state(), "")
}

func txnDeleteThenPut(e *env) {
	e.mustPut(put("z", "0"))
	e.mustPut(put("z", "0"))
	e.mustTxn(&pb.TxnRequest{Success: []*pb.RequestOp{d("a", fromKey), p("z")}})
	e.equal("state", e.state(), "z=1 c3 m3 v1")
}

func txnIgnoreSibling(e *env) {
	touch := putOp(&pb.PutRequest{Key: []byte("c"), IgnoreValue: true})
	_, err := e.kv.Txn(e.ctx, e.realTxn(&pb.TxnRequest{Success: []*pb.RequestOp{p("a"), t(touch)}}))
	e.refused(err, keyNotFound())
	e.wrote(0)
}

func txnPastRange(e *env) {
	e.mustPut(put("a", "1"))
	e.mustPut(put("a", "2"))
	past := get("a", "")
	past.Revision = e.base + 1
	resp := e.mustTxn(&pb.TxnRequest{Success: []*pb.RequestOp{rangeOp(past)}})
	e.equal("record", e.shows(resp.Responses[0].GetResponseRange().Kvs), "a=1 c1 m1 v1")
	e.equal("header revision", resp.Responses[0].GetResponseRange().Header.Revision-e.base, int64(2))
}

func txnCount(e *env) {
	count := get("a", "*")
	count.CountOnly = true
	resp := e.mustTxn(&pb.TxnRequest{Success: []*pb.RequestOp{p("a"), p("b"), rangeOp(count)}})
	e.equal("count", resp.Responses[2].GetResponseRange().Count, int64(2))
	e.equal("records", len(resp.Responses[2].GetResponseRange().Kvs), 0)
}

func txnSerializable(e *env) {
	e.mustPut(put("a", "1"))
	local := get("a", "")
	local.Serializable = true
	resp := e.mustTxn(&pb.TxnRequest{Success: []*pb.RequestOp{rangeOp(local)}})
	e.equal("answers", e.answers(resp.Responses), "get[a]@1")
	e.fullHeader(resp.Header, e.base+1)
}

func txnFailCases() []testCase {
	type row struct {
		name string
		ops  func(e *env) []*pb.RequestOp
		want refusal
	}
	at := func(e *env, revision int64) *pb.RequestOp {
		r := get("a", "")
		r.Revision = e.base + revision
		return rangeOp(r)
	}
	rows := []row{
		{"future revision", func(e *env) []*pb.RequestOp { return []*pb.RequestOp{at(e, 2)} }, futureRevision()},
		{"future revision undoes the put before it", func(e *env) []*pb.RequestOp { return []*pb.RequestOp{p("c"), at(e, 2)} }, futureRevision()},
		{"future revision in a child", func(e *env) []*pb.RequestOp { return []*pb.RequestOp{p("c"), t(at(e, 2))} }, futureRevision()},
		{"unknown lease", func(*env) []*pb.RequestOp {
			return []*pb.RequestOp{p("c"), putOp(&pb.PutRequest{Key: []byte("d"), Lease: 0x7fffffffffffff02})}
		}, leaseNotFound()},
		{"unknown lease in a child", func(*env) []*pb.RequestOp {
			return []*pb.RequestOp{p("c"), t(putOp(&pb.PutRequest{Key: []byte("d"), Lease: 0x7fffffffffffff02}))}
		}, leaseNotFound()},
		{"ignore value on a missing key", func(*env) []*pb.RequestOp {
			return []*pb.RequestOp{p("c"), putOp(&pb.PutRequest{Key: []byte("d"), IgnoreValue: true})}
		}, keyNotFound()},
		{"ignore lease on a missing key", func(*env) []*pb.RequestOp {
			return []*pb.RequestOp{p("c"), putOp(&pb.PutRequest{Key: []byte("d"), IgnoreLease: true})}
		}, keyNotFound()},
	}
	var cases []testCase
	for _, row := range rows {
		cases = append(cases, testCase{name: "nothing applied: " + row.name, run: func(e *env) {
			e.mustPut(put("a", "1"))
			_, err := e.kv.Txn(e.ctx, e.realTxn(&pb.TxnRequest{Success: row.ops(e)}))
			e.refused(err, row.want)
			e.wrote(1)
		}})
	}
	return append(cases, testCase{name: "the branch not taken is not checked", run: func(e *env) {
		bad := putOp(&pb.PutRequest{Key: []byte("d"), Lease: 0x7fffffffffffff02})
		resp := e.mustTxn(&pb.TxnRequest{Success: []*pb.RequestOp{p("a")}, Failure: []*pb.RequestOp{bad}})
		e.equal("answers", e.answers(resp.Responses), "put@1")
	}})
}
