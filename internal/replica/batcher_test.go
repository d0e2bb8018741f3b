package replica_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

// run is entries from index from on, up to and including to.
func run(term, from, to uint64) (entries []wire.Entry) {
	for index := from; index <= to; index++ {
		entries = append(entries, wire.Entry{Term: term, Index: index})
	}
	return entries
}

func commit(index uint64) wire.HardState { return wire.HardState{Term: 2, Vote: 1, Commit: index} }

func output(seq uint64, entries []wire.Entry, state wire.HardState, sync bool) replica.Output {
	return replica.Output{Seq: seq, Log: wal.Batch{Entries: entries, HardState: state, Sync: sync}}
}

func TestBatcher(t *testing.T) {
	mark := &wal.Mark{Index: 4, Term: 2}
	markOnly := replica.Output{Log: wal.Batch{Mark: mark, Sync: true}}
	ack := replica.Output{Seq: 9, AfterSync: []wire.Message{{Type: wire.MsgAppResp, To: 3}}}
	none := wire.HardState{}
	cases := []struct {
		name  string
		calls [][]replica.Output
		want  replica.Joined // of the last call
	}{
		{"what comes together is one batch", [][]replica.Output{{
			output(1, run(2, 1, 2), commit(0), true), output(2, run(2, 3, 3), commit(1), true),
		}}, replica.Joined{Write: true, Persisted: 2, Log: wal.Batch{Entries: run(2, 1, 3), HardState: commit(1), Sync: true}}},
		{"a commit index waits", [][]replica.Output{{output(1, nil, commit(1), false)}}, replica.Joined{Log: wal.Batch{HardState: commit(1)}}},
		{"and is written with what comes next", [][]replica.Output{
			{output(1, nil, commit(1), false)}, {output(2, run(2, 2, 2), none, true)},
		}, replica.Joined{Write: true, Persisted: 2, Log: wal.Batch{Entries: run(2, 2, 2), HardState: commit(1), Sync: true}}},
		{"but only once", [][]replica.Output{
			{output(1, nil, commit(1), false)}, {output(2, run(2, 2, 2), none, true)}, {output(3, run(2, 3, 3), none, true)},
		}, replica.Joined{Write: true, Persisted: 3, Log: wal.Batch{Entries: run(2, 3, 3), Sync: true}}},
		{"a later commit index takes its place", [][]replica.Output{
			{output(1, nil, commit(1), false)}, {output(2, nil, commit(2), false)},
		}, replica.Joined{Log: wal.Batch{HardState: commit(2)}}},
		{"a mark has no number to report", [][]replica.Output{{
			output(5, run(2, 3, 3), none, true), markOnly,
		}}, replica.Joined{Write: true, Persisted: 5, Log: wal.Batch{Entries: run(2, 3, 3), Mark: mark, Sync: true}}},
		{"a mark brings the hard state that commits it", [][]replica.Output{
			{output(1, nil, commit(4), false)}, {markOnly},
		}, replica.Joined{Write: true, Log: wal.Batch{HardState: commit(4), Mark: mark, Sync: true}}},
		{"entries replace those of their index and above", [][]replica.Output{{
			output(1, run(2, 3, 6), none, true), output(2, run(3, 5, 5), none, true),
		}}, replica.Joined{Write: true, Persisted: 2, Log: wal.Batch{Entries: append(run(2, 3, 4), run(3, 5, 5)...), Sync: true}}},
		{"even all of them", [][]replica.Output{{
			output(1, run(2, 3, 6), none, true), output(2, run(3, 2, 2), none, true),
		}}, replica.Joined{Write: true, Persisted: 2, Log: wal.Batch{Entries: run(3, 2, 2), Sync: true}}},
		{"what waits for the disk leaves with the batch", [][]replica.Output{{
			output(8, run(2, 3, 3), none, true), ack,
		}}, replica.Joined{Write: true, Persisted: 9, AfterSync: ack.AfterSync, Log: wal.Batch{Entries: run(2, 3, 3), Sync: true}}},
		{"or at once, if all before is written", [][]replica.Output{{ack}}, replica.Joined{AfterSync: ack.AfterSync}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var b replica.Batcher
			var got replica.Joined
			for _, outs := range c.calls {
				before := fmt.Sprint(outs)
				got = b.Join(outs)
				if after := fmt.Sprint(outs); after != before {
					t.Errorf("outputs were changed from %s to %s", before, after)
				}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
			if rest := b.Rest().HardState; got.Write == (rest != none) && got.Log.HardState != none {
				t.Errorf("written %v, still held %+v", got.Write, rest)
			}
		})
	}
}

// TestASnapshotBeginsABatch: what was to be written before it is not joined with it, what comes after is; a long batch is cut.
func TestASnapshotBeginsABatch(t *testing.T) {
	mark := &wal.Mark{Index: 7, Term: 2}
	install := replica.Output{
		Seq: 3, Install: &wire.Snapshot{Meta: wire.SnapshotMeta{Index: 7, Term: 2}},
		Log: wal.Batch{Mark: mark, HardState: commit(7), Sync: true},
	}
	before, after := output(2, run(2, 3, 9), wire.HardState{}, true), output(4, run(2, 8, 8), commit(8), true)
	large := output(9, []wire.Entry{{Data: make([]byte, 5<<20)}}, wire.HardState{}, true)
	for _, c := range []struct {
		outs []replica.Output
		want int
	}{
		{[]replica.Output{before, before}, 2},
		{[]replica.Output{before, install, after}, 1},
		{[]replica.Output{install, after}, 2},
		{[]replica.Output{install, install}, 1},
		{[]replica.Output{large, large}, 1},
		{[]replica.Output{large, before, large}, 2},
		{[]replica.Output{before}, 1},
		{nil, 0},
	} {
		if got := replica.Together(c.outs); got != c.want {
			t.Errorf("%d of %d outputs in one batch, want %d", got, len(c.outs), c.want)
		}
	}
	var b replica.Batcher
	want := replica.Joined{Write: true, Persisted: 4, Installed: 7, Log: wal.Batch{Mark: mark, Entries: run(2, 8, 8), HardState: commit(8), Sync: true}}
	if got := b.Join([]replica.Output{install, after}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
