package backend

import (
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

func benchBackend(b *testing.B) *Backend {
	b.Helper()
	return mustOpen(b, filePlace{b.TempDir()}, Config{})
}

func BenchmarkAppendCommit(b *testing.B) {
	back := benchBackend(b)
	value := make([]byte, 256)
	b.ReportAllocs()
	main := int64(1)
	for b.Loop() {
		main++
		back.Append(rev(main), false, value)
		back.Commit(applied(uint64(main)))
		if main%10_000 == 0 {
			b.StopTimer()
			_, _ = back.Flush(uint64(main))
			b.StartTimer()
		}
	}
}

func BenchmarkReader(b *testing.B) {
	back := benchBackend(b)
	fill(back, 2, 5000)
	b.ReportAllocs()
	for b.Loop() {
		back.Reader().Release()
	}
}

func benchmarkRecord(b *testing.B, flushed bool) {
	b.Helper()
	back := benchBackend(b)
	const records = 100_000
	fill(back, 2, records)
	if flushed {
		mustFlush(b, back)
	}
	r := back.Reader()
	defer r.Release()
	b.ReportAllocs()
	at := int64(0)
	for b.Loop() {
		at = (at + 7919) % (records - 1)
		if _, err := r.Record(schema.Rev{Main: at + 2}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecordPending(b *testing.B) { benchmarkRecord(b, false) }

func BenchmarkRecordInFile(b *testing.B) { benchmarkRecord(b, true) }

func BenchmarkScanFile(b *testing.B) {
	back := benchBackend(b)
	fill(back, 2, 10_001)
	mustFlush(b, back)
	r := back.Reader()
	defer r.Release()
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Scan(rev(0), rev(1<<40), func(schema.Rev, bool, []byte) bool { return true })
	}
}

func BenchmarkFlush10k(b *testing.B) {
	back := benchBackend(b)
	value := make([]byte, 256)
	b.ReportAllocs()
	main := int64(1)
	for b.Loop() {
		b.StopTimer()
		for range 10_000 {
			main++
			back.Append(rev(main), false, value)
		}
		back.Commit(applied(uint64(main)))
		b.StartTimer()
		if _, err := back.Flush(uint64(main)); err != nil {
			b.Fatal(err)
		}
	}
}

// A thousand records at once, next to each other or all over the file.
func BenchmarkRecordsInFile(b *testing.B) {
	for name, step := range map[string]int64{"neighbours": 1, "scattered": 7919} {
		b.Run(name, func(b *testing.B) {
			back := benchBackend(b)
			const records = 100_000
			fill(back, 2, records)
			mustFlush(b, back)
			r := back.Reader()
			defer r.Release()
			var revs []schema.Rev
			for i := range int64(1000) {
				revs = append(revs, schema.Rev{Main: 2 + i*step%(records-1)})
			}
			var out [][]byte
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if out, err = r.Records(out[:0], revs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
