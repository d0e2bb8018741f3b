package replica

import (
	"cmp"
	"slices"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/progress"
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

// follower is what a leader remembers of another member in order to keep the entries that it needs next. It is looked at at ticks.
type follower struct {
	id     uint64
	index  uint64 // it needs the entries above
	sent   uint64 // index of the snapshot that it was sent or is being sent, if it has not got there yet
	flying bool   // is being sent
	lost   bool   // it needs a snapshot, whatever is kept
	ticks  int    // left until it counts as gone
}

// Sending tells that a snapshot which the core has asked for is on its way to a member. index is the one that was asked for: entries above
// it stay in memory for as long as it takes.
func (c *Consensus) Sending(id, index uint64) {
	*c.followerOf(id) = follower{id: id, index: index, sent: index, flying: true, ticks: c.opts.HoldTicks}
}

// Sent tells how the sending of a snapshot to a member ended. What was not sent at all is reported likewise, with ok false.
func (c *Consensus) Sent(id uint64, ok bool) {
	c.core.ReportSnapshot(id, ok)
	f := c.followerOf(id)
	f.flying, f.ticks = false, c.opts.HoldTicks
	if !ok {
		f.sent, f.lost = 0, true
	}
}

// followerOf returns what is known of a member, which is valid until the next call.
func (c *Consensus) followerOf(id uint64) *follower {
	at := slices.IndexFunc(c.followers, func(f follower) bool { return f.id == id })
	if at < 0 {
		at = len(c.followers)
		c.followers = append(c.followers, follower{id: id, lost: true, ticks: c.opts.HoldTicks})
	}
	return &c.followers[at]
}

// lookAtPeers is done at ticks: it finds out what members have and what they still need. Only a leader sends entries.
func (c *Consensus) lookAtPeers() {
	if c.looked = c.core.Role() == raft.Leader; !c.looked {
		c.followers = nil
		return
	}
	st := c.core.Status()
	c.followers = slices.DeleteFunc(c.followers, func(f follower) bool {
		return !slices.ContainsFunc(st.Peers, func(p raft.Peer) bool { return p.ID == f.id })
	})
	for i := range st.Peers {
		if p := &st.Peers[i]; p.ID != st.ID {
			c.followerOf(p.ID).look(p, st.First, c.opts.HoldTicks)
		}
	}
	c.forget() // what nobody needs any more goes even if nothing is written
}

// look counts a tick. A member that gets on, or is heard of and not waiting for a snapshot, has its time anew.
func (f *follower) look(p *raft.Peer, first uint64, ticks int) {
	if p.Match >= f.sent {
		f.sent = 0
	}
	at := max(p.Match, f.sent)
	switch {
	case at > f.index, p.Active && p.State == progress.Replicate:
		f.ticks = ticks
	case !f.flying:
		f.ticks--
	}
	f.index = at
	f.lost = at+1 < first || p.State == progress.Snapshot && !f.flying
}

// forget lets the core drop entries that neither a restart nor a slow follower needs. What stays is copied, so it is done in steps that are
// large enough, compared with it, to be cheap.
func (c *Consensus) forget() {
	limit := c.flushed
	if !c.flush.alone() {
		if c.core.Role() == raft.Leader && !c.looked {
			return // what the others lack is not known yet
		}
		limit = min(limit, c.applied-min(c.applied, c.opts.CatchupEntries))
		for i := range c.followers {
			if f := &c.followers[i]; !f.lost && (f.flying || f.ticks > 0) {
				limit = min(limit, f.index)
			}
		}
		limit = max(limit, min(c.flushed, c.weights.within(c.opts.CatchupBytes)))
	}
	if limit <= c.compacted+(c.last-min(c.last, c.compacted))/8 {
		return
	}
	c.core.Compact(limit)
	c.weights.forget(limit)
	c.compacted = limit
}
