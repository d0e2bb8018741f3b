package replica

import (
	"cmp"
	"slices"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

const (
	defaultCatchupBytes = 512 << 20
	defaultHoldTicks    = 300

	entryOverheadBytes = 64  // what an entry takes in memory beside its data
	weightPoints       = 256 // precision of weights
)

// weights knows how much memory the newest entries take: the running total at some of their indexes.
//
// Invariant: points ascend in both their fields, and are as far apart as step or further.
type weights struct {
	step   uint64 // bytes between two points
	total  uint64 // bytes of all entries seen
	points []weightPoint
}

// weightPoint says that all entries up to index weigh total.
type weightPoint struct{ index, total uint64 }

// add counts entries that follow those before.
func (w *weights) add(entries []wire.Entry) {
	for i := range entries {
		w.total += uint64(len(entries[i].Data)) + entryOverheadBytes
		if n := len(w.points); n == 0 || w.total-w.points[n-1].total >= w.step {
			w.points = append(w.points, weightPoint{entries[i].Index, w.total})
		}
	}
}

// within returns an index above which the entries seen weigh at most so many bytes, 0 if all of them do.
func (w *weights) within(bytes uint64) uint64 {
	if w.total <= bytes {
		return 0
	}
	at, _ := slices.BinarySearchFunc(w.points, w.total-bytes, func(p weightPoint, total uint64) int { return cmp.Compare(p.total, total) })
	if at == len(w.points) {
		return w.points[at-1].index // the newest entries alone weigh more: they are not for us to drop
	}
	return w.points[at].index
}

// forget drops what is known of the entries up to index; their bytes count no more.
func (w *weights) forget(index uint64) {
	at, _ := slices.BinarySearchFunc(w.points, index, func(p weightPoint, index uint64) int { return cmp.Compare(p.index, index) })
	if at == len(w.points) || w.points[at].index > index {
		at--
	}
	if at < 0 {
		return
	}
	gone := w.points[at].total
	w.points = slices.Delete(w.points, 0, at+1)
	for i := range w.points {
		w.points[i].total -= gone
	}
	w.total -= gone
}

// hold keeps the entries above index for a member that is being sent a snapshot, or was.
type hold struct {
	id     uint64
	index  uint64
	ticks  int // left, once it is sent
	flying bool
}

// Sending tells that a snapshot which the core has asked for is on its way to a member. index is the one that was asked for: entries above
// it stay in memory until the member has got on, or has not for HoldTicks after it was sent, or they take more than CatchupBytes.
func (c *Consensus) Sending(id, index uint64) {
	c.unhold(id)
	c.holds = append(c.holds, hold{id: id, index: index, flying: true})
}

// Sent tells how the sending of a snapshot to a member ended. What was not sent at all is reported likewise, with ok false.
func (c *Consensus) Sent(id uint64, ok bool) {
	c.core.ReportSnapshot(id, ok)
	at := c.holdOf(id)
	if at < 0 {
		return
	}
	if !ok {
		c.unhold(id)
		return
	}
	c.holds[at].flying, c.holds[at].ticks = false, c.opts.HoldTicks
}

func (c *Consensus) holdOf(id uint64) int {
	return slices.IndexFunc(c.holds, func(h hold) bool { return h.id == id })
}

func (c *Consensus) unhold(id uint64) {
	c.holds = slices.DeleteFunc(c.holds, func(h hold) bool { return h.id == id })
}

// ageHolds counts a tick, and lets go of what members have got meanwhile. Only a leader sends entries.
func (c *Consensus) ageHolds() {
	if len(c.holds) == 0 {
		return
	}
	st := c.core.Status()
	c.holds = slices.DeleteFunc(c.holds, func(h hold) bool {
		return !slices.ContainsFunc(st.Peers, func(p raft.Peer) bool { return p.ID == h.id })
	})
	for i := range c.holds {
		c.holds[i].age(st.Peers, c.opts.HoldTicks)
	}
	c.holds = slices.DeleteFunc(c.holds, func(h hold) bool { return !h.flying && (h.ticks <= 0 || h.index+c.opts.CatchupEntries >= c.applied) })
}

// age counts a tick. A member that gets on has its time anew.
func (h *hold) age(peers []raft.Peer, ticks int) {
	for i := range peers {
		if p := &peers[i]; p.ID == h.id && p.Match > h.index {
			h.index, h.ticks = p.Match, ticks
			return
		}
	}
	if !h.flying {
		h.ticks--
	}
}

// forget lets the core drop entries that neither a restart nor a slow follower needs. What stays is copied, so it is done in steps that are
// large enough, compared with it, to be cheap.
func (c *Consensus) forget() {
	limit := c.flushed
	if !c.flush.alone() {
		limit = min(limit, c.applied-min(c.applied, c.opts.CatchupEntries))
		for i := range c.holds {
			limit = min(limit, c.holds[i].index)
		}
		limit = max(limit, min(c.flushed, c.weights.within(c.opts.CatchupBytes)))
	}
	kept := c.applied - min(c.applied, c.compacted)
	if limit <= c.compacted+kept/8 {
		return
	}
	c.core.Compact(limit)
	c.weights.forget(limit)
	c.compacted = limit
}
