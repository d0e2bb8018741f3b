package model

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// role says what the answer of an operation pins down.
type role uint8

const (
	// pinnedWrite made the revision of its answer.
	pinnedWrite role = iota + 1
	// pinnedRead changed nothing and saw the revision of its answer.
	pinnedRead
	// sample is the header of an answer that was filled in after the operation: a
	// moment between call and return at which the store was at that revision.
	sample
	// floating is a failure: it changed nothing, at a revision that it does not tell.
	floating
	// mover changed leases or the compacted revision, and perhaps deleted keys, at a
	// revision that its answer does not tell.
	mover
	// free is of unknown outcome, or done by the cluster itself. It need not have happened.
	free
)

// never is the return of what may take effect at any later time.
const never = math.MaxInt64

// An item is one thing that an order has to place, or may place.
type item struct {
	op       *Op // nil for what the cluster does by itself
	request  Request
	response Response
	call     int64
	ret      int64
	role     role
	// at is the revision of pinned items and samples, and the last one at which a failure for a future revision is right; 0: not known.
	at int64
}

// reads says that placing the item changes nothing.
func (i *item) reads() bool { return i.role == pinnedRead || i.role == sample || i.role == floating }

// holds says that the item has to be placed before the store leaves revision at:
// reads saw it, the header of a mover's answer is from after the move, and what
// was in the future then no longer is.
func (i *item) holds() bool {
	return i.role == pinnedRead || i.role == sample || (i.role == mover || i.role == floating) && i.at != 0
}

func (i *item) describe() string {
	switch {
	case i.op == nil:
		return describeRequest(i.request)
	case i.role == sample:
		return "the header of: " + i.op.describe()
	}
	return i.op.describe()
}

// A record is a history in the form that is judged.
type record struct {
	start    Snapshot
	items    []item // with an answer, by call
	free     []item // without an answer, by call
	alone    []*Op  // serializable reads
	evidence *evidence
	// writes tells which item made a revision.
	writes map[int64]int
	// target is the highest revision that anything tells of.
	target int64
	// seenBy is, for each revision from the first on, the time by which it existed
	// according to watchers and serializable reads.
	seenBy []int64
}

// maxStart bounds the revision of a start, so that no sum overflows.
const maxStart = 1 << 61

// newRecord sorts out the operations of a history. A history that contradicts
// itself is a violation already.
func newRecord(h *History) (*record, error) {
	if h.Start.Revision < 0 || h.Start.Revision > maxStart {
		return nil, contradiction("a start at revision %d", h.Start.Revision)
	}
	r := &record{start: h.Start, evidence: newEvidence(h.Watches), writes: map[int64]int{}}
	r.target = r.evidence.last
	for i := range h.Ops {
		if err := r.add(&h.Ops[i]); err != nil {
			return nil, err
		}
	}
	byCall := func(a, b item) int { return cmp.Compare(a.call, b.call) }
	slices.SortStableFunc(r.items, byCall)
	slices.SortStableFunc(r.free, byCall)
	if err := r.bound(); err != nil {
		return nil, err
	}
	r.indexSeen(h.Watches)
	return r, r.indexWrites()
}

func (r *record) base() int64 { return max(r.start.Revision, 1) }

// bound refuses revisions that there are not enough operations for.
func (r *record) bound() error {
	most := r.base() + int64(len(r.start.Leases))
	for _, it := range slices.Concat(r.items, r.free) {
		if it.role == pinnedWrite || it.role == mover || it.role == free {
			most++
		}
	}
	if r.target > most {
		return linearity("something saw revision %d, but all operations together lead to %d at most", r.target, most)
	}
	return nil
}

// indexSeen fills seenBy.
func (r *record) indexSeen(watches []WatchLog) {
	base := r.base()
	r.seenBy = make([]int64, max(r.target-base+1, 0))
	for i := range r.seenBy {
		r.seenBy[i] = never
	}
	see := func(revision, at int64) {
		if i := revision - base; i >= 0 && i < int64(len(r.seenBy)) {
			r.seenBy[i] = min(r.seenBy[i], at)
		}
	}
	for _, op := range r.alone {
		see(op.Response.Revision, op.Return)
	}
	for i := range watches {
		for _, response := range watches[i].Responses {
			see(response.Revision, response.Time)
		}
	}
	for i := len(r.seenBy) - 2; i >= 0; i-- {
		r.seenBy[i] = min(r.seenBy[i], r.seenBy[i+1])
	}
}

