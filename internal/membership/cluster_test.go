package membership

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// member returns a voter with one peer URL.
func member(id uint64, url string) schema.Member {
	return schema.Member{ID: id, PeerURLs: []string{url}}
}

func learner(id uint64, url string) schema.Member {
	m := member(id, url)
	m.IsLearner = true
	return m
}

func TestContexts(t *testing.T) {
	m := schema.Member{ID: 5, PeerURLs: []string{"http://a:1"}, Name: "n"}
	for _, c := range []struct {
		got  wire.ConfChange
		kind wire.ConfChangeType
		want string
	}{
		{AddChange(9, m), 0, `{"id":5,"peerURLs":["http://a:1"],"name":"n"}`},
		{AddChange(9, learner(5, "http://a:1")), 3, `{"id":5,"peerURLs":["http://a:1"],"isLearner":true}`},
		{PromoteChange(9, 5), 0, `{"id":5,"peerURLs":null,"isPromote":true}`},
		{UpdateChange(9, m), 2, `{"id":5,"peerURLs":["http://a:1"],"name":"n"}`},
		{RemoveChange(9, 5), 1, ``},
	} {
		if string(c.got.Context) != c.want || c.got.Type != c.kind || c.got.ID != 9 || c.got.NodeID != 5 {
			t.Errorf("%+v with context %s, want type %d and %s", c.got, c.got.Context, c.kind, c.want)
		}
	}
}

// TestRules runs changes on one cluster: each line is a change, its result and
// the records it leaves.
func TestRules(t *testing.T) {
	c := New()
	for i, step := range []struct {
		change wire.ConfChange
		want   error
		kind   Kind
		writes string
	}{
		{AddChange(0, member(1, "http://a:1")), nil, Added, `members/1={"id":1,"peerURLs":["http://a:1"]}`},
		{AddChange(0, member(1, "http://z:1")), ErrIDExists, 0, ""},
		{AddChange(0, member(2, "http://a:1")), ErrPeerURLExists, 0, ""},
		{AddChange(0, member(0x2f, "http://b:1")), nil, Added, `members/2f={"id":47,"peerURLs":["http://b:1"]}`},
		{AddChange(0, learner(3, "http://c:1")), nil, Added, `members/3={"id":3,"peerURLs":["http://c:1"],"isLearner":true}`},
		{AddChange(0, learner(4, "http://d:1")), ErrTooManyLearners, 0, ""},
		{PromoteChange(0, 4), ErrIDNotFound, 0, ""},
		{PromoteChange(0, 1), ErrNotLearner, 0, ""},
		{PromoteChange(0, 3), nil, Promoted, `members/3={"id":3,"peerURLs":["http://c:1"]}`},
		{PromoteChange(0, 3), ErrNotLearner, 0, ""},
		{UpdateChange(0, member(3, "http://a:1")), ErrPeerURLExists, 0, ""},
		{UpdateChange(0, member(4, "http://e:1")), ErrIDNotFound, 0, ""},
		{UpdateChange(0, member(3, "http://c:1")), nil, Updated, `members/3={"id":3,"peerURLs":["http://c:1"]}`},
		{UpdateChange(0, member(3, "http://e:1")), nil, Updated, `members/3={"id":3,"peerURLs":["http://e:1"]}`},
		{RemoveChange(0, 4), ErrIDNotFound, 0, ""},
		{RemoveChange(0, 3), nil, Removed, "members/3 deleted members_removed/3=removed"},
		{RemoveChange(0, 3), ErrIDRemoved, 0, ""},
		{AddChange(0, member(3, "http://e:1")), ErrIDRemoved, 0, ""},
		{UpdateChange(0, member(3, "http://e:1")), ErrIDRemoved, 0, ""},
		{PromoteChange(0, 3), ErrIDRemoved, 0, ""},
		{AddChange(0, learner(4, "http://e:1")), nil, Added, `members/4={"id":4,"peerURLs":["http://e:1"],"isLearner":true}`},
		{RemoveChange(0, 4), nil, Removed, "members/4 deleted members_removed/4=removed"},
	} {
		before := render(c.Records())
		change, err := c.Apply(step.change, 1)
		c.check()
		if err != step.want && !(err == nil && step.want == nil) {
			t.Fatalf("step %d: %v, want %v", i, err, step.want)
		}
		if got := render(change.Writes); got != step.writes || change.Kind != step.kind {
			t.Fatalf("step %d: %d with %s, want %d with %s", i, change.Kind, got, step.kind, step.writes)
		}
		if err != nil && render(c.Records()) != before {
			t.Fatalf("step %d: a refused change changed the cluster", i)
		}
	}
	if cs := c.ConfState(); !slices.Equal(cs.Voters, []uint64{1, 0x2f}) || cs.Learners != nil || cs.AutoLeave {
		t.Errorf("configuration %+v", cs)
	}
}

