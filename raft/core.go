package raft

import (
	"errors"
	"fmt"

	"github.com/quoin-kv/quoin/raft/confchange"
	"github.com/quoin-kv/quoin/raft/progress"
	"github.com/quoin-kv/quoin/raft/wire"
)

// The errors with which the core refuses what it is asked for. They are not final: the same may succeed later.
var (
	ErrNoLeader          = errors.New("raft: no leader is known")
	ErrDropped           = errors.New("raft: too much is waiting, or leadership is being handed over")
	ErrConfChangePending = errors.New("raft: another membership change is not applied yet")
	ErrNotLeader         = errors.New("raft: only a leader takes this")
)

// The errors of Step about messages that no sound member sends.
var (
	ErrBadMessage = errors.New("raft: message refused")
	// ErrDiverged means that the leader's log contradicts what is committed here, or that entries are missing here which
	// this member had acknowledged: one of the two has lost data. The member should stop.
	ErrDiverged = errors.New("raft: the leader's log and this member's contradict each other")
)

// Role is the part that a member plays in its term.
type Role uint8

// The roles.
const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
)

// String returns the name of r.
func (r Role) String() string {
	return [...]string{"follower", "pre-candidate", "candidate", "leader"}[r]
}

// Core is the consensus state of one member. It is not safe for concurrent use.
//
// Invariants, beside those of its log, its members and its peers' progress:
//  1. What was handed out to be stored is never taken back: term and commit do not fall behind it, and the vote of a
//     term does not change.
//  2. A leader is its own leader, and nobody else is.
//  3. A leader is a voter and keeps the progress of exactly the members; its own match is what its disk holds.
//  4. A leader believes of nobody to have more than itself.
//  5. uncommitted is the size of a leader's entries above the commit index.
//  6. Writes under way ascend in their sequence, and none covers more than was handed out.
type Core struct {
	cfg     Config
	log     log
	term    uint64
	vote    uint64 // voted for in this term, 0 is nobody
	role    Role
	lead    uint64 // leader of this term, 0 is unknown
	members confchange.Config

	ticks uint64 // for the life of the core
	timer timer
	votes map[uint64]bool // answers so far, of a pre-candidate or candidate

	// Of a leader only.
	peers       progress.Set
	pendingConf uint64 // a membership change may stand in the log up to here; no other until it is applied
	transferee  uint64 // leadership is being handed over to, 0 is nobody
	uncommitted uint64 // bytes of data
	stall       stall

	reads reads

	out          Effects // gathered since the last call of Effects
	emittedState wire.HardState
	seq          uint64
	writes       []write // handed out, not yet reported as persisted
}

// timer counts ticks.
type timer struct {
	election  int // since the leader was heard of; on a leader: since it made sure of its quorum
	timeout   int // ticks without a leader before the next election
	heartbeat int // on a leader: since its last heartbeats
	transfer  int // on a leader: since it began to hand over
}

// Tick tells the core that one unit of time has passed.
func (c *Core) Tick() {
	c.ticks++
	c.timer.election++
	if c.role == Leader {
		c.tickLeader()
		return
	}
	switch {
	case c.timer.election < c.timer.timeout:
	case c.mayCampaign():
		c.Campaign()
	default:
		c.becomeFollower(c.term, 0) // there is no leader to wait for, or to protect from the campaigns of others
	}
}

func (c *Core) tickLeader() {
	c.timer.heartbeat++
	c.timer.transfer++
	if c.timer.transfer >= c.cfg.ElectionTicks {
		c.transferee = 0 // it had its time
	}
	if c.timer.election >= c.cfg.ElectionTicks {
		c.timer.election = 0
		c.handOverStalled()
		if !c.quorumActive() && c.cfg.CheckQuorum {
			c.becomeFollower(c.term, 0)
			return
		}
	}
	if c.timer.heartbeat >= c.cfg.HeartbeatTicks {
		c.broadcastHeartbeat()
	}
}

// restartTimer draws a new election timeout, between one and two times the configured ticks (paper 5.2).
func (c *Core) restartTimer() {
	c.timer = timer{timeout: c.cfg.ElectionTicks + c.cfg.Jitter(c.cfg.ElectionTicks)}
}

// Step takes in a message from a peer; the core keeps the memory that it refers to. The error is nil for messages that
// are merely late; it wraps ErrBadMessage for those that make no sense, ErrDiverged when logs contradict each other, or
// says why a forwarded request cannot be served.
func (c *Core) Step(m wire.Message) error {
	if m.From == 0 {
		return fmt.Errorf("%w: type %d from nobody", ErrBadMessage, m.Type)
	}
	switch m.Type {
	case wire.MsgProp:
		return c.stepPropose(m)
	case wire.MsgReadIndex:
		return c.stepReadIndex(m)
	case wire.MsgTransferLeader:
		if c.role == Leader {
			c.TransferLeader(m.From)
		}
		return nil
	}
	if m.Term == 0 || m.Term > highest || m.From == c.cfg.ID {
		return fmt.Errorf("%w: type %d of term %d from %x", ErrBadMessage, m.Type, m.Term, m.From)
	}
	if !c.admit(&m) {
		return nil
	}
	return c.dispatch(m)
}

// dispatch hands a message of the current term, or about a coming one, to what it is about.
func (c *Core) dispatch(m wire.Message) error {
	switch m.Type {
	case wire.MsgApp, wire.MsgHeartbeat, wire.MsgSnap:
		return c.stepFromLeader(m)
	case wire.MsgAppResp:
		return c.stepAppendResponse(m)
	case wire.MsgHeartbeatResp:
		c.stepHeartbeatResponse(m)
	case wire.MsgVote, wire.MsgPreVote:
		c.stepVote(m)
	case wire.MsgVoteResp, wire.MsgPreVoteResp:
		c.stepVoteResponse(m)
	case wire.MsgTimeoutNow:
		c.stepTimeoutNow()
	case wire.MsgReadIndexResp:
		return c.stepReadIndexResponse(m)
	default:
		return fmt.Errorf("%w: type %d from %x", ErrBadMessage, m.Type, m.From)
	}
	return nil
}

// stepFromLeader takes in what only the leader of the term sends.
func (c *Core) stepFromLeader(m wire.Message) error {
	if c.role == Leader || c.lead != 0 && c.lead != m.From {
		return fmt.Errorf("%w: %x leads term %d, but so says %x", ErrBadMessage, c.lead, c.term, m.From)
	}
	if c.role != Follower || c.lead == 0 {
		c.becomeFollower(c.term, m.From)
	}
	c.timer.election = 0
	switch m.Type {
	case wire.MsgApp:
		return c.stepAppend(m)
	case wire.MsgSnap:
		return c.stepSnapshot(m)
	default:
		return c.stepHeartbeat(m)
	}
}

// Compact forgets the entries up to index, which must be applied, from memory. Followers that still need them get a
// snapshot. It copies what remains, so it should be called for many entries at a time.
func (c *Core) Compact(index uint64) { c.log.compact(index) }

// Applied tells the core that the machine has applied everything up to index, be it entry by entry or by installing a
// snapshot.
func (c *Core) Applied(index uint64) {
	if index > c.log.handed {
		panic(fmt.Sprintf("raft: applied %d, but only %d was handed out", index, c.log.handed))
	}
	c.log.applied = max(c.log.applied, index)
	c.leaveJoint()
}
