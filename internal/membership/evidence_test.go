package membership

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// logOf is a log of configuration changes behind a mark.
func logOf(mark uint64, changes ...wire.ConfChange) (entries []wire.Entry) {
	for i, cc := range changes {
		entries = append(entries, wire.Entry{Type: wire.EntryConfChange, Term: 1, Index: mark + uint64(i) + 1, Data: cc.Append(nil)})
	}
	return entries
}

// clusterOf is a membership to which changes were applied.
func clusterOf(t *testing.T, changes ...wire.ConfChange) *Cluster {
	t.Helper()
	c := New()
	for _, cc := range changes {
		if _, err := c.Apply(cc, 9); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func numbered(id uint64) wire.ConfChange {
	return AddChange(1, member(id, fmt.Sprintf("http://m%d:1", id)))
}

func TestDeviations(t *testing.T) {
	one, two := numbered(1), numbered(2)
	asLearner := AddChange(1, learner(2, "http://m2:1"))
	moved := UpdateChange(1, member(2, "http://elsewhere:1"))
	gone := RemoveChange(1, 2)
	both := clusterOf(t, one, two)
	for _, c := range []struct {
		name     string
		stored   *Cluster
		evidence Evidence
		want     string
	}{
		{"the same", both, Evidence{Entries: logOf(0, one, two), Applied: 2}, ""},
		{"a change that the file has not seen", both, Evidence{Entries: logOf(0, one, two, gone), Applied: 2}, ""},
		{"removed in the log", both, Evidence{Entries: logOf(0, one, two, gone), Applied: 3}, "2 Zombie"},
		{"never added", both, Evidence{Entries: logOf(0, one), Applied: 1}, "2 Zombie"},
		{"a change that the rules refuse", both, Evidence{Entries: logOf(0, one, two, two), Applied: 3}, ""},
		{"not in the file", clusterOf(t, one), Evidence{Entries: logOf(0, one, two), Applied: 2}, "2 Missing"},
		{"another role", both, Evidence{Entries: logOf(0, one, asLearner), Applied: 2}, "2 Role"},
		{"other URLs", both, Evidence{Entries: logOf(0, one, two, moved), Applied: 3}, "2 PeerURLs"},
		{"a mark with a file", both, Evidence{Mark: 7, StoreJSON: clusterOf(t, one).StoreJSON(), Applied: 7}, "2 Zombie"},
		{"a mark with a file and entries", both, Evidence{Mark: 7, StoreJSON: clusterOf(t, one).StoreJSON(), Entries: logOf(7, two), Applied: 8}, ""},
		{"removed at the mark", both, Evidence{Mark: 7, StoreJSON: clusterOf(t, one, two, gone).StoreJSON(), Entries: logOf(7, two), Applied: 8}, "2 Zombie"},
		{"a mark with ids", both, Evidence{Mark: 7, ConfState: &wire.ConfState{Voters: []uint64{1}, Learners: []uint64{3}}, Applied: 7}, "2 Zombie, 3 Missing"},
		{"a mark with nothing", both, Evidence{Mark: 7, Applied: 7}, ""},
		{"a log that ends too early", both, Evidence{Entries: logOf(0, one), Applied: 2}, ""},
		{"a file that is behind the mark", both, Evidence{Mark: 7, StoreJSON: New().StoreJSON(), Applied: 6}, ""},
	} {
		got, err := c.stored.Deviations(c.evidence)
		var texts []string
		for _, d := range got {
			texts = append(texts, fmt.Sprint(d.ID(), " ", [...]string{"Zombie", "Missing", "Role", "PeerURLs"}[d.Kind]))
		}
		if text := strings.Join(texts, ", "); err != nil || text != c.want {
			t.Errorf("%s: %q, %v, expected %q", c.name, text, err, c.want)
		}
		mends(t, c.name, c.stored, c.evidence, c.want)
	}
}

// mends checks that a mended membership has no deviation, if something is known.
func mends(t *testing.T, name string, stored *Cluster, e Evidence, deviations string) {
	t.Helper()
	mended, err := stored.Mended(e)
	if err != nil {
		if deviations != "" && !strings.Contains(deviations, "Missing") {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	mended.check()
	if left, err := mended.Deviations(e); err != nil || len(left) > 0 {
		t.Errorf("%s: %v are left, %v", name, left, err)
	}
	if strings.Contains(deviations, "Zombie") && !slices.Contains(mended.Removed(), 2) {
		t.Errorf("%s: the zombie may come back", name)
	}
}

// TestUndead: a member that the file has among the members and among the removed ones is one too many, in whatever order they are read.
func TestUndead(t *testing.T) {
	m := member(2, "http://m2:1")
	for _, order := range [][]schema.Bucket{{schema.Members, schema.MembersRemoved}, {schema.MembersRemoved, schema.Members}} {
		c := clusterOf(t, numbered(1))
		for _, b := range order {
			value := []byte(schema.RemovedMember)
			if b == schema.Members {
				value = m.Append(nil)
			}
			if err := c.Load(b, schema.MemberKey(2), value); err != nil {
				t.Fatal(err)
			}
		}
		got, err := c.Deviations(Evidence{Mark: 7, Applied: 7})
		if err != nil || len(got) != 1 || got[0].Kind != Zombie || got[0].Stored.ID != 2 {
			t.Errorf("%v, %v", got, err)
		}
	}
}

func TestMalformedEvidence(t *testing.T) {
	c := clusterOf(t, numbered(1))
	broken := logOf(0, numbered(1))
	broken[0].Data = []byte{0xff}
	for _, e := range []Evidence{
		{Entries: broken, Applied: 1},
		{StoreJSON: []byte("{"), Mark: 1, Applied: 1},
		{StoreJSON: []byte(`{"Root":{"Children":{"0":{"Children":{"members":{"Children":{"xyz":{}}}}}}}}`), Mark: 1, Applied: 1},
	} {
		if _, err := c.Deviations(e); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v", err)
		}
	}
}

func FuzzParseStoreJSON(f *testing.F) {
	f.Add(New().StoreJSON())
	c := New()
	_, _ = c.Apply(numbered(1), 1)
	f.Add(c.StoreJSON())
	f.Add([]byte(`{"Root":{"Children":{"0":{"Children":{"removed_members":{"Children":{"1":null}},"members":{"Children":{"1":null,"2":null}}}}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseStoreJSON(text)
		if err != nil {
			return
		}
		for _, id := range c.Removed() {
			if _, both := c.Member(id); both {
				t.Errorf("%d is a member and removed", id)
			}
		}
	})
}
