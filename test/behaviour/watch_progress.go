package behaviour

import (
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

func watchProgressCases() []testCase {
	return []testCase{
		{name: "answered for all watchers", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("a", "", 0))
			w.progressAt(0)
		}},
		{name: "shows revisions of other keys", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("a", "", 0))
			e.mustPut(put("b", "1"))
			w.progressAt(1)
		}},
		{name: "after the events up to it", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("a", "", 0))
			e.mustPut(put("a", "1"))
			w.progress()
			e.equal("event", w.shown(1), "[PUT a=1 c1 m1 v1]@1")
			w.isProgress(w.next(), 1)
		}},
		{name: "each request is answered", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("a", "", 0))
			w.progressAt(0)
			w.progressAt(0)
		}},
		{name: "dropped without watchers", run: func(e *env) {
			w := e.openWatch()
			w.progress()
			w.quiet()
		}},
		{name: "dropped after the last watcher is canceled", run: func(e *env) {
			w := e.openWatch()
			w.cancel(w.created(watchFrom("a", "", 0)))
			e.isTrue("canceled", w.next().Canceled)
			w.progress()
			w.quiet()
		}},
		{name: "dropped while a watcher starts in the future", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("a", "", 5))
			w.progress()
			w.quiet()
		}},
		{name: "one watcher in the future is enough to drop it", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("a", "", 0))
			future := w.created(watchFrom("a", "", 5))
			w.progress()
			w.quiet()
			w.cancel(future)
			e.isTrue("canceled", w.next().Canceled)
			w.progressAt(0)
		}},
	}
}

// progressAt asks for progress and reads the answer at a relative revision.
func (w *watchStream) progressAt(revision int64) {
	w.Helper()
	w.progress()
	w.isProgress(w.next(), revision)
}

func (w *watchStream) isProgress(resp *pb.WatchResponse, revision int64) {
	w.Helper()
	w.equal("id", resp.WatchId, int64(-1))
	w.equal("events", len(resp.Events), 0)
	w.isTrue("neither created nor canceled", !resp.Created && !resp.Canceled)
	w.fullHeader(resp.Header, w.base+revision)
}

func watchFragmentCases() []testCase {
	return []testCase{
		{name: "large history in parts", run: func(e *env) { e.fragments(true, 3) }},
		{name: "whole without the wish", run: func(e *env) { e.fragments(false, 1) }},
		{name: "small history is one part", run: func(e *env) {
			e.watchHistory()
			w := e.openWatch()
			r := watchFrom("a", "", 4)
			r.Fragment = true
			w.created(r)
			e.equal("events", w.shown(1), "[DELETE a m4]@5")
		}},
	}
}

// fragmentTries is how often a history may come whole although parts were asked
// for: etcd does not split what it read before its answer to the creation of the
// watcher was out, a matter of microseconds in each 100 ms.
const fragmentTries = 3

// fragments writes three values of 1 MiB and reads them back as one batch of
// the history, in the wanted number of responses.
func (e *env) fragments(wish bool, parts int) {
	value := strings.Repeat("v", 1<<20)
	for range 3 {
		e.mustPut(put("a", value))
	}
	for range fragmentTries {
		if got := e.historyParts(wish); got == parts {
			return
		}
	}
	e.Fatalf("never got the history in %d parts", parts)
}

// historyParts watches from the start of the case, checks the three events and
// says in how many responses they came.
func (e *env) historyParts(wish bool) (parts int) {
	w := e.openWatch()
	r := watchFrom("a", "", 1)
	r.Fragment = wish
	w.created(r)
	var revisions []int64
	for more := true; more; parts++ {
		resp := w.next()
		more = resp.Fragment
		e.equal("header revision", resp.Header.Revision-e.base, int64(3))
		for _, event := range resp.Events {
			revisions = append(revisions, event.Kv.ModRevision-e.base)
		}
	}
	e.equal("revisions", revisions, []int64{1, 2, 3})
	w.quiet()
	return parts
}

// watchNotifyCases run on a server that notifies every 100 ms.
func watchNotifyCases() []testCase {
	return []testCase{
		{name: "idle watcher is notified with its own id", run: func(e *env) {
			w := e.openWatch()
			r := watchFrom("a", "", 0)
			r.ProgressNotify, r.WatchId = true, 8
			w.created(r)
			for range 2 {
				resp := w.next()
				e.equal("id", resp.WatchId, int64(8))
				e.equal("events", len(resp.Events), 0)
				e.fullHeader(resp.Header, e.base)
			}
		}},
		{name: "shows revisions of other keys", run: func(e *env) {
			w := e.openWatch()
			r := watchFrom("a", "", 0)
			r.ProgressNotify = true
			w.created(r)
			e.mustPut(put("b", "1"))
			for resp := w.next(); resp.Header.Revision != e.base+1; resp = w.next() {
				e.equal("events", len(resp.Events), 0)
			}
		}},
		{name: "only who asked is notified", run: func(e *env) {
			w := e.openWatch()
			w.created(watchFrom("a", "", 0))
			r := watchFrom("a", "", 0)
			r.ProgressNotify = true
			asked := w.created(r)
			for range 3 {
				e.equal("id", w.next().WatchId, asked)
			}
		}},
	}
}
