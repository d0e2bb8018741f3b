package mvcc

import "github.com/quoin-kv/quoin/internal/schema"

// Records that follow each other are written to the file together and leave the
// watchers' ring together. So small ones share a block of memory: one allocation
// for many, and few objects for the collector.
const (
	blockBytes  = 16 << 10
	sharedBytes = blockBytes / 16 // a larger record has memory of its own
)

// stored is a record, and its key where it is in it: who needs the key for long
// refers to that.
type stored struct{ record, key []byte }

// encode makes a new record.
func (s *Store) encode(kv *schema.KeyValue) stored {
	b := kv.Append(s.memory(kv.Size()))
	return stored{record: b, key: kv.KeyIn(b)}
}

// memory returns room for a record of a size.
func (s *Store) memory(size int) []byte {
	if size > sharedBytes {
		return make([]byte, 0, size)
	}
	if size > len(s.block) {
		s.block = make([]byte, blockBytes)
	}
	b := s.block[:0:size]
	s.block = s.block[size:]
	return b
}
