package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
	"github.com/quoin-kv/quoin/sim/plan"
)

// newWorld returns a world with two hosts, on which nothing runs.
func newWorld() (w *world, a, b *member) {
	w = newEmpty(&plan.Plan{Seed: 1, Tuning: plan.Tuning{SegmentBytes: 1 << 16}}, nil)
	one := func(id uint64) *member {
		return &member{host: w.newHost(id, w.operator.nextURL()), w: w, terms: logTerms{terms: []uint64{0}}}
	}
	return w, one(1), one(2)
}

func entries(term, from, to uint64) (all []wire.Entry) {
	for index := from; index <= to; index++ {
		all = append(all, wire.Entry{Term: term, Index: index, Data: []byte{byte(term), byte(index)}})
	}
	return all
}

// TestJudge shows each judge what it has to find, and the nearest that is lawful.
func TestJudge(t *testing.T) {
	vote := func(to, term uint64) *wire.Message { return &wire.Message{Type: wire.MsgVoteResp, To: to, Term: term} }
	cases := []struct {
		name string
		do   func(j *judge, a, b *member)
		want string // the check that speaks
	}{
		{"leaders of two terms", func(j *judge, a, b *member) { j.elected(a, 2); j.elected(b, 3); j.elected(b, 3) }, ""},
		{"two leaders of a term", func(j *judge, a, b *member) { j.elected(a, 2); j.elected(b, 2) }, "election-safety"},
		{"a vote twice for the same", func(j *judge, a, _ *member) {
			j.sent(a.host, vote(2, 4))
			j.sent(a.host, vote(2, 4))
			j.sent(a.host, vote(3, 5))
		}, ""},
		{"two votes", func(j *judge, a, _ *member) { j.sent(a.host, vote(2, 4)); j.sent(a.host, vote(3, 4)) }, "one-vote"},
		{"equal logs", func(j *judge, a, b *member) { a.terms.append(a, entries(2, 1, 4)); b.terms.append(b, entries(2, 1, 4)) }, ""},
		{"replaced entries", func(j *judge, a, b *member) { a.terms.append(a, entries(2, 1, 4)); a.terms.append(a, entries(3, 3, 3)) }, ""},
		{"another entry of the same term", func(j *judge, a, b *member) {
			a.terms.append(a, entries(2, 1, 1))
			b.terms.append(b, []wire.Entry{{Term: 2, Index: 1, Data: []byte("other")}})
		}, "log-matching"},
		{"the same entry behind another one", func(j *judge, a, b *member) {
			a.terms.append(a, append(entries(2, 1, 1), entries(3, 2, 2)...))
			b.terms.append(b, append(entries(1, 1, 1), entries(3, 2, 2)...))
		}, "log-matching"},
		{"a gap", func(j *judge, a, _ *member) { a.terms.append(a, entries(2, 2, 2)) }, "log-gap"},
		{"the same decisions", func(j *judge, a, b *member) { j.decided(a, entries(2, 1, 3)); j.decided(b, entries(2, 1, 2)) }, ""},
		{"another decision", func(j *judge, a, b *member) { j.decided(a, entries(2, 1, 3)); j.decided(b, entries(3, 1, 1)) }, "state-machine-safety"},
		{"a decision left out", func(j *judge, a, _ *member) { j.decided(a, entries(2, 2, 2)) }, "state-machine-safety"},
		{"a leader with everything", func(j *judge, a, b *member) {
			j.decided(a, entries(2, 1, 3))
			j.committed(a, wire.HardState{Term: 2, Commit: 3})
			b.terms.append(b, entries(2, 1, 3))
			j.elected(b, 3)
		}, ""},
		{"a leader of before", func(j *judge, a, b *member) {
			j.decided(a, entries(2, 1, 3))
			j.committed(a, wire.HardState{Term: 4, Commit: 3})
			j.elected(b, 3)
		}, ""},
		{"a leader that lacks an entry", func(j *judge, a, b *member) {
			j.decided(a, entries(2, 1, 3))
			j.committed(a, wire.HardState{Term: 2, Commit: 3})
			b.terms.append(b, entries(2, 1, 2))
			j.elected(b, 3)
		}, "leader-completeness"},
		{"a leader with another entry", func(j *judge, a, b *member) {
			j.decided(a, entries(2, 1, 3))
			j.committed(a, wire.HardState{Term: 2, Commit: 3})
			b.terms.append(b, append(entries(2, 1, 2), entries(1, 3, 3)...))
			j.elected(b, 3)
		}, "leader-completeness"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := newWorld()
			c.do(w.judge, a, b)
			switch {
			case c.want == "" && w.failure != nil:
				t.Errorf("found %v", w.failure)
			case c.want != "" && (w.failure == nil || w.failure.Check != c.want):
				t.Errorf("found %v, want %s", w.failure, c.want)
			}
		})
	}
}

