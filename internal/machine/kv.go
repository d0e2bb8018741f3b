package machine

import (
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// put applies a put that is a request of its own.
func (a *apply) put(r *request.Put) {
	tx := a.kv.Begin()
	if a.out.Err = a.checkPut(tx, r); a.out.Err != nil {
		tx.End()
		return
	}
	result := a.putIn(tx, r)
	a.end(tx)
	a.reply(func(h request.ResponseHeader) []byte { return request.AppendPutResponse(nil, h, &result) })
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
func (a *apply) putIn(tx *mvcc.Tx, r *request.Put) request.PutResult {
	value, lease := r.Value, r.Lease
	var old []byte
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
	tx.Put(r.Key, value, lease)
	a.out.Ops.Puts++
	a.out.Ops.PutBytes += int64(len(r.Key) + len(value))
	switch {
	case lease != 0:
		a.leases.Attach(lease, r.Key)
	case item.Lease != 0:
		a.leases.Detach(r.Key)
	}
	if !r.PrevKV {
		old = nil
	}
	return request.PutResult{PrevKV: old}
}

// deleteRange applies a delete that is a request of its own.
func (a *apply) deleteRange(r *request.DeleteRange) {
	tx := a.kv.Begin()
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

// end closes a transaction and keeps its events.
func (a *apply) end(tx *mvcc.Tx) { a.out.Events = append(a.out.Events, tx.End()...) }

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
