package service

import (
	"context"

	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
)

// answerReadTxn answers a transaction that only reads. It takes over view.
func (s *Service) answerReadTxn(ctx context.Context, view *mvcc.View, t *request.Txn) (Answer, error) {
	r := &reading{svc: s, ctx: ctx, view: view}
	defer r.end()
	if keys := keysOf(view, t); keys > smallListKeys {
		if _, err := r.admit(keys * keyCostBytes); err != nil {
			return Answer{}, err
		}
	}
	for {
		result, err := machine.ReadTxn(r.view, t)
		if err != nil {
			return Answer{}, err
		}
		h := s.headerAt(r.view.Rev())
		if size := request.SizeTxnResponse(h, &result); size > smallAnswerBytes {
			if again, err := r.admit(int64(size)); err != nil {
				return Answer{}, err
			} else if again {
				continue
			}
		}
		if s.cfg.Metrics.ReadTxn != nil {
			s.cfg.Metrics.ReadTxn(len(t.Compare) + len(result.Responses))
		}
		return r.whole(request.AppendTxnResponse(nil, h, &result)), nil
	}
}

// jsonFactor is how many times its size an answer takes while it is turned into JSON: received, decoded, encoded in base64, copied as that
// grows, and as much again until what is not needed any more is collected. Measured with a list of 65 MB.
const jsonFactor = 12

// AdmitJSON charges a transaction, in wire form, for an answer that is going to be turned into JSON, by what it would be now. It waits for
// room as every large answer does. The caller calls release.
func (s *Service) AdmitJSON(ctx context.Context, txn []byte) (release func(), err error) {
	release = func() {}
	var t request.Txn
	if t.Unmarshal(txn) != nil || !readsRanges(&t) {
		return release, nil
	}
	view, err := s.member.View()
	if err != nil {
		return release, err
	}
	bytes := sizeOf(view, &t) * jsonFactor
	view.Release()
	if bytes <= smallAnswerBytes {
		return release, nil
	}
	h, err := s.charge(ctx, bytes)
	return h.release, err
}

// charge takes bytes of the budget, if need be after waiting in line, unless that was done before.
func (s *Service) charge(ctx context.Context, bytes int64) (hold, error) {
	if s.hasRoom(ctx) {
		return hold{}, nil
	}
	if h, ok := s.budget.try(bytes); ok {
		return h, nil
	}
	return s.budget.wait(ctx, bytes)
}

func (s *Service) hasRoom(ctx context.Context) bool {
	return s.cfg.HasRoom != nil && s.cfg.HasRoom(ctx)
}

// admitWrite charges a write for what it will answer, by what that would be now. It is the zero hold for the usual ones, which ask nobody.
func (s *Service) admitWrite(ctx context.Context, t *request.Txn) (hold, error) {
	if !readsRanges(t) {
		return hold{}, nil
	}
	view, err := s.member.View()
	if err != nil {
		return hold{}, err
	}
	bytes := sizeOf(view, t)
	view.Release()
	if bytes <= smallAnswerBytes {
		return hold{}, nil
	}
	return s.charge(ctx, bytes)
}

// eachRange calls fn for every range of the transaction whose records are answered.
func eachRange(t *request.Txn, fn func(mvcc.Query)) {
	for _, ops := range [][]request.Op{t.Success, t.Failure} {
		for i := range ops {
			switch op := &ops[i]; {
			case op.Range != nil && len(op.Range.RangeEnd) > 0 && !op.Range.CountOnly:
				fn(machine.Query(op.Range))
			case op.DeleteRange != nil && len(op.DeleteRange.RangeEnd) > 0 && op.DeleteRange.PrevKV:
				fn(mvcc.Query{Key: op.DeleteRange.Key, End: op.DeleteRange.RangeEnd})
			case op.Txn != nil:
				eachRange(op.Txn, fn)
			}
		}
	}
}

func readsRanges(t *request.Txn) bool {
	found := false
	eachRange(t, func(mvcc.Query) { found = true })
	return found
}

// keysOf is how many keys the ranges of the transaction hold; those of the branch that does not run count too.
func keysOf(view *mvcc.View, t *request.Txn) (keys int64) {
	eachRange(t, func(q mvcc.Query) { keys += keysNow(view, q) })
	return keys
}

// keysNow is the number of keys of a range, zero if it cannot be read.
func keysNow(view *mvcc.View, q mvcc.Query) int64 {
	q.InTxn = true
	keys, err := keysRead(view, q)
	if err != nil {
		return 0
	}
	return keys
}

// sizeOf estimates the bytes of the transaction's answer, of both branches together.
func sizeOf(view *mvcc.View, t *request.Txn) (bytes int64) {
	eachRange(t, func(q mvcc.Query) { bytes += sizeNow(view, q) })
	return bytes
}

// sizeNow estimates the bytes of a range by its first keys, zero if it cannot be read.
func sizeNow(view *mvcc.View, q mvcc.Query) int64 {
	keys := keysNow(view, q)
	sample := q
	sample.InTxn, sample.Limit = true, smallListKeys
	sample.Order, sample.Target = mvcc.OrderNone, mvcc.ByKey
	result, err := view.Range(sample)
	if err != nil || len(result.Records) == 0 {
		return 0
	}
	bytes := int64(0)
	for _, record := range result.Records {
		bytes += int64(request.SizeRangeRecord(len(record)))
	}
	return bytes * keys / int64(len(result.Records))
}
