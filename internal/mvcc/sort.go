package mvcc

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/internal/schema"
)

// comparer orders matches by the query's target and order.
func (q *Query) comparer() func(a, b match) int {
	target, order := q.Target, q.Order
	return func(a, b match) int { return order.direct(target.compare(a, b)) }
}

func (t Target) compare(a, b match) int {
	switch t {
	case ByVersion:
		return cmp.Compare(a.v.number, b.v.number)
	case ByCreate:
		return cmp.Compare(a.v.created, b.v.created)
	case ByMod:
		return cmp.Compare(a.v.rev.Main, b.v.rev.Main)
	default:
		return a.key.Compare(b.key)
	}
}

func (o Order) direct(c int) int {
	if o == Descending {
		return -c
	}
	return c
}

// valued is a match whose record had to be read to be sorted.
type valued struct {
	record []byte
	kv     schema.KeyValue
}

// renderByValue is render for the one target that the index does not know.
func (src *source) renderByValue(q *Query, found []match) (records [][]byte, more bool, err error) {
	raw, err := src.read(found)
	if err != nil {
		return nil, false, err
	}
	all := make([]valued, len(raw))
	for i, record := range raw {
		all[i].record = record
		if err := all[i].kv.Unmarshal(record); err != nil {
			rev := found[i].v.rev
			return nil, false, fmt.Errorf("mvcc: record of revision %d/%d: %w", rev.Main, rev.Sub, err)
		}
	}
	order := q.Order
	slices.SortStableFunc(all, func(a, b valued) int {
		return order.direct(bytes.Compare(a.kv.Value, b.kv.Value))
	})
	all, more = cut(all, q.Limit)
	records = raw[:len(all)]
	for i := range all {
		records[i] = all[i].render(q.KeysOnly)
	}
	return records, more, nil
}

func (v *valued) render(keyOnly bool) []byte {
	if !keyOnly {
		return v.record
	}
	v.kv.Value = nil
	return v.kv.Append(make([]byte, 0, v.kv.Size()))
}

// keyRecords encodes what the index knows of the matches, all in one piece of
// memory.
func keyRecords(found []match) [][]byte {
	if len(found) == 0 {
		return nil
	}
	size := 0
	for _, m := range found {
		kv := m.keyValue()
		size += m.key.Len() + kv.Size()
	}
	var key []byte
	arena := make([]byte, 0, size+len(found)*maxFieldHead)
	records := make([][]byte, len(found))
	for i, m := range found {
		start := len(arena)
		key = m.key.Append(key[:0])
		kv := m.keyValue()
		kv.Key = key
		arena = kv.Append(arena)
		records[i] = arena[start:len(arena):len(arena)]
	}
	return records
}

// maxFieldHead is what a key takes in a record beside itself, at most: tag and
// length.
const maxFieldHead = 6

// keyValue is what the index knows of the match but for its key.
func (m match) keyValue() schema.KeyValue {
	return schema.KeyValue{CreateRevision: m.v.created, ModRevision: m.v.rev.Main, Version: m.v.number}
}
