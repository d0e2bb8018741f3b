package machine

import (
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// put applies a put that is a request of its own.
func (a *apply) put(r *request.Put) {
	tx := a.begin()
	if a.out.Err = a.checkPut(tx, r); a.out.Err != nil {
		tx.End()
		return
	}
	result := a.putIn(tx, r)
	a.end(tx)
	a.reply(func(h request.ResponseHeader) []byte { return a.replies.put(h, &result) })
}

// checkPut refuses a put whose lease does not exist, or that wants to keep the value or lease of a key that is not there.
func (a *apply) checkPut(tx *mvcc.Tx, r *request.Put) error {
	if r.Lease != 0 && !a.leases.Has(r.Lease) {
		return kverr.LeaseNotFound
	}
	if r.IgnoreValue || r.IgnoreLease {
		if _, ok := tx.Get(r.Key); !ok {
			return kverr.KeyNotFound
		}
	}
	return nil
}

// putIn does a checked put. A key that another operation of the same transaction deleted after the check counts as empty.
func (a *apply) putIn(tx *mvcc.Tx, r *request.Put) (result request.PutResult) {
	value, lease := r.Value, r.Lease
	if r.PrevKV || r.IgnoreValue || r.IgnoreLease {
		value, lease, result.PrevKV = a.beforePut(tx, r)
	}
	before := tx.Put(r.Key, value, lease).Prev
	a.out.Ops.Puts++
	a.out.Ops.PutBytes += int64(len(r.Key) + len(value))
	switch {
	case lease != 0:
		a.leases.Attach(lease, r.Key)
	case before.Lease != 0:
		a.leases.Detach(r.Key)
	}
	return result
}

// beforePut looks up what a put keeps of the key as it is, and its record, if that is wanted.
func (a *apply) beforePut(tx *mvcc.Tx, r *request.Put) (value []byte, lease int64, old []byte) {
	value, lease = r.Value, r.Lease
	item, exists := tx.Get(r.Key)
	if exists && (r.PrevKV && a.wanted || r.IgnoreValue) {
		old = a.record(tx, item.Rev)
	}
	if r.IgnoreValue && exists {
		value = valueOf(old)
	}
	if r.IgnoreLease {
		lease = item.Lease
	}
	if !r.PrevKV {
		old = nil
	}
	return value, lease, old
}

// deleteRange applies a delete that is a request of its own.
func (a *apply) deleteRange(r *request.DeleteRange) {
	tx := a.begin()
	result := a.deleteIn(tx, r)
	a.end(tx)
	a.reply(func(h request.ResponseHeader) []byte { return request.AppendDeleteRangeResponse(nil, h, &result) })
}

func (a *apply) deleteIn(tx *mvcc.Tx, r *request.DeleteRange) request.DeleteRangeResult {
	deleted := tx.DeleteRange(r.Key, r.RangeEnd)
	a.out.Ops.Deletes++
	result := request.DeleteRangeResult{Deleted: int64(len(deleted))}
	for _, d := range deleted {
		if d.Prev.Lease != 0 {
			a.leases.Detach(d.Key)
		}
		if r.PrevKV && a.wanted {
			result.PrevKVs = append(result.PrevKVs, a.record(tx, d.Prev.Rev))
		}
	}
	return result
}

// begin opens a transaction, end closes it and keeps its events.
func (a *apply) begin() *mvcc.Tx { return a.kv.BeginBehind(a.out.Events) }

func (a *apply) end(tx *mvcc.Tx) { a.out.Events = tx.End() }

// record reads a record that the index says is there.
func (a *apply) record(tx *mvcc.Tx, rev schema.Rev) []byte {
	record, err := tx.Record(rev)
	if err != nil {
		panic(&StorageError{err})
	}
	return record
}

// valueOf is the value in a stored record.
func valueOf(record []byte) []byte {
	var kv schema.KeyValue
	if err := kv.Unmarshal(record); err != nil {
		panic(&StorageError{err})
	}
	return kv.Value
}

// StorageError is what Apply panics with when storage fails in the middle of a command. The state is half changed by then: the member must stop.
type StorageError struct{ err error }

func (e *StorageError) Error() string { return "machine: reading storage: " + e.err.Error() }

// Unwrap returns what storage said.
func (e *StorageError) Unwrap() error { return e.err }
