package watch

import (
	"errors"
	"fmt"
	"testing"
)

// poll takes responses until there is none.
func poll(t *testing.T, s *Stream) (all []Response) {
	t.Helper()
	for {
		r, ok, err := s.Poll()
		must(t, err)
		if !ok {
			return all
		}
		all = append(all, r)
	}
}

func awake(s *Stream) bool {
	select {
	case <-s.Wake():
		return true
	default:
		return false
	}
}

func TestPoll(t *testing.T) {
	h, store := newHub(Config{})
	s := h.NewStream(StreamConfig{})
	if got := poll(t, s); len(got) != 0 || awake(s) {
		t.Errorf("a new stream has %v", got)
	}
	must(t, s.Create(t.Context(), CreateRequest{Key: []byte("a"), ProgressNotify: true}))
	if !awake(s) {
		t.Error("an answer wakes nobody")
	}
	if got := poll(t, s); len(got) != 1 || !got[0].Created {
		t.Errorf("after create: %v", got)
	}
	put(h, store, "a")
	put(h, store, "a", "b")
	if !awake(s) {
		t.Error("an event wakes nobody")
	}
	if got := poll(t, s); len(got) != 2 || got[1].HeaderRevision != 3 {
		t.Errorf("events: %v", got)
	}
	s.Tick() // the one since which there were events
	s.Tick()
	if !awake(s) {
		t.Error("progress wakes nobody")
	}
	if got := poll(t, s); len(got) != 1 || got[0].HeaderRevision != 3 || len(got[0].Events) != 0 {
		t.Errorf("progress: %v", got)
	}
	for awake(s) {
		_ = poll(t, s)
	}
	s.Close()
	s.Tick()
	if !awake(s) {
		t.Error("the end wakes nobody")
	}
	if _, _, err := s.Poll(); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed stream: %v", err)
	}
	h.Close()
	late := h.NewStream(StreamConfig{})
	if !awake(late) {
		t.Error("a stream of a closed hub wakes nobody")
	}
}

// TestPollIsBounded: watchers that find nothing in a long history do not hold up who polls; it is woken to go on.
func TestPollIsBounded(t *testing.T) {
	h, store := newHub(Config{RingRevisions: 2, HistoryRevisions: 2})
	for range 200 {
		put(h, store, "other")
	}
	s := h.NewStream(StreamConfig{})
	defer s.Close()
	must(t, s.Create(t.Context(), CreateRequest{Key: []byte("a"), StartRevision: 2}))
	if got := poll(t, s); len(got) != 1 {
		t.Fatal(fmt.Sprint(got))
	}
	before, polls := store.reads, 0
	for awake(s) {
		if got := poll(t, s); len(got) != 0 {
			t.Fatal(fmt.Sprint(got))
		}
		if read := store.reads - before; read > pollSteps {
			t.Fatalf("one poll read the history %d times", read)
		}
		before = store.reads
		polls++
	}
	if polls < 5 {
		t.Errorf("done after %d polls", polls)
	}
	put(h, store, "a")
	if got := poll(t, s); len(got) != 1 || len(got[0].Events) != 1 {
		t.Errorf("after the history: %v", got)
	}
}

// TestCaughtUp: work for a watcher that is behind is told, be it served from the ring or from the history, and work for one that follows is not.
func TestCaughtUp(t *testing.T) {
	h, store := newHub(Config{RingRevisions: 16})
	for range 30 {
		put(h, store, "a")
	}
	for name, c := range map[string]struct {
		from int64
		want bool
	}{"history": {2, true}, "ring": {25, true}, "present": {0, false}} {
		s := h.NewStream(StreamConfig{})
		must(t, s.Create(t.Context(), CreateRequest{Key: []byte("a"), StartRevision: c.from}))
		poll(t, s)
		put(h, store, "a")
		poll(t, s)
		if got := s.CaughtUp(); got != c.want {
			t.Errorf("%s: caught up %v, want %v", name, got, c.want)
		}
		if s.CaughtUp() {
			t.Errorf("%s: told twice", name)
		}
		s.Close()
	}
}
