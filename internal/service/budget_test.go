package service

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

func newBudget(limit int64) *budget { return &budget{clock: SystemClock{}, limit: limit} }

// asker asks a budget in a goroutine of its own.
type asker struct {
	hold hold
	err  error
	done chan struct{}
}

func ask(ctx context.Context, b *budget, bytes int64) *asker {
	a := &asker{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.hold, a.err = b.wait(ctx, bytes)
	}()
	synctest.Wait()
	return a
}

func (a *asker) waits() bool {
	select {
	case <-a.done:
		return false
	default:
		return true
	}
}

func wantStats(t *testing.T, b *budget, want BudgetStats) {
	t.Helper()
	if got := b.stats(); got != want {
		t.Errorf("budget is %+v, want %+v", got, want)
	}
}

func TestBudgetLetsInInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		first, ok := b.try(60)
		if !ok {
			t.Fatal("an empty budget refused")
		}
		big := ask(t.Context(), b, 50)
		small := ask(t.Context(), b, 10)
		if _, ok := b.try(1); ok || !big.waits() || !small.waits() {
			t.Fatal("somebody went past who was first in line")
		}
		wantStats(t, b, BudgetStats{LimitBytes: 100, UsedBytes: 60, Answers: 1, Waiting: 2})
		first.release()
		first.release()
		synctest.Wait()
		if big.waits() || small.waits() {
			t.Fatal("there is room for both")
		}
		wantStats(t, b, BudgetStats{LimitBytes: 100, UsedBytes: 60, Answers: 2})
		big.hold.release()
		small.hold.release()
		wantStats(t, b, BudgetStats{LimitBytes: 100})
	})
}

func TestBudgetOneLargerThanAllRunsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		h, _ := b.try(1)
		huge := ask(t.Context(), b, 1000)
		if !huge.waits() {
			t.Fatal("it is not alone")
		}
		h.release()
		synctest.Wait()
		if huge.waits() {
			t.Fatal("it would be alone")
		}
		if _, ok := b.try(1); ok {
			t.Error("there is no room beside it")
		}
		huge.hold.release()
	})
}

func TestBudgetRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		h, _ := b.try(100)
		ctx, cancel := context.WithCancel(t.Context())
		gone, late := ask(ctx, b, 100), ask(t.Context(), b, 1)
		cancel()
		synctest.Wait()
		if !errors.Is(gone.err, context.Canceled) {
			t.Errorf("who gave up got %v", gone.err)
		}
		time.Sleep(budgetWait)
		synctest.Wait()
		if !errors.Is(late.err, ErrBusy) {
			t.Errorf("who waited too long got %v", late.err)
		}
		for range budgetWaitersMax {
			ask(t.Context(), b, 1)
		}
		if a := ask(t.Context(), b, 1); !errors.Is(a.err, ErrBusy) {
			t.Errorf("one too many got %v", a.err)
		}
		wantStats(t, b, BudgetStats{LimitBytes: 100, UsedBytes: 100, Answers: 1, Waiting: budgetWaitersMax, Refused: 2})
		h.release()
		time.Sleep(budgetWait)
		synctest.Wait()
	})
}

// TestBudgetWhoLeavesMakesRoom has a large one at the head of the line leave: what is behind it goes on at once.
func TestBudgetWhoLeavesMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		h, _ := b.try(50)
		ctx, cancel := context.WithCancel(t.Context())
		large, little := ask(ctx, b, 80), ask(t.Context(), b, 20)
		cancel()
		synctest.Wait()
		if large.waits() || little.waits() || little.err != nil {
			t.Error("the line did not move on")
		}
		h.resize(10)
		wantStats(t, b, BudgetStats{LimitBytes: 100, UsedBytes: 30, Answers: 2})
		h.release()
		little.hold.release()
	})
}

func TestBudgetWithoutBound(t *testing.T) {
	b := newBudget(0)
	for range 3 {
		if _, ok := b.try(1 << 40); !ok {
			t.Fatal("refused")
		}
	}
	wantStats(t, b, BudgetStats{UsedBytes: 3 << 40, Answers: 3})
}

// TestBudgetAddsUp lets many take, wait, resize, give up and give back: never more than the limit unless one is alone, and nothing is left.
func TestBudgetAddsUp(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1000)
		for i := range uint64(50) {
			rng := rand.New(rand.NewPCG(seed, i))
			go func() {
				for range 50 {
					takeSome(t, b, rng)
				}
			}()
		}
		synctest.Wait()
		for b.stats().Answers > 0 || b.stats().Waiting > 0 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if got := b.stats(); got.UsedBytes != 0 {
			t.Errorf("left: %+v", got)
		}
	})
}

func takeSome(t *testing.T, b *budget, rng *rand.Rand) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(8000))*time.Millisecond)
	defer cancel()
	bytes := 1 + rng.Int64N(400)
	h, ok := b.try(bytes)
	if !ok {
		var err error
		if h, err = b.wait(ctx, bytes); err != nil {
			return
		}
	}
	if s := b.stats(); s.UsedBytes > s.LimitBytes && s.Answers > 1 {
		t.Errorf("%d bytes taken of %d by %d", s.UsedBytes, s.LimitBytes, s.Answers)
	}
	time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
	h.resize(rng.Int64N(bytes))
	h.release()
}
