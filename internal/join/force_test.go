package join

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// forcedCluster builds a membership out of words: 1 a voter, 2l a learner, 3x a removed member.
func forcedCluster(t *testing.T, words string) *membership.Cluster {
	t.Helper()
	c := membership.New()
	for _, w := range strings.Fields(words) {
		id := uint64(w[0] - '0')
		m := schema.Member{ID: id, PeerURLs: []string{"http://127.0.0.1:" + w[:1]}, IsLearner: strings.HasSuffix(w, "l")}
		if _, err := c.Apply(membership.AddChange(0, m), 9); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(w, "x") {
			if _, err := c.Apply(membership.RemoveChange(0, id), 9); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// forcedLog builds entries from mark+1 on: n normal, +1 adds a voter, +1l a learner, -1 removes, !1 promotes, ? is damaged.
func forcedLog(mark uint64, words string) (entries []wire.Entry) {
	for _, w := range strings.Fields(words) {
		e := wire.Entry{Index: mark + uint64(len(entries)) + 1, Term: 2}
		if w != "n" {
			e.Type = wire.EntryConfChange
		}
		switch w[0] {
		case '+':
			cc := membership.AddChange(9, schema.Member{ID: uint64(w[1] - '0'), IsLearner: strings.HasSuffix(w, "l")})
			e.Data = cc.Append(nil)
		case '-':
			cc := membership.RemoveChange(9, uint64(w[1]-'0'))
			e.Data = cc.Append(nil)
		case '!':
			cc := membership.PromoteChange(9, uint64(w[1]-'0'))
			e.Data = cc.Append(nil)
		case '?':
			e.Data = []byte{0xff}
		}
		entries = append(entries, e)
	}
	return entries
}

func describeForced(f Forced) string {
	var parts []string
	for _, e := range f.Entries {
		var cc wire.ConfChange
		if err := cc.Unmarshal(e.Data); err != nil {
			return err.Error()
		}
		parts = append(parts, fmt.Sprintf("%d/%d:%d %d%s", e.Index, e.Term, cc.Type, cc.NodeID, cc.Context))
	}
	return fmt.Sprintf("last %d, %s, term %d vote %d commit %d", f.Last, strings.Join(parts, ", "), f.HardState.Term, f.HardState.Vote, f.HardState.Commit)
}

func TestForceNewCluster(t *testing.T) {
	for _, tc := range []struct {
		name                  string
		members, entries      string
		mark, applied, commit uint64
		want                  string
	}{
		{"three become one", "1 2 3", "n n n n", 0, 4, 4, "last 4, 5/5:1 2, 6/5:1 3, term 5 vote 2 commit 6"},
		{"the tail stays", "1 2 3", "n n n n", 0, 3, 3, "last 4, 5/5:1 2, 6/5:1 3, term 5 vote 2 commit 6"},
		{"the tail up to the own removal", "1 2 3", "n n -1 n", 0, 1, 1, "last 2, 3/5:1 2, 4/5:1 3, term 5 vote 2 commit 4"},
		{"applied beyond commit", "1 2 3", "n n n n", 0, 4, 3, "last 4, 5/5:1 2, 6/5:1 3, term 5 vote 2 commit 6"},
		{"committed beyond applied", "1 2 3", "n n n n", 0, 1, 4, "last 4, 5/5:1 2, 6/5:1 3, term 5 vote 2 commit 6"},
		{"behind a mark", "1 2", "n n", 100, 101, 102, "last 102, 103/5:1 2, term 5 vote 2 commit 103"},
		{"nothing but a mark", "1 2", "", 100, 100, 0, "last 100, 101/5:1 2, term 5 vote 2 commit 101"},
		{"alone already", "1", "n n", 0, 2, 2, "last 2, , term 5 vote 2 commit 2"},
		{"added, not applied", "1 2", "n +3 +4l", 0, 1, 3, "last 3, 4/5:1 2, 5/5:1 3, 6/5:1 4, term 5 vote 2 commit 6"},
		{"added, not committed", "1 2", "n +3", 0, 1, 1, "last 2, 3/5:1 2, 4/5:1 3, term 5 vote 2 commit 4"},
		{"removed, not applied", "1 2 3", "n -2", 0, 1, 2, "last 2, 3/5:1 3, term 5 vote 2 commit 3"},
		{"added and applied", "1 2 3", "n +3", 0, 2, 2, "last 2, 3/5:1 2, 4/5:1 3, term 5 vote 2 commit 4"},
		{"learners go as well", "1 2l", "n", 0, 1, 1, "last 1, 2/5:1 2, term 5 vote 2 commit 2"},
		{"a learner becomes a voter", "1l 2 3", "n", 0, 1, 1, `last 1, 2/5:0 1{"id":1,"peerURLs":null,"isPromote":true}, 3/5:1 2, 4/5:1 3, term 5 vote 2 commit 4`},
		{"a learner is promoted already", "1l 2", "n !1", 0, 1, 2, "last 2, 3/5:1 2, term 5 vote 2 commit 3"},
		{"added as a learner, not applied", "2", "n +1l", 0, 1, 2, `last 2, 3/5:0 1{"id":1,"peerURLs":null,"isPromote":true}, 4/5:1 2, term 5 vote 2 commit 4`},
		{"added again", "1 2", "n +2l", 0, 1, 2, "last 2, 3/5:1 2, term 5 vote 2 commit 3"},
		{"no member of it", "2 3", "n", 0, 1, 1, `last 1, 2/5:0 1{"id":1,"peerURLs":["http://127.0.0.1:1"]}, 3/5:1 2, 4/5:1 3, term 5 vote 2 commit 4`},
		{"others removed before", "1 2 3x", "n", 0, 1, 1, "last 1, 2/5:1 2, term 5 vote 2 commit 2"},
		{"itself removed, not applied", "1 2", "n -1", 0, 1, 2, errRemoved.Error()},
		{"itself removed, not committed", "1 2", "n -1", 0, 1, 1, "last 1, 2/5:1 2, term 5 vote 2 commit 2"},
		{"removed again", "1 2 3x", "n +3", 0, 1, 2, "last 2, 3/5:1 2, term 5 vote 2 commit 3"},
		{"itself removed", "1x 2", "n", 0, 1, 1, errRemoved.Error()},
		{"log too short for commit", "1", "n", 0, 1, 2, errShortLog.Error()},
		{"log too short for applied", "1", "n", 0, 2, 1, errShortLog.Error()},
		{"log begins too late", "1", "n", 5, 4, 6, errShortLog.Error()},
		{"damaged", "1", "n ?", 0, 1, 2, "entry 2 of the log"},
		{"damaged, not committed", "1", "n ?", 0, 1, 1, "last 1, , term 5 vote 2 commit 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := Log{
				HardState: wire.HardState{Term: 5, Vote: 2, Commit: tc.commit}, Mark: tc.mark,
				Entries: forcedLog(tc.mark, tc.entries), Applied: tc.applied,
			}
			f, err := ForceNewCluster(log, forcedCluster(t, tc.members), 1, []string{"http://127.0.0.1:1"})
			got := describeForced(f)
			if err != nil {
				got = err.Error()
			}
			if got != tc.want && (err == nil || !strings.Contains(got, tc.want)) {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestForcedClusterIsAlone: whatever was there, applying the committed entries leaves self as the only voter.
func TestForcedClusterIsAlone(t *testing.T) {
	for _, members := range []string{"1", "1 2", "1 2 3 4l 5l", "1l 2", "2 3", "2l 3"} {
		for _, entries := range []string{"", "+6 -2", "-1 +7l", "!4 -3", "+1l"} {
			c := forcedCluster(t, members)
			log := Log{HardState: wire.HardState{Term: 2, Commit: uint64(len(strings.Fields(entries)))}, Entries: forcedLog(0, entries)}
			f, err := ForceNewCluster(log, c, 1, []string{"http://127.0.0.1:1"})
			if members[0] == '1' && strings.Contains(entries, "-1") {
				if !errors.Is(err, errRemoved) {
					t.Errorf("%q, %q: %v", members, entries, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range slices.Concat(log.Entries[:f.Last], f.Entries) {
				var cc wire.ConfChange
				if err := cc.Unmarshal(e.Data); err != nil {
					t.Fatal(err)
				}
				var rule *membership.RuleError
				if _, err := c.Apply(cc, 9); err != nil && !errors.As(err, &rule) {
					t.Fatal(err)
				}
			}
			if got := c.ConfState(); !slices.Equal(got.Voters, []uint64{1}) || len(got.Learners) > 0 {
				t.Errorf("%q, %q: %v", members, entries, got)
			}
		}
	}
}

// TestForcedTerms: the new entries are never of an older term than the entry before them, even without a hard state.
func TestForcedTerms(t *testing.T) {
	for _, tc := range []struct{ term, want uint64 }{{0, 2}, {1, 2}, {2, 2}, {3, 3}} {
		log := Log{HardState: wire.HardState{Term: tc.term}, Entries: forcedLog(0, "n n"), Applied: 2}
		f, err := ForceNewCluster(log, forcedCluster(t, "1 2"), 1, nil)
		if err != nil || f.HardState.Term != tc.want || f.Entries[0].Term != tc.want {
			t.Errorf("term %d: %s, %v", tc.term, describeForced(f), err)
		}
	}
}
