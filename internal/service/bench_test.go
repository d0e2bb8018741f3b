package service_test

import (
	"testing"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/watch"
)

// BenchmarkCalls measures what clients do most, on one member with disks in memory.
func BenchmarkCalls(b *testing.B) {
	m := start(b)
	put(b, m, "k", "v")
	grant(b, m, 7, 1<<30)
	for name, one := range map[string]func() error{
		"put": func() error {
			_, err := m.Put(b.Context(), (&request.Put{Key: []byte("k"), Value: []byte("v")}).Append(nil))
			return err
		},
		"get": func() error {
			_, err := m.Range(b.Context(), (&request.Range{Key: []byte("k")}).Append(nil))
			return err
		},
		"serializable": func() error {
			_, err := m.Range(b.Context(), (&request.Range{Key: []byte("k"), Serializable: true}).Append(nil))
			return err
		},
		"keepalive": func() error {
			_, err := m.LeaseKeepAlive(b.Context(), (&request.LeaseKeepAlive{ID: 7}).Append(nil))
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := one(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkWatch measures a put and the message that a watcher gets of it.
func BenchmarkWatch(b *testing.B) {
	m := start(b)
	w := m.Watch()
	defer w.Close()
	check(b, w.Create(b.Context(), watch.CreateRequest{Key: []byte("k")}))
	next(b, w)
	raw := (&request.Put{Key: []byte("k"), Value: []byte("v")}).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Put(b.Context(), raw); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFanOut is one event to each of many watchers of a stream, in one buffer; time is per watcher, the put included.
func BenchmarkFanOut(b *testing.B) {
	const watchers = 1000
	m := start(b)
	w := m.Watch()
	defer w.Close()
	var buf []byte
	for range watchers {
		check(b, w.Create(b.Context(), watch.CreateRequest{Key: []byte("k")}))
		next(b, w)
	}
	raw := (&request.Put{Key: []byte("k"), Value: make([]byte, 64)}).Append(nil)
	b.ReportAllocs()
	left := 0
	for b.Loop() {
		if left == 0 {
			if _, err := m.Put(b.Context(), raw); err != nil {
				b.Fatal(err)
			}
			left, buf = watchers, buf[:0]
		}
		var ok bool
		var err error
		if buf, ok, err = w.Poll(buf); !ok || err != nil {
			b.Fatal(ok, err)
		}
		left--
	}
}
