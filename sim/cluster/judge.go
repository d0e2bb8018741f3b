package cluster

import (
	"hash/crc32"

	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
	"github.com/quoin-kv/quoin/sim/client"
)

// judge watches what all members do, and knows what the Raft paper promises of it (figure 3).
type judge struct {
	w       *world
	leaders map[uint64]uint64     // election safety: the leader of each term
	votes   map[[2]uint64]uint64  // by member and term: for whom it has voted
	entries map[[2]uint64]content // log matching: by index and term
	log     []decided             // state machine safety: what was committed, from index 1 on
	audit   model.WatchLog        // what a watcher of everything would see that is always first
	audited int64                 // revision up to which audit goes
	commits map[uint64]uint64     // leader completeness: by term, up to where a member of that term knew the log to be committed
}

// content is what an entry holds, and the term of the entry before it.
type content struct {
	sum  uint32
	prev uint64
}

// decided is a committed entry, and the revision of the store after a batch that ended with it, -1 if none has.
type decided struct {
	term uint64
	sum  uint32
	rev  int64
}

func newJudge(w *world) *judge {
	return &judge{
		w: w, audited: 1, audit: model.WatchLog{Client: -1, Key: "\x00", End: "\x00", Start: 2},
		leaders: map[uint64]uint64{}, votes: map[[2]uint64]uint64{}, entries: map[[2]uint64]content{}, commits: map[uint64]uint64{},
	}
}

func sum(e *wire.Entry) uint32 { return crc32.ChecksumIEEE(e.Data) ^ uint32(e.Type)<<31 }

// elected notes a leader.
func (j *judge) elected(m *member, term uint64) {
	j.w.engine.Note("leads", m.host.index, term)
	if other, ok := j.leaders[term]; ok && other != m.host.id {
		j.w.fail("election-safety", "members %x and %x both lead in term %d", other, m.host.id, term)
	}
	j.leaders[term] = m.host.id
	j.w.ambush(m.host)
	j.w.greet(m.host)
	needed := uint64(0)
	for t, commit := range j.commits {
		if t < term {
			needed = max(needed, commit)
		}
	}
	needed = min(needed, uint64(len(j.log)))
	if needed == 0 || needed <= m.terms.base {
		return
	}
	if has, ok := m.terms.at(needed); !ok || has != j.log[needed-1].term {
		j.w.fail("leader-completeness", "member %x leads in term %d; its entry %d has term %d (there: %v), committed was one of term %d",
			m.host.id, term, needed, has, ok, j.log[needed-1].term)
	}
}

// committed notes how far a member knows the log to be committed.
func (j *judge) committed(m *member, state wire.HardState) {
	j.commits[state.Term] = max(j.commits[state.Term], state.Commit)
}

// appended notes an entry that a member's log got behind one of term prev.
func (j *judge) appended(m *member, e *wire.Entry, prev uint64) {
	key, has := [2]uint64{e.Index, e.Term}, content{sum(e), prev}
	if other, ok := j.entries[key]; ok && other != has {
		j.w.fail("log-matching", "member %x has entry %d of term %d as %v, another member as %v", m.host.id, e.Index, e.Term, has, other)
	}
	j.entries[key] = has
}

// decided notes entries that a member takes for committed.
func (j *judge) decided(m *member, entries []wire.Entry) {
	for i := range entries {
		e := &entries[i]
		switch at := int(e.Index) - 1; {
		case at > len(j.log):
			j.w.fail("state-machine-safety", "member %x applies %d, only %d entries were committed", m.host.id, e.Index, len(j.log))
			return
		case at == len(j.log):
			j.log = append(j.log, decided{e.Term, sum(e), -1})
		case j.log[at].term != e.Term || j.log[at].sum != sum(e):
			j.w.fail("state-machine-safety", "member %x applies entry %d of term %d, committed was another one of term %d", m.host.id, e.Index, e.Term, j.log[at].term)
			return
		}
	}
}

