// Package backend keeps what the state machine wants on disk: one bbolt file
// in etcd's layout, and above it the changes that are not in the file yet.
//
// # Layers
//
// The writer (one goroutine, the applier) collects changes into a batch and
// ends it with Commit. Committed batches wait in memory as pending layers. The
// flusher (one goroutine) moves them into the file, whole batches at a time, in
// one transaction that also stores the index of the last log entry they come
// from. So no commit of the writer ever waits for the file, the file is always
// the exact state after some log entry, and a crash costs nothing but replaying
// the log from that entry.
//
//	writer ── Append, Put, … Commit ──► pending layers ── Flush ──► file
//	                                         ▲                       ▲
//	readers ── Reader ───────────────────────┴───── snapshot ────────┘
//
// A Reader is one pair (pending layers, snapshot of the file) and never
// changes. Pending layers are slices that only ever grow behind the end that an
// earlier Reader knows, so taking one costs a few words, whatever is pending. A
// snapshot is a read transaction of bbolt, one per flush, shared by all Readers
// of that time and counted. Both sides meet in Backend.mu, which is held for
// the exchange of a few pointers only.
//
// A read transaction of bbolt only pins the pages of its moment. They are read
// by many goroutines at once, without bbolt and without its caches.
//
// # The mapping
//
// There is always a read transaction open, and bbolt can only extend its
// mapping of the file when there is none. So the mapping is made generous in
// advance (address space costs nothing), and bbolt is told to refuse to grow
// beyond it. When that happens the flush has changed nothing; it then has the
// file copied, by the machinery of Defragment, into one with a larger mapping,
// and tries again. Readers keep the old file until they are released.
//
// # Defragment
//
// The file is copied while flushes go on, by ranges of revisions, each in a
// short read transaction. What is added meanwhile is found behind the last
// copied revision; what is deleted meanwhile is noted by Flush. When little is
// left, the copy takes the flusher's turn once: the rest, the small buckets,
// fsync, rename, fsync of the directory. Neither the writer nor Readers notice.
//
// # Damage
//
// bbolt's pages have no checksums, and bbolt trusts them. So pages are read
// without it (page.go), every number being checked before it is used; records
// leave the file only if they have the checksum that they were stored with
// (sums.go, state.go); and a file is surveyed page by page before bbolt may open
// it (content.go, survey.go), against a ledger of checksums that is kept beside
// it (ledger.go). Damage is a *CorruptError, and is told by Damaged; then
// nothing is written any more. docs/corruption.md has the whole story.
//
// # Failure
//
// After a failed write the backend is poisoned: the file's state is unknown and
// nothing is written to it again. Reading goes on.
//
// The same layers run over an in-memory store (OpenMemory) for simulation;
// both pass the same tests.
package backend

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoin-kv/quoin/internal/schema"
)

// Config says how to open a backend.
type Config struct {
	Path            string        // the file; created if absent. Ignored by OpenMemory
	ReserveBytes    int64         // that Defragment leaves free on the disk
	FreelistType    string        // "map" (default) or "array": how free pages are kept in memory
	QuotaBytes      int64         // expected upper bound of the file, for sizing the mapping; 0 = none known
	PendingBytesMax int64         // Throttle blocks above it; 0 = 256 MiB
	FlushBytes      int64         // FlushWanted fires from here on, from twice as much if records are large; 0 = 16 MiB; at most PendingBytesMax
	FlushEntries    uint64        // FlushWanted fires too when so many log entries are committed and not in the file; 0 = never
	NoSync          bool          // never fsync: loses the file on power failure
	Mlock           bool          // keep the file's pages in memory
	LockTimeout     time.Duration // how long to wait for another process to close the file; 0 = 1 s
	SumsPath        string        // where the checksums of the file are kept for the next Open; empty: nowhere
	Logger          *slog.Logger  // for what is worth knowing and no error; nil = none

	// OnFlush, if set, is told about every flush that wrote, by the flusher.
	OnFlush func(FlushInfo)
	// OnSnapshot, if set, is told how long it took to write out a whole file,
	// and OnRewrite how long a rewrite took that succeeded.
	OnSnapshot, OnRewrite func(took time.Duration)

	activity *activity // shared with the store
	remains  *remains  // likewise

	mapFloorBytes int64          // smallest mapping; 0 = 10 GiB. Small only in tests
	onStep        func(string)   // called between the steps of a rewrite. Only in tests
	onOpen        func(*os.File) // sees the files that bbolt opens. Only in tests
}

