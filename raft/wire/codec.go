package wire

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is one field as it stands on the wire. value is set for varints, bytes for length-delimited fields; other wire
// types occur in no message of ours and are skipped.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	value uint64
	bytes []byte
}

// isVarint reports whether f is field num, encoded as a number.
func (f field) isVarint(num protowire.Number) bool {
	return f.num == num && f.typ == protowire.VarintType
}

// isBytes reports whether f is field num, encoded with a length.
func (f field) isBytes(num protowire.Number) bool {
	return f.num == num && f.typ == protowire.BytesType
}

// next takes the first field off b and returns what follows it. The field's bytes alias b.
func next(b []byte) (f field, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, protowire.ParseError(n)
	}
	if num > protowire.MaxValidNumber {
		return f, nil, errFieldNumber
	}
	b = b[n:]
	f.num, f.typ = num, typ
	switch typ {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
		f.bytes = f.bytes[:len(f.bytes):len(f.bytes)]
	default:
		n = protowire.ConsumeFieldValue(num, typ, b)
	}
	if n < 0 {
		return f, nil, protowire.ParseError(n)
	}
	return f, b[n:], nil
}

// walk calls set with every field of b in order, until set fails. name goes into errors.
func walk(name string, b []byte, set func(f field) error) error {
	for len(b) > 0 {
		f, rest, err := next(b)
		if err == nil {
			err = set(f)
		}
		if err != nil {
			return fmt.Errorf("decode %s: %w", name, err)
		}
		b = rest
	}
	return nil
}

// errFieldNumber is about a field number that protobuf does not allow; protowire finds only the other invalid ones.
var errFieldNumber = errors.New("field number out of range")

// enum is an enumeration's number as it goes on the wire: negative ones are sign-extended to 64 bits.
func enum(v int32) uint64 { return uint64(int64(v)) }

// boolByte is v as a one-byte varint.
func boolByte(v bool) byte { return byte(protowire.EncodeBool(v)) }

// appendUint writes field num unless v is zero.
func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return appendUintAlways(b, num, v)
}

// appendUintAlways writes field num, also a zero.
func appendUintAlways(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

// appendBytes writes field num unless v is empty.
func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// appendHead writes the tag and the length of the nested message num, whose encoding has size bytes.
func appendHead(b []byte, num protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.BytesType), uint64(size))
}

// appendList writes one field num for every element.
func appendList(b []byte, num protowire.Number, list []uint64) []byte {
	for _, v := range list {
		b = appendUintAlways(b, num, v)
	}
	return b
}

// appendBool writes field num unless v is false.
func appendBool(b []byte, num protowire.Number, v bool) []byte {
	return appendUint(b, num, protowire.EncodeBool(v))
}

// sizeUint is the length of what appendUint writes. All our field numbers are below 16, so a tag is one byte.
func sizeUint(v uint64) int {
	if v == 0 {
		return 0
	}
	return sizeAlways(v)
}

// sizeAlways is the length of what appendUintAlways writes.
func sizeAlways(v uint64) int { return 1 + protowire.SizeVarint(v) }

// sizeBytes is the length of what appendBytes writes.
func sizeBytes(n int) int {
	if n == 0 {
		return 0
	}
	return sizeNested(n)
}

// sizeNested is the length of a nested message of n bytes with its head.
func sizeNested(n int) int { return 1 + protowire.SizeBytes(n) }

// sizeList is the length of what appendList writes.
func sizeList(list []uint64) int {
	n := 0
	for _, v := range list {
		n += sizeAlways(v)
	}
	return n
}

// mergeList adds the elements of f to list: one number, or a packed run of them.
func mergeList(list []uint64, f field) ([]uint64, error) {
	if f.typ == protowire.VarintType {
		return append(list, f.value), nil
	}
	for b := f.bytes; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return list, protowire.ParseError(n)
		}
		list, b = append(list, v), b[n:]
	}
	return list, nil
}

// isList reports whether f is an element, or a packed run of elements, of the list num.
func (f field) isList(num protowire.Number) bool { return f.isVarint(num) || f.isBytes(num) }
