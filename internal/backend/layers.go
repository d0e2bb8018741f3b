package backend

import (
	"slices"
	"sort"

	"github.com/quoin-kv/quoin/internal/schema"
)

// A span is a run of pending records that share one array. It is closed when
// it is full or heavy, so that what a half-flushed span keeps alive is bounded.
const (
	spanRecordsMax = 512
	spanBytesMax   = 1 << 20
)

// record is one entry of the key bucket.
type record struct {
	rev       schema.Rev
	tombstone bool
	bytes     []byte
}

func (r *record) appendKey(b []byte) []byte { return schema.AppendRev(b, r.rev, r.tombstone) }

// layers is the list of records that are committed but not in the file yet.
// It is a value: what one copy can see never changes. Later commits append to
// the same arrays beyond the lengths that an earlier copy knows of.
//
// Invariants:
//  1. revisions ascend strictly through sealed and then tail
//  2. no slice in sealed is empty
type layers struct {
	sealed [][]record
	tail   []record
}

func (l layers) len() int {
	n := len(l.tail)
	for _, span := range l.sealed {
		n += len(span)
	}
	return n
}

// find returns the record at rev.
func (l layers) find(rev schema.Rev) (record, bool) { return findInSpan(l.spanOf(rev), rev) }

// spanOf is the span in which rev would be, nil if it is below all.
func (l layers) spanOf(rev schema.Rev) []record {
	if len(l.tail) > 0 && l.tail[0].rev.Compare(rev) <= 0 {
		return l.tail
	}
	i := sort.Search(len(l.sealed), func(i int) bool { return l.sealed[i][0].rev.Compare(rev) > 0 })
	if i == 0 {
		return nil
	}
	return l.sealed[i-1]
}

func findInSpan(span []record, rev schema.Rev) (record, bool) {
	i := lowerBound(span, rev)
	if i == len(span) || span[i].rev != rev {
		return record{}, false
	}
	return span[i], true
}

// lowerBound is the index of the first record at or after rev.
func lowerBound(span []record, rev schema.Rev) int {
	return sort.Search(len(span), func(i int) bool { return span[i].rev.Compare(rev) >= 0 })
}

// each calls fn for the records from from to to, both included, until it
// returns false.
func (l layers) each(from, to schema.Rev, fn func(record) bool) {
	for _, span := range l.sealed {
		if !eachInSpan(span, from, to, fn) {
			return
		}
	}
	eachInSpan(l.tail, from, to, fn)
}

func eachInSpan(span []record, from, to schema.Rev, fn func(record) bool) bool {
	for _, r := range span[lowerBound(span, from):] {
		if r.rev.Compare(to) > 0 || !fn(r) {
			return false
		}
	}
	return true
}

// take returns the oldest n records as spans.
func (l layers) take(n int) [][]record {
	var spans [][]record
	for _, span := range append(slices.Clip(l.sealed), l.tail) {
		if n == 0 {
			break
		}
		span = span[:min(n, len(span))]
		spans = append(spans, span)
		n -= len(span)
	}
	return spans
}

// drop returns what is left after the oldest n records. The list is a new one,
// so that the dropped spans can be collected once no reader holds them.
func (l layers) drop(n int) layers {
	var left layers
	for _, span := range l.sealed {
		if n < len(span) {
			left.sealed = append(left.sealed, span[n:])
		}
		n = max(0, n-len(span))
	}
	left.tail = l.tail[n:]
	return left
}
