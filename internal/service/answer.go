package service

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
)

// What decides how an answer is made. A small one is put together at once and asks nobody. Any other one is charged to the budget for
// the memory that it needs while it is under way, which for a long list is that of a few pieces.
const (
	smallAnswerBytes = 64 << 10  // up to here an answer is small
	pieceBytes       = 512 << 10 // from here on a list is encoded in pieces of this size, each when it is sent
	smallListKeys    = 1000      // up to here a list is collected before its size is known; longer ones that come in the order of their keys are not
	keyCostBytes     = 64        // what a collected key costs, without its record
	pieceCostBytes   = 96        // what a planned piece costs: its line in the plan and its buffer's head
)

// Answer is a response in wire form: Bytes, or, if Large is not nil, the pieces of that.
type Answer struct {
	Bytes []byte
	Large *Large
}

// Whole is the whole response, which costs the memory that Large saves. It ends the Large.
func (a Answer) Whole() []byte {
	if a.Large == nil {
		return a.Bytes
	}
	defer a.Large.Close()
	b := make([]byte, 0, a.Large.Size())
	for range a.Large.Pieces() {
		piece, _ := a.Large.Next()
		b = append(b, piece...)
	}
	return b
}

// Close gives back what the answer holds.
func (a Answer) Close() {
	if a.Large != nil {
		a.Large.Close()
	}
}

// Large is a response that is encoded when it is sent. Pieces and sizes are fixed from the beginning; Next encodes one after the other.
// Close must be called when the client has everything or is gone: until then the records stay readable and the memory stays charged.
//
// Invariants:
//  1. The pieces one after the other are the response that would have been encoded at once.
//  2. After Close it holds neither a view nor a share of the budget.
//  3. What cannot be encoded as planned ends the response: no wrong byte is handed out, and nothing after it.
type Large struct {
	svc   *Service // nil if it holds no view
	plan  []piece
	bytes int
	mu    struct {
		sync.Mutex
		next   int
		whole  []byte // what is left of a response that was encoded beforehand
		head   []byte // stands before the records
		tail   []byte // stands behind them
		source source
		view   *mvcc.View // of the source
		hold   hold
		closed bool
	}
}

// piece is a run of records of a response.
type piece struct {
	records int
	bytes   int
}

// Size is the length of the response in bytes.
func (l *Large) Size() int { return l.bytes }

// Pieces is the number of pieces.
func (l *Large) Pieces() int { return len(l.plan) }

// PieceSize is the length of piece i in bytes.
func (l *Large) PieceSize(i int) int { return l.plan[i].bytes }

// Close gives back what the response holds. Again it does nothing. It may be called at any time.
func (l *Large) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return
	}
	l.mu.closed = true
	l.mu.whole, l.mu.source = nil, nil
	l.mu.hold.release()
	if l.mu.view != nil {
		l.svc.answers.remove(l)
		l.mu.view.Release()
		l.mu.view = nil
	}
}

// Next returns the next piece, which must not be changed. It reports false after Close, after the last piece, and if the records cannot be
// read any more.
func (l *Large) Next() ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed || l.mu.next == len(l.plan) {
		return nil, false
	}
	want := l.plan[l.mu.next]
	if l.mu.source == nil {
		out := l.mu.whole[:want.bytes:want.bytes]
		l.mu.whole = l.mu.whole[want.bytes:]
		l.mu.next++
		return out, true
	}
	out, err := l.encode(l.svc.answers.array(want.bytes), want)
	if err != nil || len(out) != want.bytes {
		l.mu.next = len(l.plan)
		return nil, false
	}
	l.mu.next++
	l.renew()
	return out, true
}

// Recycle takes back a piece that nobody reads any more.
func (l *Large) Recycle(piece []byte) {
	if l.svc != nil && cap(piece) <= arrayBytesMax {
		l.svc.answers.arrays.Put(&piece)
	}
}

func (l *Large) encode(b []byte, p piece) ([]byte, error) {
	records, err := l.mu.source.next(p.records)
	if err != nil {
		return b, err
	}
	if l.mu.next == 0 {
		b = append(b, l.mu.head...)
	}
	b = request.AppendRangeRecords(b, records)
	if l.mu.next == len(l.plan)-1 {
		b = append(b, l.mu.tail...)
	}
	return b, nil
}

// renew goes on with the published view, so that a slow client does not hold an old one; unless that has forgotten the revision.
func (l *Large) renew() {
	pager, ok := l.mu.source.(*pagerSource)
	if !ok {
		return
	}
	view, err := l.svc.member.View()
	if err != nil {
		return
	}
	old := l.mu.view
	if pager.Move(view) != nil {
		old = view
	} else {
		l.mu.view = view
	}
	old.Release()
}

