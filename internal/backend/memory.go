package backend

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/quoin-kv/quoin/internal/schema"
)

// MemoryDisk is the durable half of an in-memory backend, for simulation: it
// outlives the Backend that OpenMemory puts over it. It is safe for concurrent
// use.
type MemoryDisk struct {
	mu struct {
		sync.Mutex
		state  *memoryState
		inUse  bool
		broken error
		sums   []byte // the ledger; a file beside the file
	}
}

// NewMemoryDisk returns an empty disk.
func NewMemoryDisk() *MemoryDisk {
	d := &MemoryDisk{}
	d.mu.state = (&memoryState{}).with(&changes{})
	return d
}

// OpenMemory opens a backend whose file is d. It behaves as one that Open
// returns: same layers, same locking, same errors.
func OpenMemory(cfg Config, d *MemoryDisk) (*Backend, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if !d.lock() {
		return nil, fmt.Errorf("backend: open memory: %w", ErrLocked)
	}
	s := &memoryStore{disk: d}
	s.refs.Store(1)
	f, err := s.survey()
	if err != nil {
		return nil, closeAfter(fmt.Errorf("backend: open memory: %w", err), s)
	}
	return newBackend(cfg, "memory", s, f)
}

// Crash returns the disk that a restart at this moment would find: everything
// up to the last Flush. The original, and a Backend over it, are unaffected.
func (d *MemoryDisk) Crash() *MemoryDisk {
	clone := &MemoryDisk{}
	clone.mu.state = d.load().clipped()
	d.mu.Lock()
	defer d.mu.Unlock()
	clone.mu.sums = bytes.Clone(d.mu.sums)
	return clone
}

// Fail makes every later write fail with err; nil heals the disk. With
// syscall.ENOSPC the disk is full, which is no failure.
func (d *MemoryDisk) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.broken = err
}

// Flip turns one bit of one entry over, in a key or a value of any bucket, as random, which
// yields a number below its argument, will have it. It is false if there is no
// entry yet. No Backend may have the disk open.
func (d *MemoryDisk) Flip(random func(n int) int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := schema.Bucket(random(int(schema.NumBuckets)))
	state := *d.mu.state
	if len(state.buckets[b].entries) == 0 {
		b = schema.Key
	}
	entries := slices.Clone(state.buckets[b].entries)
	if len(entries) == 0 {
		return false
	}
	e := &entries[random(len(entries))]
	damaged := &e.value
	if len(e.value) == 0 || random(4) == 0 {
		damaged = &e.key
	}
	*damaged = bytes.Clone(*damaged)
	(*damaged)[random(len(*damaged))] ^= 1 << random(8)
	state.buckets[b].entries = entries
	d.mu.state = &state
	return true
}

// Covered reports whether the disk holds checksums by which a flipped bit is
// found: a disk that is full may have taken none.
func (d *MemoryDisk) Covered() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.sums != nil
}

// Adopt gives the disk the content of another one, as renaming a file over it
// would. It may be called under a Backend only from within Replace.
func (d *MemoryDisk) Adopt(from *MemoryDisk) error { return d.save(from.load().clipped()) }

func (d *MemoryDisk) read() (io.ReadCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.sums == nil {
		return nil, nil
	}
	return io.NopCloser(bytes.NewReader(d.mu.sums)), nil
}

func (d *MemoryDisk) replace(write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	d.drop()
	return d.append(b.Bytes())
}

func (d *MemoryDisk) append(b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.broken != nil {
		return d.mu.broken
	}
	d.mu.sums = append(d.mu.sums, b...)
	return nil
}

func (d *MemoryDisk) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.sums = nil
}

func (d *MemoryDisk) open() error { return nil }

func (d *MemoryDisk) sync() error { return nil }

func (d *MemoryDisk) close() {}

func (d *MemoryDisk) load() *memoryState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.state
}

func (d *MemoryDisk) save(s *memoryState) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.broken != nil {
		return d.mu.broken
	}
	d.mu.state = s
	return nil
}

func (d *MemoryDisk) lock() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.mu.inUse
	d.mu.inUse = true
	return !was
}

func (d *MemoryDisk) unlock() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.inUse = false
}

// memoryState is the content of a disk. It never changes; a later state may
// share its arrays and continue them behind its end.
type memoryState struct {
	buckets   [schema.NumBuckets]memoryBucket
	fileBytes int64  // high-water mark of liveBytes since the last rewrite
	txid      uint64 // counts the transactions
}

