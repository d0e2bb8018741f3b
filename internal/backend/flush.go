package backend

import (
	"errors"
	"fmt"
	"time"

	"github.com/quoin-kv/quoin/internal/schema"
)

// flushWork is the batches that one flush takes.
type flushWork struct {
	batches int
	end     uint64 // ordinal after the last record
	bytes   int64
	growth  int64
	applied schema.Applied // ConfState: the last one set by any of the batches
	changes *changes
}

// taken is what a flush under way has taken of what is pending: it is no reason for another one.
type taken struct {
	bytes int64
	index uint64 // 0: there is none under way
}

// Flush stores all batches whose applied index is at most durableIndex in one
// transaction, and returns the position that the file has reached. It is called
// by the flusher alone. With nothing to store it does nothing.
//
// An error that wraps ErrPoisoned is final. Any other error, as one that wraps
// ErrNoRoom, left the file as it was, and Flush may be tried again.
func (b *Backend) Flush(durableIndex uint64) (schema.Applied, error) {
	for {
		err := b.flushOnce(durableIndex)
		if errors.Is(err, errFull) {
			if err = b.enlarge(); err == nil {
				continue
			}
		}
		return b.Flushed(), err
	}
}

func (b *Backend) flushOnce(durableIndex uint64) error {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if err := b.failure(); err != nil {
		return err
	}
	began := time.Now()
	b.answerWish()
	work := b.takeWork(durableIndex)
	if work.batches == 0 {
		return nil
	}
	b.setTaken(taken{work.bytes, work.applied.Index})
	defer b.setTaken(taken{})
	txid, err := b.beforeCommit(work)
	if err != nil {
		return err
	}
	next := b.ledger.after(stamp{txid, work.applied.Index}, work.changes)
	cost, err := b.store.commit(work.changes, txid)
	if errors.Is(err, errFull) || errors.Is(err, ErrNoRoom) {
		b.ledger.drop() // the next try has the same transaction id, but may have other changes
		return err
	}
	err = b.noteDamage(err)
	if err != nil {
		return b.poison(fmt.Errorf("flush to %s up to index %d: %w", b.path, work.applied.Index, err))
	}
	snap, err := b.store.snapshot()
	if err == nil && snap.txid() != txid {
		err = &CorruptError{Path: b.path, Cause: fmt.Errorf("expected transaction %d to be the last one, found %d: a meta page is damaged", txid, snap.txid())}
		snap.release()
	}
	if err = b.noteDamage(err); err != nil {
		return b.poison(fmt.Errorf("snapshot of %s: %w", b.path, err))
	}
	b.ledger.accept(next, work.changes)
	b.ledger.settle(stamp{txid, work.applied.Index})
	b.finishFlush(work, b.stateOf(snap), cost)
	b.report(work, cost, time.Since(began))
	return nil
}

// beforeCommit makes sure that bbolt will find the buckets, looks up what the
// flush is about to remove, so that nothing is written over damage, and
// returns the id that its transaction must get.
func (b *Backend) beforeCommit(work flushWork) (txid uint64, err error) {
	st := b.pinSnapshot()
	defer st.release()
	if err = st.rooted(); err == nil {
		work.changes.deletes, err = st.present(work.changes.deletes)
	}
	if err != nil {
		return 0, b.poison(fmt.Errorf("flush to %s up to index %d: %w", b.path, work.applied.Index, err))
	}
	return st.txid() + 1, nil
}

// noteDamage makes damage known that the store has met, and returns the error.
func (b *Backend) noteDamage(err error) error {
	var c *CorruptError
	if errors.As(err, &c) {
		b.damaged(c)
	}
	return err
}

// poison makes err final.
func (b *Backend) poison(err error) error {
	err = poisoned(err)
	b.fail(err)
	return err
}

// takeWork gathers the batches to flush. They stay pending until finishFlush.
func (b *Backend) takeWork(durableIndex uint64) flushWork {
	batches, pending, base := b.flushable(durableIndex)
	if len(batches) == 0 {
		return flushWork{}
	}
	last := batches[len(batches)-1]
	work := flushWork{batches: len(batches), end: last.end, applied: last.applied}
	var deletions []deletion
	var small []change
	for _, batch := range batches {
		deletions = append(deletions, batch.deletions...)
		small = append(small, batch.small...)
		work.bytes += batch.bytes
		work.growth += batch.growth
		if batch.applied.ConfState != nil {
			work.applied.ConfState = batch.applied.ConfState
		}
	}
	small = append(small, positionChanges(work.applied)...)
	work.changes = newChanges(pending.take(int(last.end-base)), deletions, small)
	return work
}

// answerWish takes back what FlushWanted would deliver: the flush that begins is the one that was wanted.
func (b *Backend) answerWish() {
	select {
	case <-b.flushWanted:
	default:
	}
}

func (b *Backend) setTaken(t taken) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.taken = t
}

func (b *Backend) flushable(durableIndex uint64) (batches []batch, pending layers, base uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < len(b.mu.batches) && b.mu.batches[n].applied.Index <= durableIndex {
		n++
	}
	return b.mu.batches[:n], b.mu.pending, b.mu.base
}

// positionChanges is what a flush adds on its own: how far the log is applied.
// Before the first log entry there is nothing to say.
func positionChanges(a schema.Applied) []change {
	var changes []change
	if a.Index > 0 {
		changes = append(changes,
			change{bucket: schema.Meta, key: []byte(schema.MetaConsistentIndex), value: schema.AppendUint64(nil, a.Index)},
			change{bucket: schema.Meta, key: []byte(schema.MetaTerm), value: schema.AppendUint64(nil, a.Term)})
	}
	if a.ConfState != nil {
		changes = append(changes, change{bucket: schema.Meta, key: []byte(schema.MetaConfState), value: a.ConfState})
	}
	return changes
}

// finishFlush lets readers see the file's new state instead of the layers that
// are in it now.
func (b *Backend) finishFlush(work flushWork, snap *state, cost commitCost) {
	sizes := sizesOf(b.store, snap)
	b.mu.Lock()
	old := b.mu.snap
	b.mu.snap, b.mu.sizes, b.mu.written = snap, sizes, cost.bytes
	b.mu.pending = b.mu.pending.drop(int(work.end - b.mu.base))
	b.mu.base = work.end
	b.mu.batches = append([]batch(nil), b.mu.batches[work.batches:]...)
	b.mu.bytes -= work.bytes
	b.mu.growth -= work.growth
	if work.applied.ConfState == nil {
		work.applied.ConfState = b.mu.flushed.ConfState
	}
	b.mu.flushed = work.applied
	if b.mu.copying {
		b.mu.deleted = append(b.mu.deleted, work.changes.deletes...)
	}
	b.wake()
	b.mu.Unlock()
	old.release()
}

func (b *Backend) report(work flushWork, cost commitCost, took time.Duration) {
	if b.cfg.OnFlush == nil {
		return
	}
	info := FlushInfo{
		Deletions: len(work.changes.deletes), SmallChanges: len(work.changes.small),
		Bytes: work.bytes, Written: cost.bytes, Took: took,
		Rebalance: cost.rebalance, Spill: cost.spill, Write: cost.write,
	}
	for _, span := range work.changes.spans {
		info.Records += len(span)
	}
	info.Records -= len(work.changes.dead)
	b.cfg.OnFlush(info)
}

// commitCost is how much a commit has written, and how long its phases took.
type commitCost struct {
	bytes                   int64 // of pages
	rebalance, spill, write time.Duration
}
