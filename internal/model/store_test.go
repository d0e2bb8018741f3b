package model

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// A scene is requests one after the other, each with the whole answer.
type scene struct {
	request Request
	want    Response
}

func play(t *testing.T, s *Store, scenes []scene) {
	t.Helper()
	for i, c := range scenes {
		got := s.Apply(c.request)
		if d := mismatch(c.request, c.want, got); d != "" {
			t.Fatalf("step %d, %s: %s", i, describeRequest(c.request), d)
		}
	}
}

func TestIncarnations(t *testing.T) {
	play(t, NewStore(Snapshot{}), []scene{
		{Request{Kind: Delete, Key: "k"}, Response{Revision: 1}},
		{Request{Kind: Put, Key: "k", Value: "1", PrevKV: true}, Response{Revision: 2}},
		{Request{Kind: Put, Key: "k", Value: "2"}, Response{Revision: 3}},
		{Request{Kind: Range, Key: "k"}, found(3, kv("k", "2", 2, 3, 2))},
		{Request{Kind: Delete, Key: "k", PrevKV: true}, Response{Revision: 4, Count: 1, KVs: []KV{kv("k", "2", 2, 3, 2)}}},
		{Request{Kind: Put, Key: "k"}, Response{Revision: 5}},
		{Request{Kind: Range, Key: "k"}, found(5, kv("k", "", 5, 5, 1))},
		{Request{Kind: Range, Key: "k", AtRevision: 3}, found(5, kv("k", "2", 2, 3, 2))},
		{Request{Kind: Range, Key: "k", AtRevision: 4}, Response{Revision: 5}},
		{Request{Kind: Range, Key: "k", AtRevision: 6}, Response{Failure: FailureFuture}},
		{Request{Kind: Put, Key: "k", IgnoreValue: true}, Response{Revision: 6}},
		{Request{Kind: Put, Key: "n", IgnoreLease: true}, Response{Failure: FailureKeyNotFound}},
	})
}

func TestRanges(t *testing.T) {
	s := NewStore(Snapshot{})
	for _, key := range []Bytes{"b", "a", "d", "c"} {
		s.Apply(Request{Kind: Put, Key: key, Value: "v"})
	}
	keys := func(r Request) string {
		r.Kind = Range
		text := ""
		for _, kv := range s.Apply(r).KVs {
			text += string(kv.Key)
		}
		return text
	}
	for _, c := range []struct {
		want    string
		request Request
	}{
		{"bc", Request{Key: "b", End: "d"}},
		{"bcd", Request{Key: "b", End: openEnd}},
		{"abcd", Request{Key: openEnd, End: openEnd}},
		{"ab", Request{Key: "a", End: "z", Limit: 2}},
		{"", Request{Key: "d", End: "b"}},
		{"c", Request{Key: "c"}},
		{"ab", Request{Key: "a", End: "z", AtRevision: 3}},
	} {
		if got := keys(c.request); got != c.want {
			t.Errorf("%s: %q instead of %q", describeRequest(c.request), got, c.want)
		}
	}
	play(t, s, []scene{
		{Request{Kind: Range, Key: "a", End: "z", CountOnly: true, Limit: 1}, Response{Revision: 5, Count: 4}},
		{Request{Kind: Range, Key: "a", KeysOnly: true}, found(5, kv("a", "", 3, 3, 1))},
		{Request{Kind: Compact, AtRevision: 4}, Response{Revision: 5}},
		{Request{Kind: Compact, AtRevision: 4}, Response{Failure: FailureCompacted}},
		{Request{Kind: Compact, AtRevision: 6}, Response{Failure: FailureFuture}},
		{Request{Kind: Range, Key: "a", AtRevision: 3}, Response{Failure: FailureCompacted}},
		{Request{Kind: Range, Key: "d", AtRevision: 4}, found(5, kv("d", "v", 4, 4, 1))},
	})
}