type memoryBucket struct {
	entries []entry // ascending by key
	bytes   int64   // of entries as writeTo encodes them
}

func (s *memoryState) liveBytes() int64 {
	n := int64(len(memoryMagic))
	for i := range s.buckets {
		n += memoryBucketHeaderBytes + s.buckets[i].bytes
	}
	return n
}

// clipped returns the same state with arrays that nobody else will continue.
func (s *memoryState) clipped() *memoryState {
	c := *s
	for i := range c.buckets {
		e := c.buckets[i].entries
		c.buckets[i].entries = e[:len(e):len(e)]
	}
	return &c
}

func (s *memoryState) with(c *changes) *memoryState {
	next := *s
	next.txid++
	keys := &next.buckets[schema.Key]
	// eachRecord passes on the error of the function, and this one has none.
	_ = c.eachRecord(func(key, value []byte) error {
		keys.append(entry{cloneBytes(key), append([]byte{}, value...)})
		return nil
	})
	*keys = keys.merged(removals(schema.Key, c.deletes))
	for rest := c.small; len(rest) > 0; {
		b := rest[0].bucket
		n := sort.Search(len(rest), func(i int) bool { return rest[i].bucket > b })
		next.buckets[b] = next.buckets[b].merged(rest[:n])
		rest = rest[n:]
	}
	next.fileBytes = max(next.fileBytes, next.liveBytes())
	return &next
}

func removals(b schema.Bucket, keys [][]byte) []change {
	changes := make([]change, len(keys))
	for i, key := range keys {
		changes[i] = change{bucket: b, key: key, remove: true}
	}
	return changes
}

func (b *memoryBucket) append(e entry) {
	b.entries = append(b.entries, e)
	b.bytes += e.encodedBytes()
}

// merged returns the bucket with changes, which ascend by key, applied.
func (b memoryBucket) merged(changes []change) memoryBucket {
	if len(changes) == 0 {
		return b
	}
	var out memoryBucket
	old := b.entries
	for _, c := range changes {
		for len(old) > 0 && bytes.Compare(old[0].key, c.key) < 0 {
			out.append(old[0])
			old = old[1:]
		}
		if len(old) > 0 && bytes.Equal(old[0].key, c.key) {
			old = old[1:]
		}
		if !c.remove {
			out.append(entry{cloneBytes(c.key), append([]byte{}, c.value...)})
		}
	}
	for _, e := range old {
		out.append(e)
	}
	return out
}

func (b *memoryBucket) at(key []byte) int {
	return sort.Search(len(b.entries), func(i int) bool { return bytes.Compare(b.entries[i].key, key) >= 0 })
}

// memoryStore is a store on a MemoryDisk.
type memoryStore struct {
	disk *MemoryDisk
	refs atomic.Int64 // one per open snapshot, and one of the owner
}

func (s *memoryStore) commit(c *changes, _ uint64) (commitCost, error) {
	return commitCost{}, withoutRoom(s.disk.save(s.disk.load().with(c)))
}

func (s *memoryStore) snapshot() (snapshot, error) {
	s.refs.Add(1)
	snap := &memorySnapshot{store: s, state: s.disk.load()}
	snap.refs.Store(1)
	return snap, nil
}

func (s *memoryStore) freeBytes() int64 {
	state := s.disk.load()
	return state.fileBytes - state.liveBytes()
}

// reopen hands the disk, and with it the lock, on to a new store.
func (s *memoryStore) reopen() (store, *found, error) {
	next := s.handOn()
	f, err := next.survey()
	if err != nil {
		return nil, nil, err
	}
	return next, f, nil
}

func (s *memoryStore) handOn() *memoryStore {
	next := &memoryStore{disk: s.disk}
	next.refs.Store(1)
	s.refs.Add(1) // the old store never unlocks
	return next
}

func (s *memoryStore) medium() sumsMedium { return s.disk }

