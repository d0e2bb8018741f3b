package backend

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/quoin-kv/quoin/internal/schema"
)

// PinnedFile is the whole file as of one flush. Flushes go on while it is held,
// but pages that they free are not used again until Release.
type PinnedFile struct {
	snap    *state
	applied schema.Applied
	path    string                   // for error messages
	written func(took time.Duration) // may be nil
}

// PinFile pins what the last flush left. The caller must Release it.
func (b *Backend) PinFile() *PinnedFile {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &PinnedFile{snap: b.retainSnapshot(), applied: b.mu.flushed, path: b.path, written: b.cfg.OnSnapshot}
}

// Applied is the log position of the file. ConfState must not be modified.
func (f *PinnedFile) Applied() schema.Applied { return f.applied }

// Size is the number of bytes that WriteTo writes.
func (f *PinnedFile) Size() int64 { return f.snap.size() }

// WriteTo writes a file that can be opened in its turn, after it has made sure
// that nothing in it is damaged. It may be called again.
func (f *PinnedFile) WriteTo(w io.Writer) (int64, error) {
	began := time.Now()
	if err := f.snap.verifyAll(); err != nil {
		return 0, fmt.Errorf("backend: write snapshot of %s: %w", f.path, err)
	}
	n, err := f.snap.writeTo(w)
	if err != nil {
		return n, fmt.Errorf("backend: write snapshot of %s: %w", f.path, err)
	}
	if f.written != nil {
		f.written(time.Since(began))
	}
	return n, nil
}

// Release gives the file up.
func (f *PinnedFile) Release() { f.snap.release() }

// Replace gives the backend a whole new content. swap puts another file in the
// place of the present one, durably; then that is opened. What was pending is
// dropped: the new file takes its place. Readers that are held keep the old
// file until they are released.
//
// It is called by the writer, between Commit and the next change. It waits for
// a flush or a rewrite that is under way. If swap fails nothing has changed. An
// error that wraps ErrPoisoned is final: the new file is in place but cannot be
// used.
func (b *Backend) Replace(swap func() error) error {
	b.rewriting <- struct{}{}
	defer func() { <-b.rewriting }()
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if err := b.failure(); err != nil {
		return err
	}
	b.ledger.drop()
	if err := swap(); err != nil {
		return fmt.Errorf("backend: replace %s: %w", b.path, err)
	}
	s, f, err := b.store.reopen()
	if err != nil {
		return b.poison(fmt.Errorf("open %s in the place of another: %w", b.path, err))
	}
	return b.startOver(s, f)
}

// startOver makes s the store, with nothing pending above it. turn is held.
func (b *Backend) startOver(s store, f *found) error {
	snap, err := b.begin(s, f)
	if err != nil {
		return b.poison(closeAfter(err, s))
	}
	if b.writer.pinned != nil {
		b.writer.pinned.Release()
	}
	sizes := sizesOf(s, snap)
	old := b.store
	b.store = s
	b.writer = writer{open: [][]record{nil}}
	b.mu.Lock()
	oldSnap := b.mu.snap
	b.mu.snap, b.mu.sizes = snap, sizes
	b.mu.pending, b.mu.base, b.mu.batches, b.mu.bytes, b.mu.growth = layers{}, 0, nil, 0, 0
	err = b.readPosition(snap)
	b.wake()
	b.mu.Unlock()
	oldSnap.release()
	if err != nil {
		err = b.poison(err)
	}
	return cmp.Or(err, old.close())
}
