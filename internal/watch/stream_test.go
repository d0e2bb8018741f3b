package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/quoin-kv/quoin/internal/mvcc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newHub returns a hub over a fresh store.
func newHub(cfg Config) (*Hub, *fakeStore) {
	store := newFakeStore()
	cfg.History, cfg.Rev = store, 1
	return New(cfg), store
}

// put makes a revision and publishes it.
func put(h *Hub, store *fakeStore, keys ...string) {
	changes := make([]change, len(keys))
	for i, k := range keys {
		changes[i] = change{k, []byte("v")}
	}
	h.Publish(store.revision()+1, store.apply(changes...))
}

// create adds a watcher and takes the answer.
func create(t *testing.T, s *Stream, req CreateRequest) int64 {
	t.Helper()
	must(t, s.Create(t.Context(), req))
	r, err := s.Next(t.Context())
	must(t, err)
	if !r.Created || r.Canceled {
		t.Fatal(describe(r))
	}
	return r.WatchID
}

func TestNextSleepsUntilTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, store := newHub(Config{})
		s := h.NewStream(StreamConfig{})
		defer s.Close()
		create(t, s, CreateRequest{Key: []byte("a")})
		got := make(chan string, 10)
		go func() {
			for {
				r, err := s.Next(t.Context())
				if err != nil {
					close(got)
					return
				}
				got <- describe(r)
			}
		}()
		synctest.Wait()
		put(h, store, "b")
		synctest.Wait()
		if len(got) > 0 {
			t.Fatal("woken for nothing:", <-got)
		}
		put(h, store, "a")
		if r := <-got; r != "id=0 rev=3 | PUT a=v @3\n" {
			t.Error(r)
		}
		must(t, s.Cancel(t.Context(), 0))
		if r := <-got; r != "id=0 rev=3 canceled\n" {
			t.Error(r)
		}
		s.Close()
		if r, open := <-got; open {
			t.Error("after close:", r)
		}
	})
}

// TestOneWakePerBatch: a batch that touches many watchers of a stream in many revisions leaves one element in its channel, put
// there after everything was in place.
func TestOneWakePerBatch(t *testing.T) {
	h, store := newHub(Config{})
	s := h.NewStream(StreamConfig{})
	other := h.NewStream(StreamConfig{})
	defer s.Close()
	defer other.Close()
	for range 5 {
		create(t, s, CreateRequest{Key: []byte("a"), RangeEnd: []byte("z")})
	}
	create(t, other, CreateRequest{Key: []byte("z")})
	for len(s.wake)+len(other.wake) > 0 {
		select {
		case <-s.wake:
		case <-other.wake:
		}
	}
	var batch []mvcc.Event
	for range 3 {
		batch = append(batch, store.apply(change{"a", nil}, change{"b", []byte("v")})...)
	}
	h.publish(store.revision(), batch)
	if len(h.woken) != 1 || h.woken[0] != s || len(s.wake) != 0 {
		t.Errorf("%d streams to wake, %d wakes", len(h.woken), len(s.wake))
	}
	h.Publish(store.revision(), nil)
	if len(s.wake) != 1 || len(other.wake) != 0 {
		t.Errorf("%d and %d wakes", len(s.wake), len(other.wake))
	}
}

func TestPeriodicProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, store := newHub(Config{})
		ticker := time.NewTicker(10 * time.Minute)
		defer ticker.Stop()
		s := h.NewStream(StreamConfig{Ticks: ticker.C})
		defer s.Close()
		create(t, s, CreateRequest{Key: []byte("a"), ProgressNotify: true})
		put(h, store, "b")
		begin := time.Now()
		for n := range 3 {
			r, err := s.Next(t.Context())
			must(t, err)
			if got := describe(r); got != "id=0 rev=2\n" || time.Since(begin) != time.Duration(n+1)*10*time.Minute {
				t.Errorf("after %v: %s", time.Since(begin), got)
			}
		}
	})
}

func TestNextEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHub(Config{})
		s := h.NewStream(StreamConfig{})
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestRequestsBlock: who does not take answers cannot pile up requests.
func TestRequestsBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHub(Config{AnswersPerStreamMax: 2})
		s := h.NewStream(StreamConfig{})
		defer s.Close()
		req := CreateRequest{Key: []byte("a")}
		must(t, s.Create(t.Context(), req))
		must(t, s.Cancel(t.Context(), 99)) // no answer, no slot
		must(t, s.Cancel(t.Context(), 0))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Create(ctx, req); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		result := make(chan error)
		go func() { result <- s.Create(t.Context(), req) }()
		synctest.Wait()
		if _, err := s.Next(t.Context()); err != nil {
			t.Error(err)
		}
		must(t, <-result)
		go func() { result <- s.Cancel(t.Context(), 1) }()
		synctest.Wait()
		s.Close()
		if err := <-result; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

func TestProgressRequestsAreBounded(t *testing.T) {
	h, store := newHub(Config{})
	s := h.NewStream(StreamConfig{})
	defer s.Close()
	create(t, s, CreateRequest{Key: []byte("a")})
	for range 2 {
		for range progressMax {
			s.Progress()
		}
		put(h, store, "a")
		for range progressMax {
			s.Progress()
		}
		answers := 0
		for {
			r, done, err := s.step()
			must(t, err)
			if done == idle {
				break
			}
			if r.WatchID == invalidID {
				answers++
			}
		}
		if answers != progressMax {
			t.Errorf("%d answers", answers)
		}
	}
}

func TestClosedHub(t *testing.T) {
	h, store := newHub(Config{})
	s := h.NewStream(StreamConfig{})
	must(t, s.Create(t.Context(), CreateRequest{Key: []byte("a")}))
	h.Close()
	late := h.NewStream(StreamConfig{})
	for _, s := range []*Stream{s, late} {
		s.Progress()
		if _, err := s.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := s.Create(t.Context(), CreateRequest{}); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := s.Cancel(t.Context(), 0); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		s.Close()
	}
	put(h, store, "a")
	h.Close()
	if got := h.Stats(); got != (Stats{}) {
		t.Errorf("%+v", got)
	}
}

func TestHistoryErrorEndsStream(t *testing.T) {
	h, store := newHub(Config{RingRevisions: 1})
	s := h.NewStream(StreamConfig{})
	defer s.Close()
	put(h, store, "a")
	put(h, store, "a")
	create(t, s, CreateRequest{Key: []byte("a"), StartRevision: 2})
	store.err = errors.New("disk on fire")
	_, err := s.Next(t.Context())
	if !errors.Is(err, store.err) {
		t.Error(err)
	}
	if store.views != 0 {
		t.Error("view not released")
	}
}

func TestPublishPanicsOnDecreasingRevision(t *testing.T) {
	h, store := newHub(Config{})
	put(h, store, "a")
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	h.Publish(1, nil)
}

// TestStoreAheadOfHub: the store's view is published before the hub hears of it. A watcher created in between starts after
// what its client can have seen, and gets it if it asked for it.
func TestStoreAheadOfHub(t *testing.T) {
	h, store := newHub(Config{})
	s := h.NewStream(StreamConfig{})
	defer s.Close()
	events := store.apply(change{"a", []byte("1")})
	create(t, s, CreateRequest{Key: []byte("a")})
	create(t, s, CreateRequest{Key: []byte("a"), StartRevision: 2})
	r, err := s.Next(t.Context())
	must(t, err)
	if got := describe(r); got != "id=1 rev=2 | PUT a=1 @2\n" {
		t.Error(got)
	}
	h.Publish(2, events)
	h.check()
	if r, done, err := s.step(); done == responded || err != nil {
		t.Error(describe(r), err)
	}
}

