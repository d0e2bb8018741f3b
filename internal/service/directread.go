package service

import (
	"context"
	"time"

	"github.com/quoin-kv/quoin/internal/auth"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/steps"
)

// What a direct read may take of the goroutine that serves all calls of a connection; more is left to the ordinary calls.
const (
	directKeysMax  = 64       // keys gone through
	directBytesMax = 16 << 10 // of the answer
)

// readBatch reads for some calls from one view.
type readBatch struct {
	svc    *Service
	start  time.Time
	view   *mvcc.View
	header request.ResponseHeader
	users  *auth.State
	who    callers
	waited time.Duration // for the read index
	out    []byte        // room for answers, each of which is handed out once
	one    [1][]byte     // scratch of get
	left   int           // calls to come that may need some
}

// lateReads is the reads of direct calls that have to wait. They end with DropAnswers, as nobody else waits for them.
type lateReads struct {
	tasks
	ctx    context.Context
	cancel context.CancelFunc
}

func (l *lateReads) init(c Clock) {
	l.clock = c
	l.ctx, l.cancel = context.WithCancel(context.Background())
}

// stop ends them and waits for that.
func (l *lateReads) stop() {
	l.cancel()
	l.wait()
}

// readDirect serves the calls that read: at once if that is allowed, else all of them after one wait.
func (s *Service) readDirect(calls []Direct, start time.Time) {
	b := readBatch{svc: s, start: start, left: len(calls)}
	defer b.end()
	current := s.member.Current() // before the view
	var late []Direct
	for _, c := range calls {
		if c.Kind() != DirectRange {
			continue
		}
		var r request.Range
		switch err := parseRange(&r, c.Request()); {
		case err != nil:
			c.Fail(err, nothing{})
		case current || r.Serializable:
			b.answer(c, &r)
		default:
			late = append(late, c)
		}
	}
	if len(late) > 0 {
		s.lateReads.run(func() { s.readLate(late, start) })
	}
}

func parseRange(r *request.Range, raw []byte) error {
	if err := r.Unmarshal(raw); err != nil {
		return err
	}
	return r.Validate()
}

// readLate serves reads that have to wait for a read index, the same for all.
func (s *Service) readLate(calls []Direct, start time.Time) {
	err := s.readIndex(s.lateReads.ctx)
	if s.lateReads.ctx.Err() != nil {
		err = kverr.Stopped
	}
	b := readBatch{svc: s, start: start, left: len(calls), waited: s.since(start)}
	defer b.end()
	for _, c := range calls {
		if err != nil {
			b.refuse(c, err)
			continue
		}
		var r request.Range
		_ = parseRange(&r, c.Request()) // as before
		b.answer(c, &r)
	}
}

// open takes the view, the first time.
func (b *readBatch) open() error {
	if b.view != nil {
		return nil
	}
	view, err := b.svc.member.View()
	if err != nil {
		return err
	}
	b.view, b.header, b.users = view, b.svc.headerAt(view.Rev()), b.svc.access.users.Load()
	return nil
}

// end gives back the view.
func (b *readBatch) end() {
	if b.view != nil {
		b.view.Release()
	}
}

// answer serves one call. What its user may not see by what is in force now, the ordinary call refuses.
func (b *readBatch) answer(c Direct, r *request.Range) {
	b.left--
	if err := b.open(); err != nil {
		b.refuse(c, err)
		return
	}
	if !b.mayRead(c, r) {
		c.Leave()
		return
	}
	response, usual, err := b.read(r)
	if err == nil && usual {
		err = pass{service: b.svc, users: b.users}.recheck()
	}
	switch {
	case !usual:
		c.Leave()
	case err != nil:
		b.observe(err)
		c.Fail(err, b)
	default:
		b.observe(nil)
		c.Answer(response, b)
	}
}

// mayRead reports whether it is sure that a call may have what it asks for. Its caller is looked up after the users were, so that it is not
// newer than they are.
func (b *readBatch) mayRead(c Direct, r *request.Range) bool {
	if !b.users.Enabled() {
		return true
	}
	who, known := b.who.of(b.svc, c)
	return known && b.users.Admit(who, r, nil) == nil
}

// read reads a range and encodes the answer, unless that is better done the ordinary way.
func (b *readBatch) read(r *request.Range) (response []byte, usual bool, err error) {
	result, usual, err := b.lookUp(r)
	if err != nil || !usual {
		return nil, usual, err
	}
	size := request.SizeRangeResponse(b.header, &result)
	if size > directBytesMax {
		return nil, false, nil
	}
	if cap(b.out)-len(b.out) < size {
		b.out = make([]byte, 0, max(size, min(size*(b.left+1), directBytesMax)))
	}
	from := len(b.out)
	b.out = request.AppendRangeResponse(b.out, b.header, &result)
	return b.out[from:len(b.out):len(b.out)], true, nil
}

// lookUp finds the records of a range.
func (b *readBatch) lookUp(r *request.Range) (result request.RangeResult, usual bool, err error) {
	if plain(r) {
		result, err = b.get(r.Key)
		return result, true, err
	}
	q := b.svc.pages.query(machine.Query(r), b.view)
	keys, err := keysRead(b.view, q)
	if err != nil || keys > directKeysMax {
		return result, err != nil, err
	}
	result, err = machine.Range(b.view, q)
	if err == nil {
		b.svc.pages.remember(q, b.view, result.More)
	}
	return result, true, err
}

// plain reports whether a range is one key as it is now.
func plain(r *request.Range) bool {
	filters := r.MinModRevision | r.MaxModRevision | r.MinCreateRevision | r.MaxCreateRevision
	return len(r.RangeEnd) == 0 && r.Revision <= 0 && !r.KeysOnly && !r.CountOnly && filters == 0
}

// get finds the record of one key. The result is good until the next one.
func (b *readBatch) get(key []byte) (result request.RangeResult, err error) {
	item, ok := b.view.Get(key)
	if !ok {
		return result, nil
	}
	b.one[0], err = b.view.Record(item.Rev)
	return request.RangeResult{KVs: b.one[:], Count: 1}, err
}

// refuse ends a call that was not read for.
func (b *readBatch) refuse(c Direct, err error) {
	if m := b.svc.cfg.Metrics.Request; m != nil {
		m("Range", b.svc.since(b.start), err)
	}
	c.Fail(err, b)
}

// observe counts a read.
func (b *readBatch) observe(err error) {
	took, m := b.svc.since(b.start), &b.svc.cfg.Metrics
	if m.Range != nil {
		m.Range(took, err)
	}
	if m.Request != nil {
		m.Request("Range", took, err)
	}
}

// Account implements Accounts.
func (b *readBatch) Account(spent *steps.Spent) { spent.Add(steps.ReadIndex, b.waited) }
