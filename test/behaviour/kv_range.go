package behaviour

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// rangeRow is one read of the fixed history below and what it answers.
type rangeRow struct {
	name     string
	key, end string
	change   func(r *pb.RangeRequest, base int64) // nil: as is
	keys     string                               // names in order
	count    int64
	more     bool
}

// writeHistory writes, in revisions base+1 to base+7:
// d=3, b=5, a=4, c=1, b=2, e=9, delete e. Four keys live:
// a=4 c3 m3 v1; b=2 c2 m5 v2; c=1 c4 m4 v1; d=3 c1 m1 v1.
func (e *env) writeHistory() {
	e.Helper()
	for _, kv := range [][2]string{{"d", "3"}, {"b", "5"}, {"a", "4"}, {"c", "1"}, {"b", "2"}, {"e", "9"}} {
		e.mustPut(put(kv[0], kv[1]))
	}
	e.mustDelete(del("e", ""))
}

func rangeRows() []rangeRow {
	return []rangeRow{
		{name: "single key", key: "b", keys: "b", count: 1},
		{name: "missing key", key: "x", keys: "", count: 0},
		{name: "deleted key", key: "e", keys: "", count: 0},
		{name: "a prefix of a key is another key", key: "", keys: "", count: 0},
		{name: "half open", key: "a", end: "c", keys: "a b", count: 2},
		{name: "end is not a key", key: "a", end: "bb", keys: "a b", count: 2},
		{name: "start is not a key", key: "aa", end: "d", keys: "b c", count: 2},
		{name: "all of the prefix", key: "", end: "*", keys: "a b c d", count: 4},
		{name: "end equals start", key: "b", end: "b", keys: "", count: 0},
		{name: "end before start", key: "c", end: "a", keys: "", count: 0},
		{name: "from key", key: "c", end: fromKey, keys: "c d", count: 2},
		{name: "from key past the last", key: "x", end: fromKey, keys: "", count: 0},
		{name: "a longer key is after its prefix", key: "b\x00", end: "*", keys: "c d", count: 2},
	}
}

func rangeLimitRows() []rangeRow {
	limit := func(n int64) func(*pb.RangeRequest, int64) {
		return func(r *pb.RangeRequest, _ int64) { r.Limit = n }
	}
	return []rangeRow{
		{name: "limit below count", end: "*", change: limit(2), keys: "a b", count: 4, more: true},
		{name: "limit equals count", end: "*", change: limit(4), keys: "a b c d", count: 4},
		{name: "limit above count", end: "*", change: limit(5), keys: "a b c d", count: 4},
		{name: "limit one below count", end: "*", change: limit(3), keys: "a b c", count: 4, more: true},
		{name: "limit zero is no limit", end: "*", change: limit(0), keys: "a b c d", count: 4},
		{name: "negative limit is no limit", end: "*", change: limit(-1), keys: "a b c d", count: 4},
		{name: "limit on a single key", key: "a", change: limit(1), keys: "a", count: 1},
		{name: "limit on a missing key", key: "x", change: limit(1), keys: "", count: 0},
	}
}

func rangeCountRows() []rangeRow {
	count := func(more func(*pb.RangeRequest, int64)) func(*pb.RangeRequest, int64) {
		return func(r *pb.RangeRequest, base int64) {
			r.CountOnly = true
			more(r, base)
		}
	}
	return []rangeRow{
		{name: "count only", end: "*", change: count(func(*pb.RangeRequest, int64) {}), count: 4},
		{name: "count only ignores limit", end: "*", change: count(func(r *pb.RangeRequest, _ int64) { r.Limit = 1 }), count: 4},
		{name: "count only ignores filters", end: "*", change: count(func(r *pb.RangeRequest, base int64) { r.MinModRevision = base + 4 }), count: 4},
		{name: "count only ignores sort", end: "*", change: count(func(r *pb.RangeRequest, _ int64) { r.SortOrder = pb.RangeRequest_DESCEND }), count: 4},
		{name: "count only in the past", end: "*", change: count(func(r *pb.RangeRequest, base int64) { r.Revision = base + 3 }), count: 3},
		{name: "count only of a missing key", key: "x", change: count(func(*pb.RangeRequest, int64) {}), count: 0},
		{name: "count only with keys only", end: "*", change: count(func(r *pb.RangeRequest, _ int64) { r.KeysOnly = true }), count: 4},
	}
}

