package backend

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"

	"github.com/quoin-kv/quoin/internal/schema"
)

// state is the file as one flush has left it: a snapshot of what is there, and
// the checksums of what must be there. Nothing that is read from the file
// leaves this type unless the two agree.
//
// Invariants:
//  1. records and totals are the content of the snapshot.
//  2. No damage of the file makes it panic, hang, or return bytes that were not stored: every method returns
//     a *CorruptError then and reports it.
type state struct {
	snapshot
	records sums
	totals  totals
	path    string
	report  func(*CorruptError)
	keys    sync.Pool // of *[schema.RevTombstoneSize]byte: keys that are looked up, of which a long list has many
}

// corrupt completes and reports an error.
func (st *state) corrupt(err error) error {
	var c *CorruptError
	if !errors.As(err, &c) {
		return err
	}
	if c.Path == "" {
		c.Path = st.path
	}
	st.report(c)
	return c
}

// recovered ends a function that reads the file: a fault, as when the disk
// cannot deliver a page, becomes an error. It must be deferred itself, and gets
// what SetPanicOnFault(true) has returned.
func (st *state) recovered(err *error, setting bool) {
	debug.SetPanicOnFault(setting)
	if cause := recover(); cause != nil {
		*err = &CorruptError{Cause: fmt.Errorf("reading the file: %v", cause)}
	}
	if *err != nil {
		*err = st.corrupt(*err)
	}
}

// record returns the record at rev, tombstone or not. It wraps ErrNoRecord.
func (st *state) record(rev schema.Rev) (record []byte, tombstone bool, err error) {
	sum, ok := st.records.find(rev)
	if !ok {
		return nil, false, noRecord(rev)
	}
	defer st.recovered(&err, debug.SetPanicOnFault(true))
	buf, ok := st.keys.Get().(*[schema.RevTombstoneSize]byte)
	if !ok {
		buf = new([schema.RevTombstoneSize]byte)
	}
	defer st.keys.Put(buf)
	key := schema.AppendRev(buf[:0], rev, true)
	record, offset, err := st.snapshot.lookup(schema.Key, key[:schema.RevSize])
	if record == nil && err == nil {
		tombstone = true
		record, offset, err = st.snapshot.lookup(schema.Key, key)
	}
	switch {
	case err != nil:
		return nil, false, err
	case record == nil:
		return nil, false, missingRecord(rev, offset)
	}
	if found := recordSum(tombstone, record); found != sum {
		return nil, false, at(wrongSum(sum, found), schema.Key.Name(), schema.AppendRev(nil, rev, tombstone), offset)
	}
	return record, tombstone, nil
}

// scan calls fn for the records from from to to, both included, ascending,
// until it returns false; more tells that it never did.
func (st *state) scan(from, to schema.Rev, fn func(rev schema.Rev, tombstone bool, record []byte) bool) (more bool, err error) {
	c := st.recordCursor(from)
	for {
		batch, err := c.batch(to)
		if err != nil || len(batch) == 0 {
			return err == nil, err
		}
		for i := range batch {
			if r := &batch[i]; !fn(r.rev, r.tombstone, r.bytes) {
				return false, nil
			}
		}
	}
}

// recordCursor walks over records, each of which is the one that must follow.
type recordCursor struct {
	st      *state
	file    cursor
	must    sumsCursor
	from    schema.Rev
	started bool
	read    []record // the last batch
	most    int      // records of the next one
}

// batchMost is how many records a cursor reads ahead at most.
const batchMost = 64

func (st *state) recordCursor(from schema.Rev) *recordCursor {
	return &recordCursor{st: st, file: st.snapshot.cursor(schema.Key), must: st.records.from(from), from: from, most: 4}
}

// batch returns the next records up to to, none at the end. They are valid until the next call.
func (c *recordCursor) batch(to schema.Rev) (batch []record, err error) {
	defer c.st.recovered(&err, debug.SetPanicOnFault(true))
	c.read = c.read[:0]
	for len(c.read) < c.most {
		want, sum, ok := c.must.peek()
		if !ok || want.Compare(to) > 0 {
			return c.read, c.past(to)
		}
		r, err := c.next(want, sum)
		if err != nil {
			return nil, err
		}
		c.read = append(c.read, r)
	}
	c.most = min(2*c.most, batchMost)
	return c.read, nil
}

// next returns the next record, which must be the wanted one.
func (c *recordCursor) next(want schema.Rev, sum uint32) (r record, err error) {
	k, v, err := c.step()
	if err != nil {
		return r, err
	}
	if k == nil {
		return r, missingRecord(want, 0)
	}
	rev, tombstone, err := schema.ParseRev(k)
	switch {
	case err != nil:
		return r, at(err, schema.Key.Name(), k, c.file.at())
	case rev.Compare(want) > 0:
		return r, missingRecord(want, c.file.at())
	case rev != want:
		return r, at(errors.New("record that was never stored"), schema.Key.Name(), k, c.file.at())
	}
	if found := recordSum(tombstone, v); found != sum {
		return r, at(wrongSum(sum, found), schema.Key.Name(), k, c.file.at())
	}
	c.must.skip()
	return record{rev, tombstone, v}, nil
}

func (c *recordCursor) step() (k, v []byte, err error) {
	if c.started {
		return c.file.next()
	}
	c.started = true
	return c.file.seek(schema.AppendRev(nil, c.from, false))
}

