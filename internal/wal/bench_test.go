package wal

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/raft/wire"
)

// benchmarkLog is a log on the machine's disk without syncs: what is measured is our own work and the system call.
func benchmarkLog(tb testing.TB, noSync bool) *Log {
	c := Config{FS: vfs.OS{}, Dir: filepath.Join(tb.TempDir(), "wal"), NoSync: noSync}
	return createLog(tb, c)
}

func BenchmarkWrite(b *testing.B) {
	for _, n := range []uint64{1, 64} {
		for _, noSync := range []bool{true, false} {
			name := "entries=" + strconv.FormatUint(n, 10) + "/sync=" + strconv.FormatBool(!noSync)
			b.Run(name, func(b *testing.B) {
				l := benchmarkLog(b, noSync)
				batch := Batch{Entries: entries(1, n, 1, 256), HardState: state(1, 0), Sync: true}
				b.SetBytes(int64(n) * 256)
				b.ReportAllocs()
				for b.Loop() {
					must(b, l.Write(batch))
					advance(&batch, n)
				}
			})
		}
	}
}

// advance makes a batch the one that follows it.
func advance(b *Batch, n uint64) {
	for i := range b.Entries {
		b.Entries[i].Index += n
	}
}

// TestWriteDoesNotAllocate: in the steady state a batch takes no memory.
func TestWriteDoesNotAllocate(t *testing.T) {
	l := benchmarkLog(t, false)
	batch := Batch{Entries: entries(1, 64, 1, 256), HardState: state(1, 0), Sync: true}
	allocs := testing.AllocsPerRun(100, func() {
		must(t, l.Write(batch))
		advance(&batch, 64)
	})
	if allocs != 0 {
		t.Fatalf("%v allocations for each batch", allocs)
	}
}

func BenchmarkRead(b *testing.B) {
	_, c := memConfig(b)
	c.SegmentBytes = 0
	l := createLog(b, c)
	var list []wire.Entry
	for i := uint64(0); i < 200; i++ {
		list = entries(i*100+1, i*100+100, 1, 256)
		must(b, l.Write(Batch{Entries: list, HardState: state(1, 0), Sync: true}))
	}
	b.SetBytes(l.offset)
	b.ReportAllocs()
	for b.Loop() {
		_, err := Read(c)
		must(b, err)
	}
}
