package raft_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// change is a set of changes: positive ids are voters to add, negative ones members to remove.
func jointChange(transition wire.ConfChangeTransition, ids ...int) (cc wire.ConfChangeV2) {
	cc.Transition = transition
	for _, id := range ids {
		if id < 0 {
			cc.Changes = append(cc.Changes, wire.ConfChangeSingle{Type: wire.ConfChangeRemoveNode, NodeID: uint64(-id)})
		} else {
			cc.Changes = append(cc.Changes, wire.ConfChangeSingle{NodeID: uint64(id)})
		}
	}
	return cc
}

// proposeJoint asks member id for changes and wants an error.
func (c *cluster) proposeJoint(id uint64, cc wire.ConfChangeV2, want error) {
	c.t.Helper()
	c.do(id, func(core *raft.Core) {
		if err := core.ProposeConfChangeV2(cc); !errors.Is(err, want) {
			c.t.Fatalf("%v, want %v", err, want)
		}
	})
}

func TestThesis4_3_JointNeedsBothMajorities(t *testing.T) {
	for name, away := range map[string][]uint64{"incoming": {4, 5}, "outgoing": {2, 3}} {
		c := three(t)
		c.elect(1)
		c.add(4, disk{})
		c.add(5, disk{})
		c.proposeJoint(1, jointChange(wire.TransitionJointExplicit, 4, 5, -2, -3), nil)
		c.run()
		c.isolate(away)
		c.propose(1, "x")
		c.run()
		if s := c.status(1); s.Commit == s.Last {
			t.Errorf("committed without the %s majority: %+v", name, s)
		}
		c.tick(1, 21)
		if s := c.status(1); s.Role != raft.Follower {
			t.Errorf("leads without the %s majority: %+v", name, s)
		}
		c.run()
		c.tick(1, 12)
		c.run()
		if s := c.status(1); s.Role == raft.Leader {
			t.Errorf("elected without the %s majority: %+v", name, s)
		}
	}
}

// TestThesis4_3_NextLeaderLeavesJoint: the leader that entered the joint configuration is gone; whoever follows ends it.
func TestThesis4_3_NextLeaderLeavesJoint(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.proposeJoint(1, jointChange(wire.TransitionJointImplicit, -1), nil)
	c.lazy = true // so it does not apply the change, and does not propose the end
	c.run()
	c.isolate([]uint64{1})
	c.lazy = false
	for _, id := range []uint64{2, 3} {
		c.apply(c.members[id], 9)
		c.do(id, func(*raft.Core) {})
	}
	if conf := c.status(2).ConfState; len(conf.VotersOutgoing) != 3 {
		t.Fatalf("%+v", conf)
	}
	c.tick(3, 10)
	c.tick(2, 12)
	c.run()
	if s := c.status(2); s.Role != raft.Leader || !slices.Equal(s.ConfState.Voters, []uint64{2, 3}) || len(s.ConfState.VotersOutgoing) > 0 {
		t.Fatalf("%+v", s)
	}
}

func TestThesis4_3_WhatIsRefused(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.proposeJoint(2, jointChange(0, 4, 5), raft.ErrNotLeader)
	c.do(1, func(core *raft.Core) {
		for name, cc := range map[string]wire.ConfChangeV2{
			"leave what was not entered": {},
			"nobody left":                jointChange(0, -1, -2, -3),
			"unknown type":               {Changes: []wire.ConfChangeSingle{{Type: 9, NodeID: 1}, {NodeID: 4}}},
		} {
			if core.ProposeConfChangeV2(cc) == nil {
				t.Errorf("taken: %s", name)
			}
		}
	})
	c.proposeJoint(1, jointChange(0, 4, 5), nil)
	c.proposeJoint(1, jointChange(0, 6, 7), raft.ErrConfChangePending)
}

// TestThesis4_3_JointSurvivesARestart: the configuration comes back with the machine, and is left as before.
func TestThesis4_3_JointSurvivesARestart(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.proposeJoint(1, jointChange(wire.TransitionJointExplicit, -3), nil)
	c.run()
	for _, n := range c.members {
		c.flush(n, 0)
		c.crash(n, 0, 0)
		c.start(n)
	}
	c.network = nil
	c.elect(2)
	if conf := c.status(2).ConfState; len(conf.VotersOutgoing) != 3 {
		t.Fatalf("%+v", conf)
	}
	c.proposeJoint(2, wire.ConfChangeV2{}, nil)
	c.run()
	if conf := c.status(1).ConfState; !slices.Equal(conf.Voters, []uint64{1, 2}) || len(conf.VotersOutgoing) > 0 {
		t.Fatalf("%+v", conf)
	}
}
