package mvcc

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

const benchKeys = 200_000

func benchKey(i int) []byte { return fmt.Appendf(nil, "/registry/pods/namespace/%08d", i) }

func benchStore(b *testing.B, n int) (*Store, *memStore) {
	s, m := newStore(b)
	value := make([]byte, 256)
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		tx := s.Begin()
		tx.Put(benchKey(i), value, 0)
		tx.End()
	}
	b.ReportAllocs()
	b.ResetTimer()
	return s, m
}

func benchKeysShuffled() [][]byte {
	keys := make([][]byte, benchKeys)
	for i, k := range rand.New(rand.NewPCG(3, 4)).Perm(benchKeys) {
		keys[i] = benchKey(k)
	}
	return keys
}

func BenchmarkPut(b *testing.B) {
	keys := benchKeysShuffled()
	s, _ := benchStore(b, benchKeys)
	value := make([]byte, 256)
	i := 0
	for b.Loop() {
		tx := s.Begin()
		tx.Put(keys[i%benchKeys], value, 0)
		tx.End()
		i++
	}
}

// A view published after every batch of 16 transactions.
func BenchmarkPutAndView(b *testing.B) {
	keys := benchKeysShuffled()
	s, m := benchStore(b, benchKeys)
	value := make([]byte, 256)
	i := 0
	for b.Loop() {
		tx := s.Begin()
		tx.Put(keys[i%benchKeys], value, 0)
		tx.End()
		if i++; i%16 == 0 {
			s.View(m.reader()).Release()
		}
	}
}

func BenchmarkGetLatest(b *testing.B) {
	keys := benchKeysShuffled()
	s, m := benchStore(b, benchKeys)
	v := s.View(m.reader())
	defer v.Release()
	i := 0
	for b.Loop() {
		if _, err := v.Range(Query{Key: keys[i%benchKeys]}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func benchRange(b *testing.B, q Query, want int) {
	s, m := benchStore(b, benchKeys)
	v := s.View(m.reader())
	defer v.Release()
	for b.Loop() {
		res, err := v.Range(q)
		if err != nil || len(res.Records) != want {
			b.Fatal(len(res.Records), err)
		}
	}
}

func BenchmarkRange1000(b *testing.B) {
	benchRange(b, Query{Key: benchKey(50_000), End: benchKey(51_000)}, 1000)
}

func BenchmarkRange1000KeysOnly(b *testing.B) {
	benchRange(b, Query{Key: benchKey(50_000), End: benchKey(51_000), KeysOnly: true}, 1000)
}

func BenchmarkCount200k(b *testing.B) {
	benchRange(b, Query{Key: []byte("/"), End: []byte("0"), CountOnly: true}, 0)
}

func BenchmarkPage500Of200k(b *testing.B) {
	benchRange(b, Query{Key: benchKey(50_000), End: []byte("0"), Limit: 500}, 500)
}

func BenchmarkLastKeyOf200k(b *testing.B) {
	benchRange(b, Query{Key: []byte("/"), End: []byte("0"), Limit: 1, Order: Descending}, 1)
}

// Later pages are pinned to the revision of the first while the store moves on.
func BenchmarkPage500Pinned(b *testing.B) {
	for _, rooted := range []bool{false, true} {
		b.Run(fmt.Sprintf("root=%v", rooted), func(b *testing.B) {
			s, m := benchStore(b, benchKeys)
			q := Query{Key: benchKey(50_000), End: []byte("0"), Limit: 500, Revision: s.Rev()}
			if rooted {
				first := s.View(m.reader())
				q.Root = first.Root()
				first.Release()
			}
			put(s, "/later", "", 0)
			v := s.View(m.reader())
			defer v.Release()
			for b.Loop() {
				if res, err := v.Range(q); err != nil || len(res.Records) != 500 {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRestore(b *testing.B) {
	_, m := benchStore(b, benchKeys)
	for b.Loop() {
		restore(b, m, m.options())
	}
	b.ReportMetric(float64(b.N)*benchKeys/b.Elapsed().Seconds(), "keys/s")
}

func BenchmarkCompact(b *testing.B) {
	keys := benchKeysShuffled()
	s, m := benchStore(b, benchKeys)
	s.opts.NoCompactHash = true
	s.storage = keepAll{m}
	compact(b, s, s.Rev())
	i := 0
	for b.Loop() {
		for range 1000 {
			tx := s.Begin()
			tx.Put(keys[i%1000], nil, 0)
			tx.End()
			i++
		}
		compact(b, s, s.Rev())
	}
}

// keepAll removes nothing, to keep the test storage's copying out of the
// measurement.
type keepAll struct{ *memStore }

func (keepAll) DeleteRecord(schema.Rev, bool) {}

func BenchmarkChanges(b *testing.B) {
	s, m := benchStore(b, benchKeys)
	v := s.View(m.reader())
	defer v.Release()
	for name, q := range map[string]ChangesQuery{
		"few-keys": {Key: benchKey(5000), End: benchKey(5010), From: 2},
		"all-keys": {Key: []byte("/"), End: []byte{0}, From: 100_000, MaxRevisions: 1000},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Changes(q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHashKV(b *testing.B) {
	s, m := benchStore(b, benchKeys)
	v := s.View(m.reader())
	defer v.Release()
	for b.Loop() {
		if _, err := v.HashKV(0); err != nil {
			b.Fatal(err)
		}
	}
}
