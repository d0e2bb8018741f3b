package backend

import (
	"context"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/schema"
)

// What a pending item costs beside its bytes, roughly, in bytes. It keeps the
// bound on pending memory honest when records are tiny.
const (
	recordOverheadBytes = 64
	changeOverheadBytes = 96
	batchOverheadBytes  = 128
)

// entryFileBytes is what an entry of the file takes beside its value, or key and
// value in a small bucket: a record's key, the head of its element in the page,
// and its part of what pages leave empty.
const entryFileBytes = 48

// batch is what one Commit ended.
type batch struct {
	applied   schema.Applied
	end       uint64 // ordinal after the batch's last record
	deletions []deletion
	small     []change
	bytes     int64 // of memory
	growth    int64 // of the file, about; deletions take nothing away
}

// writer is the open batch. Only the writing goroutine touches it.
//
// Invariant: open is never empty; its first span begins, at ordinal base, with
// the tail that the last Commit published or a suffix of what that tail was.
type writer struct {
	open      [][]record // published tail continued, then spans begun in this batch
	base      uint64
	tailBytes int // bytes of records in the last span of open
	last      schema.Rev
	batch     batch
	pinned    *Reader // state of the last Commit, once Record had to look there
}

// Append adds a record to the key bucket. Revisions must ascend strictly; else
// it panics. The backend keeps record by reference: it must never be modified
// afterwards.
func (b *Backend) Append(rev schema.Rev, tombstone bool, record []byte) {
	w := &b.writer
	if rev.Compare(w.last) <= 0 {
		panic(fmt.Sprintf("backend: expected a revision above %v, found %v", w.last, rev))
	}
	w.last = rev
	w.push(rev, tombstone, record)
	w.batch.bytes += int64(len(record)) + recordOverheadBytes
	w.batch.growth += int64(len(record)) + entryFileBytes
}

func (w *writer) push(rev schema.Rev, tombstone bool, bytes []byte) {
	tail := &w.open[len(w.open)-1]
	if len(*tail) == cap(*tail) || w.tailBytes >= spanBytesMax {
		w.open = append(w.open, make([]record, 0, spanRecordsMax))
		w.tailBytes = 0
		tail = &w.open[len(w.open)-1]
	}
	*tail = append(*tail, record{rev, tombstone, bytes})
	w.tailBytes += len(bytes)
}

// DeleteRecord removes a record of the key bucket for good: compaction. It
// takes effect when its batch is flushed; until then the record may still be
// found. Deleting what does not exist does nothing.
func (b *Backend) DeleteRecord(rev schema.Rev, tombstone bool) {
	w := &b.writer
	w.batch.deletions = append(w.batch.deletions, deletion{rev, tombstone})
	w.batch.bytes += recordOverheadBytes
}

// Put sets a key in one of the small buckets. Key and value are kept by
// reference and must not be modified afterwards. The Key bucket, an empty key
// and a key longer than the file can hold are programming errors and panic.
func (b *Backend) Put(bucket schema.Bucket, key, value []byte) {
	b.writer.change(change{bucket: bucket, key: key, value: value})
}

// Delete removes a key from one of the small buckets. The rules are Put's.
func (b *Backend) Delete(bucket schema.Bucket, key []byte) {
	b.writer.change(change{bucket: bucket, key: key, remove: true})
}

func (w *writer) change(c change) {
	if c.bucket == schema.Key || c.bucket >= schema.NumBuckets {
		panic(fmt.Sprintf("backend: expected a small bucket, found %v", c.bucket))
	}
	if len(c.key) == 0 || len(c.key) > bbolt.MaxKeySize {
		panic(fmt.Sprintf("backend: expected a key of 1 to %d bytes, found %d", bbolt.MaxKeySize, len(c.key)))
	}
	w.batch.small = append(w.batch.small, c)
	w.batch.bytes += int64(len(c.key)+len(c.value)) + changeOverheadBytes
	if !c.remove {
		w.batch.growth += int64(len(c.key)+len(c.value)) + entryFileBytes
	}
}

