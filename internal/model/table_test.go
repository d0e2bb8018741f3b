package model

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// second is a time to write lives of leases with.
const second = int64(time.Second)

// good is a small right history with something of everything. The bad ones of
// the table below differ from it in one thing.
func good() *History {
	h := &History{Limits: Limits{LeaseGrace: 2 * time.Second}}
	h.Ops = []Op{
		/* 0 */ {Client: 1, Member: 1, Request: Request{Kind: Put, Key: "a", Value: "1"}, Response: Response{Revision: 2}, Call: 10, Return: 20},
		/* 1 */ {Client: 1, Member: 1, Request: Request{Kind: Range, Key: "a"}, Response: found(2, kv("a", "1", 2, 2, 1)), Call: 30, Return: 40},
		/* 2 */ {Client: 2, Member: 2, Request: Request{Kind: Put, Key: "a", Value: "2", PrevKV: true}, Response: Response{Revision: 3, KVs: []KV{kv("a", "1", 2, 2, 1)}}, Call: 35, Return: 60},
		/* 3 */ {Client: 1, Member: 1, Request: Request{Kind: Put, Key: "b", Value: "lost"}, Call: 50, Unknown: true},
		/* 4 */ {Client: 2, Member: 2, Request: Request{Kind: Put, Key: "c", Value: "3"}, Response: Response{Revision: 5}, Call: 70, Return: 80},
		/* 5 */ {Client: 3, Member: 3, Request: Request{Kind: Range, Key: "a", End: openEnd, Limit: 2}, Response: Response{
			Revision: 5, Count: 3, More: true, KVs: []KV{kv("a", "2", 2, 3, 2), kv("b", "lost", 4, 4, 1)},
		}, Call: 85, Return: 90},
		/* 6 */ {Client: 3, Member: 3, Request: Request{Kind: Range, Key: "a", Serializable: true}, Response: found(3, kv("a", "2", 2, 3, 2)), Call: 70, Return: 75},
		/* 7 */ {Client: 1, Member: 1, Request: Request{
			Kind: Txn, Compares: []Compare{{Key: "b", Target: TargetMod, Relation: Equal, Number: 4}},
			Then: []Request{{Kind: Delete, Key: "b", PrevKV: true}, {Kind: Put, Key: "d", Value: "4"}, {Kind: Range, Key: "b"}},
		}, Response: Response{Revision: 6, Succeeded: true, Responses: []Response{
			{Revision: 6, Count: 1, KVs: []KV{kv("b", "lost", 4, 4, 1)}}, {Revision: 6}, {Revision: 6},
		}}, Call: 95, Return: 100},
		/* 8 */ {Client: 2, Member: 2, Request: Request{Kind: Compact, AtRevision: 4}, Response: Response{Revision: 6}, Call: 110, Return: 120},
		/* 9 */ {Client: 2, Member: 2, Request: Request{Kind: Range, Key: "a", AtRevision: 3}, Response: Response{Failure: FailureCompacted}, Call: 130, Return: 140},
		/* 10 */ {Client: 2, Member: 2, Request: Request{Kind: Range, Key: "b", AtRevision: 5}, Response: found(6, kv("b", "lost", 4, 4, 1)), Call: 150, Return: 160},
		/* 11 */ {Client: 1, Member: 1, Request: Request{Kind: Grant, Lease: 7}, Response: Response{Revision: 6}, Call: 200, Return: 210},
		/* 12 */ {Client: 1, Member: 1, Request: Request{Kind: Put, Key: "l", Lease: 7}, Response: Response{Revision: 7}, Call: 220, Return: 230},
		/* 13 */ {Client: 3, Member: 3, Request: Request{Kind: Range, Key: "l"}, Response: Response{Revision: 8}, Call: 9 * second, Return: 9*second + 5},
		/* 14 */ {Client: 3, Member: 3, Request: Request{Kind: Put, Key: "l", Lease: 7}, Response: Response{Failure: FailureLeaseNotFound}, Call: 9*second + 10, Return: 9*second + 15},
	}
	h.Watches = []WatchLog{
		{Client: 4, Member: 2, Key: "a", End: openEnd, Start: 2, PrevKV: true, Until: 8, Responses: []WatchResponse{
			{Time: 25, Revision: 2, Events: []Event{{KV: kv("a", "1", 2, 2, 1)}}},
			{Time: 300, Revision: 7, Events: []Event{
				{KV: kv("a", "2", 2, 3, 2), Prev: &KV{Key: "a", Value: "1", Create: 2, Mod: 2, Version: 1}},
				{KV: kv("b", "lost", 4, 4, 1)},
				{KV: kv("c", "3", 5, 5, 1)},
				{Delete: true, KV: KV{Key: "b", Mod: 6}, Prev: &KV{Key: "b", Value: "lost", Create: 4, Mod: 4, Version: 1}},
				{KV: kv("d", "4", 6, 6, 1)},
			}},
			{Time: 310, Revision: 7, Events: []Event{{KV: KV{Key: "l", Create: 7, Mod: 7, Version: 1, Lease: 7}}}},
			{Time: 320, Revision: 7},
			{Time: 9 * second, Revision: 8, Events: []Event{
				{Delete: true, KV: KV{Key: "l", Mod: 8}, Prev: &KV{Key: "l", Create: 7, Mod: 7, Version: 1, Lease: 7}},
			}},
		}},
		{Client: 5, Member: 3, Key: "b", Start: 3, NoDelete: true, Responses: []WatchResponse{
			{Time: 400, Revision: 7, Events: []Event{{KV: kv("b", "lost", 4, 4, 1)}}},
			{Time: 410, Revision: 7},
		}},
		{Client: 5, Member: 3, Key: "a", Start: 2, Responses: []WatchResponse{{Time: 420, Canceled: true, CompactRevision: 4}}},
	}
	h.Leases = []LeaseLog{{
		ID: 7, TTL: 4, Granted: Span{Call: 200, Return: 210}, Renewed: []Span{{Call: 4 * second, Return: 4*second + 10}},
		Seen: 8 * second, Gone: 9*second + 5, Until: 10 * second,
	}}
	return h
}

