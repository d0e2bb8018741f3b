package behaviour

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Compare constructors with logical keys.

func version(key string, result pb.Compare_CompareResult, n int64) *pb.Compare {
	return &pb.Compare{Target: pb.Compare_VERSION, Result: result, Key: []byte(key), TargetUnion: &pb.Compare_Version{Version: n}}
}

func created(key string, result pb.Compare_CompareResult, n int64) *pb.Compare {
	return &pb.Compare{Target: pb.Compare_CREATE, Result: result, Key: []byte(key), TargetUnion: &pb.Compare_CreateRevision{CreateRevision: n}}
}

func modified(key string, result pb.Compare_CompareResult, n int64) *pb.Compare {
	return &pb.Compare{Target: pb.Compare_MOD, Result: result, Key: []byte(key), TargetUnion: &pb.Compare_ModRevision{ModRevision: n}}
}

func value(key string, result pb.Compare_CompareResult, v string) *pb.Compare {
	return &pb.Compare{Target: pb.Compare_VALUE, Result: result, Key: []byte(key), TargetUnion: &pb.Compare_Value{Value: []byte(v)}}
}

func leased(key string, result pb.Compare_CompareResult, id int64) *pb.Compare {
	return &pb.Compare{Target: pb.Compare_LEASE, Result: result, Key: []byte(key), TargetUnion: &pb.Compare_Lease{Lease: id}}
}

func ranged(c *pb.Compare, end string) *pb.Compare {
	c.RangeEnd = []byte(end)
	return c
}

const (
	eq = pb.Compare_EQUAL
	gt = pb.Compare_GREATER
	lt = pb.Compare_LESS
	ne = pb.Compare_NOT_EQUAL
)

// compareRow is one compare against the fixed history and whether it holds.
type compareRow struct {
	name    string
	compare func(base int64) *pb.Compare
	holds   bool
}

// always is a compare that does not depend on the revision.
func always(c *pb.Compare) func(int64) *pb.Compare {
	return func(int64) *pb.Compare { return c }
}

func compareValueRows() []compareRow {
	return []compareRow{
		{"version equal", always(version("b", eq, 2)), true},
		{"version equal, not", always(version("b", eq, 1)), false},
		{"version greater", always(version("b", gt, 1)), true},
		{"version greater, not", always(version("b", gt, 2)), false},
		{"version less", always(version("b", lt, 3)), true},
		{"version less, not", always(version("b", lt, 2)), false},
		{"version not equal", always(version("b", ne, 1)), true},
		{"version not equal, not", always(version("b", ne, 2)), false},
		{"value equal", always(value("b", eq, "2")), true},
		{"value equal, not", always(value("b", eq, "5")), false},
		{"value greater bytewise", always(value("b", gt, "1999")), true},
		{"value less bytewise", always(value("b", lt, "2\x00")), true},
		{"value not equal", always(value("b", ne, "")), true},
		{"lease of a key without", always(leased("b", eq, 0)), true},
		{"lease not equal", always(leased("b", ne, 0)), false},
		{"create equal", func(b int64) *pb.Compare { return created("b", eq, b+2) }, true},
		{"create less", func(b int64) *pb.Compare { return created("b", lt, b+2) }, false},
		{"mod equal", func(b int64) *pb.Compare { return modified("b", eq, b+5) }, true},
		{"mod greater", func(b int64) *pb.Compare { return modified("b", gt, b+4) }, true},
		{"mod of another revision", func(b int64) *pb.Compare { return modified("b", eq, b+2) }, false},
	}
}

func compareMissingRows() []compareRow {
	return []compareRow{
		{"missing: version is zero", always(version("x", eq, 0)), true},
		{"missing: version less than one", always(version("x", lt, 1)), true},
		{"missing: version greater than minus one", always(version("x", gt, -1)), true},
		{"missing: create is zero", always(created("x", eq, 0)), true},
		{"missing: mod is zero", always(modified("x", eq, 0)), true},
		{"missing: mod not equal", always(modified("x", ne, 5)), true},
		{"missing: lease is zero", always(leased("x", eq, 0)), true},
		{"missing: value equal empty is false", always(value("x", eq, "")), false},
		{"missing: value not equal is false", always(value("x", ne, "z")), false},
		{"missing: value less is false", always(value("x", lt, "z")), false},
		{"missing: value greater is false", always(value("x", gt, "")), false},
		{"deleted: version is zero", always(version("e", eq, 0)), true},
		{"deleted: create is zero", always(created("e", eq, 0)), true},
	}
}

