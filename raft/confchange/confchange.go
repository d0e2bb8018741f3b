// Package confchange computes membership configurations: from one configuration and a change the next one, directly or
// through a joint configuration (Raft thesis, chapter 4). It holds no state; a Config is a value that is never modified.
package confchange

import (
	"errors"
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/raft/quorum"
	"github.com/quoin-kv/quoin/raft/wire"
)

// The reasons why a change is refused.
var (
	ErrNoVoters       = errors.New("confchange: the change leaves no voters")
	ErrJoint          = errors.New("confchange: the configuration is joint already")
	ErrNotJoint       = errors.New("confchange: the configuration is not joint")
	ErrSeveralVoters  = errors.New("confchange: more than one voter changes without a joint configuration")
	ErrUnknownType    = errors.New("confchange: unknown type of change")
	ErrInvalidMembers = errors.New("confchange: invalid configuration")
)

// Config is a membership configuration. All lists ascend and hold an id at most once.
//
// Invariants:
//  1. There is a voter, unless nobody is a member at all (a member that waits to be told).
//  2. No learner is a voter, incoming or outgoing.
//  3. LearnersNext are outgoing voters, and no incoming ones.
//  4. Outside of a joint configuration LearnersNext is empty and AutoLeave false.
//  5. Lists ascend strictly and hold no zero.
type Config struct {
	Voters       quorum.Joint
	Learners     []uint64
	LearnersNext []uint64 // become learners when the joint configuration is left
	AutoLeave    bool     // the leader leaves the joint configuration by itself
}

