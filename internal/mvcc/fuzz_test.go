package mvcc

import (
	"math"
	"testing"

	"github.com/quoin-kv/quoin/internal/ordtree"
	"github.com/quoin-kv/quoin/internal/schema"
)

// FuzzRestore feeds two arbitrary records and an arbitrary compaction mark. It
// is either refused or gives a store that can be read and compacted.
func FuzzRestore(f *testing.F) {
	kv := schema.KeyValue{Key: []byte("a"), CreateRevision: 2, ModRevision: 2, Version: 1, Value: []byte("v"), Lease: 3}
	f.Add(kv.Append(nil), kv.Append(nil), compactRev(2), true)
	f.Add([]byte{}, []byte{0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, []byte(nil), false)
	f.Add(kv.Append(nil), kv.Append(nil), compactRev(math.MaxInt64), false)
	f.Add([]byte{0x0a, 0xff}, []byte{}, []byte{1}, true)
	f.Fuzz(func(t *testing.T, first, second, mark []byte, tombstone bool) {
		m := newMemStore()
		m.Append(schema.Rev{Main: 2}, false, first)
		m.Append(schema.Rev{Main: 3, Sub: 1}, tombstone, second)
		opts := m.options()
		opts.ScheduledCompact = mark
		r := m.reader()
		defer r.Release()
		s, err := Restore(m, r, opts)
		if err != nil {
			return
		}
		put(s, "a", "1", 0)
		remove(s, "\x00", "\x00")
		finishCompaction(t, s, 100)
		if s.CompactRev() < s.Rev() {
			compact(t, s, s.Rev())
		}
		v := view(t, s, m)
		if res, err := v.Range(Query{Key: []byte{0}, End: []byte{0}}); err != nil || res.Count != 0 {
			t.Fatalf("found %+v %v after deleting everything", res, err)
		}
		if len(m.records) != s.tree.Len(ordtree.All) {
			t.Fatalf("%d records for %d keys after compaction", len(m.records), s.tree.Len(ordtree.All))
		}
	})
}