func kv(key, value Bytes, create, mod, version int64) KV {
	return KV{Key: key, Value: value, Create: create, Mod: mod, Version: version}
}

func found(revision int64, kv KV) Response {
	return Response{Revision: revision, Count: 1, KVs: []KV{kv}}
}

// TestCompactionsAtOnce: a compaction may be answered, with a later revision, after another of a later revision that it came before.
func TestCompactionsAtOnce(t *testing.T) {
	put := func(revision, call int64) Op {
		return Op{Client: 1, Request: Request{Kind: Put, Key: "a"}, Response: Response{Revision: revision}, Call: call, Return: call + 5}
	}
	compact := func(client int, revision, header, call, ret int64) Op {
		return Op{Client: client, Request: Request{Kind: Compact, AtRevision: revision}, Response: Response{Revision: header}, Call: call, Return: ret}
	}
	h := &History{Ops: []Op{put(2, 1), put(3, 10), compact(2, 2, 4, 20, 60), compact(3, 3, 3, 25, 30), put(4, 40)}}
	if err := h.Check(time.Second); err != nil {
		t.Error(err)
	}
	h.Ops[2].Call = 31 // after the other has returned
	if err := h.Check(time.Second); err == nil {
		t.Error("the compaction of 2 succeeded after that of 3")
	}
}

