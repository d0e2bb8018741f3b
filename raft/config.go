package raft

import (
	"errors"
	"fmt"

	"github.com/quoin-kv/quoin/raft/confchange"
	"github.com/quoin-kv/quoin/raft/progress"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Config says who a member is and how patient it is. Every bound must be positive unless its comment gives zero a
// meaning.
type Config struct {
	ID                  uint64          // this member, not zero
	ElectionTicks       int             // ticks without a leader before an election; more than HeartbeatTicks
	HeartbeatTicks      int             // ticks between heartbeats of a leader
	PreVote             bool            // ask whether an election could be won before raising the term (thesis 9.6)
	CheckQuorum         bool            // step down without a quorum, refuse votes while a leader is heard of (thesis 6.2, 4.2.3)
	MaxMessageBytes     uint64          // entries in one message, at least one goes anyway
	MaxInflightMessages int             // unanswered appends to one follower
	MaxInflightBytes    uint64          // entries in unanswered appends to one follower; 0 is no bound
	MaxUncommittedBytes uint64          // proposals are refused beyond this; 0 is no bound
	Jitter              func(n int) int // a number from 0 to n-1, to spread election timeouts
}

// Boot is what a member remembers when it starts.
//
// A member that founds a cluster starts with one ConfChange entry per founder, all of term 1, and
// HardState{Term: 1, Commit: number of founders}. A member that joins one starts with nothing.
type Boot struct {
	HardState wire.HardState    // zero for a member that has never run
	Snapshot  wire.SnapshotMeta // the log starts behind Index; ConfState is the configuration as of Applied
	Entries   []wire.Entry      // the log behind the snapshot; the core keeps the slice
	Applied   uint64            // what the machine holds already; it counts as committed even if HardState is behind
}

// ErrInvalid is wrapped by the errors of New: a configuration or a remembered state that cannot be.
var ErrInvalid = errors.New("raft: invalid")

func (cfg *Config) validate() error {
	switch {
	case cfg.ID == 0:
		return fmt.Errorf("%w configuration: id is zero", ErrInvalid)
	case cfg.HeartbeatTicks < 1 || cfg.ElectionTicks <= cfg.HeartbeatTicks:
		return fmt.Errorf("%w configuration: heartbeat of %d ticks, election timeout of %d", ErrInvalid, cfg.HeartbeatTicks, cfg.ElectionTicks)
	case cfg.MaxMessageBytes < 1 || cfg.MaxInflightMessages < 1:
		return fmt.Errorf("%w configuration: at most %d bytes in a message, %d messages in flight", ErrInvalid, cfg.MaxMessageBytes, cfg.MaxInflightMessages)
	case cfg.Jitter == nil:
		return fmt.Errorf("%w configuration: no source of jitter", ErrInvalid)
	}
	return nil
}

func (cfg *Config) limits() progress.Limits {
	return progress.Limits{Messages: cfg.MaxInflightMessages, Bytes: cfg.MaxInflightBytes}
}

func (b *Boot) validate() error {
	if !consistent(b.Snapshot.Index, b.Snapshot.Term) || b.HardState.Term > highest {
		return fmt.Errorf("%w start: snapshot at index %d of term %d, term %d", ErrInvalid, b.Snapshot.Index, b.Snapshot.Term, b.HardState.Term)
	}
	if err := checkEntries(b.Entries, b.Snapshot.Index, b.Snapshot.Term, highest); err != nil {
		return fmt.Errorf("%w log: %w", ErrInvalid, err)
	}
	last := b.Snapshot.Index + uint64(len(b.Entries))
	if b.HardState.Commit > last || b.Applied > last || b.Applied < b.Snapshot.Index {
		return fmt.Errorf("%w start: log from %d to %d, committed to %d, applied to %d", ErrInvalid, b.Snapshot.Index, last, b.HardState.Commit, b.Applied)
	}
	return nil
}

// New returns a member that remembers boot, as a follower that has not heard of a leader.
//
// A crash may have torn the last write, so that entries are there and the HardState beside them is not. Nobody was told of
// either; but what the entries say about term and commit index is not forgotten: they come from a leader of their term, in
// which this member cannot have voted without a HardState that says so.
func New(cfg Config, boot Boot) (*Core, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := boot.validate(); err != nil {
		return nil, err
	}
	members, err := confchange.FromState(boot.Snapshot.ConfState)
	if err != nil {
		return nil, fmt.Errorf("%w start: %w", ErrInvalid, err)
	}
	c := &Core{
		cfg:     cfg,
		log:     newLog(boot),
		term:    boot.HardState.Term,
		vote:    boot.HardState.Vote,
		members: members,
	}
	if term := c.log.lastTerm(); term > c.term {
		c.term, c.vote = term, 0
	}
	c.emittedState = boot.HardState
	c.becomeFollower(c.term, 0)
	return c, nil
}
