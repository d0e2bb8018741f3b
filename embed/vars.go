package embed

import (
	"strconv"
	"strings"

	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/raft"
)

// raftVars is the state of consensus in the form in which /debug/vars shows it.
func raftVars(s node.Status) any {
	id := func(n uint64) string { return strconv.FormatUint(n, 16) }
	progress := map[string]any{}
	for _, p := range s.Peers {
		progress[id(p.ID)] = map[string]any{"match": p.Match, "next": p.Next, "state": progressName(p.State.String())}
	}
	return map[string]any{
		"id": id(s.ID), "term": s.Term, "vote": id(s.Vote), "commit": s.Commit, "lead": id(s.Lead), "raftState": roleName(s.Role),
		"applied": s.Applied, "progress": progress, "leadtransferee": id(s.Transferee),
	}
}

func progressName(state string) string { return "State" + strings.ToUpper(state[:1]) + state[1:] }

// roleName is the name that etcd's users know.
func roleName(r raft.Role) string {
	switch r {
	case raft.Leader:
		return "StateLeader"
	case raft.Candidate:
		return "StateCandidate"
	case raft.PreCandidate:
		return "StatePreCandidate"
	}
	return "StateFollower"
}