// FlushInfo describes one flush.
type FlushInfo struct {
	Records, Deletions, SmallChanges int
	Bytes                            int64         // freed from memory
	Written                          int64         // bytes of the file's pages; 0 in memory
	Took                             time.Duration // whole flush
	Rebalance, Spill, Write          time.Duration // bbolt's phases of the commit
}

// Sizes is how much of the disk the file takes.
type Sizes struct {
	FileBytes  int64 // all pages ever used: what a snapshot of the file would take
	InUseBytes int64 // the same without free pages
}

// Pending is what waits for a flush.
type Pending struct {
	Batches   int
	Records   int
	Bytes     int64          // memory, roughly
	Deletions int            // of records, by compaction
	Applied   schema.Applied // of the last Commit; ConfState is that Commit's
}

// Backend is one storage file and its pending layers. The methods are grouped
// by who may call them: the writer (Append, DeleteRecord, Put, Delete, Record,
// Commit, Throttle), the flusher (Flush), one defragmenter (Defragment), and
// anybody (the rest).
//
// Invariants:
//  1. The file holds exactly the effects of all batches up to flushed.
//  2. Pending records are newer than all records in the file, and ascend.
//  3. batches is exactly what is committed and not in the file, oldest first:
//     their indexes do not descend, and the last one's end is base plus the
//     number of pending records.
//  4. bytes and growth are the sums of the batches' bytes and growth.
//  5. snap is the file after the last flush, and holds one reference for us.
type Backend struct {
	cfg         Config
	path        string // for error messages
	flushWanted chan struct{}

	writer writer

	// turn is held by who writes to the store or exchanges it: a flush, or the
	// last step of a rewrite. rewriting is held for a whole rewrite.
	turn      chan struct{}
	rewriting chan struct{}
	store     store  // guarded by turn
	ledger    ledger // likewise

	damage struct {
		first atomic.Pointer[CorruptError]
		found chan struct{} // closed when there is one
	}

	mu struct {
		sync.Mutex
		snap      *state
		pending   layers
		base      uint64 // ordinal of the first pending record, counted since Open
		batches   []batch
		bytes     int64
		growth    int64 // sum of the batches' growth
		committed schema.Applied
		flushed   schema.Applied
		taken     taken // by the flush under way
		sizes     Sizes
		written   int64         // bytes of pages, by the last flush
		failed    error         // poisoned or closed
		changed   chan struct{} // closed and renewed when bytes or failed changes
		copying   bool          // a rewrite wants to know of deletions
		deleted   [][]byte      // keys deleted from the file since it last asked
	}
}

