package watch

import (
	"slices"
	"sync/atomic"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/quoin-kv/quoin/internal/interval"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Field numbers of mvccpb.Event and its delete type.
const (
	eventType   = 1
	eventKV     = 2
	eventPrevKV = 3
	typeDelete  = 1
)

// event is one change. Its encodings are made when first needed; two streams that race to make one make equal bytes.
type event struct {
	rev      schema.Rev
	prev     schema.Rev // the value before the whole revision; zero if the key did not exist or the event creates it
	delete   bool
	key      []byte
	record   []byte // the stored record, shared with the store
	plain    atomic.Pointer[[]byte]
	withPrev atomic.Pointer[[]byte]
}

// entryOverheadBytes is what an entry and its event cost beside their bytes.
const entryOverheadBytes = 256

// entry holds all events of one revision in order. It never changes but for what is cached in it.
type entry struct {
	rev    int64
	events []event
	shared atomic.Pointer[payload]    // of the last selection that matched
	single [2]atomic.Pointer[payload] // of all selections that match the only event there is: without and with its previous value
}

// newEntry makes the entry of the events of one revision; it refers to their bytes.
func newEntry(events []mvcc.Event) *entry {
	e := &entry{rev: events[0].Rev.Main, events: make([]event, len(events))}
	for i := range events {
		from, ev := &events[i], &e.events[i]
		ev.rev, ev.prev = from.Rev, from.Prev
		ev.delete, ev.key, ev.record = from.Delete, from.Key, from.Record
	}
	return e
}

// bytes is what the entry may come to occupy: its records, which are shared with the store at first, and their encoding.
func (e *entry) bytes() int {
	n := entryOverheadBytes
	for i := range e.events {
		n += 2*(len(e.events[i].record)+len(e.events[i].key)) + entryOverheadBytes/2
	}
	return n
}

// split calls add with the events of each revision in turn.
func split(events []mvcc.Event, add func([]mvcc.Event) bool) {
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].Rev.Main == events[0].Rev.Main {
			n++
		}
		if !add(events[:n]) {
			return
		}
		events = events[n:]
	}
}

// selection says which events a watcher wants and in which form. Watchers with equal selections share their payloads.
type selection struct {
	rng             interval.Range
	noPut, noDelete bool
	prevKV          bool
}

func (s *selection) wants(ev *event) bool {
	return !s.filters(ev.delete) && s.rng.Contains(ev.key)
}

// filters reports whether events of a kind are unwanted.
func (s *selection) filters(isDelete bool) bool {
	if isDelete {
		return s.noDelete
	}
	return s.noPut
}

// payload is what one selection gets of one entry.
type payload struct {
	sel    selection
	events [][]byte
	bytes  int
}

// payload returns what sel gets of the entry, nil if nothing matches. The result is shared and read-only. Once the revision before the
// entry's is compacted there are no previous values any more, also where they are still in memory: what a client gets must not depend on
// who asked before.
func (e *entry) payload(sel *selection, prev *lookup) (*payload, error) {
	if sel.prevKV && prev.compacted(e.rev) {
		plain := *sel
		plain.prevKV = false
		sel = &plain
	}
	if len(e.events) == 1 {
		return e.only(sel, prev)
	}
	if p := e.shared.Load(); p != nil && p.sel == *sel {
		return p, nil
	}
	var p *payload
	for i := range e.events {
		ev := &e.events[i]
		if !sel.wants(ev) {
			continue
		}
		b, err := ev.wire(sel.prevKV, prev)
		if err != nil {
			return nil, err
		}
		if p == nil {
			p = &payload{sel: *sel, events: make([][]byte, 0, 1)}
		}
		p.events = append(p.events, b)
		p.bytes += len(b)
	}
	if p != nil {
		p.events = slices.Clip(p.events)
		e.shared.Store(p)
	}
	return p, nil
}

// only is payload for an entry of one event.
func (e *entry) only(sel *selection, prev *lookup) (*payload, error) {
	ev := &e.events[0]
	if !sel.wants(ev) {
		return nil, nil
	}
	known := e.singleOf(sel)
	if p := known.Load(); p != nil {
		return p, nil
	}
	b, err := ev.wire(sel.prevKV, prev)
	if err != nil {
		return nil, err
	}
	p := &payload{events: [][]byte{b}, bytes: len(b)}
	known.Store(p)
	return p, nil
}

// singleOf is where the payload for a selection that matches the only event is kept.
func (e *entry) singleOf(sel *selection) *atomic.Pointer[payload] {
	if sel.prevKV {
		return &e.single[1]
	}
	return &e.single[0]
}

// ready is the payload for a selection without previous values if it is there already, nil otherwise.
func (e *entry) ready(sel *selection) *payload {
	if sel.prevKV {
		return nil
	}
	if len(e.events) == 1 {
		if !sel.wants(&e.events[0]) {
			return nil
		}
		return e.single[0].Load()
	}
	if p := e.shared.Load(); p != nil && p.sel == *sel {
		return p
	}
	return nil
}

// wire returns the event as an mvccpb.Event, with the previous value if asked for and known.
func (ev *event) wire(withPrev bool, prev *lookup) ([]byte, error) {
	if !withPrev || ev.prev.IsZero() {
		return cached(&ev.plain, func() []byte { return ev.encode(nil) }), nil
	}
	if b := ev.withPrev.Load(); b != nil {
		return *b, nil
	}
	before, err := prev.before(ev)
	if err != nil {
		return nil, err
	}
	return cached(&ev.withPrev, func() []byte { return ev.encode(before) }), nil
}

// cached returns what p holds, after filling it if it is empty.
func cached(p *atomic.Pointer[[]byte], fill func() []byte) []byte {
	if b := p.Load(); b != nil {
		return *b
	}
	b := fill()
	p.Store(&b)
	return b
}

// encode writes the event: a put with its whole record, a delete with key and revision, and before as prev_kv unless nil.
func (ev *event) encode(before []byte) []byte {
	kv := ev.record
	if ev.delete {
		d := schema.KeyValue{Key: ev.key, ModRevision: ev.rev.Main}
		kv = d.Append(make([]byte, 0, d.Size()))
	}
	n := lengthPrefixed(len(kv))
	if ev.delete {
		n += 2
	}
	if before != nil {
		n += lengthPrefixed(len(before))
	}
	b := make([]byte, 0, n)
	if ev.delete {
		b = protowire.AppendTag(b, eventType, protowire.VarintType)
		b = protowire.AppendVarint(b, typeDelete)
	}
	b = appendBytes(b, eventKV, kv)
	if before != nil {
		b = appendBytes(b, eventPrevKV, before)
	}
	return b
}

// lengthPrefixed is the size of a length-delimited field with a one-byte tag.
func lengthPrefixed(n int) int { return 1 + protowire.SizeBytes(n) }

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}
