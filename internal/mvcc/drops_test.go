package mvcc

import (
	"math/rand/v2"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

func TestDropsComeOutInOrder(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		r := rand.New(rand.NewPCG(seed, 5))
		n := r.IntN(300)
		var d drops
		for _, i := range r.Perm(n) {
			d.push(drop{rev: schema.Rev{Main: int64(2 * i)}, tombstone: i%3 == 0})
			d.check()
		}
		for rev := range int64(r.IntN(2*n + 1)) {
			if got, want := d.has(schema.Rev{Main: rev}), rev%2 == 0; got != want {
				t.Fatalf("seed %d: has(%d) = %v", seed, rev, got)
			}
		}
		d.check()
		for i := range n {
			want := drop{rev: schema.Rev{Main: int64(2 * i)}, tombstone: i%3 == 0}
			if got := d.pop(); got != want {
				t.Fatalf("seed %d: pop %d is %v, want %v", seed, i, got, want)
			}
		}
		if d.len() != 0 {
			t.Fatalf("seed %d: %d remain", seed, d.len())
		}
	}
}
