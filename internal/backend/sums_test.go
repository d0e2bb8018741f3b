package backend

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

// checkSums compares sums with a plain map of the same, and verifies the invariants.
func checkSums(t *testing.T, s *sums, want map[schema.Rev]uint32) {
	t.Helper()
	var revs []schema.Rev
	for rev, sum := range want {
		revs = append(revs, rev)
		if got, ok := s.find(rev); !ok || got != sum {
			t.Fatalf("revision %v: %x %v, want %x", rev, got, ok, sum)
		}
		if _, ok := s.find(schema.Rev{Main: rev.Main, Sub: rev.Sub + 1000}); ok {
			t.Fatalf("found what is not there after %v", rev)
		}
	}
	slices.SortFunc(revs, schema.Rev.Compare)
	if s.n != len(revs) || len(s.firsts) != len(s.blocks) {
		t.Fatalf("%d sums, want %d; %d blocks, %d firsts", s.n, len(revs), len(s.blocks), len(s.firsts))
	}
	from := 0
	if len(revs) > 0 {
		from = len(revs) / 3
		if s.last() != revs[len(revs)-1] {
			t.Fatalf("last %v, want %v", s.last(), revs[len(revs)-1])
		}
	}
	c := s.from(schema.Rev{})
	if len(revs) > 0 {
		c = s.from(revs[from])
	}
	for _, rev := range revs[from:] {
		if got, sum, ok := c.peek(); !ok || got != rev || sum != want[rev] {
			t.Fatalf("cursor at %v (%v), want %v", got, ok, rev)
		}
		c.skip()
	}
	if rev, _, ok := c.peek(); ok {
		t.Fatalf("cursor finds %v behind the end", rev)
	}
}

// Sums are what a map would be, whatever is added and removed; and earlier copies stay as they were. What a ledger tells of them is the same.
func TestSumsAreAMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var s sums
	want := map[schema.Rev]uint32{}
	rev := schema.Rev{Main: 1}
	for range 60 {
		earlier, then := s, cloneMap(want)
		for range random.IntN(900) {
			switch random.IntN(40) {
			case 0:
				rev = schema.Rev{Main: rev.Main + random.Int64N(1<<33)}
			case 1, 2, 3, 4:
				rev.Sub++
			default:
				rev = schema.Rev{Main: rev.Main + 1}
			}
			want[rev] = random.Uint32()
			s.push(rev, want[rev])
		}
		checkSums(t, &s, want)
		s = s.without(someOf(want, random))
		checkSums(t, &s, want)
		checkSums(t, &earlier, then)
	}
	checkLedger(t, &s, want)
}

func cloneMap(m map[schema.Rev]uint32) map[schema.Rev]uint32 {
	c := make(map[schema.Rev]uint32, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// someOf takes some revisions out of a map and returns them ascending, with a few that are not there.
func someOf(m map[schema.Rev]uint32, random *rand.Rand) (gone []schema.Rev) {
	part := random.IntN(4)
	for rev := range m {
		if random.IntN(4) < part {
			gone = append(gone, rev)
		}
	}
	for _, rev := range gone {
		delete(m, rev)
	}
	gone = append(gone, schema.Rev{Main: 1, Sub: 7}, schema.Rev{Main: 1 << 60})
	slices.SortFunc(gone, schema.Rev.Compare)
	return gone
}

func checkLedger(t *testing.T, s *sums, want map[schema.Rev]uint32) {
	t.Helper()
	small := smallSums{}
	small.set("lease", []byte("k"), 7)
	var out bytes.Buffer
	n, err := writeContent(&out, stamp{9, 8}, &contents{records: *s, small: small})
	if err != nil || n != int64(out.Len()) {
		t.Fatal(n, err)
	}
	c, at, size, clean := readLedger(&out, 9)
	if at != (stamp{9, 8}) || size != n || !clean || c.small["lease"]["k"] != 7 {
		t.Fatalf("ledger of %d bytes: %v, %d, %v", n, at, size, clean)
	}
	checkSums(t, &c.records, want)
}