// source yields the records of a response in order.
type source interface {
	// next returns exactly n records, valid until the next call.
	next(n int) ([][]byte, error)
}

// collected is a source of records that were found already.
type collected struct{ left [][]byte }

func (c *collected) next(n int) ([][]byte, error) {
	records := c.left[:n]
	c.left = c.left[n:]
	return records, nil
}

// pagerSource is a source that finds the records when they are wanted.
type pagerSource struct{ *mvcc.Pager }

func (p *pagerSource) next(n int) ([][]byte, error) { return p.Next(n) }

// planner cuts records into pieces.
type planner struct {
	plan  []piece
	open  piece
	total int
}

// add plans a record of so many bytes.
func (p *planner) add(recordBytes int) {
	size := request.SizeRangeRecord(recordBytes)
	if p.open.records > 0 && p.open.bytes+size > pieceBytes {
		p.plan = append(p.plan, p.open)
		p.open = piece{}
	}
	p.open.records++
	p.open.bytes += size
	p.total += size
}

// large ends the plan: a response of these records between head and tail.
func (p *planner) large(s *Service, from source, head, tail []byte) *Large {
	p.plan = append(p.plan, p.open)
	p.plan[0].bytes += len(head)
	p.plan[len(p.plan)-1].bytes += len(tail)
	l := &Large{svc: s, plan: slices.Clip(p.plan), bytes: p.total + len(head) + len(tail)}
	l.mu.source, l.mu.head, l.mu.tail = from, head, tail
	return l
}

// encoded is a response that exists already and is charged for what it holds.
func encoded(b []byte, h hold) Answer {
	if h.empty() {
		return Answer{Bytes: b}
	}
	h.resize(int64(len(b)))
	l := &Large{bytes: len(b)}
	for left := len(b); left > 0; left -= l.plan[len(l.plan)-1].bytes {
		l.plan = append(l.plan, piece{bytes: min(left, pieceBytes)})
	}
	l.mu.whole, l.mu.hold = b, h
	return Answer{Large: l}
}

// arrayBytesMax bounds the arrays that are kept for further pieces.
const arrayBytesMax = 1 << 20

// answers is the responses that hold a view, and arrays for pieces.
type answers struct {
	arrays sync.Pool // of *[]byte
	mu     sync.Mutex
	open   map[*Large]struct{}
}

// array returns an empty slice with room for so many bytes.
func (a *answers) array(bytes int) []byte {
	if b, ok := a.arrays.Get().(*[]byte); ok && cap(*b) >= bytes {
		return (*b)[:0]
	}
	return make([]byte, 0, max(bytes, pieceBytes+pieceBytes/8))
}

func (a *answers) add(l *Large) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil {
		a.open = make(map[*Large]struct{})
	}
	a.open[l] = struct{}{}
}

func (a *answers) remove(l *Large) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, l)
}

// DropAnswers ends the large answers, and the direct calls that wait to read, that are still under way, so that they hold nothing. It is called
// when no other call runs any more.
func (s *Service) DropAnswers() {
	s.lateReads.stop()
	s.answers.mu.Lock()
	open := slices.Collect(maps.Keys(s.answers.open))
	s.answers.mu.Unlock()
	for _, l := range open {
		l.Close()
	}
}

// reading is the way of one request from a view to its answer.
type reading struct {
	svc  *Service
	ctx  context.Context
	view *mvcc.View
	hold hold
}

// admit charges the answer. If there is no room now the view is given back while the request waits in line, and a newer one is taken
// after that; again is true then, and what was read is void.
func (r *reading) admit(bytes int64) (again bool, err error) {
	if !r.hold.empty() {
		r.hold.resize(max(bytes, r.hold.bytes))
		return false, nil
	}
	if r.svc.hasRoom(r.ctx) {
		return false, nil
	}
	var ok bool
	if r.hold, ok = r.svc.budget.try(bytes); ok {
		return false, nil
	}
	r.view.Release()
	r.view = nil
	if r.hold, err = r.svc.budget.wait(r.ctx, bytes); err != nil {
		return false, err
	}
	r.view, err = r.svc.member.View()
	return true, err
}

// end gives back what the reading still has.
func (r *reading) end() {
	r.hold.release()
	if r.view != nil {
		r.view.Release()
	}
}

// keep hands over to l what the reading has.
func (r *reading) keep(l *Large) Answer {
	l.mu.view, l.mu.hold = r.view, r.hold
	r.svc.answers.add(l)
	l.mu.hold.resize(int64(min(l.bytes, 2*pieceBytes) + len(l.plan)*pieceCostBytes))
	r.view, r.hold = nil, hold{}
	return Answer{Large: l}
}
