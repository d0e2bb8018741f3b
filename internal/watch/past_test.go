package watch

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// caughtUp polls the streams in turn until there is nothing more, and returns the events of each.
func caughtUp(t *testing.T, streams []*Stream) [][][]byte {
	t.Helper()
	events := make([][][]byte, len(streams))
	for quiet := 0; quiet < len(streams); {
		for i, s := range streams {
			r, ok, err := s.Poll()
			if err != nil {
				t.Fatal(err)
			}
			if quiet++; ok {
				quiet = 0
			}
			events[i] = append(events[i], r.Events...)
		}
	}
	return events
}

// TestPastIsReadOnce: watchers that want the same and begin together far behind cost one reading of history; what they get is what each gets
// alone. When all have caught up nothing is kept.
func TestPastIsReadOnce(t *testing.T) {
	h, store := newHub(Config{RingRevisions: 16, BatchRevisions: 10})
	for i := range 500 {
		h.Publish(store.revision()+1, store.apply(change{fmt.Sprint("k", i%7), []byte(fmt.Sprint("v", i))}))
	}
	follow := func(requests ...CreateRequest) (events [][][]byte, reads int) {
		var streams []*Stream
		for _, r := range requests {
			s := h.NewStream(StreamConfig{})
			defer s.Close()
			if err := s.Create(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			streams = append(streams, s)
		}
		before := store.reads
		return caughtUp(t, streams), store.reads - before
	}
	all := CreateRequest{Key: []byte("k"), RangeEnd: []byte("l"), StartRevision: 2}
	alone, reads := follow(all)
	if len(alone[0]) != 500 || reads < 48 {
		t.Fatalf("alone: %d events in %d reads", len(alone[0]), reads)
	}
	together, shared := follow(all, all, all, all)
	if shared > reads {
		t.Errorf("four together read %d times, one alone %d times", shared, reads)
	}
	for i, events := range together {
		if !slices.EqualFunc(events, alone[0], bytes.Equal) {
			t.Errorf("watcher %d got something else", i)
		}
	}
	others, _ := follow(all, CreateRequest{Key: []byte("k1"), StartRevision: 2}, CreateRequest{Key: all.Key, RangeEnd: all.RangeEnd, StartRevision: 2, PrevKV: true})
	if !slices.EqualFunc(others[0], alone[0], bytes.Equal) || len(others[1]) != 72 || bytes.Equal(others[2][300], alone[0][300]) {
		t.Error("those who want something else do not get it")
	}
	if kept := len(h.past.mu.stretches); kept != 0 {
		t.Errorf("%d stretches are kept for nobody", kept)
	}
}

// TestPastIsBounded: what is kept has a bound, and is of no use any more after a compaction.
func TestPastIsBounded(t *testing.T) {
	h, _ := newHub(Config{})
	h.stats.slow.Store(2)
	var sel selection
	for from := range int64(100) {
		h.past.keep(&stretch{sel: sel, from: from, next: from + 1, compacted: 5, bytes: pastBytesMax / 10})
	}
	if n := len(h.past.mu.stretches); n != 10 || h.past.mu.bytes != pastBytesMax/10*10 {
		t.Errorf("%d stretches of %d bytes", n, h.past.mu.bytes)
	}
	if h.past.find(&sel, 99, 5) == nil || h.past.find(&sel, 89, 5) != nil || h.past.find(&sel, 99, 6) != nil {
		t.Error("found what is not kept, or not what is")
	}
}