func (c Config) withDefaults() (Config, error) {
	c.PendingBytesMax = orDefault(c.PendingBytesMax, 256<<20)
	c.FlushBytes = orDefault(c.FlushBytes, min(16<<20, c.PendingBytesMax))
	c.LockTimeout = orDefault(c.LockTimeout, time.Second)
	c.mapFloorBytes = orDefault(c.mapFloorBytes, 10<<30)
	c.activity, c.remains = &activity{}, newRemains()
	c.Logger = orDefault(c.Logger, slog.New(slog.DiscardHandler))
	switch {
	case c.FlushBytes > c.PendingBytesMax || c.FlushBytes < 0:
		return c, fmt.Errorf("backend: FlushBytes %d is not within PendingBytesMax %d", c.FlushBytes, c.PendingBytesMax)
	case c.QuotaBytes < 0:
		return c, fmt.Errorf("backend: QuotaBytes %d is negative", c.QuotaBytes)
	case c.FreelistType != "" && c.FreelistType != "map" && c.FreelistType != "array":
		return c, fmt.Errorf("backend: FreelistType %q is neither map nor array", c.FreelistType)
	}
	return c, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func (c *Config) step(name string) {
	if c.onStep != nil {
		c.onStep(name)
	}
}

// newBackend takes over s, also when it fails.
func newBackend(cfg Config, path string, s store, f *found) (*Backend, error) {
	b := &Backend{
		cfg:         cfg,
		path:        path,
		store:       s,
		flushWanted: make(chan struct{}, 1),
		turn:        make(chan struct{}, 1),
		rewriting:   make(chan struct{}, 1),
		writer:      writer{open: [][]record{nil}},
		ledger:      ledger{medium: s.medium(), warn: cfg.Logger.Warn},
	}
	b.damage.found = make(chan struct{})
	b.mu.changed = make(chan struct{})
	st, err := b.begin(s, f)
	if err != nil {
		return nil, closeAfter(err, s)
	}
	b.mu.snap, b.mu.sizes = st, sizesOf(s, st)
	if err := b.readPosition(st); err != nil {
		st.release()
		return nil, closeAfter(err, s)
	}
	return b, nil
}

// begin returns the state of a store that was just surveyed and opened.
func (b *Backend) begin(s store, f *found) (*state, error) {
	for _, note := range f.notes {
		b.cfg.Logger.Warn(note, "file", b.path)
	}
	snap, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	b.ledger.begin(f, stamp{snap.txid(), f.applied.Index})
	return b.stateOf(snap), nil
}

// stateOf joins a snapshot with the content that the ledger knows.
func (b *Backend) stateOf(snap snapshot) *state {
	return &state{snapshot: snap, records: b.ledger.content.records, totals: b.ledger.totals, path: b.path, report: b.damaged}
}

// damaged notes that the file is damaged. Nothing is written to it from now on.
func (b *Backend) damaged(c *CorruptError) {
	if b.damage.first.CompareAndSwap(nil, c) {
		close(b.damage.found)
	}
}

// Damaged is closed when the file was found to be damaged. Damage says how.
func (b *Backend) Damaged() <-chan struct{} { return b.damage.found }

// Damage is what was found first when the file turned out to be damaged, nil
// if nothing was.
func (b *Backend) Damage() *CorruptError { return b.damage.first.Load() }

// Verify reads the next part of the file, from a revision on, about budget
// bytes, and compares it with what was stored. It returns where to go on, and
// whether this was the end of the file. Damage is a *CorruptError, and is made
// known by Damaged as well.
func (b *Backend) Verify(from schema.Rev, budget int64) (next schema.Rev, done bool, err error) {
	st := b.pinSnapshot()
	defer st.release()
	return st.verify(from, budget)
}

func closeAfter(err error, s store) error {
	if closeErr := s.close(); closeErr != nil {
		return fmt.Errorf("%w (and closing: %w)", err, closeErr)
	}
	return err
}

// readPosition finds out how far the file is: applied index, last revision.
func (b *Backend) readPosition(st *state) error {
	var failed error
	a, err := parseApplied(b.path, func(key []byte) []byte {
		v, err := st.get(schema.Meta, key)
		failed = cmp.Or(failed, err)
		return v
	})
	if err := cmp.Or(failed, err); err != nil {
		return err
	}
	b.mu.committed, b.mu.flushed = a, a
	b.writer.last, err = st.lastRecord()
	return err
}

// parseApplied reads a log position out of the meta bucket. What is missing is
// zero.
func parseApplied(path string, get func(key []byte) []byte) (a schema.Applied, err error) {
	number := func(name string) uint64 {
		v := get([]byte(name))
		if v == nil || err != nil {
			return 0
		}
		n, parseErr := schema.ParseUint64(v)
		if parseErr != nil {
			err = &CorruptError{Path: path, Bucket: schema.Meta.Name(), Key: []byte(name), Cause: parseErr}
		}
		return n
	}
	a.Index, a.Term = number(schema.MetaConsistentIndex), number(schema.MetaTerm)
	a.ConfState = cloneBytes(get([]byte(schema.MetaConfState)))
	return a, err
}

// cloneBytes keeps nil apart from empty.
func cloneBytes(v []byte) []byte {
	if v == nil {
		return nil
	}
	return append([]byte{}, v...)
}

// Flushed says which log entry the file has reached. After Open the log must be
// replayed from the entry after it. ConfState is the last one stored, if any.
func (b *Backend) Flushed() schema.Applied {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.flushed
}

// Pending says what waits for a flush.
func (b *Backend) Pending() Pending {
	b.mu.Lock()
	defer b.mu.Unlock()
	deletions := 0
	for i := range b.mu.batches {
		deletions += len(b.mu.batches[i].deletions)
	}
	return Pending{
		Deletions: deletions,
		Batches:   len(b.mu.batches),
		Records:   b.mu.pending.len(),
		Bytes:     b.mu.bytes,
		Applied:   b.mu.committed,
	}
}

// FlushWanted receives when Config.FlushBytes are pending, or a throttled
// writer waits for room, or somebody has called WantFlush.
func (b *Backend) FlushWanted() <-chan struct{} { return b.flushWanted }

// WantFlush asks the flusher for a flush, soon.
func (b *Backend) WantFlush() { notify(b.flushWanted) }

// Written is how many bytes of the file's pages the last flush has written, 0 in memory: what it has cost processor and disk.
func (b *Backend) Written() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.written
}

