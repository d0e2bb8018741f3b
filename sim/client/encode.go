// Package client is the wire between a simulated client and a service: it writes the operations of the model as the requests of the v3 API
// and reads the answers back into the model's terms.
package client

import (
	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/internal/request"
)

// EncodeGrant returns the wire form of a LeaseGrantRequest.
func EncodeGrant(lease, ttl int64) []byte {
	return (&request.LeaseGrant{ID: lease, TTL: ttl}).Append(nil)
}

// EncodeKeepAlive returns the wire form of a LeaseKeepAliveRequest.
func EncodeKeepAlive(lease int64) []byte { return (&request.LeaseKeepAlive{ID: lease}).Append(nil) }

// Encode returns the wire form of an operation: that of a PutRequest for a put, and so on.
func Encode(r *model.Request) []byte {
	switch r.Kind {
	case model.Put:
		return putOf(r).Append(nil)
	case model.Delete:
		return deleteOf(r).Append(nil)
	case model.Range:
		return rangeOf(r).Append(nil)
	case model.Txn:
		return txnOf(r).Append(nil)
	case model.Compact:
		return (&request.Compaction{Revision: r.AtRevision}).Append(nil)
	case model.Revoke:
		return (&request.LeaseRevoke{ID: r.Lease}).Append(nil)
	}
	panic("client: expected an operation with a request of its own, found " + r.Kind.String())
}

func putOf(r *model.Request) *request.Put {
	return &request.Put{
		Key: bytesOf(r.Key), Value: bytesOf(r.Value), Lease: r.Lease, PrevKV: r.PrevKV, IgnoreValue: r.IgnoreValue, IgnoreLease: r.IgnoreLease,
	}
}

func deleteOf(r *model.Request) *request.DeleteRange {
	return &request.DeleteRange{Key: bytesOf(r.Key), RangeEnd: bytesOf(r.End), PrevKV: r.PrevKV}
}

func rangeOf(r *model.Request) *request.Range {
	return &request.Range{
		Key: bytesOf(r.Key), RangeEnd: bytesOf(r.End), Limit: r.Limit, Revision: r.AtRevision,
		Serializable: r.Serializable, KeysOnly: r.KeysOnly, CountOnly: r.CountOnly,
	}
}

func txnOf(r *model.Request) *request.Txn {
	t := &request.Txn{Success: opsOf(r.Then), Failure: opsOf(r.Else)}
	for i := range r.Compares {
		t.Compare = append(t.Compare, compareOf(&r.Compares[i]))
	}
	return t
}

func opsOf(rs []model.Request) (ops []request.Op) {
	for i := range rs {
		switch r := &rs[i]; r.Kind {
		case model.Put:
			ops = append(ops, request.Op{Put: putOf(r)})
		case model.Delete:
			ops = append(ops, request.Op{DeleteRange: deleteOf(r)})
		case model.Range:
			ops = append(ops, request.Op{Range: rangeOf(r)})
		case model.Txn:
			ops = append(ops, request.Op{Txn: txnOf(r)})
		default:
			panic("client: expected an operation that transactions hold, found " + r.Kind.String())
		}
	}
	return ops
}

func compareOf(c *model.Compare) request.Compare {
	out := request.Compare{Result: resultOf(c.Relation), Key: bytesOf(c.Key), RangeEnd: bytesOf(c.End)}
	switch c.Target {
	case model.TargetVersion:
		out.Target, out.Arm, out.Version = request.TargetVersion, request.ArmVersion, c.Number
	case model.TargetCreate:
		out.Target, out.Arm, out.CreateRevision = request.TargetCreate, request.ArmCreate, c.Number
	case model.TargetMod:
		out.Target, out.Arm, out.ModRevision = request.TargetMod, request.ArmMod, c.Number
	case model.TargetLease:
		out.Target, out.Arm, out.Lease = request.TargetLease, request.ArmLease, c.Number
	case model.TargetValue:
		out.Target, out.Arm, out.Value = request.TargetValue, request.ArmValue, bytesOf(c.Value)
	}
	return out
}

func resultOf(r model.Relation) int32 {
	switch r {
	case model.NotEqual:
		return request.CompareNotEqual
	case model.Less:
		return request.CompareLess
	case model.Greater:
		return request.CompareGreater
	}
	return request.CompareEqual
}

// bytesOf keeps what is empty absent.
func bytesOf(b model.Bytes) []byte {
	if b == "" {
		return nil
	}
	return []byte(b)
}
