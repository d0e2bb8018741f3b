package node_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/steps"
)

// asker gathers the proposals that were answered.
type asker chan *replica.Proposal

func (a asker) Answered(p *replica.Proposal) { a <- p }

// offered makes proposals that put keys, to be answered to a.
func offered(a asker, keys ...string) (list []*replica.Proposal) {
	for _, key := range keys {
		id := ids.Add(1)
		raw := (&request.Put{Key: []byte(key), Value: []byte("v")}).Append(nil)
		data := request.AppendInternal(nil, request.Header{ID: id}, request.FieldPut, raw)
		list = append(list, &replica.Proposal{ID: id, Data: data, Asker: a})
	}
	return list
}

func TestOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, newDisks(t), nil)
		a := make(asker, 10)
		list := offered(a, "a", "b", "c")
		n.Offer(list)
		for i := range list {
			p := <-a
			h, err := request.ParseHeaderResponse(p.Reply)
			if p.Err != nil || err != nil || h.Revision != int64(i+2) {
				t.Errorf("answer %d: revision %d, %v, %v", i, h.Revision, p.Err, err)
			}
			v, err := n.View()
			check(t, err)
			if v.Rev() < h.Revision {
				t.Errorf("answered with revision %d, shown is %d", h.Revision, v.Rev())
			}
			v.Release()
		}
		synctest.Wait()
		if !n.Current() {
			t.Error("a member by itself needs rounds")
		}
		check(t, n.Stop())
		n.Offer(offered(a, "a", "b"))
		for range 2 {
			if p := <-a; !errors.Is(p.Err, kverr.Stopped) {
				t.Errorf("after the stop: %v", p.Err)
			}
		}
		if n.Current() {
			t.Error("after the stop the view is said to be current")
		}
		if err := n.ReadIndex(t.Context()); !errors.Is(err, kverr.Stopped) {
			t.Errorf("reading after the stop: %v", err)
		}
	})
}

// TestOfferIsBounded: of a batch that finds too little room the rest is refused.
func TestOfferIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := options{node: func(c *node.Config) { c.MaxPending = 2 }}.start(t, newDisks(t))
		a := make(asker, 10)
		n.Offer(offered(a, "a", "b", "c", "d"))
		answers := map[string]int{}
		for range 4 {
			answers[fmt.Sprint((<-a).Err)]++
		}
		if answers["<nil>"] != 2 || answers[kverr.TooManyRequests.Error()] != 2 {
			t.Errorf("answers are %v", answers)
		}
		check(t, n.Stop())
	})
}

// TestOfferEnds: a proposal that nobody takes ends with its time, or when it is abandoned, or with the node, and is answered once.
func TestOfferEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, newDisksOf(t, 2), nil) // the other one does not run
		a := make(asker, 10)
		list := offered(a, "late", "gone", "stopped")
		late, gone, stopped := list[0], list[1], list[2]
		late.Within = time.Second
		began := time.Now()
		n.Offer(list)
		n.Abandon(gone, context.Canceled)
		n.Abandon(gone, context.Canceled)
		if p := <-a; p != gone || !errors.Is(p.Err, context.Canceled) {
			t.Errorf("abandoned: %v", p.Err)
		}
		p := <-a
		if took := time.Since(began); p != late || !errors.Is(p.Err, context.DeadlineExceeded) || took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("after %v: %v", took, p.Err)
		}
		ctx, spent := steps.With(t.Context())
		n.Account(late, steps.From(ctx))
		if step := spent.Close(time.Second, time.Second); step != steps.Queue {
			t.Errorf("it has spent %v", spent.LogValue())
		}
		check(t, n.Stop())
		if p := <-a; p != stopped || !errors.Is(p.Err, kverr.Stopped) || n.Pending() != 0 {
			t.Errorf("stopped: %v, %d wait", p.Err, n.Pending())
		}
	})
}