func rangeRevisionRows() []rangeRow {
	at := func(n int64) func(*pb.RangeRequest, int64) {
		return func(r *pb.RangeRequest, base int64) { r.Revision = base + n }
	}
	return []rangeRow{
		{name: "at the first write", end: "*", change: at(1), keys: "d", count: 1},
		{name: "before the first write", end: "*", change: at(0), keys: "", count: 0},
		{name: "before an update", end: "*", change: at(4), keys: "a b c d", count: 4},
		{name: "before a delete", end: "*", change: at(6), keys: "a b c d e", count: 5},
		{name: "at a delete", end: "*", change: at(7), keys: "a b c d", count: 4},
		{name: "revision zero is the latest", end: "*", change: func(r *pb.RangeRequest, _ int64) { r.Revision = 0 }, keys: "a b c d", count: 4},
		{name: "negative revision is the latest", end: "*", change: func(r *pb.RangeRequest, _ int64) { r.Revision = -5 }, keys: "a b c d", count: 4},
		{name: "serializable", end: "*", change: func(r *pb.RangeRequest, _ int64) { r.Serializable = true }, keys: "a b c d", count: 4},
		{name: "limit in the past", end: "*", change: func(r *pb.RangeRequest, base int64) { r.Revision, r.Limit = base+6, 4 }, keys: "a b c d", count: 5, more: true},
	}
}

func rangeSortRows() []rangeRow {
	by := func(order pb.RangeRequest_SortOrder, target pb.RangeRequest_SortTarget, limit int64) func(*pb.RangeRequest, int64) {
		return func(r *pb.RangeRequest, _ int64) { r.SortOrder, r.SortTarget, r.Limit = order, target, limit }
	}
	const none, asc, desc = pb.RangeRequest_NONE, pb.RangeRequest_ASCEND, pb.RangeRequest_DESCEND
	const key, version, create, mod, value = pb.RangeRequest_KEY, pb.RangeRequest_VERSION, pb.RangeRequest_CREATE, pb.RangeRequest_MOD, pb.RangeRequest_VALUE
	return []rangeRow{
		{name: "key ascending", end: "*", change: by(asc, key, 0), keys: "a b c d", count: 4},
		{name: "key descending", end: "*", change: by(desc, key, 0), keys: "d c b a", count: 4},
		{name: "create ascending", end: "*", change: by(asc, create, 0), keys: "d b a c", count: 4},
		{name: "create descending", end: "*", change: by(desc, create, 0), keys: "c a b d", count: 4},
		{name: "mod ascending", end: "*", change: by(asc, mod, 0), keys: "d a c b", count: 4},
		{name: "mod descending", end: "*", change: by(desc, mod, 0), keys: "b c a d", count: 4},
		{name: "value ascending", end: "*", change: by(asc, value, 0), keys: "c b d a", count: 4},
		{name: "value descending", end: "*", change: by(desc, value, 0), keys: "a d b c", count: 4},
		{name: "version descending puts the updated first", end: "b\xff", change: by(desc, version, 0), keys: "b a", count: 2},
		{name: "version ascending puts the updated last", key: "b", end: "d", change: by(asc, version, 0), keys: "c b", count: 2},
		{name: "no order with a target ascends", end: "*", change: by(none, mod, 0), keys: "d a c b", count: 4},
		{name: "no order with value ascends", end: "*", change: by(none, value, 0), keys: "c b d a", count: 4},
		{name: "key ascending limited", end: "*", change: by(asc, key, 2), keys: "a b", count: 4, more: true},
		{name: "key descending limited", end: "*", change: by(desc, key, 2), keys: "d c", count: 4, more: true},
		{name: "mod ascending limited sorts everything first", end: "*", change: by(asc, mod, 2), keys: "d a", count: 4, more: true},
		{name: "mod descending limited", end: "*", change: by(desc, mod, 1), keys: "b", count: 4, more: true},
		{name: "no order limited sorts only limit plus one keys", end: "*", change: by(none, mod, 2), keys: "a c", count: 4, more: true},
		{name: "no order by value limited to one", end: "*", change: by(none, value, 1), keys: "b", count: 4, more: true},
		{name: "limit equal to count keeps the sort", end: "*", change: by(none, create, 4), keys: "d b a c", count: 4},
	}
}

