package watch

import (
	"fmt"
	"testing"

	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
)

// endless makes one event per call, of ever new revisions.
type endless struct {
	rev    int64
	events [1]mvcc.Event
}

func newEndless(key string) *endless {
	kv := schema.KeyValue{Key: []byte(key), CreateRevision: 2, ModRevision: 1 << 30, Version: 9, Value: make([]byte, 256)}
	return &endless{rev: 1, events: [1]mvcc.Event{{Key: kv.Key, Record: kv.Append(nil)}}}
}

func (e *endless) publish(h *Hub) {
	e.rev++
	e.events[0].Rev.Main = e.rev
	h.Publish(e.rev, e.events[:])
}

// watchers opens a stream per watcher and takes the answers.
func watchers(b *testing.B, h *Hub, n int, key func(i int) string) []*Stream {
	b.Helper()
	streams := make([]*Stream, n)
	for i := range streams {
		streams[i] = h.NewStream(StreamConfig{})
		if err := streams[i].Create(b.Context(), CreateRequest{Key: []byte(key(i))}); err != nil {
			b.Fatal(err)
		}
		if _, err := streams[i].Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	return streams
}

// BenchmarkPublish is what one event costs the applier, without reading it.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{0, 100, 10_000} {
		for name, key := range map[string]func(int) string{
			"same":     func(int) string { return "key/50" },
			"distinct": func(i int) string { return fmt.Sprint("key/", i) },
		} {
			b.Run(fmt.Sprintf("watchers=%d/%s", n, name), func(b *testing.B) {
				h, _ := newHub(Config{})
				watchers(b, h, n, key)
				defer h.Close()
				e := newEndless("key/50")
				b.ReportAllocs()
				for b.Loop() {
					e.publish(h)
				}
			})
		}
	}
}

// BenchmarkDeliver is one event from Publish to the bytes of n responses; time is per event and watcher.
func BenchmarkDeliver(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("watchers=%d", n), func(b *testing.B) {
			h, _ := newHub(Config{})
			streams := watchers(b, h, n, func(int) string { return "key" })
			defer h.Close()
			e := newEndless("key")
			var buf []byte
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%n == 0 {
					e.publish(h)
				}
				r, err := streams[i%n].Next(b.Context())
				if err != nil || len(r.Events) != 1 {
					b.Fatal(r, err)
				}
				buf = AppendResponse(buf[:0], Header{ClusterID: 1 << 60, MemberID: 1 << 60, RaftTerm: 3}, r)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

// BenchmarkCatchUp is one event of a watcher that reads the whole ring in batches.
func BenchmarkCatchUp(b *testing.B) {
	h, _ := newHub(Config{})
	e := newEndless("key")
	for range 10_000 {
		e.publish(h)
	}
	s := h.NewStream(StreamConfig{})
	defer s.Close()
	b.ReportAllocs()
	for read := 0; b.Loop(); read-- {
		for read == 0 {
			r, done, err := s.step()
			if err != nil {
				b.Fatal(err)
			}
			if done == idle {
				req := CreateRequest{Key: []byte("key"), StartRevision: 2}
				if err := s.Create(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
			read = len(r.Events)
		}
	}
}
