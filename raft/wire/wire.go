// Package wire holds the messages of the consensus core and their encoding.
//
// The encoding is that of raftpb (proto2), written by hand so that no reflection and no generated code stands between
// the log and the disk. Every message has three methods: Size, the length of its encoding; Append, which writes the
// canonical encoding behind a given slice; and Unmarshal, which accepts whatever a protobuf reader accepts: fields in any
// order, absent ones (read as zero), repeated ones (scalars: the last wins, messages: merged), unknown ones (skipped).
//
// Canonical is what etcd 3.7 writes: scalar fields that are zero are left out, but HardState always carries its three
// fields, ConfState its auto_leave and ConfChange its type.
//
// After Unmarshal the byte fields of a message alias the input, which must not be changed as long as the message lives.
// A message is not safe for concurrent changes; concurrent reading is fine.
package wire

// EntryType says how the data of an Entry is to be understood.
type EntryType int32

// The types of entries.
const (
	EntryNormal       EntryType = 0 // data is opaque; empty data is the first entry of a new leader
	EntryConfChange   EntryType = 1 // data is a ConfChange
	EntryConfChangeV2 EntryType = 2 // data is a ConfChangeV2
)

// Entry is one slot of the replicated log.
type Entry struct {
	Type  EntryType
	Term  uint64
	Index uint64
	Data  []byte
}

// HardState is what a member must remember besides its log: its current term, whom it voted for in that term (0 is
// nobody), and up to where it knows the log to be committed. The zero HardState stands for "nothing stored".
type HardState struct {
	Term   uint64
	Vote   uint64
	Commit uint64
}

// ConfState is a membership configuration. VotersOutgoing is not empty only in a joint configuration; LearnersNext are
// outgoing voters that become learners when it is left.
type ConfState struct {
	Voters         []uint64 `json:"voters,omitempty"`
	Learners       []uint64 `json:"learners,omitempty"`
	VotersOutgoing []uint64 `json:"voters_outgoing,omitempty"`
	LearnersNext   []uint64 `json:"learners_next,omitempty"`
	AutoLeave      bool     `json:"auto_leave"`
}

// SnapshotMeta says which prefix of the log a snapshot replaces, and the configuration at its end.
type SnapshotMeta struct {
	ConfState ConfState
	Index     uint64
	Term      uint64
}

// Snapshot replaces a prefix of the log. Data is opaque to the consensus core.
type Snapshot struct {
	Data []byte
	Meta SnapshotMeta
}

// MessageType says what a Message asks or answers. Only the types below travel between members; the other numbers are
// events inside etcd's members and are refused when received.
type MessageType int32

// The types of messages, with raftpb's numbers.
const (
	MsgProp           MessageType = 2  // entries forwarded to the leader
	MsgApp            MessageType = 3  // append entries
	MsgAppResp        MessageType = 4  // answer to MsgApp and MsgSnap
	MsgVote           MessageType = 5  // request for a vote
	MsgVoteResp       MessageType = 6  // answer to MsgVote
	MsgSnap           MessageType = 7  // install snapshot
	MsgHeartbeat      MessageType = 8  // leader is alive; carries a read context
	MsgHeartbeatResp  MessageType = 9  // answer to MsgHeartbeat, echoes the context
	MsgTransferLeader MessageType = 13 // request to the leader to hand over to From
	MsgTimeoutNow     MessageType = 14 // leader tells a member to campaign at once
	MsgReadIndex      MessageType = 15 // follower asks for a read index
	MsgReadIndexResp  MessageType = 16 // answer to MsgReadIndex
	MsgPreVote        MessageType = 17 // request for a vote that binds nobody
	MsgPreVoteResp    MessageType = 18 // answer to MsgPreVote
)

// Message is what one member says to another. Which fields matter depends on the type.
type Message struct {
	Type       MessageType
	To         uint64
	From       uint64
	Term       uint64 // 0 where the type has no term (MsgProp, MsgReadIndex)
	LogTerm    uint64 // term of the entry at Index, or at RejectHint in a rejecting MsgAppResp
	Index      uint64
	Entries    []Entry
	Commit     uint64
	Snapshot   *Snapshot // MsgSnap only
	Reject     bool
	RejectHint uint64
	Context    []byte
	Vote       uint64 // not used by the core; kept for what others send
}

// ConfChangeType says what a ConfChange does to a node.
type ConfChangeType int32

// The kinds of membership changes.
const (
	ConfChangeAddNode        ConfChangeType = 0 // add a voter, or promote a learner
	ConfChangeRemoveNode     ConfChangeType = 1
	ConfChangeUpdateNode     ConfChangeType = 2 // changes only what Context says; the configuration stays
	ConfChangeAddLearnerNode ConfChangeType = 3
)

// ConfChange is one membership change. A NodeID of zero is a change that was refused: it changes nothing. Context is
// opaque to the consensus core.
type ConfChange struct {
	ID      uint64
	Type    ConfChangeType
	NodeID  uint64
	Context []byte
}

// ConfChangeTransition says how a ConfChangeV2 of several changes goes through the joint configuration.
type ConfChangeTransition int32

// The ways through the joint configuration.
const (
	TransitionAuto          ConfChangeTransition = 0 // joint only if needed, left by itself
	TransitionJointImplicit ConfChangeTransition = 1 // joint, left by itself
	TransitionJointExplicit ConfChangeTransition = 2 // joint, left by an empty ConfChangeV2
)

// ConfChangeSingle is one of the changes in a ConfChangeV2.
type ConfChangeSingle struct {
	Type   ConfChangeType
	NodeID uint64
}

// ConfChangeV2 is a set of membership changes that take effect together. Without changes it leaves a joint
// configuration.
type ConfChangeV2 struct {
	Transition ConfChangeTransition
	Changes    []ConfChangeSingle
	Context    []byte
}
