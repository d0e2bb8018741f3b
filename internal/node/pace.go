package node

import (
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
)

// How a compaction leaves processor and disk to those who wait for answers.
const (
	removalGoal = 512 << 10              // bytes of pages that the flush of what one step removes should write
	removalMin  = 100                    // records removed in one step, however much that writes
	removalRest = 100 * time.Millisecond // after a step that removes most, or writes removalGoal; less after a smaller one
	removalTime = 2 * time.Minute        // from the beginning of a compaction, after which there are no rests but the configured ones
	hashBatch   = 250                    // records hashed in one step
	restMin     = time.Millisecond       // between two steps of a hash
)

// pace is how fast a compaction removes records. What one step removes is flushed before the next: a removal costs the file up to some pages, and
// a flush of very many would keep processor and disk from everybody else. How many pages it is depends on whether neighbours go together. How
// long a flush takes says little of that: mostly it waits for its turn.
type pace struct {
	removals int    // in the next step
	written  int64  // bytes by the flush of the last one
	applied  uint64 // index when it was done
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

// flushed takes note of how many bytes the flush of a step wrote.
func (p *pace) flushed(written int64) {
	p.written = written
	switch {
	case written > 2*removalGoal:
		p.removals /= 2
	case written < removalGoal:
		p.removals *= 2
	}
}

// rest is how long it is from one step to the next of a compaction that has been going on for some time and has still to remove some records.
// A flush now and then is met by few who wait for answers; one after the other, by most.
func (p *pace) rest(left, batch int, since, shortest time.Duration) time.Duration {
	share := max(float64(p.written)/removalGoal, float64(p.removals)/float64(batch))
	steps := left/max(p.removals, 1) + 1
	return max(shortest, min(time.Duration(min(share, 1)*float64(removalRest)), (removalTime-since)/time.Duration(steps)))
}

// compactionPause is the time from one step of a compaction to the next. There is no need to rest where nobody writes.
func (n *Node) compactionPause() time.Duration {
	n.applyMu.Lock()
	defer n.applyMu.Unlock()
	m, applied := n.cfg.Applier.Machine(), n.applied.Load()
	idle := applied == n.pace.applied
	n.pace.applied = applied
	if idle || !m.Removing() {
		return n.cfg.CompactionPause
	}
	return n.pace.rest(m.Removals(), n.cfg.CompactionBatch, time.Since(n.compactionBegan), n.cfg.CompactionPause)
}

// removalsWait reports whether what a compaction has removed is still to be written to the file, and sees to it that it is.
func (n *Node) removalsWait() bool {
	if n.cfg.Backend.Pending().Deletions == 0 {
		n.pace.flushed(n.cfg.Backend.Written())
		return false
	}
	n.cfg.Backend.WantFlush()
	return true
}

// untilTurn is the time until this member's next turn to flush.
func (n *Node) untilTurn() time.Duration {
	st := n.status.Load()
	return untilTurn(time.Now(), n.cfg.FlushInterval, st.ConfState.Voters, st.ID)
}

// untilTurn lets the voters take turns by the clock within each interval: a flush keeps processor and disk busy, and entries should find a majority
// that is not. Clocks that differ only make turns meet now and then. When the first has its turn depends on who they are: not all clusters on a
// machine flush at the same moment.
func untilTurn(now time.Time, interval time.Duration, voters []uint64, self uint64) time.Duration {
	begin := uint64(interval) * uint64(max(0, slices.Index(voters, self))) / uint64(max(1, len(voters)))
	for _, id := range voters {
		begin += id % uint64(interval)
	}
	since := (uint64(now.UnixNano()) + uint64(interval) - begin%uint64(interval)) % uint64(interval)
	return interval - time.Duration(since)
}
