package schema

import "google.golang.org/protobuf/encoding/protowire"

// field is one decoded field of a protobuf message. A field whose wire type is
// not the declared one counts as unknown, as in other protobuf decoders.
type field struct {
	number protowire.Number
	kind   protowire.Type
	varint uint64 // if kind is VarintType
	bytes  []byte // if kind is BytesType; aliases the message
}

func (f field) isBytes(n protowire.Number) bool {
	return f.number == n && f.kind == protowire.BytesType
}

func (f field) isVarint(n protowire.Number) bool {
	return f.number == n && f.kind == protowire.VarintType
}

// decodeFields calls set for every field of the message b.
func decodeFields(what string, b []byte, set func(field)) error {
	for rest := b; len(rest) > 0; {
		f, n := consumeField(rest)
		if n < 0 {
			return malformed(what, b)
		}
		set(f)
		rest = rest[n:]
	}
	return nil
}

func consumeField(b []byte) (f field, n int) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 || number > protowire.MaxValidNumber {
		return f, -1
	}
	f.number, f.kind = number, kind
	var m int
	switch kind {
	case protowire.VarintType:
		f.varint, m = protowire.ConsumeVarint(b[n:])
	case protowire.BytesType:
		f.bytes, m = protowire.ConsumeBytes(b[n:])
	default:
		m = protowire.ConsumeFieldValue(number, kind, b[n:])
	}
	if m < 0 {
		return f, -1
	}
	return f, n + m
}

func appendBytesField(b []byte, n protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	b = protowire.AppendTag(b, n, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

func appendIntField(b []byte, n protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, n, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(v))
}

func sizeBytesField(n protowire.Number, v []byte) int {
	if len(v) == 0 {
		return 0
	}
	return protowire.SizeTag(n) + protowire.SizeBytes(len(v))
}

func sizeIntField(n protowire.Number, v int64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(n) + protowire.SizeVarint(uint64(v))
}
