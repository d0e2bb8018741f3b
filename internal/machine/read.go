package machine

import (
	"bytes"
	"cmp"

	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Keyspace is what can be read: a view, or an open transaction with its own writes.
type Keyspace interface {
	Get(key []byte) (mvcc.Item, bool)
	Record(rev schema.Rev) ([]byte, error)
	Range(q mvcc.Query) (mvcc.Result, error)
	CheckRevision(rev int64) error
}

// Query is a range request in the store's terms.
func Query(r *request.Range) mvcc.Query {
	return mvcc.Query{
		Key: r.Key, End: r.RangeEnd, Revision: r.Revision, Limit: r.Limit,
		Order: mvcc.Order(r.SortOrder), Target: mvcc.Target(r.SortTarget),
		KeysOnly: r.KeysOnly, CountOnly: r.CountOnly,
		MinMod: r.MinModRevision, MaxMod: r.MaxModRevision, MinCreate: r.MinCreateRevision, MaxCreate: r.MaxCreateRevision,
	}
}

// Range answers a range request.
func Range(ks Keyspace, q mvcc.Query) (request.RangeResult, error) {
	r, err := ks.Range(q)
	return request.RangeResult{KVs: r.Records, More: r.More, Count: r.Count}, err
}

// ReadTxn answers a transaction that only reads.
func ReadTxn(v *mvcc.View, t *request.Txn) (request.TxnResult, error) {
	succeeded, err := holdAll(v, t.Compare)
	if err != nil {
		return request.TxnResult{}, err
	}
	result := request.TxnResult{Succeeded: succeeded}
	for _, op := range branch(t, succeeded) {
		q := Query(op.Range)
		q.InTxn = true
		one, err := Range(v, q)
		if err != nil {
			return request.TxnResult{}, err
		}
		result.Responses = append(result.Responses, request.OpResult{Revision: v.Rev(), Range: &one})
	}
	return result, nil
}

// branch is the operations that run.
func branch(t *request.Txn, succeeded bool) []request.Op {
	if succeeded {
		return t.Success
	}
	return t.Failure
}

// holdAll reports whether every compare holds.
func holdAll(ks Keyspace, compares []request.Compare) (bool, error) {
	for i := range compares {
		ok, err := compareHolds(ks, &compares[i])
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// compareHolds evaluates one compare. Over a range it must hold for every key; a range without keys is like one missing key.
func compareHolds(ks Keyspace, c *request.Compare) (bool, error) {
	if len(c.RangeEnd) > 0 {
		return compareRange(ks, c)
	}
	item, ok := ks.Get(c.Key)
	kv := schema.KeyValue{CreateRevision: item.Create, ModRevision: item.Rev.Main, Version: item.Version, Lease: item.Lease}
	if !ok || c.Target != request.TargetValue {
		return keyHolds(c, &kv, ok), nil
	}
	record, err := ks.Record(item.Rev)
	if err != nil {
		return false, err
	}
	if err := kv.Unmarshal(record); err != nil {
		return false, err
	}
	return keyHolds(c, &kv, true), nil
}

func compareRange(ks Keyspace, c *request.Compare) (bool, error) {
	r, err := ks.Range(mvcc.Query{Key: c.Key, End: c.RangeEnd})
	if err != nil {
		return false, err
	}
	if len(r.Records) == 0 {
		return keyHolds(c, &schema.KeyValue{}, false), nil
	}
	for _, record := range r.Records {
		var kv schema.KeyValue
		if err := kv.Unmarshal(record); err != nil {
			return false, err
		}
		if !keyHolds(c, &kv, true) {
			return false, nil
		}
	}
	return true, nil
}

// keyHolds evaluates a compare for one key. A value can only be compared if there is one; an unknown target compares as equal.
func keyHolds(c *request.Compare, kv *schema.KeyValue, exists bool) bool {
	number, value := c.Operand()
	order := 0
	switch c.Target {
	case request.TargetVersion:
		order = cmp.Compare(kv.Version, number)
	case request.TargetCreate:
		order = cmp.Compare(kv.CreateRevision, number)
	case request.TargetMod:
		order = cmp.Compare(kv.ModRevision, number)
	case request.TargetLease:
		order = cmp.Compare(kv.Lease, number)
	case request.TargetValue:
		if !exists {
			return false
		}
		order = bytes.Compare(kv.Value, value)
	}
	return holds(c.Result, order)
}

// holds says whether the order of the stored and the given operand is the wanted one. A relation that is not known holds.
func holds(result int32, order int) bool {
	switch result {
	case request.CompareEqual:
		return order == 0
	case request.CompareGreater:
		return order > 0
	case request.CompareLess:
		return order < 0
	case request.CompareNotEqual:
		return order != 0
	}
	return true
}
