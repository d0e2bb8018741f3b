package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOrder: events happen by time, then in the order in which they were asked for.
func TestOrder(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	e := New(nil)
	type key struct{ at, seq int64 }
	var got, want []key
	for i := range int64(500) {
		k := key{rng.Int64N(50), i}
		want = append(want, k)
		e.At(k.at, func() {
			if e.Now() != k.at {
				t.Errorf("seed %d: an event of %d happens at %d", seed, k.at, e.Now())
			}
			got = append(got, k)
		})
	}
	slices.SortStableFunc(want, func(a, b key) int { return int(a.at - b.at) })
	e.Run(100, nil)
	if !slices.Equal(got, want) {
		t.Errorf("seed %d: order %v, want %v", seed, got, want)
	}
	if e.Now() != 100 || e.Steps() != 500 {
		t.Errorf("it is %d after %d steps", e.Now(), e.Steps())
	}
}

// TestRunEnds: with the event after which done says so.
func TestRunEnds(t *testing.T) {
	e := New(nil)
	n := 0
	for i := range int64(10) {
		e.At(i, func() { n++ })
	}
	e.Run(100, func() bool { return n == 3 })
	if n != 3 || e.Now() != 2 {
		t.Errorf("%d events, time %d", n, e.Now())
	}
}

// start runs fn as a coroutine of a new process, whose clock runs at permille.
func start(e *Engine, permille int64, fn func(p *Process)) *Process {
	p := e.NewProcess(0, permille)
	p.Exec(func() { p.Go(func() { fn(p) }) })
	return p
}

func TestWait(t *testing.T) {
	background := context.Background()
	cases := []struct {
		name string
		fn   func(e *Engine, p *Process) error
		want error
		at   int64 // when the wait is over
	}{
		{"time", func(_ *Engine, p *Process) error { return p.Wait(background, nil, 1000) }, nil, 1001},
		{"nothing", func(_ *Engine, p *Process) error { return p.Wait(background, nil, 0) }, nil, 0},
		{"wake", func(e *Engine, p *Process) error {
			wake := make(chan struct{}, 1)
			p.After(10, func() { wake <- struct{}{} })
			return p.Wait(background, wake, -1)
		}, nil, 11},
		{"closed", func(e *Engine, p *Process) error {
			wake := make(chan struct{})
			p.After(10, func() { close(wake) })
			return p.Wait(background, wake, 1000)
		}, nil, 11},
		{"canceled", func(_ *Engine, p *Process) error {
			ctx, cancel := context.WithCancel(background)
			p.After(10, cancel)
			return p.Wait(ctx, nil, 1000)
		}, context.Canceled, 11},
		{"timeout", func(_ *Engine, p *Process) error {
			ctx, cancel := p.WithTimeout(background, 20)
			defer cancel()
			return p.Wait(ctx, nil, -1)
		}, context.DeadlineExceeded, 21},
		{"timeout of a parent", func(_ *Engine, p *Process) error {
			outer, cancel := p.WithTimeout(background, 20)
			defer cancel()
			inner, cancel := p.WithTimeout(outer, 500)
			defer cancel()
			return p.Wait(inner, nil, -1)
		}, context.DeadlineExceeded, 21},
		{"flag", func(_ *Engine, p *Process) error {
			done := false
			p.After(30, func() { done = true })
			return p.Await(background, &done)
		}, nil, 31},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := New(nil)
			at, err := int64(-1), errors.New("never came back")
			start(e, 1000, func(p *Process) { err, at = c.fn(e, p), e.Now() })
			e.Run(2000, nil)
			if !errors.Is(err, c.want) || at != c.at {
				t.Errorf("%v at %d, want %v at %d", err, at, c.want, c.at)
			}
		})
	}
}

// TestClock: a wait lasts until the process's own clock has moved on.
func TestClock(t *testing.T) {
	for _, permille := range []int64{800, 1000, 1250} {
		e := New(nil)
		start(e, permille, func(p *Process) {
			for _, d := range []time.Duration{1, 3, 1000, time.Second} {
				before := p.Now()
				if err := p.Wait(context.Background(), nil, d); err != nil {
					t.Error(err)
				}
				if passed := p.Now().Sub(before); passed < d || passed > d+3 {
					t.Errorf("at %d a wait for %d took %d", permille, d, passed)
				}
			}
		})
		e.Run(1e10, nil)
	}
}

