package request

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestChangesKeepTheirInvariants(t *testing.T) {
	const seed = 8
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	passed := 0
	for range 5000 {
		c, ok := collect(randomBranch(r, 2))
		c.check()
		if ok && len(c.puts) > 2 && len(c.deletes) > 2 {
			passed++
		}
	}
	if passed < 100 {
		t.Fatalf("only %d of 5000 branches passed with something to check", passed)
	}
}

// randomBranch deletes much and puts little, so that most branches pass.
func randomBranch(r *rand.Rand, depth int) []Op {
	key := func() []byte { return fmt.Appendf(nil, "%03d", r.IntN(500)) }
	ops := []Op{{Put: &Put{Key: key()}}}
	for range r.IntN(4) {
		from := r.IntN(500)
		end := fmt.Appendf(nil, "%03d", from+r.IntN(10))
		ops = append(ops, Op{DeleteRange: &DeleteRange{Key: fmt.Appendf(nil, "%03d", from), RangeEnd: end}})
		if depth > 0 {
			ops = append(ops, Op{Txn: &Txn{Success: randomBranch(r, depth-1), Failure: randomBranch(r, depth-1)}})
		}
	}
	return ops
}

// BenchmarkLargestTxn checks a transaction of about as many operations as fit
// into a request and its nesting budget.
func BenchmarkLargestTxn(b *testing.B) {
	txn := &Txn{}
	n := 0
	for range 64 {
		child := &Txn{}
		for range 32 {
			grandchild := &Txn{}
			for range 16 {
				n++
				key := fmt.Appendf(nil, "%07d", n)
				grandchild.Success = append(grandchild.Success, Op{Put: &Put{Key: key}},
					Op{DeleteRange: &DeleteRange{Key: append(key, 'x')}})
			}
			child.Success = append(child.Success, Op{Txn: grandchild})
		}
		txn.Success = append(txn.Success, Op{Txn: child})
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := txn.Validate(128); err != nil {
			b.Fatal(err)
		}
	}
}