// Sizes returns the file's sizes after the last flush, without any I/O.
func (b *Backend) Sizes() Sizes {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.sizes
}

// Used is how much space the data takes, in bytes: the file without its free
// pages, and about what the pending changes will add to it. Deletions count
// once they are flushed.
func (b *Backend) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.sizes.InUseBytes + b.mu.growth
}

func sizesOf(s store, snap snapshot) Sizes {
	live := snap.size()
	return Sizes{FileBytes: live, InUseBytes: live - s.freeBytes()}
}

// Get returns a copy of a small bucket's value in the file; pending changes are
// not seen. It is meant for restoring after Open. nil means absent.
func (b *Backend) Get(bucket schema.Bucket, key []byte) []byte {
	st := b.pinSnapshot()
	defer st.release()
	value, err := st.get(bucket, key)
	if err != nil {
		return nil // reported: see Damaged
	}
	return cloneBytes(value)
}

// ForEach calls fn for every entry that a bucket has in the file, in key order,
// until fn returns an error, which it passes on. Pending changes are not seen.
// Key and value are valid during the call.
func (b *Backend) ForEach(bucket schema.Bucket, fn func(key, value []byte) error) error {
	st := b.pinSnapshot()
	defer st.release()
	return st.each(bucket, fn)
}

func (b *Backend) pinSnapshot() *state {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.retainSnapshot()
}

// retainSnapshot adds a reference to the current snapshot. mu is held.
func (b *Backend) retainSnapshot() *state {
	if b.mu.snap == nil {
		panic("backend: expected an open backend, found a closed one")
	}
	b.mu.snap.retain()
	return b.mu.snap
}

// WriteSnapshot streams the whole file as of the last flush, as a file that can
// be opened in its turn; who wants it to be recent flushes first. Flushes go on
// meanwhile. begin gets the exact size in bytes and the log position, and says
// where to write; its error ends the matter. The number of bytes written is
// returned.
func (b *Backend) WriteSnapshot(begin func(size int64, at schema.Applied) (io.Writer, error)) (int64, error) {
	f := b.PinFile()
	defer f.Release()
	w, err := begin(f.Size(), f.Applied())
	if err != nil {
		return 0, err
	}
	return f.WriteTo(w)
}

// Close waits for a running flush or rewrite and gives the file up. Pending
// changes are not flushed; the writer must have stopped. Readers stay valid; the file stays open, and locked,
// until the last one is released. A second Close does nothing.
func (b *Backend) Close() error {
	b.rewriting <- struct{}{}
	defer func() { <-b.rewriting }()
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if b.writer.pinned != nil {
		b.writer.pinned.Release()
		b.writer.pinned = nil
	}
	if !b.fail(ErrClosed) {
		return nil
	}
	b.mu.Lock()
	snap := b.mu.snap
	b.mu.snap = nil
	b.mu.Unlock()
	snap.release()
	if b.ledger.medium != nil {
		b.ledger.medium.close()
	}
	defer b.cfg.remains.close()
	if err := b.store.close(); err != nil {
		return fmt.Errorf("backend: close %s: %w", b.path, err)
	}
	return nil
}

// fail refuses all writing from now on. It tells whether the backend was open:
// being closed is final, being poisoned only stops the writing.
func (b *Backend) fail(err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.failed == ErrClosed {
		return false
	}
	b.mu.failed = err
	b.wake()
	return true
}

func (b *Backend) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mustNotWrite()
}

// mustNotWrite is why nothing may be written. mu is held.
func (b *Backend) mustNotWrite() error {
	if c := b.Damage(); c != nil && b.mu.failed == nil {
		return poisoned(c)
	}
	return b.mu.failed
}

// wake lets throttled writers look again. mu is held.
func (b *Backend) wake() {
	close(b.mu.changed)
	b.mu.changed = make(chan struct{})
}