// past makes sure that the file has nothing more up to to either.
func (c *recordCursor) past(to schema.Rev) error {
	k, _, err := c.step()
	if err != nil || k == nil {
		return err
	}
	rev, _, err := schema.ParseRev(k)
	if err == nil && rev.Compare(to) <= 0 {
		err = errors.New("record that was never stored")
	}
	if err != nil {
		return at(err, schema.Key.Name(), k, c.file.at())
	}
	return nil
}

// get returns a value of a small bucket, nil if absent.
func (st *state) get(b schema.Bucket, key []byte) (value []byte, err error) {
	defer st.recovered(&err, debug.SetPanicOnFault(true))
	value, _, err = st.snapshot.lookup(b, key)
	return value, err
}

// each calls fn for every entry of a bucket in key order until it fails. A
// small bucket is verified first, as a whole.
func (st *state) each(b schema.Bucket, fn func(key, value []byte) error) error {
	if b == schema.Key {
		return st.eachRecord(fn)
	}
	if err := st.verifySmall(b); err != nil {
		return err
	}
	return st.walk(b, func(key, value []byte, _ int64) error { return fn(key, value) })
}

func (st *state) eachRecord(fn func(key, value []byte) error) error {
	var failed error
	var key []byte
	_, err := st.scan(schema.Rev{}, highest(), func(rev schema.Rev, tombstone bool, record []byte) bool {
		key = schema.AppendRev(key[:0], rev, tombstone)
		failed = fn(key, record)
		return failed == nil
	})
	return errors.Join(err, failed)
}

// highest is above all revisions.
func highest() schema.Rev { return schema.Rev{Main: math.MaxInt64, Sub: math.MaxInt64} }

func (st *state) walk(b schema.Bucket, fn func(key, value []byte, offset int64) error) error {
	c := st.snapshot.cursor(b)
	k, v, err := st.move(func() ([]byte, []byte, error) { return c.seek(nil) })
	for err == nil && k != nil {
		if err := fn(k, v, c.at()); err != nil {
			return err
		}
		k, v, err = st.move(c.next)
	}
	return err
}

// move makes one step of a cursor.
func (st *state) move(step func() (k, v []byte, err error)) (k, v []byte, err error) {
	defer st.recovered(&err, debug.SetPanicOnFault(true))
	return step()
}

// rooted makes sure that whoever begins at the root of the file finds the same buckets.
func (st *state) rooted() (err error) {
	defer st.recovered(&err, debug.SetPanicOnFault(true))
	return st.snapshot.rooted()
}

// verifySmall compares a small bucket with its total.
func (st *state) verifySmall(b schema.Bucket) error {
	var found bucketTotal
	first := int64(0)
	err := st.walk(b, func(key, value []byte, offset int64) error {
		if first == 0 {
			first = offset
		}
		found.add(smallSum(key, value))
		return nil
	})
	if want := st.totals[b]; err == nil && found != want {
		cause := fmt.Errorf("expected %d entries with the sum %x, found %d with %x", want.entries, want.sum, found.entries, found.sum)
		err = st.corrupt(at(cause, b.Name(), nil, first))
	}
	return err
}

// verify reads the next records, from a revision on, as many as budget bytes
// go, and returns where to go on; done tells that these were the last. The small buckets go with the last.
func (st *state) verify(from schema.Rev, budget int64) (next schema.Rev, done bool, err error) {
	c := st.recordCursor(from)
	for budget > 0 {
		batch, err := c.batch(highest())
		if err != nil {
			return next, false, err
		}
		if len(batch) == 0 {
			return schema.Rev{}, true, st.verifySmalls()
		}
		for i := range batch {
			budget -= int64(len(batch[i].bytes)) + entryFileBytes
		}
		last := batch[len(batch)-1].rev
		next = schema.Rev{Main: last.Main, Sub: last.Sub + 1}
	}
	return next, false, nil
}

// verifyAll verifies the whole file.
func (st *state) verifyAll() error {
	_, _, err := st.verify(schema.Rev{}, math.MaxInt64)
	return err
}

func (st *state) verifySmalls() error {
	if err := st.rooted(); err != nil {
		return err
	}
	for b := range schema.NumBuckets {
		if b == schema.Key {
			continue
		}
		if err := st.verifySmall(b); err != nil {
			return err
		}
	}
	return nil
}

// lastRecord returns the highest revision in the file.
func (st *state) lastRecord() (rev schema.Rev, err error) {
	defer st.recovered(&err, debug.SetPanicOnFault(true))
	last, err := st.snapshot.lastKey(schema.Key)
	if last == nil || err != nil {
		return rev, err
	}
	rev, _, err = schema.ParseRev(last)
	if err == nil && rev != st.records.last() {
		err = fmt.Errorf("expected the last record to be of revision %d/%d", st.records.last().Main, st.records.last().Sub)
	}
	if err != nil {
		return rev, at(err, schema.Key.Name(), last, 0)
	}
	return rev, nil
}

// present returns those keys of records that are in the file, and makes sure
// that they are as they must be.
func (st *state) present(keys [][]byte) ([][]byte, error) {
	var found [][]byte
	for i, key := range keys {
		breathe(i)
		rev, wanted, err := schema.ParseRev(key)
		if err != nil {
			return nil, err
		}
		_, tombstone, err := st.record(rev)
		switch {
		case errors.Is(err, ErrNoRecord):
		case err != nil:
			return nil, err
		case tombstone == wanted:
			found = append(found, key)
		}
	}
	return found, nil
}
