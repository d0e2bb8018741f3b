package behaviour

import (
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

func watchCreateCases() []testCase {
	return []testCase{
		{name: "created", run: func(e *env) {
			w := e.openWatch()
			w.create(watchFrom("a", "", 0))
			resp := w.next()
			e.isTrue("created", resp.Created && !resp.Canceled)
			e.equal("id", resp.WatchId, int64(0))
			e.fullHeader(resp.Header, e.base)
		}},
		{name: "ids from zero upward", run: func(e *env) {
			w := e.openWatch()
			for want := range int64(3) {
				e.equal("id", w.created(watchFrom("a", "", 0)), want)
			}
		}},
		{name: "ids are per stream", run: func(e *env) {
			e.equal("id", e.openWatch().created(watchFrom("a", "", 0)), int64(0))
			e.equal("id", e.openWatch().created(watchFrom("a", "", 0)), int64(0))
		}},
		{name: "client's id", run: func(e *env) {
			r := watchFrom("a", "", 0)
			r.WatchId = 77
			e.equal("id", e.openWatch().created(r), int64(77))
		}},
		{name: "assigned ids skip those in use", run: func(e *env) {
			w := e.openWatch()
			taken := watchFrom("a", "", 0)
			taken.WatchId = 1
			w.created(taken)
			e.equal("first", w.created(watchFrom("a", "", 0)), int64(0))
			e.equal("second", w.created(watchFrom("a", "", 0)), int64(2))
		}},
		{name: "refused: id in use", run: func(e *env) {
			w := e.openWatch()
			first, second := watchFrom("a", "", 0), watchFrom("b", "", 0)
			first.WatchId, second.WatchId = 5, 5
			w.created(first)
			w.create(second)
			w.refusal("mvcc: duplicate watch ID provided on the WatchStream")
		}},
		{name: "refused: negative start revision", run: func(e *env) {
			w := e.openWatch()
			w.create(watchFrom("a", "", -1))
			w.refusal("etcdserver: mvcc: required revision has been compacted")
		}},
		{name: "refused: end before key", run: func(e *env) {
			w := e.openWatch()
			w.create(watchFrom("b", "a", 0))
			w.refusal("mvcc: watcher range is empty")
		}},
		{name: "refused: end equals key", run: func(e *env) {
			w := e.openWatch()
			w.create(watchFrom("b", "b", 0))
			w.refusal("mvcc: watcher range is empty")
		}},
		{name: "the stream goes on after a refusal", run: func(e *env) {
			w := e.openWatch()
			w.create(watchFrom("b", "b", 0))
			w.refusal("mvcc: watcher range is empty")
			w.created(watchFrom("a", "", 0))
			e.mustPut(put("a", "1"))
			e.equal("events", w.shown(1), "[PUT a=1 c1 m1 v1]@1")
		}},
		{name: "an unset request is ignored", run: func(e *env) {
			w := e.openWatch()
			w.send(&pb.WatchRequest{})
			w.quiet()
		}},
		{name: "half closing does not end the stream", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("a", "", 0))
			e.ok(w.stream.CloseSend())
			e.mustPut(put("a", "1"))
			e.equal("events", w.shown(1), "[PUT a=1 c1 m1 v1]@1")
		}},
	}
}

// refusal reads the answer to a create request that is refused with this reason.
func (w *watchStream) refusal(reason string) {
	w.Helper()
	resp := w.next()
	w.isTrue("created and canceled", resp.Created && resp.Canceled)
	w.equal("id", resp.WatchId, int64(-1))
	w.equal("reason", resp.CancelReason, reason)
	w.equal("compact revision", resp.CompactRevision, int64(0))
	w.fullHeader(resp.Header, w.revision())
}

// watchRow is one watcher over the fixed history of watchHistory.
type watchRow struct {
	name     string
	key, end string
	start    int64
	change   func(r *pb.WatchCreateRequest)
	past     string // events when the watcher comes after the history; "" is none
}

// watchHistory makes revisions 1 to 5: a=1, b=1, txn{a=1 d=1 get}, delete a, c=1.
func (e *env) watchHistory() {
	e.Helper()
	e.mustPut(put("a", "1"))
	e.mustPut(put("b", "1"))
	e.mustTxn(&pb.TxnRequest{Success: []*pb.RequestOp{p("d"), g("a", ""), p("a")}})
	e.mustDelete(del("a", ""))
	e.mustPut(put("c", "1"))
}