// FromState returns the configuration that cs describes, in whatever order it lists the members.
func FromState(cs wire.ConfState) (Config, error) {
	c := Config{
		Voters:       quorum.Joint{Incoming: sorted(cs.Voters), Outgoing: sorted(cs.VotersOutgoing)},
		Learners:     sorted(cs.Learners),
		LearnersNext: sorted(cs.LearnersNext),
		AutoLeave:    cs.AutoLeave,
	}
	if err := c.Check(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func sorted(ids []uint64) []uint64 {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return ids
}

// State returns c in the form that is stored and sent; it shares no memory with c.
func (c Config) State() wire.ConfState {
	cs := wire.ConfState{
		Voters:         c.Voters.Incoming,
		Learners:       c.Learners,
		VotersOutgoing: c.Voters.Outgoing,
		LearnersNext:   c.LearnersNext,
		AutoLeave:      c.AutoLeave,
	}
	return cs.Clone()
}

// Joint reports whether c is a joint configuration.
func (c Config) Joint() bool { return len(c.Voters.Outgoing) > 0 }

// Members returns everybody who gets the log: voters and learners, ascending.
func (c Config) Members() []uint64 {
	all := slices.Concat([]uint64(c.Voters.Incoming), []uint64(c.Voters.Outgoing), c.Learners)
	slices.Sort(all)
	return slices.Compact(all)
}

// Simple applies changes directly. That is safe only if at most one voter changes (thesis section 4.1).
func (c Config) Simple(changes ...wire.ConfChangeSingle) (Config, error) {
	if c.Joint() {
		return Config{}, ErrJoint
	}
	next, err := c.with(changes)
	if err != nil {
		return Config{}, err
	}
	if difference(c.Voters.Incoming, next.Voters.Incoming) > 1 {
		return Config{}, ErrSeveralVoters
	}
	return next, nil
}

// EnterJoint applies any number of changes as the incoming half of a joint configuration, whose outgoing half are the
// voters so far (thesis section 4.3).
func (c Config) EnterJoint(autoLeave bool, changes ...wire.ConfChangeSingle) (Config, error) {
	if c.Joint() {
		return Config{}, ErrJoint
	}
	if len(c.Voters.Incoming) == 0 {
		return Config{}, ErrNoVoters
	}
	c.Voters.Outgoing = c.Voters.Incoming
	c.AutoLeave = autoLeave
	return c.with(changes)
}

// LeaveJoint ends a joint configuration: the outgoing voters are gone, or learners if that is what became of them.
func (c Config) LeaveJoint() (Config, error) {
	if !c.Joint() {
		return Config{}, ErrNotJoint
	}
	learners := sorted(slices.Concat(c.Learners, c.LearnersNext))
	return Config{Voters: quorum.Joint{Incoming: c.Voters.Incoming}, Learners: learners}, nil
}

// Apply applies a committed change in the way it asks for: an empty one leaves the joint configuration, one that
// allows it and changes at most one voter is applied directly, any other enters a joint configuration.
func (c Config) Apply(cc wire.ConfChangeV2) (Config, error) {
	if len(cc.Changes) == 0 && cc.Transition == wire.TransitionAuto {
		return c.LeaveJoint()
	}
	if len(cc.Changes) > 1 || cc.Transition != wire.TransitionAuto {
		return c.EnterJoint(cc.Transition != wire.TransitionJointExplicit, cc.Changes...)
	}
	return c.Simple(cc.Changes...)
}

// with returns c after changes, whose order counts only for changes of the same node.
func (c Config) with(changes []wire.ConfChangeSingle) (Config, error) {
	for _, change := range changes {
		if change.NodeID == 0 {
			continue // refused when it was applied, see wire.ConfChange
		}
		switch change.Type {
		case wire.ConfChangeAddNode:
			c = c.withVoter(change.NodeID)
		case wire.ConfChangeAddLearnerNode:
			c = c.withLearner(change.NodeID)
		case wire.ConfChangeRemoveNode:
			c = c.without(change.NodeID)
		case wire.ConfChangeUpdateNode:
		default:
			return Config{}, fmt.Errorf("%w: %d", ErrUnknownType, change.Type)
		}
	}
	if len(c.Voters.Incoming) == 0 {
		return Config{}, ErrNoVoters
	}
	return c, nil
}

func (c Config) withVoter(id uint64) Config {
	c = c.without(id)
	c.Voters.Incoming = insert(c.Voters.Incoming, id)
	return c
}

// withLearner makes id a learner. A voter of the outgoing half stays one until that is left.
func (c Config) withLearner(id uint64) Config {
	c = c.without(id)
	if c.Voters.Outgoing.Contains(id) {
		c.LearnersNext = insert(c.LearnersNext, id)
	} else {
		c.Learners = insert(c.Learners, id)
	}
	return c
}

// without takes id out of everything but the outgoing half.
func (c Config) without(id uint64) Config {
	c.Voters.Incoming = remove(c.Voters.Incoming, id)
	c.Learners = remove(c.Learners, id)
	c.LearnersNext = remove(c.LearnersNext, id)
	return c
}

// insert returns a copy of the ascending list with id in its place.
func insert(list []uint64, id uint64) []uint64 {
	i, found := slices.BinarySearch(list, id)
	if found {
		return list
	}
	return slices.Insert(slices.Clone(list), i, id)
}

// remove returns the ascending list without id, as a copy if it was there.
func remove(list []uint64, id uint64) []uint64 {
	i, found := slices.BinarySearch(list, id)
	if !found {
		return list
	}
	return slices.Delete(slices.Clone(list), i, i+1)
}

// difference counts the ids that are in one of two ascending lists only.
func difference(a, b quorum.Majority) int {
	n := 0
	for _, id := range a {
		if !b.Contains(id) {
			n++
		}
	}
	for _, id := range b {
		if !a.Contains(id) {
			n++
		}
	}
	return n
}

// Check returns which of the invariants is broken, if any.
func (c Config) Check() error {
	if len(c.Voters.Incoming) == 0 && len(c.Members()) > 0 {
		return fmt.Errorf("%w: invariant 1: members %v but no voters", ErrInvalidMembers, c.Members())
	}
	for _, id := range c.Learners {
		if c.Voters.Contains(id) {
			return fmt.Errorf("%w: invariant 2: %d is learner and voter", ErrInvalidMembers, id)
		}
	}
	for _, id := range c.LearnersNext {
		if !c.Voters.Outgoing.Contains(id) || c.Voters.Incoming.Contains(id) {
			return fmt.Errorf("%w: invariant 3: %d is to become a learner but is no outgoing voter, or an incoming one", ErrInvalidMembers, id)
		}
	}
	if !c.Joint() && (len(c.LearnersNext) > 0 || c.AutoLeave) {
		return fmt.Errorf("%w: invariant 4: joint parts outside of a joint configuration", ErrInvalidMembers)
	}
	for _, list := range [][]uint64{c.Voters.Incoming, c.Voters.Outgoing, c.Learners, c.LearnersNext} {
		if !ascends(list) {
			return fmt.Errorf("%w: invariant 5: list %v does not ascend from 1", ErrInvalidMembers, list)
		}
	}
	return nil
}

func ascends(list []uint64) bool {
	previous := uint64(0)
	for _, id := range list {
		if id <= previous {
			return false
		}
		previous = id
	}
	return true
}
