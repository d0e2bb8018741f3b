package service

import (
	"context"
	"math"

	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
)

// answerRange reads a range and answers it: at once if it is small, else from the budget. It takes over view.
func (s *Service) answerRange(ctx context.Context, view *mvcc.View, q mvcc.Query) (Answer, error) {
	r := &reading{svc: s, ctx: ctx, view: view}
	defer r.end()
	for {
		a, again, err := r.answer(q)
		if err != nil || !again {
			return a, err
		}
	}
}

// answer makes one attempt.
func (r *reading) answer(q mvcc.Query) (a Answer, again bool, err error) {
	q = r.svc.pages.query(q, r.view)
	keys, err := keysRead(r.view, q)
	switch {
	case err != nil:
		return Answer{}, false, err
	case keys <= smallListKeys:
		return r.short(q)
	case !pageable(q):
		return r.list(q, keys)
	}
	return r.pages(q)
}

// keysRead is the number of keys that a query goes through, or a bound of it if that is low.
func keysRead(view *mvcc.View, q mvcc.Query) (int64, error) {
	switch {
	case len(q.End) == 0 || q.CountOnly:
		return 1, nil
	case q.Limit > 0 && q.Limit <= smallListKeys && pageable(q):
		return q.Limit, nil
	}
	count := q
	count.CountOnly = true
	result, err := view.Range(count)
	if q.Limit > 0 && pageable(q) {
		return min(q.Limit, result.Count), err
	}
	return result.Count, err
}

// pageable reports whether the answer comes in the order of the keys.
func pageable(q mvcc.Query) bool {
	inOrder := q.Target == mvcc.ByKey && q.Order != mvcc.Descending
	return inOrder && q.MinMod|q.MaxMod|q.MinCreate|q.MaxCreate == 0
}

// short answers what reads few keys. Their records may be large all the same.
func (r *reading) short(q mvcc.Query) (a Answer, again bool, err error) {
	result, err := r.rangeNow(q)
	if err != nil {
		return Answer{}, false, err
	}
	h := r.svc.headerAt(r.view.Rev())
	size := request.SizeRangeResponse(h, &result)
	if size > smallAnswerBytes {
		if again, err = r.admit(int64(min(size, 2*pieceBytes))); again || err != nil {
			return Answer{}, again, err
		}
		if size > pieceBytes {
			return r.inPieces(h, &result), false, nil
		}
	}
	return r.whole(request.AppendRangeResponse(nil, h, &result)), false, nil
}

// list answers what is collected first.
func (r *reading) list(q mvcc.Query, keys int64) (a Answer, again bool, err error) {
	if again, err = r.admit(keys*keyCostBytes + 2*pieceBytes); again || err != nil {
		return Answer{}, again, err
	}
	result, err := r.rangeNow(q)
	if err != nil {
		return Answer{}, false, err
	}
	h := r.svc.headerAt(r.view.Rev())
	if request.SizeRangeResponse(h, &result) > pieceBytes {
		return r.inPieces(h, &result), false, nil
	}
	return r.whole(request.AppendRangeResponse(nil, h, &result)), false, nil
}

// rangeNow reads a range; a first page of many is remembered.
func (r *reading) rangeNow(q mvcc.Query) (request.RangeResult, error) {
	result, err := machine.Range(r.view, q)
	if err == nil {
		r.svc.pages.remember(q, r.view, result.More)
	}
	return result, err
}

// whole answers with an encoded response, which leaves what was read behind.
func (r *reading) whole(b []byte) Answer {
	h := r.hold
	r.hold = hold{}
	return encoded(b, h)
}

// inPieces answers with records that were collected.
func (r *reading) inPieces(h request.ResponseHeader, result *request.RangeResult) Answer {
	var p planner
	for _, record := range result.KVs {
		p.add(len(record))
	}
	keys := int64(len(result.KVs))
	l := p.large(r.svc, &collected{result.KVs}, request.AppendRangeStart(nil, h), request.AppendRangeEnd(nil, result))
	a := r.keep(l)
	l.mu.hold.resize(l.mu.hold.bytes + keys*keyCostBytes)
	return a
}

// measuredKeys is how many keys are looked at between two looks at the context.
const measuredKeys = 512

// pages answers a long list without ever having all of it.
func (r *reading) pages(q mvcc.Query) (a Answer, again bool, err error) {
	if again, err = r.admit(2 * pieceBytes); again || err != nil {
		return Answer{}, again, err
	}
	pager, err := r.view.Pager(q)
	if err != nil {
		return Answer{}, false, err
	}
	r.svc.pages.remember(q, r.view, pager.More())
	h := r.svc.headerAt(r.view.Rev())
	from := &pagerSource{pager.Clone()}
	p, _, err := r.measure(pager, math.MaxInt64)
	if err != nil {
		return Answer{}, false, err
	}
	end := request.RangeResult{More: pager.More(), Count: pager.Count()}
	l := p.large(r.svc, from, request.AppendRangeStart(nil, h), request.AppendRangeEnd(nil, &end))
	return r.keep(l), false, nil
}

// measure plans the pieces of the next records, at most so many, and tells how many there are.
func (r *reading) measure(pager *mvcc.Pager, most int64) (p planner, records int64, err error) {
	for {
		sizes, err := pager.Sizes(int(min(measuredKeys, most-records)))
		if len(sizes) == 0 || err != nil {
			return p, records, err
		}
		records += int64(len(sizes))
		for _, bytes := range sizes {
			p.add(bytes)
		}
		if err := r.ctx.Err(); err != nil {
			return p, records, err
		}
	}
}
