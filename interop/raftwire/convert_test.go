// Package raftwire compares Quoin's hand-written consensus messages with the generated ones of etcd's raft library: in
// bytes, and in what a mixed cluster of both makes of them.
package raftwire

import (
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/raft/wire"
)

// optional returns a pointer to v, nil for zero: what etcd 3.7 leaves unset.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func optionalBytes(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

func entryPB(e *wire.Entry) *raftpb.Entry {
	return &raftpb.Entry{
		Type: optional(raftpb.EntryType(e.Type)), Term: optional(e.Term), Index: optional(e.Index), Data: optionalBytes(e.Data),
	}
}

func hardStatePB(s *wire.HardState) *raftpb.HardState {
	return &raftpb.HardState{Term: &s.Term, Vote: &s.Vote, Commit: &s.Commit}
}

func confStatePB(c *wire.ConfState) *raftpb.ConfState {
	return &raftpb.ConfState{
		Voters: c.Voters, Learners: c.Learners, VotersOutgoing: c.VotersOutgoing, LearnersNext: c.LearnersNext, AutoLeave: &c.AutoLeave,
	}
}

func snapshotMetaPB(m *wire.SnapshotMeta) *raftpb.SnapshotMetadata {
	return &raftpb.SnapshotMetadata{ConfState: confStatePB(&m.ConfState), Index: optional(m.Index), Term: optional(m.Term)}
}

func snapshotPB(s *wire.Snapshot) *raftpb.Snapshot {
	return &raftpb.Snapshot{Data: optionalBytes(s.Data), Metadata: snapshotMetaPB(&s.Meta)}
}

func messagePB(m *wire.Message) *raftpb.Message {
	pb := &raftpb.Message{
		Type: optional(raftpb.MessageType(m.Type)), To: optional(m.To), From: optional(m.From), Term: optional(m.Term),
		LogTerm: optional(m.LogTerm), Index: optional(m.Index), Commit: optional(m.Commit), Reject: optional(m.Reject),
		RejectHint: optional(m.RejectHint), Context: optionalBytes(m.Context), Vote: optional(m.Vote),
	}
	for i := range m.Entries {
		pb.Entries = append(pb.Entries, entryPB(&m.Entries[i]))
	}
	if m.Snapshot != nil {
		pb.Snapshot = snapshotPB(m.Snapshot)
	}
	return pb
}

func confChangePB(c *wire.ConfChange) *raftpb.ConfChange {
	kind := raftpb.ConfChangeType(c.Type)
	return &raftpb.ConfChange{Id: optional(c.ID), Type: &kind, NodeId: optional(c.NodeID), Context: optionalBytes(c.Context)}
}

func confChangeV2PB(c *wire.ConfChangeV2) *raftpb.ConfChangeV2 {
	pb := &raftpb.ConfChangeV2{Transition: optional(raftpb.ConfChangeTransition(c.Transition)), Context: optionalBytes(c.Context)}
	for _, s := range c.Changes {
		kind := raftpb.ConfChangeType(s.Type)
		pb.Changes = append(pb.Changes, &raftpb.ConfChangeSingle{Type: &kind, NodeId: optional(s.NodeID)})
	}
	return pb
}

func fromEntryPB(e *raftpb.Entry) wire.Entry {
	return wire.Entry{Type: wire.EntryType(e.GetType()), Term: e.GetTerm(), Index: e.GetIndex(), Data: e.GetData()}
}

func fromConfStatePB(c *raftpb.ConfState) wire.ConfState {
	return wire.ConfState{
		Voters: c.GetVoters(), Learners: c.GetLearners(), VotersOutgoing: c.GetVotersOutgoing(),
		LearnersNext: c.GetLearnersNext(), AutoLeave: c.GetAutoLeave(),
	}
}

func fromSnapshotPB(s *raftpb.Snapshot) wire.Snapshot {
	meta := s.GetMetadata()
	return wire.Snapshot{
		Data: s.GetData(),
		Meta: wire.SnapshotMeta{ConfState: fromConfStatePB(meta.GetConfState()), Index: meta.GetIndex(), Term: meta.GetTerm()},
	}
}

func fromMessagePB(pb *raftpb.Message) wire.Message {
	m := wire.Message{
		Type: wire.MessageType(pb.GetType()), To: pb.GetTo(), From: pb.GetFrom(), Term: pb.GetTerm(),
		LogTerm: pb.GetLogTerm(), Index: pb.GetIndex(), Commit: pb.GetCommit(), Reject: pb.GetReject(),
		RejectHint: pb.GetRejectHint(), Context: pb.GetContext(), Vote: pb.GetVote(),
	}
	for _, e := range pb.GetEntries() {
		m.Entries = append(m.Entries, fromEntryPB(e))
	}
	if pb.GetSnapshot() != nil {
		s := fromSnapshotPB(pb.GetSnapshot())
		m.Snapshot = &s
	}
	return m
}

func fromConfChangePB(c *raftpb.ConfChange) wire.ConfChange {
	return wire.ConfChange{ID: c.GetId(), Type: wire.ConfChangeType(c.GetType()), NodeID: c.GetNodeId(), Context: c.GetContext()}
}

func fromConfChangeV2PB(c *raftpb.ConfChangeV2) wire.ConfChangeV2 {
	v2 := wire.ConfChangeV2{Transition: wire.ConfChangeTransition(c.GetTransition()), Context: c.GetContext()}
	for _, s := range c.GetChanges() {
		v2.Changes = append(v2.Changes, wire.ConfChangeSingle{Type: wire.ConfChangeType(s.GetType()), NodeID: s.GetNodeId()})
	}
	return v2
}

// codec is what Quoin's messages have in common.
type codec interface {
	Size() int
	Append(b []byte) []byte
	Unmarshal(b []byte) error
}

// kind is one message in both worlds.
type kind struct {
	name string
	ours func() codec
	real func() proto.Message
	to   func(ours codec) proto.Message // canonical
	from func(real proto.Message) codec
}
