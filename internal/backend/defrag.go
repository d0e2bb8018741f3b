package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/schema"
)

// How much a rewrite copies in one transaction: what takes about a millisecond,
// since others wait for the same processor.
const (
	rangeRecordsMax = 1000
	rangeBytesMax   = 256 << 10
)

// A rest between two ranges is restShare times as long as a range took, and not
// shorter than restMin: others wait little longer than without the rewrite.
const (
	restShare = 3
	restMin   = time.Millisecond
)

// Defragment rewrites the file without its free pages. Flushes, the writer and
// Readers go on; it runs in a goroutine of the caller's. progress, if not nil,
// is told now and then how many of how many bytes are copied, before the last
// step; the total is an estimate.
//
// On any error, ctx's included, the old file stays in place and in use; only an
// error that wraps ErrPoisoned is more than that. If one is running already it
// returns ErrDefragmenting.
func (b *Backend) Defragment(ctx context.Context, progress func(copied, total int64)) error {
	select {
	case b.rewriting <- struct{}{}:
	default:
		return ErrDefragmenting
	}
	defer func() { <-b.rewriting }()
	return b.rewrite(ctx, progress, 0)
}

// enlarge gives the file a larger mapping by rewriting it. The flusher calls it
// between two attempts to flush, so it waits for a rewrite that is under way.
func (b *Backend) enlarge() error {
	b.rewriting <- struct{}{}
	defer func() { <-b.rewriting }()
	b.turn <- struct{}{}
	mapMin := b.store.grownMapping()
	<-b.turn
	return b.rewrite(context.Background(), nil, mapMin)
}

// rewrite is one copy of the file on its way.
type rewrite struct {
	b        *Backend
	target   storeCopy
	from     schema.Rev // what is below is copied
	copied   int64
	total    int64
	progress func(copied, total int64)
	hurry    bool // somebody waits for the end: no rests

	entries []entry // scratch of nextEntries
	keys    []byte  // of entries
}

func (b *Backend) rewrite(ctx context.Context, progress func(copied, total int64), mapMin int64) (err error) {
	ends := b.rewriteBegins()
	defer func() { ends(err) }()
	r, err := b.startRewrite(progress, mapMin)
	if err != nil {
		return fmt.Errorf("backend: rewrite %s: %w", b.path, withoutRoom(err))
	}
	defer b.stopCopying()
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("backend: rewrite %s: %w", b.path, withoutRoom(err))
	}
	return nil
}

func (b *Backend) startRewrite(progress func(copied, total int64), mapMin int64) (*rewrite, error) {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if err := b.failure(); err != nil {
		return nil, err
	}
	faultpoint.Hit(faultpoint.DefragBeforeCopy)
	if text, ok := faultpoint.Value(faultpoint.DefragOpenFileError); ok {
		return nil, errors.New(text)
	}
	target, err := b.store.startCopy(mapMin)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.copying = true
	return &rewrite{b: b, target: target, total: b.mu.sizes.InUseBytes, progress: progress, hurry: mapMin > 0}, nil
}

func (b *Backend) stopCopying() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.copying, b.mu.deleted = false, nil
}

func (r *rewrite) run(ctx context.Context) error {
	err := r.copyMost(ctx)
	if text, ok := faultpoint.Value(faultpoint.DefragDBFail); ok {
		err = errors.New(text)
	}
	if err != nil {
		r.target.discard()
		return err
	}
	r.b.cfg.step("copied")
	r.b.turn <- struct{}{}
	defer func() { <-r.b.turn }()
	return r.finish(ctx)
}

// copyMost copies ranges until one is not full: then only what was flushed
// during the last range is left.
func (r *rewrite) copyMost(ctx context.Context) error {
	for {
		began := time.Now()
		more, err := r.copyRange(ctx)
		if err != nil || !more {
			return err
		}
		if err := r.rest(ctx, time.Since(began)); err != nil {
			return err
		}
	}
}

