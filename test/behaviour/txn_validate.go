package behaviour

import (
	"strconv"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// duplicateRow is a transaction's success branch and whether the check for
// keys written twice refuses it.
type duplicateRow struct {
	name   string
	ops    []*pb.RequestOp
	refuse bool
}

func duplicateRows() []duplicateRow {
	type ops = []*pb.RequestOp
	return []duplicateRow{
		{"same key put twice", ops{p("a"), p("a")}, true},
		{"different keys put", ops{p("a"), p("b")}, false},
		{"put then delete of the key", ops{p("a"), d("a", "")}, true},
		{"delete then put of the key", ops{d("a", ""), p("a")}, true},
		{"put inside a deleted range", ops{p("b"), d("a", "c")}, true},
		{"put inside a range deleted before", ops{d("a", "c"), p("b")}, true},
		{"put at the end of a deleted range", ops{d("a", "c"), p("c")}, false},
		{"put before a deleted range", ops{d("b", "c"), p("a")}, false},
		{"overlapping deletes", ops{d("a", "c"), d("b", "d")}, false},
		{"same delete twice", ops{d("a", ""), d("a", "")}, false},
		{"put and get of the key", ops{p("a"), g("a", "")}, false},
		{"delete from key is not recognised", ops{d("a", fromKey), p("z")}, false},
		{"put then child puts it", ops{p("a"), t(p("a"))}, true},
		{"child puts it, then put", ops{t(p("a")), p("a")}, true},
		{"put then child deletes it", ops{p("a"), t(d("a", ""))}, true},
		{"put then child deletes its range", ops{p("b"), t(d("a", "c"))}, true},
		{"child deletes it, then put", ops{t(d("a", "")), p("a")}, true},
		{"delete then child puts it", ops{d("a", ""), t(p("a"))}, true},
		{"delete of a range then child puts inside", ops{d("a", "c"), t(p("b"))}, true},
		{"child puts it, then delete", ops{t(p("a")), d("a", "")}, true},
		{"two children put it", ops{t(p("a")), t(p("a"))}, true},
		{"two children put different keys", ops{t(p("a")), t(p("b"))}, false},
		{"two children delete it", ops{t(d("a", "")), t(d("a", ""))}, false},
		{"earlier sibling deletes what a later puts", ops{t(d("a", "c")), t(p("b"))}, true},
		{"later sibling deletes what an earlier puts", ops{t(p("b")), t(d("a", "c"))}, false},
		{"grandchild puts what the parent puts", ops{p("a"), t(t(p("a")))}, true},
		{"cousins put it", ops{t(t(p("a"))), t(t(p("a")))}, true},
		{"delete and child delete", ops{d("a", "c"), t(d("b", ""))}, false},
	}
}

func txnDuplicateCases() []testCase {
	var cases []testCase
	for _, row := range duplicateRows() {
		cases = append(cases, testCase{name: row.name, run: func(e *env) {
			_, err := e.kv.Txn(e.ctx, e.realTxn(&pb.TxnRequest{Success: row.ops}))
			e.acceptedUnless(err, row.refuse)
		}})
	}
	return append(cases, duplicateBranchCases()...)
}

func (e *env) acceptedUnless(err error, refuse bool) {
	e.Helper()
	if refuse {
		e.refused(err, duplicateKey())
		e.wrote(0)
		return
	}
	e.ok(err)
}

func duplicateBranchCases() []testCase {
	type row struct {
		name   string
		txn    *pb.TxnRequest
		refuse bool
	}
	type ops = []*pb.RequestOp
	both := func(then, otherwise ops) *pb.RequestOp {
		return txnOp(&pb.TxnRequest{Success: then, Failure: otherwise})
	}
	rows := []row{
		{"both branches put it", &pb.TxnRequest{Success: ops{p("a")}, Failure: ops{p("a")}}, false},
		{"branch not taken has duplicates", &pb.TxnRequest{Success: ops{p("a")}, Failure: ops{p("b"), p("b")}}, true},
		{"one put and the other deletes", &pb.TxnRequest{Success: ops{p("a")}, Failure: ops{d("a", "")}}, false},
		{"child: both branches put it", &pb.TxnRequest{Success: ops{both(ops{p("a")}, ops{p("a")})}}, false},
		{"child: branch not taken has duplicates", &pb.TxnRequest{Success: ops{both(nil, ops{p("a"), p("a")})}}, true},
		{"child's branch not taken puts the parent's key", &pb.TxnRequest{Success: ops{p("a"), both(nil, ops{p("a")})}}, true},
		{"children put it in opposite branches", &pb.TxnRequest{Success: ops{both(ops{p("a")}, nil), both(nil, ops{p("a")})}}, true},
	}
	var cases []testCase
	for _, row := range rows {
		cases = append(cases, testCase{name: row.name, run: func(e *env) {
			_, err := e.kv.Txn(e.ctx, e.realTxn(row.txn))
			e.acceptedUnless(err, row.refuse)
		}})
	}
	return cases
}

// manyPuts is n puts of different keys.
func manyPuts(prefix string, n int) []*pb.RequestOp {
	ops := make([]*pb.RequestOp, n)
	for i := range ops {
		ops[i] = p(prefix + strconv.Itoa(i))
	}
	return ops
}

func manyCompares(n int) []*pb.Compare {
	list := make([]*pb.Compare, n)
	for i := range list {
		list[i] = version("a", pb.Compare_EQUAL, 0)
	}
	return list
}

func txnLimitCases() []testCase {
	type row struct {
		name   string
		txn    *pb.TxnRequest
		refuse bool
	}
	type ops = []*pb.RequestOp
	rows := []row{
		{"128 operations", &pb.TxnRequest{Success: manyPuts("k", 128)}, false},
		{"129 operations", &pb.TxnRequest{Success: manyPuts("k", 129)}, true},
		{"129 operations in the branch not taken", &pb.TxnRequest{Failure: manyPuts("k", 129)}, true},
		{"128 compares", &pb.TxnRequest{Compare: manyCompares(128)}, false},
		{"129 compares", &pb.TxnRequest{Compare: manyCompares(129)}, true},
		{"128 of each", &pb.TxnRequest{Compare: manyCompares(128), Success: manyPuts("k", 128), Failure: manyPuts("k", 128)}, false},
		{"a full parent leaves nothing for a child", &pb.TxnRequest{Success: append(manyPuts("k", 127), t(p("x")))}, true},
		{"a full parent allows an empty child", &pb.TxnRequest{Success: append(manyPuts("k", 127), t())}, false},
		{"127 in the parent leave one for a child", &pb.TxnRequest{Success: append(manyPuts("k", 126), t(p("x")))}, false},
		{"one in the parent leaves 127", &pb.TxnRequest{Success: ops{t(manyPuts("k", 127)...)}}, false},
		{"one in the parent does not leave 128", &pb.TxnRequest{Success: ops{t(manyPuts("k", 128)...)}}, true},
		{"siblings share nothing", &pb.TxnRequest{Success: ops{t(manyPuts("k", 126)...), t(manyPuts("j", 126)...)}}, false},
		{"the parent's compares count", &pb.TxnRequest{Compare: manyCompares(100), Success: ops{t(manyPuts("k", 29)...)}}, true},
	}
	var cases []testCase
	for _, row := range rows {
		cases = append(cases, testCase{name: row.name, run: func(e *env) {
			_, err := e.kv.Txn(e.ctx, e.realTxn(row.txn))
			if row.refuse {
				e.refused(err, tooManyOps())
				e.wrote(0)
				return
			}
			e.ok(err)
		}})
	}
	return cases
}

func txnCheckCases() []testCase {
	type row struct {
		name string
		txn  *pb.TxnRequest // real keys, not logical ones
		want refusal
	}
	type ops = []*pb.RequestOp
	bad := pb.RangeRequest_SortOrder(7)
	rows := []row{
		{"compare without a key", &pb.TxnRequest{Compare: []*pb.Compare{{}}}, emptyKey()},
		{"range without a key", &pb.TxnRequest{Success: ops{g("", "")}}, emptyKey()},
		{"put without a key", &pb.TxnRequest{Success: ops{p("")}}, emptyKey()},
		{"delete without a key", &pb.TxnRequest{Success: ops{d("", "")}}, emptyKey()},
		{"check of the branch not taken", &pb.TxnRequest{Failure: ops{p("")}}, emptyKey()},
		{"check inside a child", &pb.TxnRequest{Success: ops{t(p(""))}}, emptyKey()},
		{"check inside the child's branch not taken", &pb.TxnRequest{Success: ops{txnOp(&pb.TxnRequest{Failure: ops{g("", "")}})}}, emptyKey()},
		{"check of a child's compare", &pb.TxnRequest{Success: ops{txnOp(&pb.TxnRequest{Compare: []*pb.Compare{{}}})}}, emptyKey()},
		{"operation with nothing set", &pb.TxnRequest{Success: ops{{}}}, keyNotFound()},
		{"operation with nothing set in the branch not taken", &pb.TxnRequest{Failure: ops{{}}}, keyNotFound()},
		{"sort order", &pb.TxnRequest{Success: ops{rangeOp(&pb.RangeRequest{Key: []byte("a"), SortOrder: bad})}}, invalidSort()},
		{"ignore value with value", &pb.TxnRequest{Success: ops{putOp(&pb.PutRequest{Key: []byte("a"), Value: []byte("1"), IgnoreValue: true})}}, valueProvided()},
		{"ignore lease with lease", &pb.TxnRequest{Success: ops{putOp(&pb.PutRequest{Key: []byte("a"), Lease: 1, IgnoreLease: true})}}, leaseProvided()},
		{"compare before operations", &pb.TxnRequest{Compare: []*pb.Compare{{}}, Success: ops{{}}}, emptyKey()},
		{"success before failure", &pb.TxnRequest{Success: ops{{}}, Failure: ops{p("")}}, keyNotFound()},
		{"size before keys", &pb.TxnRequest{Compare: []*pb.Compare{{}}, Success: manyPuts("k", 129)}, tooManyOps()},
		{"keys before duplicates", &pb.TxnRequest{Success: ops{p("a"), p("a"), p("")}}, emptyKey()},
	}
	var cases []testCase
	for _, row := range rows {
		cases = append(cases, testCase{name: row.name, run: func(e *env) {
			_, err := e.kv.Txn(e.ctx, row.txn)
			e.refused(err, row.want)
			e.wrote(0)
		}})
	}
	return cases
}
