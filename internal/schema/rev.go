package schema

import (
	"cmp"
	"encoding/binary"
)

// Sizes of a revision key in bytes.
const (
	RevSize          = 17 // main, separator, sub
	RevTombstoneSize = 18 // the same and the tombstone mark
)

const (
	revSeparator  = '_'
	tombstoneMark = 't'
)

// Rev is the position of one change in the history: Main is the revision of
// the transaction, Sub counts the changes inside it from 0. The zero Rev means
// "none". Valid revisions are not negative.
type Rev struct{ Main, Sub int64 }

// Compare orders revisions by Main, then Sub: -1, 0 or +1.
func (r Rev) Compare(o Rev) int {
	if c := cmp.Compare(r.Main, o.Main); c != 0 {
		return c
	}
	return cmp.Compare(r.Sub, o.Sub)
}

// IsZero tells whether r is the zero Rev, "none".
func (r Rev) IsZero() bool { return r == Rev{} }

// AppendRev appends the key of the Key bucket for r: 8 bytes big endian Main,
// '_', 8 bytes big endian Sub, and 't' for a tombstone. Keys sort as their
// revisions do; a tombstone sorts directly after the plain key of its Rev.
func AppendRev(b []byte, r Rev, tombstone bool) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(r.Main))
	b = append(b, revSeparator)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Sub))
	if tombstone {
		b = append(b, tombstoneMark)
	}
	return b
}

// ParseRev reverses AppendRev. It wraps ErrMalformed for any other shape and
// for negative numbers.
func ParseRev(key []byte) (r Rev, tombstone bool, err error) {
	switch len(key) {
	case RevSize:
	case RevTombstoneSize:
		tombstone = true
	default:
		return Rev{}, false, malformed("revision", key)
	}
	r.Main = int64(binary.BigEndian.Uint64(key[:8]))
	r.Sub = int64(binary.BigEndian.Uint64(key[9:17]))
	wrongMark := tombstone && key[17] != tombstoneMark
	if key[8] != revSeparator || wrongMark || r.Main < 0 || r.Sub < 0 {
		return Rev{}, false, malformed("revision", key)
	}
	return r, tombstone, nil
}