// TestCatchUpWithStoreAheadOfHub: the end of the ring is not the end of what a watcher has to catch up with.
func TestCatchUpWithStoreAheadOfHub(t *testing.T) {
	h, store := newHub(Config{})
	s := h.NewStream(StreamConfig{})
	defer s.Close()
	put(h, store, "a")
	put(h, store, "a")
	events := store.apply(change{"a", []byte("4")})
	create(t, s, CreateRequest{Key: []byte("a"), StartRevision: 2})
	var got string
	for range 2 {
		r, err := s.Next(t.Context())
		must(t, err)
		got += describe(r)
		s.Progress() // dropped while the watcher is behind, and at the hub's revision after that
		h.check()
	}
	h.Publish(4, events)
	r, err := s.Next(t.Context())
	must(t, err)
	got += describe(r)
	if got != "id=0 rev=3 | PUT a=v @2 | PUT a=v @3\nid=0 rev=4 | PUT a=4 @4\nid=-1 rev=3\n" {
		t.Error(got)
	}
}

// TestPublishDuringCreate: what is published while a watcher is being made is either before it or delivered.
func TestPublishDuringCreate(t *testing.T) {
	h, store := newHub(Config{})
	s := h.NewStream(StreamConfig{})
	defer s.Close()
	for start, want := range []string{
		"id=0 rev=2 created\n",
		"id=1 rev=3 created\nid=0 rev=3 | PUT a=v @3\nid=1 rev=3 | PUT a=v @2 | PUT a=v @3\n",
	} {
		store.acquired = func() { put(h, store, "a") }
		must(t, s.Create(t.Context(), CreateRequest{Key: []byte("a"), StartRevision: int64(start)}))
		got := ""
		for _, r := range drain(t, s, map[int64][][]byte{}) {
			got += describe(r)
		}
		if got != want {
			t.Error(got)
		}
	}
}

// TestCancelWhileReading: a watcher that is canceled while its history is being read gets none of it.
func TestCancelWhileReading(t *testing.T) {
	h, store := newHub(Config{RingRevisions: 1})
	s := h.NewStream(StreamConfig{})
	defer s.Close()
	put(h, store, "a")
	put(h, store, "a")
	create(t, s, CreateRequest{Key: []byte("a"), StartRevision: 2})
	store.reading = func() { must(t, s.Cancel(t.Context(), 0)) }
	r, err := s.Next(t.Context())
	must(t, err)
	if got := describe(r); got != "id=0 rev=3 canceled\n" {
		t.Error(got)
	}
	if r, done, err := s.step(); done == responded || err != nil {
		t.Error(describe(r), err)
	}
	h.check()
}

// TestBytesAreShared: streams get the same slices, and nobody reads the history for them.
func TestBytesAreShared(t *testing.T) {
	h, store := newHub(Config{})
	var first Response
	var streams []*Stream
	for range 3 {
		s := h.NewStream(StreamConfig{})
		defer s.Close()
		create(t, s, CreateRequest{Key: []byte("a"), RangeEnd: []byte("c")})
		streams = append(streams, s)
	}
	single := h.NewStream(StreamConfig{})
	defer single.Close()
	create(t, single, CreateRequest{Key: []byte("a")})
	put(h, store, "a", "b")
	for i, s := range streams {
		r, err := s.Next(t.Context())
		must(t, err)
		if i == 0 {
			first = r
		}
		if len(r.Events) != 2 || &r.Events[0] != &first.Events[0] {
			t.Error("payload is not shared among equal ranges")
		}
	}
	r, err := single.Next(t.Context())
	must(t, err)
	if &r.Events[0][0] != &first.Events[0][0] {
		t.Error("event is not shared among different ranges")
	}
	if store.reads != 0 {
		t.Errorf("%d reads of history", store.reads)
	}
}