func compareRangeRows() []compareRow {
	return []compareRow{
		{"range: holds for every key", always(ranged(version("a", gt, 0), "*")), true},
		{"range: fails for one key", always(ranged(version("a", eq, 1), "*")), false},
		{"range: the failing key is outside", always(ranged(version("c", eq, 1), "*")), true},
		{"range: from key", always(ranged(version("c", eq, 1), fromKey)), true},
		{"range: value for every key", always(ranged(value("a", gt, "0"), "*")), true},
		{"range: value fails for one key", always(ranged(value("a", gt, "1"), "*")), false},
		{"range: empty is like a missing key", always(ranged(version("x", eq, 0), "y")), true},
		{"range: empty, version one", always(ranged(version("x", eq, 1), "y")), false},
		{"range: empty, value", always(ranged(value("x", ne, "z"), "y")), false},
		{"range: end before start is empty", always(ranged(version("c", eq, 0), "a")), true},
		{"range: end before start, value", always(ranged(value("c", eq, "1"), "a")), false},
	}
}

func compareOddRows() []compareRow {
	return []compareRow{
		{"wrong arm counts as zero", always(&pb.Compare{Target: pb.Compare_VERSION, Result: gt, Key: []byte("b"), TargetUnion: &pb.Compare_ModRevision{ModRevision: 1 << 40}}), true},
		{"no arm counts as zero", always(&pb.Compare{Target: pb.Compare_VERSION, Result: eq, Key: []byte("x")}), true},
		{"no arm, existing key", always(&pb.Compare{Target: pb.Compare_CREATE, Result: eq, Key: []byte("b")}), false},
		{"no arm, value counts as empty", always(&pb.Compare{Target: pb.Compare_VALUE, Result: gt, Key: []byte("b")}), true},
		{"wrong arm for value", always(&pb.Compare{Target: pb.Compare_VALUE, Result: eq, Key: []byte("b"), TargetUnion: &pb.Compare_Version{Version: 2}}), false},
		{"unknown target compares as equal", always(&pb.Compare{Target: 9, Result: eq, Key: []byte("b"), TargetUnion: &pb.Compare_Version{Version: 99}}), true},
		{"unknown target is not less", always(&pb.Compare{Target: 9, Result: lt, Key: []byte("b"), TargetUnion: &pb.Compare_Version{Version: 99}}), false},
		{"unknown target on a missing key", always(&pb.Compare{Target: 9, Result: eq, Key: []byte("x")}), true},
		{"unknown result is true", always(&pb.Compare{Target: pb.Compare_VERSION, Result: 9, Key: []byte("b"), TargetUnion: &pb.Compare_Version{Version: 99}}), true},
		{"unknown result on a missing value", always(&pb.Compare{Target: pb.Compare_VALUE, Result: 9, Key: []byte("x")}), false},
	}
}

func txnCompareCases() []testCase {
	var cases []testCase
	for _, rows := range [][]compareRow{compareValueRows(), compareMissingRows(), compareRangeRows(), compareOddRows()} {
		for _, row := range rows {
			cases = append(cases, testCase{name: row.name, run: func(e *env) {
				e.writeHistory()
				resp := e.mustTxn(&pb.TxnRequest{Compare: []*pb.Compare{row.compare(e.base)}})
				e.equal("succeeded", resp.Succeeded, row.holds)
			}})
		}
	}
	return append(cases, compareListCases()...)
}

func compareListCases() []testCase {
	type row struct {
		name    string
		list    []*pb.Compare
		success bool
	}
	rows := []row{
		{"empty list holds", nil, true},
		{"all must hold", []*pb.Compare{version("b", eq, 2), version("a", eq, 1)}, true},
		{"one that fails is enough", []*pb.Compare{version("b", eq, 2), version("a", eq, 9)}, false},
	}
	var cases []testCase
	for _, row := range rows {
		cases = append(cases, testCase{name: row.name, run: func(e *env) {
			e.writeHistory()
			resp := e.mustTxn(&pb.TxnRequest{Compare: row.list})
			e.equal("succeeded", resp.Succeeded, row.success)
		}})
	}
	return append(cases, testCase{name: "lease of a key", run: func(e *env) {
		id := e.grant(60)
		e.mustPut(&pb.PutRequest{Key: []byte("a"), Lease: id})
		e.isTrue("lease equal", e.mustTxn(&pb.TxnRequest{Compare: []*pb.Compare{leased("a", eq, id)}}).Succeeded)
		e.isTrue("lease greater than zero", e.mustTxn(&pb.TxnRequest{Compare: []*pb.Compare{leased("a", gt, 0)}}).Succeeded)
	}})
}