// Record returns the record at rev as the writer sees it, with everything
// appended so far. The bytes are valid until the next Commit. It wraps
// ErrNoRecord.
func (b *Backend) Record(rev schema.Rev) ([]byte, error) {
	w := &b.writer
	for i := len(w.open) - 1; i >= 0; i-- {
		if span := w.open[i]; len(span) > 0 && span[0].rev.Compare(rev) <= 0 {
			r, ok := findInSpan(span, rev)
			if !ok {
				return nil, noRecord(rev)
			}
			return r.bytes, nil
		}
	}
	if w.pinned == nil {
		w.pinned = b.Reader()
	}
	return w.pinned.Record(rev)
}

// Commit ends the batch. From now on new Readers see it, and a Flush whose
// durable index reaches a.Index may store it, as a whole and together with a.
// Indexes never descend; the backend keeps a.ConfState by reference.
func (b *Backend) Commit(a schema.Applied) {
	w := &b.writer
	w.batch.applied = a
	w.batch.bytes += batchOverheadBytes
	faultpoint.Hit(faultpoint.BeforeWritebackBuf)
	if b.publish() {
		notify(b.flushWanted)
	}
	faultpoint.Hit(faultpoint.AfterWritebackBuf)
	w.batch = batch{}
	if w.pinned != nil {
		w.pinned.Release()
		w.pinned = nil
	}
}

// publish hands the open batch over and tells whether a flush is worth while.
func (b *Backend) publish() bool {
	w := &b.writer
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.batch.applied.Index < b.mu.committed.Index {
		panic(fmt.Sprintf("backend: expected an applied index of at least %d, found %d", b.mu.committed.Index, w.batch.applied.Index))
	}
	b.mu.pending = w.moveInto(b.mu.pending, b.mu.base)
	w.batch.end = w.base + uint64(len(w.open[0]))
	b.mu.batches = append(b.mu.batches, w.batch)
	b.mu.bytes += w.batch.bytes
	b.mu.growth += w.batch.growth
	b.mu.committed = w.batch.applied
	return b.worthFlushing()
}

// worthFlushing tells whether enough is pending that no flush has taken. mu is held.
func (b *Backend) worthFlushing() bool {
	from := max(b.mu.flushed.Index, b.mu.taken.index)
	return b.mu.bytes-b.mu.taken.bytes >= b.flushBytes() || b.cfg.FlushEntries > 0 && b.mu.committed.Index-from >= b.cfg.FlushEntries
}

// largeRecordBytes is the average from which on records are large: the file's last page has three or four of them, all of which a flush writes
// again that adds one.
const largeRecordBytes = 256 << 10

// flushBytes is how much has to be pending for a flush to be worth while. mu is held.
func (b *Backend) flushBytes() int64 {
	records := int64(b.writer.batch.end - b.mu.base)
	if records > 0 && b.mu.bytes/records >= largeRecordBytes {
		return min(2*b.cfg.FlushBytes, b.cfg.PendingBytesMax)
	}
	return b.cfg.FlushBytes
}

// moveInto returns pending continued by the open spans, of which those before
// ordinal flushed have been dropped meanwhile. The last span stays open.
func (w *writer) moveInto(pending layers, flushed uint64) layers {
	if flushed > w.base {
		w.open[0] = w.open[0][flushed-w.base:]
		w.base = flushed
	}
	lastSpan := len(w.open) - 1
	for _, span := range w.open[:lastSpan] {
		w.base += uint64(len(span))
		if len(span) > 0 {
			pending.sealed = append(pending.sealed, span)
		}
	}
	pending.tail = w.open[lastSpan]
	clear(w.open)
	w.open = append(w.open[:0], pending.tail)
	return pending
}

// Throttle blocks while the committed, unflushed changes take more memory than
// Config.PendingBytesMax. It returns ctx's error, ErrClosed, or an error that
// wraps ErrPoisoned when flushing will never make room again.
func (b *Backend) Throttle(ctx context.Context) error {
	for {
		room, err := b.room()
		if room == nil || err != nil {
			return err
		}
		notify(b.flushWanted)
		select {
		case <-room:
		case <-b.damage.found:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// room returns nil if there is some, else a channel that is closed when that
// may have changed.
func (b *Backend) room() (<-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.mustNotWrite(); err != nil || b.mu.bytes <= b.cfg.PendingBytesMax {
		return nil, err
	}
	return b.mu.changed, nil
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
