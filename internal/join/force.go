package join

import (
	"errors"
	"fmt"
	"math"

	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Log is what a member without a cluster still has.
type Log struct {
	HardState wire.HardState
	Mark      uint64       // index before the first entry
	Entries   []wire.Entry // all that the log holds, without gaps
	Applied   uint64       // how far the state machine is
}

// Forced turns a log into that of a cluster of one.
type Forced struct {
	// Last is the index of the last old entry that stays; what is behind it goes.
	Last uint64
	// Entries come behind Last. They count as committed.
	Entries []wire.Entry
	// HardState takes the place of the old one.
	HardState wire.HardState
}

// Errors of a log that cannot become that of a cluster of one.
var (
	errShortLog = errors.New("the log ends before what was applied or committed")
	errRemoved  = errors.New("this member was removed from its cluster, and its id never comes back: start it with an empty directory, or force the cluster from another member's data")
)

// ForceNewCluster makes self the only member of the cluster whose log this is: it counts what the log holds as committed (see keep), and
// appends a change that makes self a voter, if it is none, and one that removes each other member. cluster is the
// membership as of log.Applied; peerURLs are self's, for a self that is no member yet. Nothing that is passed is modified.
//
// What the others have committed beyond this log is lost. Should they still run, they are told that they were removed, and stop.
func ForceNewCluster(log Log, cluster *membership.Cluster, self uint64, peerURLs []string) (Forced, error) {
	commit := max(log.HardState.Commit, log.Applied)
	if last := log.Mark + uint64(len(log.Entries)); commit > last || log.Applied < log.Mark {
		return Forced{}, fmt.Errorf("%w: it has %d to %d, %d is applied and %d committed", errShortLog, log.Mark+1, last, log.Applied, log.HardState.Commit)
	}
	commit = keep(log, commit, self)
	members, err := membersAt(log, commit, cluster)
	switch {
	case err != nil:
		return Forced{}, err
	case members.IsRemoved(self):
		return Forced{}, errRemoved
	}
	f := Forced{Last: commit, HardState: log.HardState}
	if commit > log.Mark {
		f.HardState.Term = max(f.HardState.Term, log.Entries[commit-log.Mark-1].Term)
	}
	for _, cc := range forcedChanges(members, self, peerURLs) {
		f.Entries = append(f.Entries, wire.Entry{
			Type: wire.EntryConfChange, Term: f.HardState.Term, Index: f.Last + uint64(len(f.Entries)) + 1, Data: cc.Append(nil),
		})
	}
	f.HardState.Commit = f.Last + uint64(len(f.Entries))
	return f, nil
}

// keep is how far the log stays. What was committed may be known to the lost members alone: the last writes that this member acknowledged
// are in its log, but that they are committed often is not. So the tail counts as committed as well. Nobody was told that it failed, and
// nobody is left who knows better. It ends before an entry that would remove self, or that is damaged.
func keep(log Log, commit, self uint64) uint64 {
	for _, e := range log.Entries[commit-log.Mark:] {
		if e.Type != wire.EntryNormal {
			var cc wire.ConfChange
			if err := cc.Unmarshal(e.Data); err != nil || cc.Type == wire.ConfChangeRemoveNode && cc.NodeID == self {
				return commit
			}
		}
		commit = e.Index
	}
	return commit
}

// membersAt is the membership at commit: the applied one, and what the committed rest of the log does to it.
func membersAt(log Log, commit uint64, applied *membership.Cluster) (*membership.Cluster, error) {
	c := membership.New()
	for _, w := range applied.Records() {
		if err := c.Load(w.Bucket, w.Key, w.Value); err != nil {
			return nil, err
		}
	}
	for _, e := range log.Entries[log.Applied-log.Mark : commit-log.Mark] {
		if e.Type != wire.EntryConfChange {
			continue
		}
		var cc wire.ConfChange
		if err := cc.Unmarshal(e.Data); err != nil {
			return nil, fmt.Errorf("entry %d of the log: %w", e.Index, err)
		}
		var refused *membership.RuleError
		if _, err := c.Apply(cc, math.MaxInt); err != nil && !errors.As(err, &refused) {
			return nil, fmt.Errorf("entry %d of the log: %w", e.Index, err)
		}
	}
	return c, nil
}

// forcedChanges leave self alone. It becomes a voter before the others go, for there is never no voter.
func forcedChanges(c *membership.Cluster, self uint64, peerURLs []string) (changes []wire.ConfChange) {
	m, found := c.Member(self)
	switch {
	case !found:
		changes = append(changes, membership.AddChange(0, schema.Member{ID: self, PeerURLs: peerURLs}))
	case m.IsLearner:
		changes = append(changes, membership.PromoteChange(0, self))
	}
	for _, m := range c.Members() {
		if m.ID != self {
			changes = append(changes, membership.RemoveChange(0, m.ID))
		}
	}
	return changes
}
