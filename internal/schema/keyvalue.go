package schema

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// KeyValue is a record of the Key bucket: the state that one change gave to
// one key. A tombstone's record holds only Key.
//
// Its encoding is the protobuf message mvccpb.KeyValue, in which clients
// receive it too: a stored record is copied into responses as it is.
type KeyValue struct {
	Key            []byte
	CreateRevision int64 // main revision that created the key
	ModRevision    int64 // main revision of this change
	Version        int64 // 1 at creation, +1 with every change since
	Value          []byte
	Lease          int64 // attached lease id, 0 = none
}

const (
	kvKey protowire.Number = iota + 1
	kvCreateRevision
	kvModRevision
	kvVersion
	kvValue
	kvLease
)

// Append appends the canonical proto3 encoding: fields ascending, zero fields
// left out.
func (kv *KeyValue) Append(b []byte) []byte {
	b = appendBytesField(b, kvKey, kv.Key)
	b = appendIntField(b, kvCreateRevision, kv.CreateRevision)
	b = appendIntField(b, kvModRevision, kv.ModRevision)
	b = appendIntField(b, kvVersion, kv.Version)
	b = appendBytesField(b, kvValue, kv.Value)
	return appendIntField(b, kvLease, kv.Lease)
}

// Size is the number of bytes that Append adds.
func (kv *KeyValue) Size() int {
	return sizeBytesField(kvKey, kv.Key) +
		sizeIntField(kvCreateRevision, kv.CreateRevision) +
		sizeIntField(kvModRevision, kv.ModRevision) +
		sizeIntField(kvVersion, kv.Version) +
		sizeBytesField(kvValue, kv.Value) +
		sizeIntField(kvLease, kv.Lease)
}

// KeyIn returns the key where it is in b, which Append made of kv.
func (kv *KeyValue) KeyIn(b []byte) []byte {
	end := sizeBytesField(kvKey, kv.Key)
	return b[end-len(kv.Key) : end : end]
}

// Unmarshal sets kv to the message in b, whose memory Key and Value alias.
// Unknown fields are skipped, of a repeated field the last one counts, and a
// missing field is zero. It wraps ErrMalformed and then leaves kv unspecified.
func (kv *KeyValue) Unmarshal(b []byte) error {
	*kv = KeyValue{}
	return decodeFields("key-value record", b, kv.setField)
}

func (kv *KeyValue) setField(f field) {
	switch {
	case f.isBytes(kvKey):
		kv.Key = f.bytes
	case f.isVarint(kvCreateRevision):
		kv.CreateRevision = int64(f.varint)
	case f.isVarint(kvModRevision):
		kv.ModRevision = int64(f.varint)
	case f.isVarint(kvVersion):
		kv.Version = int64(f.varint)
	case f.isBytes(kvValue):
		kv.Value = f.bytes
	case f.isVarint(kvLease):
		kv.Lease = int64(f.varint)
	}
}
