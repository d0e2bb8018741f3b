package schema

import "encoding/binary"

// LeaseRecord is a value of the Lease bucket, the protobuf message
// leasepb.Lease. TTL and RemainingTTL are in seconds; RemainingTTL is 0 unless
// a checkpoint stored it.
type LeaseRecord struct{ ID, TTL, RemainingTTL int64 }

// Append appends the canonical proto3 encoding.
func (l *LeaseRecord) Append(b []byte) []byte {
	b = appendIntField(b, 1, l.ID)
	b = appendIntField(b, 2, l.TTL)
	return appendIntField(b, 3, l.RemainingTTL)
}

// Unmarshal sets l to the message in b, by the rules of KeyValue.Unmarshal.
func (l *LeaseRecord) Unmarshal(b []byte) error {
	*l = LeaseRecord{}
	return decodeFields("lease record", b, l.setField)
}

func (l *LeaseRecord) setField(f field) {
	switch {
	case f.isVarint(1):
		l.ID = int64(f.varint)
	case f.isVarint(2):
		l.TTL = int64(f.varint)
	case f.isVarint(3):
		l.RemainingTTL = int64(f.varint)
	}
}

// AppendLeaseKey appends the key of a lease in the Lease bucket: 8 bytes big
// endian.
func AppendLeaseKey(b []byte, id int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(id))
}
