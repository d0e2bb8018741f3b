package node

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quoin-kv/quoin/raft/wire"
)

// Bounds of what waits for the loop. A message beyond them counts as lost on its way, which the protocol is made for.
const (
	maxInboxMessages = 16384
	maxInboxBytes    = 256 << 20
)

// inbox is the mailbox of messages from other members, bounded in count and bytes. A message may exceed the bytes alone.
type inbox struct {
	*mailbox[wire.Message]
	count, bytes atomic.Int64
}

// offer puts a message in, or returns false if too much waits. Several that come at once may exceed the bounds by as many.
func (b *inbox) offer(m wire.Message) bool {
	size := messageBytes(&m)
	if count := b.count.Load(); count >= maxInboxMessages || count > 0 && b.bytes.Load()+size > maxInboxBytes {
		return false
	}
	b.count.Add(1)
	b.bytes.Add(size)
	b.put(m)
	return true
}

// done gives back what take returned, and its room.
func (b *inbox) done(ms []wire.Message) {
	size := int64(0)
	for i := range ms {
		size += messageBytes(&ms[i])
	}
	b.count.Add(-int64(len(ms)))
	b.bytes.Add(-size)
	b.mailbox.done(ms)
}

// messageBytes is what a message keeps in memory, roughly.
func messageBytes(m *wire.Message) int64 {
	const overhead = 128
	size := overhead + int64(len(m.Context)) + memoryOf(m.Entries)
	if m.Snapshot != nil {
		size += int64(len(m.Snapshot.Data))
	}
	return size
}

// idSet gathers ids, each once however often it comes, so that it is no longer than there are members.
type idSet struct {
	mu  sync.Mutex
	ids []uint64
}

// add returns false if the id is there already.
func (s *idSet) add(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.ids, id) {
		return false
	}
	s.ids = append(s.ids, id)
	return true
}

// take returns what has been gathered.
func (s *idSet) take() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := s.ids
	s.ids = nil
	return ids
}
