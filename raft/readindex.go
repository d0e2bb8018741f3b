package raft

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/raft/progress"
	"github.com/quoin-kv/quoin/raft/wire"
)

// readsMax bounds the reads that wait for an answer, separately on a leader and on a follower.
const readsMax = 1 << 14

// reads are the read requests under way (thesis 6.4). A leader has at most one round of heartbeats in flight for them;
// requests that come meanwhile share the next one.
type reads struct {
	round     uint64 // number of the last round; goes on counting for the life of the core
	index     uint64 // commit index when it began
	asked     []read // answered by the round under way; empty if there is none
	waiting   []read // answered by the next one
	forwarded []uint64
}

// read is one request: of this member if data is nil, otherwise of follower from, who gets data back.
type read struct {
	id   uint64
	from uint64
	data []byte
}

// ReadIndex asks for an index that covers every write acknowledged before this call. Effects answer with a ReadState, or
// tell that the id is lost; if the question or the answer gets lost between members, neither comes, so the driver needs a
// timeout. Ids should not repeat. It returns ErrNoLeader or ErrDropped when nobody can be asked now.
func (c *Core) ReadIndex(id uint64) error {
	switch {
	case c.role == Leader:
		return c.askRead(read{id: id})
	case c.lead == 0:
		return ErrNoLeader
	}
	c.forwardRead(id)
	return nil
}

// forwardRead asks the leader, and says in which term it is followed: other implementations ignore that. If too many questions are open, the oldest is given up.
func (c *Core) forwardRead(id uint64) {
	if len(c.reads.forwarded) >= readsMax {
		c.out.Lost = append(c.out.Lost, c.reads.forwarded[0])
		c.reads.forwarded = slices.Delete(c.reads.forwarded, 0, 1)
	}
	c.reads.forwarded = append(c.reads.forwarded, id)
	data := binary.BigEndian.AppendUint64(nil, id)
	c.send(wire.Message{Type: wire.MsgReadIndex, To: c.lead, LogTerm: c.term, Entries: []wire.Entry{{Data: data}}})
}

// stepReadIndex takes a follower's question; a member that does not lead any more passes it on.
func (c *Core) stepReadIndex(m wire.Message) error {
	if len(m.Entries) != 1 {
		return fmt.Errorf("%w: read index from %x with %d entries", ErrBadMessage, m.From, len(m.Entries))
	}
	switch {
	case m.From == c.cfg.ID:
		return nil // passed on in a circle; lost when this member began to lead
	case c.role != Leader:
		return c.passOn(m)
	}
	asked := read{from: m.From, data: m.Entries[0].Data}
	if c.provesLead(&m) {
		c.answerRead(asked, c.log.commit)
		return nil
	}
	return c.askRead(asked)
}

// provesLead reports whether a follower's question shows by itself that nobody else had committed anything when the read began: its sender was
// still in the leader's term then, and the two are a quorum. Whoever leads in a later term has the vote of one of them, which came after the
// question; so a cluster of three needs no round. As for a round, the leader must have committed in its term.
func (c *Core) provesLead(m *wire.Message) bool {
	return m.LogTerm == c.term && c.log.matches(c.log.commit, c.term) && c.members.Voters.Committed(pair{c.cfg.ID, m.From}) > 0
}

// pair is two members who agree.
type pair [2]uint64

// Acked implements quorum.Acked.
func (p pair) Acked(id uint64) uint64 {
	if id == p[0] || id == p[1] {
		return 1
	}
	return 0
}

func (c *Core) askRead(r read) error {
	if len(c.reads.waiting) >= readsMax {
		return ErrDropped
	}
	c.reads.waiting = append(c.reads.waiting, r)
	c.beginReadRound()
	return nil
}

// beginReadRound begins a round for the waiting reads, if none is under way and the leader has committed an entry of its
// term: before that it does not know the latest commit index. A single voter has confirmed itself.
func (c *Core) beginReadRound() {
	r := &c.reads
	if len(r.asked) > 0 || len(r.waiting) == 0 || !c.log.matches(c.log.commit, c.term) {
		return
	}
	r.asked, r.waiting = r.waiting, r.asked[:0]
	r.round++
	r.index = c.log.commit
	c.peers.Get(c.cfg.ID).ReadRound = r.round
	c.endReadRound()
	if len(r.asked) > 0 {
		c.broadcastHeartbeat()
	}
}

// readContext is what heartbeats carry: the number of the round under way, nothing if there is none.
func (c *Core) readContext() []byte {
	if len(c.reads.asked) == 0 {
		return nil
	}
	return binary.LittleEndian.AppendUint64(nil, c.reads.round)
}

// confirmReadRound notes that a follower still followed when the round in its answer's context began.
func (c *Core) confirmReadRound(p *progress.Progress, context []byte) {
	if len(context) != 8 {
		return
	}
	p.ReadRound = max(p.ReadRound, min(binary.LittleEndian.Uint64(context), c.reads.round))
	c.endReadRound()
	c.beginReadRound()
}

// endReadRound answers the reads of the round under way if a quorum has confirmed it.
func (c *Core) endReadRound() {
	r := &c.reads
	if len(r.asked) == 0 || c.members.Voters.Committed(progress.ReadRounds{Set: &c.peers}) < r.round {
		return
	}
	for _, asked := range r.asked {
		c.answerRead(asked, r.index)
	}
	r.asked = r.asked[:0]
}

func (c *Core) answerRead(r read, index uint64) {
	if r.from == 0 {
		c.out.Reads = append(c.out.Reads, ReadState{ID: r.id, Index: index})
		return
	}
	c.send(wire.Message{Type: wire.MsgReadIndexResp, To: r.from, Index: index, Entries: []wire.Entry{{Data: r.data}}})
}

// stepReadIndexResponse takes the leader's answer. An id that is not open any more was given up before.
func (c *Core) stepReadIndexResponse(m wire.Message) error {
	if len(m.Entries) != 1 || len(m.Entries[0].Data) != 8 {
		return fmt.Errorf("%w: read index response from %x without an id", ErrBadMessage, m.From)
	}
	id := binary.BigEndian.Uint64(m.Entries[0].Data)
	if at := slices.Index(c.reads.forwarded, id); at >= 0 {
		c.reads.forwarded = slices.Delete(c.reads.forwarded, at, at+1)
		c.out.Reads = append(c.out.Reads, ReadState{ID: id, Index: m.Index})
	}
	return nil
}

// loseReads gives up all requests of this member; followers notice by the change of leader that theirs are lost.
func (c *Core) loseReads() {
	for _, list := range [][]read{c.reads.asked, c.reads.waiting} {
		for _, r := range list {
			if r.from == 0 {
				c.out.Lost = append(c.out.Lost, r.id)
			}
		}
	}
	c.out.Lost = append(c.out.Lost, c.reads.forwarded...)
	c.reads = reads{round: c.reads.round}
}