// rest leaves processor and disk to others. If more comes than can be copied that
// way, the rests end.
func (r *rewrite) rest(ctx context.Context, took time.Duration) error {
	if r.hurry || r.copied > 2*r.total {
		return nil
	}
	timer := time.NewTimer(max(restShare*took, restMin))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish brings the copy up to date and exchanges the files. The turn is held,
// so the original stands still, and no foreign code is called.
func (r *rewrite) finish(ctx context.Context) error {
	r.progress, r.hurry = nil, true
	if err := r.complete(ctx); err != nil {
		r.target.discard()
		return err
	}
	r.b.cfg.step("sealed")
	r.b.ledger.drop()
	faultpoint.Hit(faultpoint.DefragBeforeRename)
	s, err := r.target.publish()
	if s == nil {
		r.target.discard()
		return err
	}
	if err != nil {
		// The new file is in place, but a power failure could bring the old one
		// back. It must not miss what we would flush to the new one.
		err = r.b.poison(err)
	}
	r.b.cfg.step("published")
	return cmp.Or(err, r.b.exchange(s))
}

func (r *rewrite) complete(ctx context.Context) error {
	if err := r.b.failure(); err != nil {
		return err
	}
	if err := r.copyMost(ctx); err != nil {
		return err
	}
	st := r.b.pinSnapshot()
	defer st.release()
	if err := st.verifySmalls(); err != nil {
		return err
	}
	return r.b.noteDamage(r.target.seal(st.txid()))
}

// copyRange copies the next records in one transaction and removes from the
// copy what was deleted meanwhile. It tells whether the range was full.
//
// The order matters: a deletion that is noted after this snapshot was taken is
// applied after the snapshot's records have been copied, now or next time.
func (r *rewrite) copyRange(ctx context.Context) (more bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	snap := r.b.pinSnapshot()
	defer snap.release()
	entries, more, err := r.nextEntries(snap)
	if err != nil {
		return false, err
	}
	deletes := r.b.takeDeleted()
	if len(entries) == 0 && len(deletes) == 0 {
		return false, nil
	}
	if err := r.target.write(entries, deletes); err != nil {
		return false, err
	}
	r.b.cfg.activity.copied.Store(r.copied)
	if r.progress != nil {
		r.progress(r.copied, max(r.total, r.copied))
	}
	return more, nil
}

// nextEntries reads the records that follow, as many as one transaction takes.
// They are valid until the next call.
func (r *rewrite) nextEntries(st *state) (entries []entry, more bool, err error) {
	if r.entries == nil {
		r.entries, r.keys = make([]entry, 0, rangeRecordsMax), make([]byte, 0, rangeRecordsMax*schema.RevTombstoneSize)
	}
	entries, r.keys = r.entries[:0], r.keys[:0]
	bytesLeft := rangeBytesMax
	more, err = st.scan(r.from, highest(), func(rev schema.Rev, tombstone bool, record []byte) bool {
		if bytesLeft <= 0 || len(entries) == rangeRecordsMax {
			return false
		}
		begin := len(r.keys)
		r.keys = schema.AppendRev(r.keys, rev, tombstone)
		e := entry{r.keys[begin:], record}
		entries = append(entries, e)
		bytesLeft -= len(e.key) + len(e.value)
		r.from = schema.Rev{Main: rev.Main, Sub: rev.Sub + 1}
		return true
	})
	r.copied += int64(rangeBytesMax - bytesLeft)
	return entries, !more, err
}

func (b *Backend) takeDeleted() [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	deleted := b.mu.deleted
	b.mu.deleted = nil
	return deleted
}

// exchange puts s in the place of the store. The old one goes when its last
// Reader is released.
func (b *Backend) exchange(s store) error {
	taken, err := s.snapshot()
	if err != nil {
		return b.poison(closeAfter(err, s))
	}
	old := b.store
	b.store = s
	b.ledger.restart(stamp{taken.txid(), b.Flushed().Index})
	snap := b.stateOf(taken)
	sizes := sizesOf(s, snap)
	b.mu.Lock()
	oldSnap := b.mu.snap
	b.mu.snap, b.mu.sizes = snap, sizes
	b.mu.Unlock()
	oldSnap.release()
	return old.close()
}