// applied notes the state after a batch.
func (j *judge) applied(m *member, entries []wire.Entry, b *replica.Batch) {
	j.w.engine.Note("applied", m.host.index, b.Index, uint64(b.View.Rev()))
	if last := entries[len(entries)-1].Index; last != b.Index {
		j.w.fail("applied-order", "member %x reports %d after it applied %d", m.host.id, b.Index, last)
		return
	}
	j.state(m, b)
	j.watch(b)
}

// watch notes the events of a batch unless another member had them before.
func (j *judge) watch(b *replica.Batch) {
	var events []model.Event
	for i := range b.Events {
		e := &b.Events[i]
		if e.Rev.Main <= j.audited {
			continue
		}
		ev := model.Event{Delete: e.Delete, KV: model.KV{Key: model.Bytes(e.Key), Mod: e.Rev.Main}}
		if !e.Delete {
			kv, err := client.KV(e.Record)
			if err != nil {
				j.w.fail("codec", "record of revision %d: %v", e.Rev.Main, err)
			}
			ev.KV = kv
		}
		events = append(events, ev)
	}
	if j.audited = max(j.audited, b.View.Rev()); len(events) > 0 {
		j.audit.Responses = append(j.audit.Responses, model.WatchResponse{Time: j.w.engine.Now(), Revision: j.audited, Events: events})
	}
}

// installed notes the state after a snapshot.
func (j *judge) installed(m *member, b *replica.Batch) {
	j.w.engine.Note("installed", m.host.index, b.Index, uint64(b.View.Rev()))
	if b.Index > uint64(len(j.log)) {
		j.w.fail("state-machine-safety", "member %x installs a snapshot up to %d, only %d entries were committed", m.host.id, b.Index, len(j.log))
		return
	}
	j.state(m, b)
}

// state compares the state after an entry with what others found there.
func (j *judge) state(m *member, b *replica.Batch) {
	at := &j.log[b.Index-1]
	if at.rev >= 0 && at.rev != b.View.Rev() {
		j.w.fail("determinism", "member %x is at revision %d after entry %d, another one was at %d", m.host.id, b.View.Rev(), b.Index, at.rev)
	}
	at.rev = b.View.Rev()
}

// sent notes a message.
func (j *judge) sent(from *host, m *wire.Message) {
	if from.member != nil {
		from.promised.told(from.member, m)
	}
	if m.Type != wire.MsgVoteResp || m.Reject {
		return
	}
	key := [2]uint64{from.id, m.Term}
	if other, ok := j.votes[key]; ok && other != m.To {
		j.w.fail("one-vote", "member %x votes for %x and for %x in term %d", from.id, other, m.To, m.Term)
	}
	j.votes[key] = m.To
}

// logTerms is a member's log as terms, which is all that matters for comparing logs that match.
type logTerms struct {
	base  uint64 // index of the first of terms
	terms []uint64
}

// reset takes over what a restart found.
func (l *logTerms) reset(rec *wal.Recovered) {
	l.base, l.terms = rec.Mark.Index, append(l.terms[:0], rec.Mark.Term)
	for i := range rec.Entries {
		l.terms = append(l.terms, rec.Entries[i].Term)
	}
}

// append takes over what the core wants stored.
func (l *logTerms) append(m *member, entries []wire.Entry) {
	for i := range entries {
		e := &entries[i]
		keep := e.Index - l.base
		if e.Index <= l.base || keep > uint64(len(l.terms)) {
			m.w.fail("log-gap", "member %x appends %d, its log goes from %d to %d", m.host.id, e.Index, l.base, l.base+uint64(len(l.terms))-1)
			return
		}
		l.terms = append(l.terms[:keep], e.Term)
		m.w.judge.appended(m, e, l.terms[keep-1])
	}
}

// restart forgets everything for a snapshot.
func (l *logTerms) restart(meta wire.SnapshotMeta) {
	l.base, l.terms = meta.Index, append(l.terms[:0], meta.Term)
}

// at is the term of an entry, and false if it is not there.
func (l *logTerms) at(index uint64) (uint64, bool) {
	if index < l.base || index >= l.base+uint64(len(l.terms)) {
		return 0, false
	}
	return l.terms[index-l.base], true
}