// survey is what surveyFile is for a file.
func (s *memoryStore) survey() (*found, error) {
	state := s.disk.load()
	f := &found{stamp: stamp{txid: state.txid}, keyed: true}
	meta := &state.buckets[schema.Meta]
	var err error
	f.applied, err = parseApplied("memory", func(key []byte) []byte { return meta.get(key) })
	if err != nil {
		return nil, err
	}
	f.stamp.index = f.applied.Index
	c := newCensus(f.evidence(s.disk))
	for b := range schema.NumBuckets {
		for _, e := range state.buckets[b].entries {
			if b == schema.Key {
				err = c.record(e.key, e.value, 0, 0)
			} else {
				err = c.entry(b.Name(), e.key, e.value, 0)
			}
			if err != nil {
				return nil, pathed("memory", err)
			}
		}
	}
	f.content = &c.contents
	return f, pathed("memory", c.finish())
}

func (s *memoryStore) grownMapping() int64 { return 0 }

func (s *memoryStore) close() error {
	if s.refs.Add(-1) == 0 {
		s.disk.unlock()
	}
	return nil
}

func (s *memoryStore) startCopy(int64) (storeCopy, error) {
	return &memoryCopy{store: s}, nil
}

// memoryCopy is a rewritten state that is not in place yet.
type memoryCopy struct {
	store *memoryStore
	next  memoryState
}

func (c *memoryCopy) write(puts []entry, deletes [][]byte) error {
	keys := &c.next.buckets[schema.Key]
	for _, e := range puts {
		e.key = cloneBytes(e.key)
		keys.append(e)
	}
	sort.Slice(deletes, func(i, j int) bool { return bytes.Compare(deletes[i], deletes[j]) < 0 })
	*keys = keys.merged(removals(schema.Key, deletes))
	return nil
}

func (c *memoryCopy) seal(uint64) error {
	now := c.store.disk.load()
	for b := range schema.NumBuckets {
		if b != schema.Key {
			c.next.buckets[b] = now.buckets[b]
		}
	}
	c.next.fileBytes, c.next.txid = c.next.liveBytes(), 1
	return nil
}

func (c *memoryCopy) publish() (store, error) {
	if err := c.store.disk.save(&c.next); err != nil {
		return nil, err
	}
	return c.store.handOn(), nil
}

func (c *memoryCopy) discard() {}

// memorySnapshot is a state while it is in use.
type memorySnapshot struct {
	store *memoryStore
	state *memoryState
	refs  atomic.Int64
}

func (b *memoryBucket) get(key []byte) []byte {
	i := b.at(key)
	if i == len(b.entries) || !bytes.Equal(b.entries[i].key, key) {
		return nil
	}
	return b.entries[i].value
}

func (s *memorySnapshot) lookup(b schema.Bucket, key []byte) ([]byte, int64, error) {
	return s.state.buckets[b].get(key), 0, nil
}

func (s *memorySnapshot) finder(b schema.Bucket) finder { return memoryFinder{&s.state.buckets[b]} }

// memoryFinder is a finder in memory.
type memoryFinder struct{ bucket *memoryBucket }

func (f memoryFinder) find(key []byte) ([]byte, error) { return f.bucket.get(key), nil }

func (s *memorySnapshot) cursor(b schema.Bucket) cursor {
	return &memoryCursor{bucket: &s.state.buckets[b]}
}

func (s *memorySnapshot) lastKey(b schema.Bucket) ([]byte, error) {
	entries := s.state.buckets[b].entries
	if len(entries) == 0 {
		return nil, nil
	}
	return entries[len(entries)-1].key, nil
}

func (s *memorySnapshot) rooted() error { return nil }

func (s *memorySnapshot) txid() uint64 { return s.state.txid }

func (s *memorySnapshot) size() int64 { return s.state.fileBytes }

func (s *memorySnapshot) writeTo(w io.Writer) (int64, error) { return s.state.writeTo(w) }

func (s *memorySnapshot) retain() { s.refs.Add(1) }

func (s *memorySnapshot) release() {
	switch n := s.refs.Add(-1); {
	case n == 0:
		_ = s.store.close() // never fails
	case n < 0:
		panic(fmt.Sprintf("backend: expected a live snapshot, found %d references", n+1))
	}
}

type memoryCursor struct {
	bucket *memoryBucket
	i      int
}

func (c *memoryCursor) at() int64 { return 0 }

func (c *memoryCursor) seek(key []byte) (k, v []byte, err error) {
	c.i = c.bucket.at(key) - 1
	return c.next()
}

func (c *memoryCursor) next() (k, v []byte, err error) {
	c.i++
	if c.i >= len(c.bucket.entries) {
		return nil, nil, nil
	}
	e := c.bucket.entries[c.i]
	return e.key, e.value, nil
}