func render(writes []Write) string {
	var parts []string
	for _, w := range writes {
		part := w.Bucket.Name() + "/" + string(w.Key)
		if w.Value == nil {
			part += " deleted"
		} else {
			part += "=" + string(w.Value)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

func TestUpdateKeepsAttributes(t *testing.T) {
	c := New()
	mustApply(t, c, AddChange(0, member(1, "http://a:1")))
	w, ok := c.SetAttributes(1, "n", []string{"http://c:1"})
	want := `members/1={"id":1,"peerURLs":["http://a:1"],"name":"n","clientURLs":["http://c:1"]}`
	if !ok || render([]Write{w}) != want {
		t.Errorf("attributes left %s, want %s", render([]Write{w}), want)
	}
	change := mustApply(t, c, UpdateChange(0, member(1, "http://b:1")))
	want = `members/1={"id":1,"peerURLs":["http://b:1"],"name":"n","clientURLs":["http://c:1"]}`
	if got := render(change.Writes); got != want {
		t.Errorf("update left %s, want %s", got, want)
	}
	if _, ok := c.SetAttributes(2, "x", nil); ok {
		t.Error("a missing member took attributes")
	}
}

func mustApply(t *testing.T, c *Cluster, cc wire.ConfChange) Change {
	t.Helper()
	change, err := c.Apply(cc, 1)
	if err != nil {
		t.Fatal(err)
	}
	return change
}

func TestTypeDecidesWhoVotes(t *testing.T) {
	c := New()
	cc := AddChange(0, learner(1, "http://a:1"))
	cc.Type = wire.ConfChangeAddNode
	if change := mustApply(t, c, cc); change.Member.IsLearner || len(c.ConfState().Voters) != 1 {
		t.Errorf("a voter was added as %+v", change.Member)
	}
}

func TestMalformedChanges(t *testing.T) {
	for _, cc := range []wire.ConfChange{
		{Type: wire.ConfChangeAddNode, NodeID: 1, Context: []byte("{")},
		{Type: wire.ConfChangeAddNode, NodeID: 1},
		{Type: wire.ConfChangeAddNode, NodeID: 1, Context: []byte(`{"id":2}`)},
		{Type: wire.ConfChangeAddNode, NodeID: 0, Context: []byte(`{"id":0}`)},
		{Type: 9, NodeID: 1, Context: []byte(`{"id":1}`)},
	} {
		c := New()
		if _, err := c.Apply(cc, 1); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", cc, err)
		}
		c.check()
	}
}

func TestRuleErrorsReachClients(t *testing.T) {
	for rule, want := range map[error]*kverr.Error{
		ErrIDRemoved: kverr.MemberNotFound, ErrIDExists: kverr.MemberExist, ErrIDNotFound: kverr.MemberNotFound,
		ErrPeerURLExists: kverr.PeerURLExist, ErrNotLearner: kverr.MemberNotLearner, ErrTooManyLearners: kverr.TooManyLearners,
	} {
		if got, ok := kverr.From(fmt.Errorf("applying: %w", rule)); !ok || got != want {
			t.Errorf("%v reaches clients as %v, want %v", rule, got, want)
		}
	}
}

func TestProperties(t *testing.T) {
	c := New()
	if _, err := c.SetVersion("three"); !errors.Is(err, ErrMalformed) || c.Version() != "" {
		t.Errorf("version %q, %v", c.Version(), err)
	}
	w, err := c.SetVersion("3.7.0")
	if err != nil || render([]Write{w}) != "cluster/clusterVersion=3.7.0" || c.Version() != "3.7.0" {
		t.Errorf("version left %s, %v", render([]Write{w}), err)
	}
	w = c.SetDowngrade(Downgrade{TargetVersion: "3.6.0", Enabled: true})
	if want := `cluster/downgrade={"target-version":"3.6.0","enabled":true}`; render([]Write{w}) != want || !c.Downgrade().Enabled {
		t.Errorf("downgrade left %s, want %s", render([]Write{w}), want)
	}
	w = c.SetDowngrade(Downgrade{})
	if want := `cluster/downgrade={"target-version":"","enabled":false}`; render([]Write{w}) != want {
		t.Errorf("downgrade left %s, want %s", render([]Write{w}), want)
	}
}

func TestLoadRefusesDamage(t *testing.T) {
	good := `{"id":1,"peerURLs":["http://a:1"]}`
	for _, w := range []Write{
		{schema.Members, []byte("01"), []byte(good)},
		{schema.Members, []byte("x"), []byte(good)},
		{schema.Members, []byte("2"), []byte(good)},
		{schema.Members, []byte("0"), []byte(`{"id":0}`)},
		{schema.Members, []byte("1"), []byte("{")},
		{schema.MembersRemoved, []byte("zz"), nil},
		{schema.Cluster, []byte("clusterVersion"), []byte("3")},
		{schema.Cluster, []byte("downgrade"), []byte("x")},
		{schema.Key, []byte("1"), []byte(good)},
	} {
		c := New()
		if err := c.Load(w.Bucket, w.Key, w.Value); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s/%s=%s: %v", w.Bucket.Name(), w.Key, w.Value, err)
		}
		c.check()
	}
}

func TestLoadLetsRemovalWin(t *testing.T) {
	record := []byte(`{"id":7,"peerURLs":["http://a:1"]}`)
	removed := Write{schema.MembersRemoved, []byte("7"), []byte(schema.RemovedMember)}
	for _, order := range [][]Write{{removed, {schema.Members, []byte("7"), record}}, {{schema.Members, []byte("7"), record}, removed}} {
		c := New()
		for _, w := range order {
			if err := c.Load(w.Bucket, w.Key, w.Value); err != nil {
				t.Fatal(err)
			}
		}
		c.check()
		if _, ok := c.Member(7); ok || !c.IsRemoved(7) {
			t.Errorf("loaded %+v", c.Members())
		}
	}
}

// TestRecordsRestoreTheCluster applies random changes and replays the records
// they left into a second cluster, which has to be equal.
func TestRecordsRestoreTheCluster(t *testing.T) {
	const seed = 13
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	c, stored := New(), map[string]Write{}
	applied := 0
	for range 3000 {
		change, err := c.Apply(randomChange(r), 2)
		c.check()
		if err == nil {
			applied++
		}
		for _, w := range change.Writes {
			if key := w.Bucket.Name() + "/" + string(w.Key); w.Value == nil {
				delete(stored, key)
			} else {
				stored[key] = w
			}
		}
	}
	again := New()
	for _, w := range stored {
		if err := again.Load(w.Bucket, w.Key, w.Value); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := render(again.Records()), render(c.Records()); got != want || applied < 50 {
		t.Errorf("after %d changes restored %s\nwant %s", applied, got, want)
	}
	if len(c.Members()) != len(c.Voters())+len(c.Learners()) {
		t.Error("a member is neither voter nor learner, or both")
	}
}

func randomChange(r *rand.Rand) wire.ConfChange {
	id, url := uint64(1+r.IntN(300)), fmt.Sprintf("http://h:%d", r.IntN(12))
	switch r.IntN(5) {
	case 0:
		return AddChange(1, member(id, url))
	case 1:
		return AddChange(1, learner(id, url))
	case 2:
		return PromoteChange(1, id)
	case 3:
		return UpdateChange(1, member(id, url))
	}
	return RemoveChange(1, id)
}

func FuzzApply(f *testing.F) {
	for _, cc := range []wire.ConfChange{AddChange(1, member(1, "http://a:1")), PromoteChange(1, 2), UpdateChange(1, member(2, "u")), RemoveChange(1, 2)} {
		f.Add(int32(cc.Type), cc.NodeID, cc.Context)
	}
	f.Fuzz(func(t *testing.T, kind int32, id uint64, context []byte) {
		c := New()
		c.Apply(AddChange(1, learner(2, "http://b:1")), 1)
		change, err := c.Apply(wire.ConfChange{Type: wire.ConfChangeType(kind), NodeID: id, Context: context}, 2)
		c.check()
		if (err == nil) != (len(change.Writes) > 0) {
			t.Fatalf("%v with %s", err, render(change.Writes))
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add(uint8(schema.Members), []byte("1"), []byte(`{"id":1,"peerURLs":["http://a:1"]}`))
	f.Add(uint8(schema.MembersRemoved), []byte("2"), []byte("removed"))
	f.Add(uint8(schema.Cluster), []byte("clusterVersion"), []byte("3.7.0"))
	f.Add(uint8(schema.Cluster), []byte("downgrade"), []byte(`{"enabled":true}`))
	f.Fuzz(func(t *testing.T, bucket uint8, key, value []byte) {
		c := New()
		if err := c.Load(schema.Bucket(bucket)%schema.NumBuckets, key, value); err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		c.check()
	})
}