func watchRows() []watchRow {
	filter := func(filters ...pb.WatchCreateRequest_FilterType) func(*pb.WatchCreateRequest) {
		return func(r *pb.WatchCreateRequest) { r.Filters = filters }
	}
	previous := func(r *pb.WatchCreateRequest) { r.PrevKv = true }
	const noPut, noDelete = pb.WatchCreateRequest_NOPUT, pb.WatchCreateRequest_NODELETE
	return []watchRow{
		{name: "one key", key: "a", start: 1, past: "PUT a=1 c1 m1 v1; PUT a=1 c1 m3 v2; DELETE a m4"},
		{name: "from the middle", key: "a", start: 2, past: "PUT a=1 c1 m3 v2; DELETE a m4"},
		{name: "from the revision of an event", key: "a", start: 3, past: "PUT a=1 c1 m3 v2; DELETE a m4"},
		{name: "from the last event", key: "a", start: 4, past: "DELETE a m4"},
		{name: "range", key: "a", end: "c", start: 1, past: "PUT a=1 c1 m1 v1; PUT b=1 c2 m2 v1; PUT a=1 c1 m3 v2; DELETE a m4"},
		{name: "prefix", key: "", end: "*", start: 3, past: "PUT d=1 c3 m3 v1; PUT a=1 c1 m3 v2; DELETE a m4; PUT c=1 c5 m5 v1"},
		{name: "from key", key: "c", end: fromKey, start: 1, past: "PUT d=1 c3 m3 v1; PUT c=1 c5 m5 v1"},
		{name: "no puts", key: "", end: "*", start: 1, change: filter(noPut), past: "DELETE a m4"},
		{name: "no deletes", key: "a", start: 1, change: filter(noDelete), past: "PUT a=1 c1 m1 v1; PUT a=1 c1 m3 v2"},
		{name: "unknown filter is ignored", key: "a", start: 4, change: filter(7), past: "DELETE a m4"},
		{name: "previous records", key: "a", start: 1, change: previous, past: "PUT a=1 c1 m1 v1; PUT a=1 c1 m3 v2 was a=1 c1 m1 v1; DELETE a m4 was a=1 c1 m3 v2"},
		{name: "previous records with a filter", key: "a", start: 1, change: func(r *pb.WatchCreateRequest) {
			r.PrevKv, r.Filters = true, []pb.WatchCreateRequest_FilterType{noPut}
		}, past: "DELETE a m4 was a=1 c1 m3 v2"},
	}
}

func watchEventCases() []testCase {
	var cases []testCase
	for _, row := range watchRows() {
		cases = append(cases,
			testCase{name: "past: " + row.name, run: func(e *env) { e.watchPast(row) }},
			testCase{name: "live: " + row.name, run: func(e *env) { e.watchLive(row) }})
	}
	return append(cases, watchMoreCases()...)
}

func (row watchRow) request() *pb.WatchCreateRequest {
	r := watchFrom(row.key, row.end, row.start)
	if row.change != nil {
		row.change(r)
	}
	return r
}

// watchPast creates the watcher after the history: everything comes in one
// response whose header has the current revision.
func (e *env) watchPast(row watchRow) {
	e.watchHistory()
	w := e.openWatch()
	w.created(row.request())
	e.equal("events", w.shown(1), "["+row.past+"]@5")
	w.quiet()
}

// watchLive creates the watcher first: one response for each revision.
func (e *env) watchLive(row watchRow) {
	w := e.openWatch()
	w.created(row.request())
	e.watchHistory()
	count := strings.Count(row.past, ";") + 1
	var events []string
	last := int64(0)
	for len(events) < count {
		resp := w.next()
		e.isTrue("revisions ascend", resp.Header.Revision > last)
		last = resp.Header.Revision
		for _, event := range resp.Events {
			e.equal("header is the event's revision", resp.Header.Revision, event.Kv.ModRevision)
			events = append(events, w.showEvent(event))
		}
	}
	e.equal("events", strings.Join(events, "; "), row.past)
	w.quiet()
}

