package wal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/vfs"
)

// zeros is a value with much in it that looks as if it had never been written.
func zeros(rng *rand.Rand) string {
	value := bytes.Repeat([]byte{0}, rng.IntN(4000))
	for range rng.IntN(3) {
		if len(value) > 0 {
			value[rng.IntN(len(value))] = byte(rng.IntN(256))
		}
	}
	return string(value)
}

// TestBitFlips turns over one random bit of random logs, whose records look torn easily. The log must be as before, or be refused with the
// place of the damage, or lose no more than its last batch, which may have been torn: never what is committed.
func TestBitFlips(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	count := map[string]int{}
	for range 20 {
		mem, c := memConfig(t)
		c.SegmentBytes = 16 << 10
		l := createLog(t, c)
		last, before := uint64(0), uint64(0) // the last entry, and that of the batch before
		for range 3 + rng.IntN(20) {
			var b Batch
			before = last
			for range 1 + rng.IntN(3) {
				last++
				b.Entries = append(b.Entries, entry(last, 1, zeros(rng)))
			}
			b.HardState, b.Sync = state(1, before), true
			must(t, l.Write(b))
		}
		must(t, l.Close())
		want, err := Read(c)
		must(t, err)
		segments := strings.Fields(segmentsIn(t, c))
		for range 40 {
			at := rng.IntN(len(segments))
			count[flipOne(t, c, mem, rng, segments, at, want, before)]++
		}
	}
	if t.Logf("%v", count); count["refused"] == 0 || count["harmless"] == 0 || count["cut"] == 0 {
		t.Errorf("outcomes %v", count)
	}
}

// flipOne turns over a bit in one of the segments and says what came of it.
func flipOne(t *testing.T, c Config, mem *vfs.Mem, rng *rand.Rand, segments []string, at int, want *Recovered, keep uint64) string {
	t.Helper()
	path := c.Dir + "/" + segments[at]
	content := fileBytes(t, mem, path)
	bit := rng.Int64N(int64(len(content)) * 8)
	damaged := mem.Crash(vfs.CrashOptions{})
	f, err := damaged.OpenWrite(path)
	must(t, err)
	_, err = f.WriteAt([]byte{content[bit/8] ^ 1<<(bit%8)}, bit/8)
	must(t, errors.Join(err, f.Sync(), f.Close()))
	c.FS = damaged
	l, r, err := Open(c)
	var corrupt *CorruptionError
	if errors.As(err, &corrupt) {
		// The checksum that begins a log is only found wrong at the record behind it.
		if corrupt.File != path || corrupt.Offset > bit/8 && corrupt.Record > 1 {
			t.Fatalf("bit %d of %s: the error is %v", bit, path, err)
		}
		return "refused"
	}
	must(t, err)
	defer l.Close()
	if r.Repaired == nil && len(r.Entries) == len(want.Entries) {
		wantEntries(t, r.Entries, want.Entries)
		return "harmless"
	}
	switch n := uint64(len(r.Entries)); {
	case at < len(segments)-1:
		t.Fatalf("bit %d of %s, which is not the last segment: %d entries of %d", bit, path, n, len(want.Entries))
	case n < keep || n < r.HardState.Commit:
		t.Fatalf("bit %d of %s: %d entries are left of %d, the batch before the last ends at %d; committed %d",
			bit, path, n, len(want.Entries), keep, r.HardState.Commit)
	}
	wantEntries(t, r.Entries, want.Entries[:len(r.Entries)])
	return "cut"
}

// TestVerify: damage in a segment that is not written any more is found while the log is in use.
func TestVerify(t *testing.T) {
	mem, c := memConfig(t)
	l := createLog(t, c)
	for i := uint64(1); i <= 30; i++ {
		must(t, l.Write(one(i, 700)))
	}
	sealed := l.Sealed()
	if len(sealed) < 3 {
		t.Fatalf("sealed are %v", sealed)
	}
	for _, seq := range append(sealed, l.tail.seq, 99) {
		must(t, l.Verify(seq))
	}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	missed := 0
	for range 300 {
		seq := sealed[rng.IntN(len(sealed))]
		path, _ := l.sealedPath(seq)
		f, err := mem.OpenWrite(path)
		must(t, err)
		size, err := f.Size()
		must(t, err)
		at, mask := rng.Int64N(size), byte(1)<<rng.IntN(8)
		var b [1]byte
		_, err = f.ReadAt(b[:], at)
		must(t, err)
		_, err = f.WriteAt([]byte{b[0] ^ mask}, at)
		must(t, err)
		var corrupt *CorruptionError
		switch err := l.Verify(seq); {
		case err == nil:
			missed++ // it hit padding
		case !errors.As(err, &corrupt) || corrupt.File != path:
			t.Fatalf("seed %d: %v", seed, err)
		}
		_, err = f.WriteAt(b[:], at)
		must(t, errors.Join(err, f.Close()))
		must(t, l.Verify(seq))
	}
	if missed > 15 {
		t.Errorf("seed %d: %d of 300 flips were not found", seed, missed)
	}
	must(t, l.Write(Batch{Mark: &Mark{Index: 29, Term: 1}, HardState: state(1, 29)}))
	must(t, l.Release(29))
	must(t, l.Purge(1))
	must(t, l.Verify(sealed[0]))
}