func TestGoodHistory(t *testing.T) {
	if err := good().Check(time.Second); err != nil {
		t.Fatal(err)
	}
	if err := good().CheckSlowly(10 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// A bad history is the good one with one change.
type bad struct {
	name     string
	property string
	reason   string
	change   func(h *History)
}

func badOperations() []bad {
	return []bad{
		{"stale read", "linearizable", "behind it", func(h *History) { h.Ops[1].Call, h.Ops[1].Return = 65, 68 }},
		{"write undone", "linearizable", "behind it", func(h *History) { h.Ops[2].Call, h.Ops[2].Return = 71, 73; h.Ops[4].Call, h.Ops[4].Return = 62, 65 }},
		{"read of a value from nowhere", "linearizable", `"1"`, func(h *History) { h.Ops[1].KVs[0].Value = "x" }},
		{"wrong version", "linearizable", "version", func(h *History) { h.Ops[5].KVs[0].Version = 3 }},
		{"wrong create revision", "linearizable", "create", func(h *History) { h.Ops[5].KVs[0].Create = 3 }},
		{"wrong lease", "linearizable", "lease", func(h *History) { h.Ops[5].KVs[0].Lease = 3 }},
		{"wrong count", "linearizable", "count 4 instead of 3", func(h *History) { h.Ops[5].Count = 4 }},
		{"more denied", "linearizable", "more", func(h *History) { h.Ops[5].More = false }},
		{"a key missing", "linearizable", "1 keys instead of 2", func(h *History) { h.Ops[5].KVs = h.Ops[5].KVs[:1] }},
		{"previous value missing", "linearizable", "0 keys instead of 1", func(h *History) { h.Ops[2].KVs = nil }},
		{"one revision for two writes", "linearizable", "two writes", func(h *History) { h.Ops[4].Response.Revision = 3 }},
		{"acknowledged write lost", "linearizable", "", func(h *History) { h.Ops[5].Response.Count, h.Ops[5].More = 2, false }},
		{"a write nobody made", "linearizable", "nothing explains revision 4", func(h *History) { h.Ops = append(h.Ops[:3:3], h.Ops[4:]...) }},
		{"a write seen before its call", "linearizable", "revision 4", func(h *History) { h.Ops[3].Call = 84 }},
		{"wrong branch", "linearizable", "succeeded", func(h *History) { h.Ops[7].Request.Compares[0].Number = 5 }},
		{"inner answer wrong", "linearizable", "inner operation 0", func(h *History) { h.Ops[7].Responses[0].Count = 2 }},
		{"inner revision wrong", "linearizable", "inner operation 2", func(h *History) { h.Ops[7].Responses[2].Revision = 5 }},
		{"read below the compaction", "linearizable", "compacted", func(h *History) { h.Ops[9].Response = found(6, kv("a", "2", 2, 3, 2)) }},
		{"compacted without compaction", "linearizable", "compacted", func(h *History) { h.Ops[10].Response = Response{Failure: FailureCompacted} }},
		{"key of a lease that does not exist", "linearizable", "lease not found", func(h *History) { h.Ops[12].Lease = 8 }},
		{"lease not found while it lives", "linearizable", "nothing explains revision 7", func(h *History) { h.Ops[12].Response = Response{Failure: FailureLeaseNotFound} }},
		{"key outlives its lease", "linearizable", "count 1 instead of 0", func(h *History) {
			h.Ops[13].Response = Response{Revision: 8, Count: 1, KVs: []KV{{Key: "l", Create: 7, Mod: 7, Version: 1, Lease: 7}}}
		}},
		{"header of a grant from the future", "linearizable", "behind it", func(h *History) { h.Ops[11].Response.Revision = 7 }},
		{"returned before called", "record", "returned before", func(h *History) { h.Ops[4].Return = 69 }},
		{"more revisions than writes", "linearizable", "at most", func(h *History) { h.Ops[13].Response.Revision = 1 << 60 }},
	}
}

func badReads() []bad {
	return []bad{
		{"state that never was", "serializable", "version", func(h *History) { h.Ops[6].KVs[0].Version = 1 }},
		{"mixed revisions", "serializable", "instead of", func(h *History) { h.Ops[6].Response.Revision = 2 }},
		{"state of the future", "serializable", "did not exist", func(h *History) {
			h.Ops[6].Response = Response{Revision: 5, Count: 1, KVs: h.Ops[6].KVs}
			h.Ops[6].Call, h.Ops[6].Return = 61, 65
		}},
		{"member goes back", "serializable", "went back", func(h *History) { h.Ops[6].Call, h.Ops[6].Return = 92, 94 }},
		{"compacted without compaction", "serializable", "no reason", func(h *History) {
			h.Ops[6].AtRevision, h.Ops[6].Response = 5, Response{Failure: FailureCompacted}
		}},
	}
}

func badWatches() []bad {
	events := func(h *History) *[]Event { return &h.Watches[0].Responses[1].Events }
	return []bad{
		{"event lost", "watch", `not shown, when shown put "d"`, func(h *History) { *events(h) = append((*events(h))[:2:2], (*events(h))[4:]...) }},
		{"revision torn", "watch", "1 events of revision 6 instead of 2", func(h *History) { *events(h) = (*events(h))[:4] }},
		{"event again", "watch", "again", func(h *History) { *events(h) = append([]Event{{KV: kv("a", "1", 2, 2, 1)}}, *events(h)...) }},
		{"events out of order", "watch", "", func(h *History) { e := *events(h); e[0], e[2] = e[2], e[0] }},
		{"events of a revision out of order", "watch", "instead of", func(h *History) { e := *events(h); e[3], e[4] = e[4], e[3] }},
		{"wrong value", "watch", "instead of", func(h *History) { (*events(h))[2].KV.Value = "x" }},
		{"wrong previous value", "watch", "previous value", func(h *History) { (*events(h))[0].Prev.Value = "x" }},
		{"no previous value", "watch", "no previous value", func(h *History) { (*events(h))[3].Prev = nil }},
		{"previous value of nothing", "watch", "there was none", func(h *History) { (*events(h))[2].Prev = &KV{Key: "c"} }},
		{"previous value not asked for", "watch", "not asked for", func(h *History) { h.Watches[1].Responses[0].Events[0].Prev = &KV{Key: "b"} }},
		{"progress too early", "watch", "when told of progress", func(h *History) {
			r := h.Watches[1].Responses
			r[0], r[1] = r[1], r[0]
		}},
		{"end lost", "watch", "although it had the time", func(h *History) { h.Watches[0].Responses = h.Watches[0].Responses[:4] }},
		{"event before the write", "watch", "did not exist", func(h *History) { h.Watches[0].Responses[0].Time = 5 }},
		{"header below the event", "watch", "in the header", func(h *History) { h.Watches[0].Responses[1].Revision = 5 }},
		{"filtered event shown", "watch", "", func(h *History) {
			h.Watches[1].Responses[1].Events = []Event{{Delete: true, KV: KV{Key: "b", Mod: 6}}}
		}},
		{"event outside the range", "watch", "instead of", func(h *History) { h.Watches[1].Responses[0].Events[0].KV.Key = "c" }},
		{"canceled without compaction", "watch", "nobody had asked", func(h *History) { h.Watches[2].Responses[0].CompactRevision = 5 }},
		{"canceled above the compaction", "watch", "when 4 was next", func(h *History) { h.Watches[2].Start = 4 }},
	}
}

func badLeases() []bad {
	return []bad{
		{"gone early", "lease", "before its time", func(h *History) { h.Leases[0].Renewed[0] = Span{Call: 6 * second, Return: 6*second + 10} }},
		{"ended early, seen by a watcher", "lease", "the cluster had ended it", func(h *History) {
			h.Leases[0].Gone, h.Leases[0].TTL, h.Leases[0].Renewed, h.Limits.LeaseGrace = 0, 10, nil, 0
		}},
		{"gone late", "lease", "still there", func(h *History) { h.Leases[0].Seen, h.Leases[0].Gone = 11*second, 12*second }},
		{"never gone", "lease", "never seen gone", func(h *History) { h.Leases[0].Gone, h.Leases[0].Until = 0, 11*second }},
		{"renewed when gone", "lease", "renewed", func(h *History) {
			h.Leases[0].Renewed = append(h.Leases[0].Renewed, Span{Call: 9*second + 10, Return: 9*second + 20})
		}},
	}
}

// TestBadHistories: each change is found, as a breach of the property that it breaks.
func TestBadHistories(t *testing.T) {
	for _, group := range [][]bad{badOperations(), badReads(), badWatches(), badLeases()} {
		for _, c := range group {
			t.Run(c.property+" "+c.name, func(t *testing.T) {
				h := good()
				c.change(h)
				err := h.Check(5 * time.Second)
				var v *Violation
				if !errors.As(err, &v) {
					t.Fatalf("%v instead of a violation", err)
				}
				if v.Property != c.property || !strings.Contains(v.Reason, c.reason) {
					t.Errorf("%v\ninstead of a breach of %q with %q", err, c.property, c.reason)
				}
			})
		}
	}
}

// TestStillGood: changes that look bad and are allowed.
func TestStillGood(t *testing.T) {
	cases := []struct {
		name   string
		change func(h *History)
	}{
		{"previous value compacted", func(h *History) { h.Watches[0].Responses[1].Events[0].Prev = nil }},
		{"a watcher that broke off", func(h *History) { h.Watches[0].Responses = h.Watches[0].Responses[:3]; h.Watches[0].Until = 7 }},
		{"an unknown renewal does not promise", func(h *History) {
			h.Leases[0].Renewed = append(h.Leases[0].Renewed, Span{Call: 6 * second, Return: 7 * second, Unknown: true})
		}},
		{"a client revoked", func(h *History) {
			h.Leases[0].Renewed[0].Call, h.Leases[0].Renewed[0].Return = 7*second, 7*second+10
			h.Leases[0].Revoked = &Span{Call: 8 * second, Return: 8*second + 1, Unknown: true}
		}},
		{"clocks drift", func(h *History) {
			h.Leases[0].Renewed[0] = Span{Call: 5*second + second/5, Return: 5*second + second/4}
			h.Limits.ClockDrift = 0.1
		}},
		{"no limit for the end of leases", func(h *History) { h.Leases[0].Seen, h.Leases[0].Gone = 20*second, 21*second; h.Limits.LeaseGrace = 0 }},
		{"refused", func(h *History) { h.Ops[1].Response = Response{Failure: FailureRefused} }},
		{"an unknown write that never happened", func(h *History) {
			h.Ops = append(h.Ops, Op{Request: Request{Kind: Put, Key: "q"}, Call: 1, Unknown: true})
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := good()
			c.change(h)
			if err := h.Check(5 * time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}
