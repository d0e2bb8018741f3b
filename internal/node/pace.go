package node

import (
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
)

// How a compaction leaves processor and disk to those who wait for answers.
const (
	removalGoal = 3 * time.Millisecond // that the flush of what one step removes should take
	removalMin  = 100                  // records removed in one step, however long that takes
	hashBatch   = 250                  // records hashed in one step
	restMin     = time.Millisecond     // between two steps of a hash
)

// pace is how fast a compaction removes records. What one step removes is flushed before the next: each removal costs the file about a page, and
// a flush of very many would keep processor and disk from everybody else.
type pace struct {
	removals int // in the next step
}

// budget is what the next step of a compaction may do at most.
func (p *pace) budget(m *machine.Machine, batch int) int {
	if !m.Removing() {
		return batch
	}
	return p.clamp(batch)
}

// clamp keeps the number of removals within its bounds.
func (p *pace) clamp(most int) int {
	p.removals = min(max(p.removals, removalMin), most)
	return p.removals
}

// flushed takes note of how long the flush of a step took.
func (p *pace) flushed(took time.Duration) {
	switch {
	case took > 2*removalGoal:
		p.removals /= 2
	case took < removalGoal:
		p.removals *= 2
	}
}

// removalsWait reports whether what a compaction has removed is still to be written to the file, and sees to it that it is.
func (n *Node) removalsWait() bool {
	if n.cfg.Backend.Pending().Deletions == 0 {
		n.pace.flushed(time.Duration(n.flushTook.Load()))
		return false
	}
	n.cfg.Backend.WantFlush()
	return true
}