func rangeFilterRows() []rangeRow {
	type revs = func(*pb.RangeRequest, int64)
	return []rangeRow{
		{name: "min mod is inclusive", end: "*", change: revs(func(r *pb.RangeRequest, b int64) { r.MinModRevision = b + 4 }), keys: "b c", count: 4},
		{name: "max mod is inclusive", end: "*", change: revs(func(r *pb.RangeRequest, b int64) { r.MaxModRevision = b + 3 }), keys: "a d", count: 4},
		{name: "min create is inclusive", end: "*", change: revs(func(r *pb.RangeRequest, b int64) { r.MinCreateRevision = b + 3 }), keys: "a c", count: 4},
		{name: "max create is inclusive", end: "*", change: revs(func(r *pb.RangeRequest, b int64) { r.MaxCreateRevision = b + 2 }), keys: "b d", count: 4},
		{name: "filters combine", end: "*", change: revs(func(r *pb.RangeRequest, b int64) { r.MinModRevision, r.MaxCreateRevision = b+4, b+2 }), keys: "b", count: 4},
		{name: "filter that nothing passes", end: "*", change: revs(func(r *pb.RangeRequest, b int64) { r.MinModRevision = b + 100 }), keys: "", count: 4},
		{name: "filter before limit", end: "*", change: revs(func(r *pb.RangeRequest, b int64) { r.MinModRevision, r.Limit = b+4, 1 }), keys: "b", count: 4, more: true},
		{name: "filter leaves exactly the limit", end: "*", change: revs(func(r *pb.RangeRequest, b int64) { r.MinModRevision, r.Limit = b+4, 2 }), keys: "b c", count: 4},
		{name: "filter with sort", end: "*", change: revs(func(r *pb.RangeRequest, b int64) {
			r.MaxModRevision, r.SortOrder, r.SortTarget = b+4, pb.RangeRequest_DESCEND, pb.RangeRequest_MOD
		}), keys: "c a d", count: 4},
		{name: "filter with unordered sort and limit sorts everything", end: "*", change: revs(func(r *pb.RangeRequest, b int64) {
			r.MinModRevision, r.SortTarget, r.Limit = b+1, pb.RangeRequest_MOD, 2
		}), keys: "d a", count: 4, more: true},
		{name: "filter in the past", end: "*", change: revs(func(r *pb.RangeRequest, b int64) { r.Revision, r.MaxModRevision = b+4, b+2 }), keys: "b d", count: 4},
	}
}

func rangeCases() []testCase {
	cases := []testCase{
		{name: "records carry all fields", run: rangeRecords},
		{name: "records of the past", run: rangePastRecords},
		{name: "keys only omits value and lease", run: rangeKeysOnly},
		{name: "keys only sorted by value keeps the lease", run: rangeKeysOnlyByValue},
		{name: "header has ids, term and the current revision", run: rangeHeader},
		{name: "header of a past read has the current revision", run: rangePastHeader},
	}
	rows := [][]rangeRow{rangeRows(), rangeLimitRows(), rangeCountRows(), rangeRevisionRows(), rangeSortRows(), rangeFilterRows()}
	for _, group := range rows {
		for _, row := range group {
			cases = append(cases, testCase{name: row.name, run: func(e *env) { e.rangeRow(row, false) }})
		}
	}
	for _, row := range append(rangeLimitRows(), rangeSortRows()...) {
		cases = append(cases, testCase{name: "in txn/" + row.name, run: func(e *env) { e.rangeRow(row, true) }})
	}
	return cases
}

func (e *env) rangeRow(row rangeRow, inTxn bool) {
	e.writeHistory()
	r := get(row.key, row.end)
	if row.change != nil {
		row.change(r, e.base)
	}
	resp := e.readEither(r, inTxn)
	e.equal("keys", e.names(resp.Kvs), row.keys)
	e.equal("count", resp.Count, row.count)
	e.equal("more", resp.More, row.more)
	e.equal("header revision", resp.Header.Revision-e.base, int64(7))
}

// readEither reads plainly or as the only operation of a transaction.
func (e *env) readEither(r *pb.RangeRequest, inTxn bool) *pb.RangeResponse {
	e.Helper()
	if !inTxn {
		return e.mustGet(r)
	}
	resp := e.mustTxn(&pb.TxnRequest{Success: []*pb.RequestOp{rangeOp(r)}})
	return resp.Responses[0].GetResponseRange()
}

