package mvcc

import (
	"bytes"
	"hash/crc32"
	"slices"
	"sort"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/schema"
)

// model is the store without an index: the whole history, and for each
// revision the whole state. It forgets nothing; compaction is a number.
type model struct {
	history   []modelChange
	states    []map[string]modelKV // by main revision; 0 is unused
	compacted int64
}

type modelChange struct {
	rev    schema.Rev
	delete bool
	kv     schema.KeyValue
	prev   schema.Rev // live version at rev.Main-1, unless this is a creation
}

type modelKV struct {
	kv  schema.KeyValue
	rev schema.Rev
}

func newModel() *model { return &model{states: make([]map[string]modelKV, 2), compacted: never} }

func (m *model) rev() int64 { return int64(len(m.states) - 1) }

// modelTx is an open transaction of the model.
type modelTx struct {
	m     *model
	state map[string]modelKV
	wrote bool
	sub   int64
}

func (m *model) begin() *modelTx {
	state := map[string]modelKV{}
	for k, v := range m.states[m.rev()] {
		state[k] = v
	}
	return &modelTx{m: m, state: state}
}

func (t *modelTx) next() schema.Rev {
	t.wrote = true
	t.sub++
	return schema.Rev{Main: t.m.rev() + 1, Sub: t.sub - 1}
}

func (t *modelTx) put(key, value string, lease int64) {
	rev := t.next()
	kv := schema.KeyValue{
		Key: []byte(key), Value: []byte(value), Lease: lease,
		CreateRevision: rev.Main, ModRevision: rev.Main, Version: 1,
	}
	if old, ok := t.state[key]; ok {
		kv.CreateRevision, kv.Version = old.kv.CreateRevision, old.kv.Version+1
	}
	c := modelChange{rev: rev, kv: kv}
	if kv.CreateRevision != rev.Main {
		c.prev = t.m.states[rev.Main-1][key].rev
	}
	t.state[key] = modelKV{kv, rev}
	t.m.history = append(t.m.history, c)
}

func (t *modelTx) deleteRange(key, end string) (gone []string) {
	for k := range t.state {
		if modelContains(key, end, k) {
			gone = append(gone, k)
		}
	}
	sort.Strings(gone)
	for _, k := range gone {
		rev := t.next()
		c := modelChange{rev: rev, delete: true, kv: schema.KeyValue{Key: []byte(k)}}
		c.prev = t.m.states[rev.Main-1][k].rev
		t.m.history = append(t.m.history, c)
		delete(t.state, k)
	}
	return gone
}

func (t *modelTx) end() {
	if t.wrote {
		t.m.states = append(t.m.states, t.state)
	}
}

func modelContains(key, end, k string) bool {
	switch end {
	case "":
		return k == key
	case "\x00":
		return k >= key
	default:
		return key <= k && k < end
	}
}

// answer is the query by the letter of the contract: fetch, filter, sort, cut.
func (m *model) answer(q Query) (records []string, more bool, count int64, err error) {
	rev := q.Revision
	if q.Revision <= 0 {
		rev = m.rev()
	} else if rev > m.rev() {
		return nil, false, 0, kverr.FutureRev
	} else if rev < m.compacted {
		return nil, false, 0, kverr.Compacted
	}
	var all []modelKV
	for k, v := range m.states[rev] {
		if modelContains(string(q.Key), string(q.End), k) {
			all = append(all, v)
		}
	}
	sort.Slice(all, func(i, j int) bool { return bytes.Compare(all[i].kv.Key, all[j].kv.Key) < 0 })
	count = int64(len(all))
	if q.CountOnly {
		return nil, false, count, nil
	}
	filters := q.MinMod != 0 || q.MaxMod != 0 || q.MinCreate != 0 || q.MaxCreate != 0
	inOrder := q.Order == OrderNone || q.Order == Ascending && q.Target == ByKey
	if q.Limit > 0 && inOrder && !filters && count > q.Limit+1 {
		all = all[:q.Limit+1]
	}
	all = slices.DeleteFunc(all, func(v modelKV) bool { return !m.passes(q, v.kv) })
	if q.Order != OrderNone || q.Target != ByKey {
		sort.SliceStable(all, func(i, j int) bool { return m.less(q, all[i].kv, all[j].kv) })
	}
	if more = q.Limit > 0 && int64(len(all)) > q.Limit; more {
		all = all[:q.Limit]
	}
	for _, v := range all {
		if q.KeysOnly {
			v.kv.Value = nil
			if q.Target != ByValue {
				v.kv.Lease = 0
			}
		}
		records = append(records, string(v.kv.Append(nil)))
	}
	return records, more, count, nil
}

func (m *model) passes(q Query, kv schema.KeyValue) bool {
	return (q.MinMod == 0 || kv.ModRevision >= q.MinMod) && (q.MaxMod == 0 || kv.ModRevision <= q.MaxMod) &&
		(q.MinCreate == 0 || kv.CreateRevision >= q.MinCreate) && (q.MaxCreate == 0 || kv.CreateRevision <= q.MaxCreate)
}

func (m *model) less(q Query, a, b schema.KeyValue) bool {
	if q.Order == Descending {
		a, b = b, a
	}
	switch q.Target {
	case ByVersion:
		return a.Version < b.Version
	case ByCreate:
		return a.CreateRevision < b.CreateRevision
	case ByMod:
		return a.ModRevision < b.ModRevision
	case ByValue:
		return bytes.Compare(a.Value, b.Value) < 0
	default:
		return bytes.Compare(a.Key, b.Key) < 0
	}
}

// retained are the changes that are left after compaction at c.
func (m *model) retained(c int64) (left []modelChange) {
	newest := map[string]schema.Rev{} // at c
	for _, x := range m.history {
		if x.rev.Main <= c {
			newest[string(x.kv.Key)] = x.rev
		}
	}
	for _, x := range m.history {
		switch {
		case x.rev.Main > c,
			x.delete && x.rev.Main == c,
			!x.delete && newest[string(x.kv.Key)] == x.rev:
			left = append(left, x)
		}
	}
	return left
}

// hash is HashKV by the letter of the contract over everything that was ever
// stored and that compaction at prev has left. The hash that a compaction at
// rev takes counts its tombstones as kept.
func (m *model) hash(rev, prev int64, byCompaction bool) uint32 {
	type live struct {
		rev    schema.Rev
		delete bool
	}
	newest := map[string]live{}
	for _, x := range m.history {
		if x.rev.Main <= rev {
			newest[string(x.kv.Key)] = live{x.rev, x.delete}
		}
	}
	keep := map[schema.Rev]bool{}
	for _, l := range newest {
		if !l.delete || byCompaction && l.rev.Main == rev {
			keep[l.rev] = true
		}
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	sum.Write([]byte("key"))
	for _, x := range m.retained(prev) {
		if x.rev.Main > rev || x.rev.Main <= prev && len(keep) > 0 && !keep[x.rev] || x.delete && x.rev.Main == prev {
			continue
		}
		sum.Write(schema.AppendRev(nil, x.rev, x.delete))
		sum.Write(x.kv.Append(nil))
	}
	return sum.Sum32()
}

// changes are the retained events of the range, in order.
func (m *model) changes(key, end string, from, to int64) (out []modelChange) {
	for _, x := range m.retained(m.compacted) {
		if x.rev.Main < from || x.rev.Main > to || !modelContains(key, end, string(x.kv.Key)) {
			continue
		}
		if x.rev.Main-1 < m.compacted {
			x.prev = schema.Rev{}
		}
		out = append(out, x)
	}
	return out
}