// TestRemembers: a restart that lacks what was promised is found.
func TestRemembers(t *testing.T) {
	made := promise{wire.HardState{Term: 5, Vote: 2}, 10, 4}
	found := func(term, vote, last, lastTerm uint64) *wal.Recovered {
		return &wal.Recovered{
			HardState: wire.HardState{Term: term, Vote: vote},
			Mark:      wal.Mark{Index: last - 1}, Entries: []wire.Entry{{Index: last, Term: lastTerm}},
		}
	}
	cases := []struct {
		name string
		rec  *wal.Recovered
		file uint64
		want string
	}{
		{"everything", found(5, 2, 10, 4), 10, ""},
		{"more", found(6, 0, 12, 6), 11, ""},
		{"a shorter log of a later term", found(6, 0, 9, 6), 8, ""},
		{"the term is lost", found(4, 2, 10, 4), 10, "forgot"},
		{"the vote is lost", found(5, 0, 10, 4), 10, "forgot"},
		{"another vote", found(5, 1, 10, 4), 10, "forgot"},
		{"an entry is lost", found(5, 2, 9, 4), 9, "forgot"},
		{"entries of an earlier term", found(5, 2, 20, 3), 20, "forgot"},
		{"the file is ahead", found(5, 2, 10, 4), 11, "the file is at"},
		{"the file is behind the mark", found(5, 2, 12, 4), 10, "the file is at"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, a, _ := newWorld()
			a.host.promised = made
			err := a.host.remembers(c.rec, schema.Applied{Index: c.file})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestReplacing: entries that are being replaced need not be remembered, those before them do.
func TestReplacing(t *testing.T) {
	p := promise{index: 10, term: 4}
	p.replacing(entries(5, 11, 12))
	if p.index != 10 || p.term != 4 {
		t.Errorf("promised %+v before entries behind the end", p)
	}
	p.replacing(entries(3, 8, 8))
	if p.index != 7 || p.term != 0 {
		t.Errorf("promised %+v while 8 is replaced", p)
	}
	_, a, _ := newWorld()
	a.host.promised = p
	short := &wal.Recovered{Mark: wal.Mark{Index: 5}, Entries: entries(2, 6, 6)}
	if err := a.host.remembers(short, schema.Applied{Index: 5}); err == nil {
		t.Error("an entry before the replaced ones is missing")
	}
	long := &wal.Recovered{Mark: wal.Mark{Index: 5}, Entries: entries(3, 6, 8)}
	if err := a.host.remembers(long, schema.Applied{Index: 5}); err != nil {
		t.Error(err)
	}
}

// TestPromises: what messages tell others has to be remembered.
func TestPromises(t *testing.T) {
	_, a, _ := newWorld()
	p := &a.host.promised
	p.told(a, &wire.Message{Type: wire.MsgVoteResp, To: 2, Term: 3})
	p.told(a, &wire.Message{Type: wire.MsgVoteResp, To: 9, Term: 7, Reject: true})
	if want := (wire.HardState{Term: 3, Vote: 2}); p.state != want {
		t.Errorf("promised %v, want %v", p.state, want)
	}
	p.told(a, &wire.Message{Type: wire.MsgVote, From: 1, Term: 4})
	if want := (wire.HardState{Term: 4, Vote: 1}); p.state != want {
		t.Errorf("promised %v, want %v", p.state, want)
	}
}

// TestDiskFaults: the calls that are to fail do, and no others.
func TestDiskFaults(t *testing.T) {
	w, a, _ := newWorld()
	h := a.host
	h.create(nil)
	open := func() (*wal.Log, error) {
		log, _, err := wal.Open(h.walConfig())
		return log, err
	}
	log, err := open()
	if err != nil {
		t.Fatal(err)
	}
	write := func(index uint64) error {
		return log.Write(wal.Batch{Entries: entries(1, index, index), HardState: wire.HardState{Term: 1}, Sync: true})
	}
	if err := write(1); err != nil {
		t.Fatal(err)
	}
	h.sync = true
	if err := write(2); err == nil {
		t.Error("a sync that was to fail did not")
	}
	if err := log.Close(); err == nil {
		t.Error("the log goes on after a sync has failed")
	}
	h.power, h.room = -1, 10
	h.fs = h.fs.Crash(h.crashOptions())
	if log, err = open(); err != nil {
		t.Fatal(err)
	}
	if err := write(2); err == nil {
		t.Error("a full disk took an entry")
	}
	if w.failure != nil {
		t.Error(w.failure)
	}
}

// TestJudgeError: what errors say of the state.
func TestJudgeError(t *testing.T) {
	cases := []struct {
		err      error
		failure  model.Failure
		definite bool
	}{
		{nil, "", false},
		{errNoAnswer, "", false},
		{kverr.Timeout, "", false},
		{kverr.Stopped, "", false},
		{context.DeadlineExceeded, model.FailureRefused, true},
		{kverr.TooManyRequests, model.FailureRefused, true},
		{kverr.Compacted, model.FailureCompacted, true},
		{kverr.FutureRev, model.FailureFuture, true},
		{fmt.Errorf("wrapped: %w", kverr.LeaseNotFound), model.FailureLeaseNotFound, true},
	}
	for _, c := range cases {
		if failure, definite := judgeError(c.err); failure != c.failure || definite != c.definite {
			t.Errorf("%v: %q %v, want %q %v", c.err, failure, definite, c.failure, c.definite)
		}
	}
}