func rangeRecords(e *env) {
	e.writeHistory()
	e.equal("state", e.state(), "a=4 c3 m3 v1; b=2 c2 m5 v2; c=1 c4 m4 v1; d=3 c1 m1 v1")
}

func rangePastRecords(e *env) {
	e.writeHistory()
	r := get("", "*")
	r.Revision = e.base + 4
	e.equal("records", e.shows(e.mustGet(r).Kvs), "a=4 c3 m3 v1; b=5 c2 m2 v1; c=1 c4 m4 v1; d=3 c1 m1 v1")
}

func rangeKeysOnly(e *env) {
	id := e.grant(60)
	e.mustPut(&pb.PutRequest{Key: []byte("a"), Value: []byte("1"), Lease: id})
	r := get("a", "")
	r.KeysOnly = true
	kv := e.mustGet(r).Kvs[0]
	e.equal("record", e.show(kv), "a= c1 m1 v1")
}

func rangeKeysOnlyByValue(e *env) {
	id := e.grant(60)
	e.mustPut(&pb.PutRequest{Key: []byte("a"), Value: []byte("1"), Lease: id})
	r := get("a", "")
	r.KeysOnly, r.SortTarget = true, pb.RangeRequest_VALUE
	kv := e.mustGet(r).Kvs[0]
	e.equal("value", string(kv.Value), "")
	e.equal("lease", kv.Lease, id)
}

func rangeHeader(e *env) {
	resp := e.mustGet(get("a", ""))
	e.fullHeader(resp.Header, e.base)
}

func rangePastHeader(e *env) {
	e.writeHistory()
	r := get("", "*")
	r.Revision = e.base + 2
	e.fullHeader(e.mustGet(r).Header, e.base+7)
}

// fullHeader ends the case unless the header has all ids and this revision.
func (e *env) fullHeader(h *pb.ResponseHeader, revision int64) {
	e.Helper()
	e.isTrue("header", h != nil)
	e.isTrue("cluster id is set", h.ClusterId != 0)
	e.isTrue("member id is set", h.MemberId != 0)
	e.isTrue("raft term is set", h.RaftTerm != 0)
	e.equal("header revision", h.Revision, revision)
}

func rangeErrorCases() []testCase {
	type row struct {
		name   string
		change func(r *pb.RangeRequest, base int64)
		want   refusal
	}
	rows := []row{
		{"future revision", func(r *pb.RangeRequest, b int64) { r.Revision = b + 1 }, futureRevision()},
		{"far future revision", func(r *pb.RangeRequest, _ int64) { r.Revision = 1 << 62 }, futureRevision()},
		{"future revision, serializable", func(r *pb.RangeRequest, b int64) { r.Revision, r.Serializable = b+1, true }, futureRevision()},
		{"future revision, count only", func(r *pb.RangeRequest, b int64) { r.Revision, r.CountOnly = b+1, true }, futureRevision()},
		{"empty key", func(r *pb.RangeRequest, _ int64) { r.Key = nil }, emptyKey()},
		{"empty key with an end", func(r *pb.RangeRequest, _ int64) { r.Key, r.RangeEnd = nil, []byte(fromKey) }, emptyKey()},
		{"unknown sort order", func(r *pb.RangeRequest, _ int64) { r.SortOrder = 3 }, invalidSort()},
		{"negative sort order", func(r *pb.RangeRequest, _ int64) { r.SortOrder = -1 }, invalidSort()},
		{"unknown sort target", func(r *pb.RangeRequest, _ int64) { r.SortTarget = 5 }, invalidSort()},
		{"empty key before sort", func(r *pb.RangeRequest, _ int64) { r.Key, r.SortOrder = nil, 9 }, emptyKey()},
		{"sort before revision", func(r *pb.RangeRequest, b int64) { r.SortTarget, r.Revision = 9, b+1 }, invalidSort()},
	}
	var cases []testCase
	for _, row := range rows {
		cases = append(cases, testCase{name: row.name, run: func(e *env) {
			r := e.realRange(get("a", ""))
			row.change(r, e.base)
			_, err := e.kv.Range(e.ctx, r)
			e.refused(err, row.want)
		}})
	}
	return cases
}
