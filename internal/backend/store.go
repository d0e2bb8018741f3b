package backend

import (
	"bytes"
	"cmp"
	"io"
	"slices"

	"github.com/quoin-kv/quoin/internal/schema"
)

// store is the durable part under the pending layers: a bbolt file, or its
// twin in memory. One goroutine at a time commits and copies; snapshots may be
// taken and used by any number.
type store interface {
	// commit makes all of c durable, or nothing of it. After errFull the store
	// works on; after any other error it must not be written to again.
	// txid is that of the transaction which it must be.
	commit(c *changes, txid uint64) (commitCost, error)
	// snapshot pins what the last commit left. The caller owns one reference.
	snapshot() (snapshot, error)
	// freeBytes is how much of the last commit's size holds nothing.
	freeBytes() int64
	// startCopy begins a fresh store that can replace this one and holds at
	// least mapMin bytes (0 = the usual size).
	startCopy(mapMin int64) (storeCopy, error)
	// reopen surveys and opens what has been put in the place of this store,
	// which stays in use until it is closed.
	reopen() (store, *found, error)
	// medium is where the checksums of the content are kept, nil for nowhere.
	medium() sumsMedium
	// grownMapping is the mapMin after an errFull.
	grownMapping() int64
	// close gives up the owner's hold; resources go when the last snapshot is
	// released.
	close() error
}

// snapshot is an immutable state of a store. All methods are safe for
// concurrent use while a reference is held. Returned bytes are valid until the
// last reference is gone and must not be modified. What it reads may be damaged
// without notice: only state makes use of it.
type snapshot interface {
	lookup(b schema.Bucket, key []byte) (value []byte, at int64, err error) // nil = absent; at is an offset in the file
	finder(b schema.Bucket) finder
	cursor(b schema.Bucket) cursor
	lastKey(b schema.Bucket) ([]byte, error) // nil = empty bucket
	rooted() error                           // makes sure that the store still says where the buckets begin, as it did at first
	txid() uint64
	size() int64 // bytes that writeTo writes
	writeTo(w io.Writer) (int64, error)
	retain()
	release()
}

// cursor walks a bucket in key order; a nil key means the end. It belongs to
// one goroutine.
type cursor interface {
	seek(key []byte) (k, v []byte, err error) // first key at or after key
	next() (k, v []byte, err error)
	at() int64 // offset in the file of the entry returned last
}

// storeCopy is the replacement under construction. Unless publish succeeds,
// discard must be called.
type storeCopy interface {
	// write stores and then deletes entries of the key bucket. Their keys are the
	// caller's again afterwards.
	write(puts []entry, deletes [][]byte) error
	// seal adds all other buckets of the original as of its last transaction,
	// whose id is given, and makes the copy durable.
	seal(txid uint64) error
	// publish puts the copy in the place of the original, atomically. With an
	// error and no store nothing has changed. With an error and a store the
	// place has changed, but may not be durable.
	publish() (store, error)
	discard()
}

type entry struct{ key, value []byte }

// change sets or deletes one key of a small bucket.
type change struct {
	bucket schema.Bucket
	key    []byte
	value  []byte
	remove bool
}

// deletion names one record of the key bucket to remove.
type deletion struct {
	rev       schema.Rev
	tombstone bool
}

func (d deletion) key() []byte { return schema.AppendRev(nil, d.rev, d.tombstone) }

// changes is everything that one flush writes.
type changes struct {
	spans   [][]record            // records to add, ascending
	dead    map[deletion]struct{} // those among them that are not to be added after all
	deletes [][]byte              // keys to remove from the key bucket, ascending
	small   []change              // ascending by bucket and key, each key once
}

// eachRecord calls put for the key and value of every record to add. The key
// is only valid during the call.
func (c *changes) eachRecord(put func(key, value []byte) error) error {
	var key []byte
	for _, span := range c.spans {
		for i := range span {
			r := &span[i]
			if _, skip := c.dead[deletion{r.rev, r.tombstone}]; skip {
				continue
			}
			key = r.appendKey(key[:0])
			if err := put(key, r.bytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// newChanges sorts what a flush has gathered: deletions of records that the
// same flush would add cancel out, and of several changes to a key the last
// one stays.
func newChanges(spans [][]record, deletions []deletion, small []change) *changes {
	c := &changes{spans: spans, small: lastOfEach(small)}
	for _, d := range deletions {
		if len(spans) > 0 && d.rev.Compare(spans[0][0].rev) >= 0 {
			c.cancel(d)
		} else {
			c.deletes = append(c.deletes, d.key())
		}
	}
	slices.SortFunc(c.deletes, bytes.Compare)
	return c
}

func (c *changes) cancel(d deletion) {
	if c.dead == nil {
		c.dead = make(map[deletion]struct{})
	}
	c.dead[d] = struct{}{}
}

// lastOfEach returns the last change of each key, in order. It sorts positions: changes are large and point to memory.
func lastOfEach(small []change) []change {
	order := make([]int32, len(small))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(i, j int32) int {
		return cmp.Or(compareChanges(&small[i], &small[j]), int(i)-int(j))
	})
	kept := make([]change, 0, len(small))
	for n, i := range order {
		if n+1 == len(order) || compareChanges(&small[i], &small[order[n+1]]) != 0 {
			kept = append(kept, small[i])
		}
	}
	return kept
}

func compareChanges(a, b *change) int {
	if a.bucket != b.bucket {
		return int(a.bucket) - int(b.bucket)
	}
	return bytes.Compare(a.key, b.key)
}
