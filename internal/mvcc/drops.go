package mvcc

import "github.com/quoin-kv/quoin/internal/schema"

// drop is a record that a compaction removes.
type drop struct {
	rev       schema.Rev
	tombstone bool
}

// drops takes records in any order and gives them back in ascending order, at
// a logarithmic price each, so that no step of a compaction has to sort them
// all. It is a binary heap, before it a list of what has been taken out of the
// heap already to be looked at.
//
// Invariants:
//  1. heap[i] is above heap[(i-1)/2].
//  2. ahead ascends and is below all of heap.
type drops struct {
	heap  []drop
	ahead []drop
}

func (d *drops) len() int { return len(d.heap) + len(d.ahead) }

// push adds a record. Nothing may have been looked at yet.
func (d *drops) push(x drop) {
	d.heap = append(d.heap, x)
	for i := len(d.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if d.heap[parent].rev.Compare(d.heap[i].rev) < 0 {
			break
		}
		d.heap[parent], d.heap[i] = d.heap[i], d.heap[parent]
		i = parent
	}
}

// has tells whether the revision is among the records. It must be asked in
// ascending order, and before the first pop.
func (d *drops) has(rev schema.Rev) bool {
	for len(d.heap) > 0 && d.heap[0].rev.Compare(rev) < 0 {
		d.ahead = append(d.ahead, d.popHeap())
	}
	return len(d.heap) > 0 && d.heap[0].rev == rev
}

// pop removes and returns the smallest record; there must be one.
func (d *drops) pop() drop {
	if len(d.ahead) == 0 {
		return d.popHeap()
	}
	x := d.ahead[0]
	d.ahead = d.ahead[1:]
	return x
}

func (d *drops) popHeap() drop {
	top, last := d.heap[0], len(d.heap)-1
	d.heap[0] = d.heap[last]
	d.heap = d.heap[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child+1 < last && d.heap[child+1].rev.Compare(d.heap[child].rev) < 0 {
			child++
		}
		if child >= last || d.heap[i].rev.Compare(d.heap[child].rev) < 0 {
			return top
		}
		d.heap[i], d.heap[child] = d.heap[child], d.heap[i]
		i = child
	}
}