func TestTransactions(t *testing.T) {
	value := func(key, value Bytes) Compare {
		return Compare{Key: key, Target: TargetValue, Relation: NotEqual, Value: value}
	}
	play(t, NewStore(Snapshot{}), []scene{
		{ // a comparison of the value of a missing key is false, whatever it asks
			Request{Kind: Txn, Compares: []Compare{value("k", "x")}, Then: []Request{{Kind: Put, Key: "k"}}},
			Response{Revision: 1},
		},
		{ // a nested comparison looks at the state before the transaction
			Request{Kind: Txn, Then: []Request{
				{Kind: Range, Key: "k"},
				{Kind: Put, Key: "k", Value: "1"},
				{Kind: Txn, Compares: []Compare{{Key: "k", Target: TargetVersion, Relation: Equal}}, Then: []Request{{Kind: Range, Key: "k"}}},
			}},
			Response{Revision: 2, Succeeded: true, Responses: []Response{
				{Revision: 1}, {Revision: 2}, {Succeeded: true, Responses: []Response{found(2, kv("k", "1", 2, 2, 1))}},
			}},
		},
		{ // delete and put of a key in one revision: a new incarnation
			Request{Kind: Txn, Then: []Request{{Kind: Delete, Key: "a", End: openEnd}, {Kind: Put, Key: "k", Value: "2"}}},
			Response{Revision: 3, Succeeded: true, Responses: []Response{{Revision: 3, Count: 1}, {Revision: 3}}},
		},
		{Request{Kind: Range, Key: "k"}, found(3, kv("k", "2", 3, 3, 1))},
		{ // one failure and nothing happens
			Request{Kind: Txn, Then: []Request{{Kind: Put, Key: "k", Value: "3"}, {Kind: Put, Key: "l", Lease: 9}}},
			Response{Failure: FailureLeaseNotFound},
		},
		{Request{Kind: Range, Key: "k"}, found(3, kv("k", "2", 3, 3, 1))},
		{ // a range compared holds for every key
			Request{Kind: Txn, Compares: []Compare{{Key: "a", End: "z", Target: TargetMod, Relation: Greater, Number: 2}}},
			Response{Revision: 3, Succeeded: true},
		},
	})
}

func TestLeases(t *testing.T) {
	s := NewStore(Snapshot{})
	play(t, s, []scene{
		{Request{Kind: Put, Key: "k", Lease: 1}, Response{Failure: FailureLeaseNotFound}},
		{Request{Kind: Grant, Lease: 1}, Response{Revision: 1}},
		{Request{Kind: Grant, Lease: 1}, Response{Failure: FailureLeaseExists}},
		{Request{Kind: Put, Key: "k", Lease: 1}, Response{Revision: 2}},
		{Request{Kind: Put, Key: "b", Lease: 1}, Response{Revision: 3}},
		{Request{Kind: Put, Key: "c", Lease: 1}, Response{Revision: 4}},
		{Request{Kind: Put, Key: "c"}, Response{Revision: 5}},
		{Request{Kind: Put, Key: "k", IgnoreLease: true, Value: "x"}, Response{Revision: 6}},
		{Request{Kind: Revoke, Lease: 1}, Response{Revision: 7}},
		{Request{Kind: Revoke, Lease: 1}, Response{Failure: FailureLeaseNotFound}},
		{Request{Kind: Range, Key: "a", End: openEnd}, found(7, kv("c", "", 4, 5, 2))},
	})
	if got := describeEvents(s.Events(7)); got != `delete "b" in 7; delete "k" in 7` {
		t.Errorf("the revocation's events: %s", got)
	}
}

// TestRollback: going back leaves what was there, whatever was done.
func TestRollback(t *testing.T) {
	rng := newSeed(t)
	for range 200 {
		w := newWorld(t, rng, 1)
		for range rng.IntN(40) {
			w.store.Apply(w.request())
		}
		before, mark := w.store.Clone(), w.store.mark()
		for range rng.IntN(20) {
			w.store.Apply(w.request())
		}
		w.store.rollback(mark)
		everything := Request{Kind: Range, Key: openEnd, End: openEnd}
		if !w.store.equal(before) || !reflect.DeepEqual(w.store.Apply(everything), before.Apply(everything)) {
			t.Fatal("going back does not lead back")
		}
	}
}

// TestClone: a copy does not see what happens to the original, nor the other way.
func TestClone(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	w := newWorld(t, rng, 1)
	for range 50 {
		w.store.Apply(w.put())
	}
	everything := Request{Kind: Range, Key: openEnd, End: openEnd}
	c := w.store.Clone()
	want := c.Apply(everything)
	for range 50 {
		w.store.Apply(w.request())
	}
	if !reflect.DeepEqual(c.Apply(everything), want) {
		t.Error("the copy has changed with the original")
	}
	now := w.store.Apply(everything)
	for range 50 {
		c.Apply(w.request())
	}
	if !reflect.DeepEqual(w.store.Apply(everything), now) {
		t.Error("the original has changed with the copy")
	}
}

// TestStart: a history may begin with what is there.
func TestStart(t *testing.T) {
	start := Snapshot{Revision: 10, KVs: []KV{kv("k", "v", 4, 9, 3)}, Leases: []int64{5}}
	play(t, NewStore(start), []scene{
		{Request{Kind: Range, Key: "k"}, found(10, kv("k", "v", 4, 9, 3))},
		{Request{Kind: Range, Key: "k", AtRevision: 9}, Response{Failure: FailureCompacted}},
		{Request{Kind: Put, Key: "k", Lease: 5}, Response{Revision: 11}},
		{Request{Kind: Range, Key: "k"}, found(11, KV{Key: "k", Create: 4, Mod: 11, Version: 4, Lease: 5})},
	})
	h := History{Start: start, Ops: []Op{{Request: Request{Kind: Put, Key: "z"}, Response: Response{Revision: 11}, Call: 1, Return: 2}}}
	if err := h.Check(0); err != nil {
		t.Error(err)
	}
}