func watchMoreCases() []testCase {
	return []testCase{
		{name: "all events of a txn in one response", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("", "*", 0))
			e.mustTxn(&pb.TxnRequest{Success: []*pb.RequestOp{p("b"), t(p("a")), p("c")}})
			e.equal("events", w.shown(1), "[PUT b=1 c1 m1 v1; PUT a=1 c1 m1 v1; PUT c=1 c1 m1 v1]@1")
		}},
		{name: "delete and put of a key in one revision", run: func(e *env) {
			e.mustPut(put("z", "0"))
			w := e.openWatch()
			w.created(watchFrom("z", "", 0))
			e.mustTxn(&pb.TxnRequest{Success: []*pb.RequestOp{d("a", fromKey), p("z")}})
			e.equal("events", w.shown(1), "[DELETE z m2; PUT z=1 c2 m2 v1]@2")
		}},
		{name: "a range delete is one response in key order", run: func(e *env) {
			e.writeHistory()
			w := e.openWatch()
			w.created(watchFrom("", "*", 0))
			e.mustDelete(del("a", "d"))
			e.equal("events", w.shown(1), "[DELETE a m8; DELETE b m8; DELETE c m8]@8")
		}},
		{name: "nothing from a delete of nothing", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("", "*", 0))
			e.mustDelete(del("a", ""))
			w.quiet()
		}},
		{name: "from now misses the past", run: func(e *env) {
			e.mustPut(put("a", "1"))
			w := e.openWatch()
			w.created(watchFrom("a", "", 0))
			e.mustPut(put("a", "2"))
			e.equal("events", w.shown(1), "[PUT a=2 c1 m2 v2]@2")
		}},
		{name: "from the future", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("a", "", 3))
			e.watchHistory()
			e.equal("events", w.shown(2), "[PUT a=1 c1 m3 v2]@3 [DELETE a m4]@4")
			w.quiet()
		}},
		{name: "past then live without gap or repeat", run: func(e *env) {
			e.mustPut(put("a", "1"))
			w := e.openWatch()
			w.created(watchFrom("a", "", 1))
			e.equal("past", w.shown(1), "[PUT a=1 c1 m1 v1]@1")
			e.mustPut(put("a", "2"))
			e.equal("live", w.shown(1), "[PUT a=2 c1 m2 v2]@2")
		}},
		{name: "two watchers on a stream", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("a", "", 0))
			w.created(watchFrom("", "*", 0))
			e.mustPut(put("a", "1"))
			ids := w.next().WatchId + w.next().WatchId
			e.equal("each once", ids, int64(1))
			w.quiet()
		}},
		{name: "other keys are not seen", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("a", "", 0))
			e.mustPut(put("aa", "1"))
			e.mustPut(put("b", "1"))
			w.quiet()
		}},
		{name: "live previous record unless created", run: func(e *env) {
			w := e.openWatch()
			r := watchFrom("a", "", 0)
			r.PrevKv = true
			w.created(r)
			e.mustPut(put("a", "1"))
			e.mustPut(put("a", "2"))
			e.equal("events", w.shown(2), "[PUT a=1 c1 m1 v1]@1 [PUT a=2 c1 m2 v2 was a=1 c1 m1 v1]@2")
		}},
		{name: "empty key and no end is the key of one zero byte", run: watchEmptyKey},
		{name: "empty key and from key is everything", run: watchEverything},
	}
}

func watchEmptyKey(e *env) {
	w := e.openWatch()
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{}}})
	e.isTrue("created", w.next().Created)
	e.mustPut(put("a", "1"))
	_, err := e.kv.Put(e.ctx, &pb.PutRequest{Key: []byte("\x00")})
	e.ok(err)
	events := w.next().Events
	e.equal("key", string(events[0].Kv.Key), "\x00")
	_, err = e.kv.DeleteRange(e.ctx, &pb.DeleteRangeRequest{Key: []byte("\x00")})
	e.ok(err)
	e.equal("type", w.next().Events[0].Type, mvccpb.DELETE)
}

func watchEverything(e *env) {
	w := e.openWatch()
	all := &pb.WatchCreateRequest{RangeEnd: []byte(fromKey)}
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: all}})
	e.isTrue("created", w.next().Created)
	e.mustPut(put("a", "1"))
	e.equal("events", w.shown(1), "[PUT a=1 c1 m1 v1]@1")
}

func watchCancelCases() []testCase {
	return []testCase{
		{name: "canceled without a reason", run: func(e *env) {
			w := e.openWatch()
			id := w.created(watchFrom("a", "", 0))
			w.cancel(id)
			resp := w.next()
			e.isTrue("canceled", resp.Canceled && !resp.Created)
			e.equal("id", resp.WatchId, id)
			e.equal("reason", resp.CancelReason, "")
			e.fullHeader(resp.Header, e.base)
		}},
		{name: "unknown id is ignored", run: func(e *env) {
			w := e.openWatch()
			w.cancel(42)
			w.quiet()
		}},
		{name: "twice is once", run: func(e *env) {
			w := e.openWatch()
			id := w.created(watchFrom("a", "", 0))
			w.cancel(id)
			e.isTrue("canceled", w.next().Canceled)
			w.cancel(id)
			w.quiet()
		}},
		{name: "no events afterwards", run: func(e *env) {
			w := e.openWatch()
			id := w.created(watchFrom("a", "", 0))
			w.cancel(id)
			e.isTrue("canceled", w.next().Canceled)
			e.mustPut(put("a", "1"))
			w.quiet()
		}},
		{name: "the id is free again", run: func(e *env) {
			w := e.openWatch()
			for range 2 {
				r := watchFrom("a", "", 0)
				r.WatchId = 9
				w.created(r)
				w.cancel(9)
				e.isTrue("canceled", w.next().Canceled)
			}
		}},
		{name: "the other watchers go on", run: func(e *env) {
			w := e.openWatch()
			id := w.created(watchFrom("a", "", 0))
			other := w.created(watchFrom("a", "", 0))
			w.cancel(id)
			e.isTrue("canceled", w.next().Canceled)
			e.mustPut(put("a", "1"))
			e.equal("id", w.next().WatchId, other)
			w.quiet()
		}},
	}
}
