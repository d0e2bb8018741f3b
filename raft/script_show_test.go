package raft_test

import (
	"fmt"
	"strings"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

var messageNames = map[wire.MessageType]string{
	wire.MsgProp: "Prop", wire.MsgApp: "App", wire.MsgAppResp: "AppResp", wire.MsgVote: "Vote", wire.MsgVoteResp: "VoteResp",
	wire.MsgSnap: "Snap", wire.MsgHeartbeat: "Heartbeat", wire.MsgHeartbeatResp: "HeartbeatResp",
	wire.MsgTransferLeader: "TransferLeader", wire.MsgTimeoutNow: "TimeoutNow", wire.MsgReadIndex: "ReadIndex",
	wire.MsgReadIndexResp: "ReadIndexResp", wire.MsgPreVote: "PreVote", wire.MsgPreVoteResp: "PreVoteResp",
}

// showMessage traces a message that arrives.
func (c *cluster) showMessage(m wire.Message) {
	var s strings.Builder
	fmt.Fprintf(&s, "%d->%d %s", m.From, m.To, messageNames[m.Type])
	if m.Term != 0 {
		fmt.Fprintf(&s, " term %d", m.Term)
	}
	switch m.Type {
	case wire.MsgApp:
		fmt.Fprintf(&s, " after %d/%d%s commit %d", m.Index, m.LogTerm, showEntries(m.Entries), m.Commit)
	case wire.MsgAppResp:
		fmt.Fprintf(&s, " index %d", m.Index)
	case wire.MsgVote, wire.MsgPreVote:
		fmt.Fprintf(&s, " log ends with %d/%d", m.Index, m.LogTerm)
	case wire.MsgHeartbeat:
		fmt.Fprintf(&s, " commit %d", m.Commit)
	case wire.MsgSnap:
		fmt.Fprintf(&s, " up to %d/%d", m.Snapshot.Meta.Index, m.Snapshot.Meta.Term)
	case wire.MsgReadIndexResp:
		fmt.Fprintf(&s, " index %d", m.Index)
	}
	if m.Reject {
		s.WriteString(" rejected")
		if m.Type == wire.MsgAppResp {
			fmt.Fprintf(&s, ", try %d/%d", m.RejectHint, m.LogTerm)
		}
	}
	if len(m.Context) == 8 {
		fmt.Fprintf(&s, " round %d", m.Context[0])
	} else if len(m.Context) > 0 {
		fmt.Fprintf(&s, " %s", m.Context)
	}
	c.trace("%s", s.String())
}

// showEffects traces what is not a message.
func (c *cluster) showEffects(n *member, e raft.Effects) {
	var parts []string
	if s := e.InstallSnapshot; s != nil {
		parts = append(parts, fmt.Sprintf("installs %d/%d", s.Meta.Index, s.Meta.Term))
	}
	if len(e.Append) > 0 {
		parts = append(parts, "stores"+showEntries(e.Append))
	}
	if s := e.HardState; !s.IsZero() && e.MustSync {
		parts = append(parts, fmt.Sprintf("term %d vote %d commit %d", s.Term, s.Vote, s.Commit))
	}
	if len(e.Committed) > 0 {
		parts = append(parts, "applies"+showEntries(e.Committed))
	}
	for _, r := range e.Reads {
		parts = append(parts, fmt.Sprintf("read %d at %d", r.ID, r.Index))
	}
	for _, id := range e.Lost {
		parts = append(parts, fmt.Sprintf("read %d lost", id))
	}
	if len(parts) > 0 {
		c.trace("  %d %s", n.id, strings.Join(parts, "; "))
	}
}

func showEntries(entries []wire.Entry) string {
	var s strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&s, " %d/%d", e.Index, e.Term)
		switch {
		case e.Type != wire.EntryNormal:
			s.WriteString(":" + showConfChange(e))
		case len(e.Data) > 0:
			fmt.Fprintf(&s, ":%s", e.Data)
		}
	}
	return s.String()
}

func showConfChange(e wire.Entry) string {
	if e.Type == wire.EntryConfChangeV2 && len(e.Data) == 0 {
		return "leave"
	}
	var kinds []string
	for _, change := range changesOf(nil, e).Changes {
		kinds = append(kinds, fmt.Sprintf("%s(%d)", [...]string{"voter", "remove", "update", "learner"}[change.Type], change.NodeID))
	}
	return strings.Join(kinds, "+")
}