// TestConcurrentStreams: many streams and watchers come, read and go while revisions are published; every reader sees a gapless
// sequence.
func TestConcurrentStreams(t *testing.T) {
	h, store := newHub(Config{RingRevisions: 20, BatchRevisions: 7})
	const streams, revisions = 8, 400
	var done sync.WaitGroup
	for i := range streams {
		done.Go(func() {
			for err := error(nil); err == nil && store.revision() < revisions; {
				err = readSome(h, i)
				if err != nil {
					t.Error(err)
				}
			}
			if err := readUntil(h, revisions); err != nil {
				t.Error(err)
			}
		})
	}
	for store.revision() < revisions {
		put(h, store, "k", fmt.Sprint("x", store.revision()%7))
		h.Stats()
	}
	done.Wait()
	h.check()
	if got := h.Stats(); got != (Stats{Events: got.Events}) || store.views != 0 {
		t.Errorf("%+v, %d views", got, store.views)
	}
}

// readSome opens a stream with a few watchers, reads a little and closes it again.
func readSome(h *Hub, n int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := h.NewStream(StreamConfig{FragmentBytes: 100})
	defer s.Close()
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for i := range 10 {
			_ = s.Create(ctx, CreateRequest{Key: []byte("k"), RangeEnd: []byte("z"), StartRevision: int64(i % 3), Fragment: true, PrevKV: true})
			s.Progress()
			_ = s.Cancel(ctx, int64(i/2))
		}
	}()
	for range 10 + n {
		if _, err := s.Next(ctx); err != nil {
			return err
		}
	}
	s.Close()
	<-stop
	return nil
}

// readUntil follows one key, which every revision changes, from the beginning to a revision.
func readUntil(h *Hub, to int64) error {
	s := h.NewStream(StreamConfig{})
	defer s.Close()
	if err := s.Create(context.Background(), CreateRequest{Key: []byte("k"), StartRevision: 2}); err != nil {
		return err
	}
	next := int64(2)
	for next <= to {
		r, err := s.Next(context.Background())
		if err != nil {
			return err
		}
		next += int64(len(r.Events))
		if len(r.Events) > 0 && r.HeaderRevision < next-1 {
			return fmt.Errorf("header %d after %d events", r.HeaderRevision, next-2)
		}
	}
	return nil
}

// TestListsGoRound: the list of a long response goes to the next one that is read, whatever stream that is for, once its stream has released it,
// and not before its last part has been taken.
func TestListsGoRound(t *testing.T) {
	h, store := newHub(Config{BatchRevisions: 3 * manyRevisions})
	defer h.Close()
	for i := range 10 * manyRevisions {
		put(h, store, fmt.Sprintf("key%04d", i))
	}
	type reader struct {
		*Stream
		next int
	}
	var readers []*reader
	for i := range 3 {
		r := &reader{Stream: h.NewStream(StreamConfig{FragmentBytes: 500})}
		defer r.Close()
		must(t, r.Create(t.Context(), CreateRequest{Key: []byte("key"), RangeEnd: []byte("kez"), StartRevision: 2, Fragment: i == 0}))
		if _, err := r.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	lists := map[*[]byte]bool{}
	for left := len(readers); left > 0; {
		var responses []Response
		for _, r := range readers {
			response, _, err := r.Poll()
			must(t, err)
			responses = append(responses, response)
		}
		left = len(readers)
		for i, r := range readers { // all have their lists at the same time
			for _, event := range responses[i].Events {
				if want := fmt.Sprintf("key%04d", r.next); !bytes.Contains(event, []byte(want)) {
					t.Fatalf("stream %d: expected %s in %q", i, want, event)
				}
				r.next++
			}
			if n := len(responses[i].Events); n > manyRevisions {
				lists[&responses[i].Events[0]] = true
			}
			if r.next == 10*manyRevisions {
				left--
			}
			r.Release()
		}
	}
	if len(lists) >= 6 { // of 8 long responses; the race detector has pools forget some
		t.Errorf("%d lists", len(lists))
	}
}