// inTime says whether something called at a time can have made a revision.
func (r *record) inTime(revision, call int64) bool {
	i := revision - r.base()
	return i >= int64(len(r.seenBy)) || call <= r.seenBy[i]
}

// contradiction is a violation of the record itself.
func contradiction(format string, args ...any) error {
	return &Violation{Property: "record", Reason: fmt.Sprintf(format, args...)}
}

func (r *record) add(op *Op) error {
	switch {
	case op.Kind < Put || op.Kind > Revoke:
		return contradiction("an operation of kind %d", op.Kind)
	case op.Unknown:
		if mayChange(op.Request) {
			r.free = append(r.free, item{op: op, request: op.Request, call: op.Call, ret: never, role: free})
		}
		return nil
	case op.Return < op.Call:
		return contradiction("it returned before it was called: %s", op.describe())
	case op.Failure == FailureRefused:
		return nil
	case isSerializable(op.Request):
		r.alone = append(r.alone, op)
		r.target = max(r.target, op.Response.Revision)
		return nil
	}
	r.addAnswered(op)
	return nil
}

func (r *record) addAnswered(op *Op) {
	it := item{op: op, request: op.Request, response: op.Response, call: op.Call, ret: op.Return, at: op.Response.Revision}
	it.role = roleOf(op)
	if it.role == floating {
		it.at = lastBefore(op)
	}
	r.items = append(r.items, it)
	if it.role == mover && it.at != 0 {
		it.role = sample
		r.items = append(r.items, it)
	}
	if it.role != floating {
		r.target = max(r.target, it.at)
	}
}

// lastBefore is the last revision at which what an operation asked for was in the future; 0 if it failed for something else.
func lastBefore(op *Op) int64 {
	if op.Failure != FailureFuture || op.Kind == Txn {
		return 0
	}
	return op.AtRevision - 1
}

func roleOf(op *Op) role {
	switch {
	case op.Failure != FailureNone:
		return floating
	case op.Kind == Grant || op.Kind == Revoke || op.Kind == Compact:
		return mover
	case changes(op.Request, op.Response):
		return pinnedWrite
	}
	return pinnedRead
}

// indexWrites finds the maker of each revision.
func (r *record) indexWrites() error {
	base := r.base()
	for i := range r.items {
		it := &r.items[i]
		if it.role == floating || it.role == mover {
			continue
		}
		if it.at < base || (it.role == pinnedWrite && it.at == base) {
			return linearity("revision %d is older than the store: %s", it.at, it.describe())
		}
		if it.role != pinnedWrite {
			continue
		}
		if other, taken := r.writes[it.at]; taken {
			return linearity("two writes made revision %d:\n%s\n%s", it.at, r.items[other].describe(), it.describe())
		}
		r.writes[it.at] = i
	}
	return nil
}

func linearity(format string, args ...any) error {
	return &Violation{Property: "linearizable", Reason: fmt.Sprintf(format, args...)}
}

// request returns what a placement asks of the store.
func (r *record) request(p placement) Request {
	switch {
	case p.item >= 0:
		return r.items[p.item].request
	case p.free >= 0:
		return r.free[p.free].request
	}
	return Request{Kind: Expire, Lease: p.expire}
}

// position orders pinned items: a write of revision r at 2r, what saw revision
// r after it, at 2r+1.
func (i *item) position() int64 {
	if i.role == pinnedWrite {
		return 2 * i.at
	}
	return 2*i.at + 1
}

// realTime compares the order of revisions with the order of time: what returned
// before something was called stands no later. It is a sweep over calls and
// returns and does not look at contents.
func (r *record) realTime() error {
	var pinned []*item
	for i := range r.items {
		if it := &r.items[i]; it.role == pinnedWrite || it.role == pinnedRead || it.role == sample {
			pinned = append(pinned, it)
		}
	}
	byReturn := slices.Clone(pinned)
	slices.SortStableFunc(byReturn, func(a, b *item) int { return cmp.Compare(a.ret, b.ret) })
	var last *item // of those that returned, the one that stands last
	next := 0
	for _, it := range pinned {
		for ; byReturn[next].ret < it.call; next++ {
			if last == nil || byReturn[next].position() > last.position() {
				last = byReturn[next]
			}
		}
		if last != nil && last.position() > it.position() {
			return linearity("%s\nreturned before the call of\n%s\nwhich is behind it", last.describe(), it.describe())
		}
	}
	return nil
}
