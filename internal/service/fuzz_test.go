package service_test

import (
	"context"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service"
)

// FuzzCalls gives each call that takes bytes some. A member answers everything, or refuses it, in bounded time, and goes on.
func FuzzCalls(f *testing.F) {
	m := start(f)
	load(f, m, 300, 10)
	answer := func(call func(context.Context, []byte) (service.Answer, error)) method {
		return func(ctx context.Context, raw []byte) ([]byte, error) {
			a, err := call(ctx, raw)
			return a.Whole(), err
		}
	}
	calls := []method{
		answer(m.AnswerRange), m.Put, answer(m.AnswerDeleteRange), answer(m.AnswerTxn), m.Compact,
		m.LeaseGrant, m.LeaseRevoke, m.LeaseTimeToLive, m.LeaseKeepAlive, m.LeaseLeases,
		func(ctx context.Context, raw []byte) ([]byte, error) {
			return nil, m.RangeStream(ctx, raw, func([]byte) error { return nil })
		},
		func(ctx context.Context, raw []byte) ([]byte, error) {
			release, err := m.AdmitJSON(ctx, raw)
			release()
			return nil, err
		},
	}
	r := &request.Range{Key: []byte("k"), RangeEnd: []byte("l"), SortTarget: request.SortByValue, Limit: 7, MinModRevision: 2}
	p := &request.Put{Key: []byte("k"), Value: []byte("v"), PrevKV: true}
	d := &request.DeleteRange{Key: []byte("k1"), RangeEnd: []byte("k2"), PrevKV: true}
	inner := &request.Txn{Success: []request.Op{{Put: p}}, Failure: []request.Op{{Range: r}}}
	for i, seed := range [][]byte{
		r.Append(nil), p.Append(nil), d.Append(nil), inner.Append(nil),
		(&request.Txn{Success: []request.Op{{DeleteRange: d}, {Range: r}, {Txn: inner}}}).Append(nil),
	} {
		f.Add(uint8(i), seed)
		f.Add(uint8(10), seed)
		f.Add(uint8(11), seed)
	}
	f.Fuzz(func(t *testing.T, which uint8, raw []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		reply, err := calls[int(which)%len(calls)](ctx, raw)
		if ctx.Err() != nil {
			t.Fatalf("call %d hung: %v", int(which)%len(calls), err)
		}
		if err != nil && reply != nil {
			t.Errorf("an answer and an error: %v", err)
		}
		if s := m.RangeBudget(); s.Answers != 0 || s.UsedBytes != 0 {
			t.Errorf("left in the budget: %+v", s)
		}
		check(t, m.Probe(ctx, true))
	})
}
