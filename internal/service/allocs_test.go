//go:build !race

// What is counted here is counted without the race detector, under which pools forget some of what they are given.

package service_test

import (
	"fmt"
	"testing"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
	"github.com/quoin-kv/quoin/internal/watch"
)

// allocsAtMost fails if fn allocates more often than that. The goroutines of the member allocate too, so the lowest of several counts is taken.
func allocsAtMost(t *testing.T, what string, most float64, fn func()) {
	t.Helper()
	lowest := testing.AllocsPerRun(100, fn)
	for range 10 {
		if lowest <= most {
			return
		}
		lowest = min(lowest, testing.AllocsPerRun(100, fn))
	}
	t.Errorf("%s: %v allocations, expected at most %v", what, lowest, most)
}

// TestAllocations holds the hot paths of reading to what they need. Whoever makes one of them need less lowers its number.
func TestAllocations(t *testing.T) {
	m := start(t)
	for i := range 1000 {
		put(t, m, fmt.Sprintf("k%04d", i), "value")
	}
	grant(t, m, 7, 1<<30)
	var b []byte

	alive := (&request.LeaseKeepAlive{ID: 7}).Append(nil)
	allocsAtMost(t, "keep-alive", 0, func() {
		var ok bool
		if b, ok = m.TryKeepAlive(b[:0], alive); !ok {
			t.Fatal("not answered at once")
		}
	})

	read := func(r *request.Range) func() {
		raw := r.Append(nil)
		return func() {
			if _, err := m.Range(t.Context(), raw); err != nil {
				t.Fatal(err)
			}
		}
	}
	allocsAtMost(t, "range of 1000 keys", rangeAllocs, read(&request.Range{Key: []byte("k"), RangeEnd: []byte("l"), Serializable: true}))
	allocsAtMost(t, "page of 10 keys", rangeAllocs, read(&request.Range{Key: []byte("k"), RangeEnd: []byte("l"), Limit: 10, Serializable: true}))
}

// rangeAllocs is what a range takes, however many keys it has: view, matches, revisions, records, answer.
const rangeAllocs = 9

// TestWatchAllocations: an event costs a put, but nothing for each of its watchers, once their stream's buffers have grown.
func TestWatchAllocations(t *testing.T) {
	const watchers = 1000
	m := start(t)
	alone, w := m.Watch(), m.Watch()
	defer alone.Close()
	defer w.Close()
	var b []byte
	take := func(w *service.WatchStream, n int) {
		for b = b[:0]; n > 0; n-- {
			var ok bool
			var err error
			if b, ok, err = w.Poll(b); err != nil {
				t.Fatal(err)
			} else if !ok {
				check(t, w.Wait(t.Context()))
				n++
			}
		}
	}
	check(t, alone.Create(t.Context(), watch.CreateRequest{Key: []byte("one")}))
	take(alone, 1)
	for range watchers {
		check(t, w.Create(t.Context(), watch.CreateRequest{Key: []byte("many")}))
		take(w, 1)
	}
	one := testing.AllocsPerRun(50, func() { put(t, m, "one", "v"); take(alone, 1) })
	allocsAtMost(t, "event to 1000 watchers beside one to a single one", one+watchers/50, func() { put(t, m, "many", "v"); take(w, watchers) })
}

// TestDirectAllocations holds what the hottest calls allocate, in a batch of 64 and from here to the disks, of nobody and of users: tokens and
// permissions cost no allocation. Who makes them fewer lowers the number; who has to make them more says why.
func TestDirectAllocations(t *testing.T) {
	for _, one := range []struct {
		users  bool
		change func(*servicetest.Options)
	}{{false, func(*servicetest.Options) {}}, {true, func(*servicetest.Options) {}}, {true, signed(t)}} {
		m, text := start(t, one.change), ""
		put(t, m, "key", "value")
		if one.users {
			addUser(t, m, guard(t, m), "ada", "a", "z")
			text = logIn(t, m, "ada")
		}
		for what, most := range map[string]float64{"put": 3.5, "get": 0.1, "txn": 17.5} {
			calls, sum := hotCalls()[what]()
			showing(calls, text)
			each := servicetest.Allocations(func() {
				sum.Add(len(calls))
				m.ServeDirect(calls)
				sum.Wait()
			}) / batchCalls
			t.Logf("%s: %.1f", what, each)
			if each > most {
				t.Errorf("a %s allocates %.1f times, at most %v are allowed", what, each, most)
			}
		}
	}
}