func TestClockChanges(t *testing.T) {
	e := New(nil)
	p := e.NewProcess(100, 1000)
	e.Run(1000, nil)
	p.Jump(50)
	p.Tick(1250)
	e.Run(2000, nil)
	if got := p.Local(); got != 100+1000+50+1250 {
		t.Errorf("the clock shows %d", got)
	}
}

// TestPause: what should have happened during a pause happens at its end, in order.
func TestPause(t *testing.T) {
	e := New(nil)
	var got []string
	p := start(e, 1000, func(p *Process) {
		_ = p.Wait(context.Background(), nil, 20)
		got = append(got, fmt.Sprint("routine ", e.Now()))
	})
	p.AfterVirtual(10, func() { got = append(got, fmt.Sprint("event ", e.Now())) })
	p.Pause()
	e.At(100, p.Resume)
	e.Run(1000, nil)
	if want := []string{"event 100", "routine 100"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestKill: nothing of a process happens any more, but its coroutines unwind.
func TestKill(t *testing.T) {
	e := New(nil)
	unwound, wrong := 0, false
	p := start(e, 1000, func(p *Process) {
		defer func() {
			unwound++
			_ = p.Wait(context.Background(), nil, 5) // unwinds further
			wrong = true
		}()
		_ = p.Wait(context.Background(), nil, 50)
		wrong = true
	})
	p.AfterVirtual(60, func() { wrong = true })
	e.At(20, p.Kill)
	e.Run(1000, nil)
	p.Go(func() { wrong = true })
	p.Exec(func() { wrong = true })
	if unwound != 1 || wrong || p.Alive() {
		t.Errorf("unwound %d times, something happened %v, alive %v", unwound, wrong, p.Alive())
	}
}

// TestPanic: a panic in a coroutine comes out of Run with the stack where it began.
func TestPanic(t *testing.T) {
	defer func() {
		p, ok := recover().(*Panic)
		if !ok || p.Value != "broken" || !strings.Contains(p.Error(), "TestPanic") {
			t.Errorf("recovered %v", p)
		}
	}()
	e := New(nil)
	start(e, 1000, func(*Process) { panic("broken") })
	t.Error("no panic")
}

// TestEndlessLoops: what goes on without time passing is found.
func TestEndlessLoops(t *testing.T) {
	expect := func(name string, fn func()) {
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", name)
			}
		}()
		fn()
	}
	expect("events", func() {
		e := New(nil)
		var again func()
		again = func() { e.After(0, again) }
		again()
		e.Run(1, nil)
	})
	expect("coroutines", func() {
		e := New(nil)
		yes := make(chan struct{})
		close(yes)
		start(e, 1000, func(p *Process) {
			for {
				ready := false
				p.Go(func() { ready = true })
				_ = p.Await(context.Background(), &ready)
			}
		})
	})
}

// TestRandom: concerns are independent, and the same each time.
func TestRandom(t *testing.T) {
	draw := func(concern string, which int) uint64 { return Random(7, concern, which).Uint64() }
	if one, two := draw("a", 0), draw("a", 0); one != two {
		t.Error("not the same twice")
	}
	if draw("a", 0) == draw("a", 1) || draw("a", 0) == draw("b", 0) {
		t.Error("not independent")
	}
}

// TestHash: everything noted counts, comments do not.
func TestHash(t *testing.T) {
	hash := func(fn func(*Engine)) uint64 {
		e := New(nil)
		fn(e)
		return e.Hash()
	}
	base := hash(func(e *Engine) { e.Note("a", 1, 2) })
	for name, fn := range map[string]func(*Engine){
		"what":   func(e *Engine) { e.Note("b", 1, 2) },
		"who":    func(e *Engine) { e.Note("a", 2, 2) },
		"number": func(e *Engine) { e.Note("a", 1, 3) },
		"when":   func(e *Engine) { e.Run(1, nil); e.Note("a", 1, 2) },
	} {
		if hash(fn) == base {
			t.Errorf("%s does not count", name)
		}
	}
	if hash(func(e *Engine) { e.Comment(1, "x"); e.Note("a", 1, 2) }) != base {
		t.Error("comments count")
	}
}

func BenchmarkExec(b *testing.B) {
	b.ReportAllocs()
	e := New(nil)
	p := start(e, 1000, func(p *Process) {
		for p.Wait(context.Background(), nil, 100) == nil {
		}
	})
	defer p.Kill()
	b.ResetTimer()
	e.Run(int64(b.N)*101, nil)
}
