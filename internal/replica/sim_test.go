package replica_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/raft/wire"
)

var (
	seedFlag = flag.Uint64("seed", 0, "run the simulation of this seed only")
	runsFlag = flag.Int("runs", 30, "how many simulations to run")
)

const steps = 10000

// TestSimulation runs members on one thread, with writes, flushes, applies, messages and crashes in any lawful order, and then demands that
// a healed cluster gets on.
func TestSimulation(t *testing.T) {
	first, runs := rand.Uint64()>>1, *runsFlag
	if *seedFlag != 0 {
		first, runs = *seedFlag, 1
	}
	for i := range uint64(runs) {
		seed := first + i
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { simulate(t, seed) }) {
			t.Fatalf("reproduce with: go test ./internal/replica -run TestSimulation -seed %d", seed)
		}
	}
}

// weather is how bad a run is; each run draws its own, so that some runs do little of one thing and much of another.
type weather struct {
	crash, restart, lose, repeat, reorder, gather float64
}

type simulation struct {
	t       testing.TB
	rng     *rand.Rand
	weather weather
	members []*member
	network []wire.Message
	uploads []upload
	history *history
	counts  struct{ sent, installed int }
	ids     uint64 // of proposals and reads, never the same twice
}

func simulate(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	part := func(most float64) float64 { return most * rng.Float64() * float64(rng.IntN(2)) }
	s := &simulation{t: t, rng: rng, history: newHistory(t), weather: weather{
		crash: part(0.01), restart: 0.1 * rng.Float64() * rng.Float64(), lose: part(0.2), repeat: part(0.1), reorder: part(0.8), gather: part(0.9),
	}}
	opts := replica.ConsensusOptions{
		MarkEvery: uint64(1 + rng.IntN(60)), CatchupEntries: uint64(rng.IntN(2) * rng.IntN(40)), HoldTicks: 1 + rng.IntN(20),
		CatchupBytes: []uint64{0, 1000, 10000}[rng.IntN(3)],
	}
	voters := 1 + 2*rng.IntN(2)
	for id := range voters + rng.IntN(3) {
		m := newMember(t, uint64(id+1), voters, rng, opts)
		m.start()
		s.members = append(s.members, m)
	}
	for range steps {
		s.step()
	}
	s.heal()
	for _, m := range s.members {
		m.close()
	}
	t.Logf("%d founders, %d members, %d entries, %d snapshots sent, %d installed", voters, len(s.members), len(s.history.entries), s.counts.sent, s.counts.installed)
}

// step lets one thing happen to one member.
func (s *simulation) step() {
	m := s.members[s.rng.IntN(len(s.members))]
	switch {
	case !m.running:
		if s.rng.Float64() < s.weather.restart {
			s.start(m)
		}
		return
	case s.rng.Float64() < s.weather.crash:
		s.crash(m)
		return
	}
	s.act(m)
	if m.running {
		if s.rng.Float64() >= s.weather.gather {
			s.emit(m)
		}
		s.history.checkMember(m)
	}
}

// act does one thing.
func (s *simulation) act(m *member) {
	switch s.rng.IntN(14) {
	case 0:
		m.consensus.Tick()
	case 12:
		s.carryOut(m)
		if s.rng.IntN(50) == 0 {
			m.consensus.TransferLeader(1 + uint64(s.rng.IntN(len(s.members))))
		}
	case 13:
		s.transfer()
	case 1, 2:
		s.write(m)
	case 3, 4:
		m.complete()
	case 5:
		s.apply(m)
	case 6:
		m.compact()
	case 7:
		switch s.rng.IntN(3) {
		case 0:
			m.seen.applied = m.index()
		case 1:
			m.look()
		case 2:
			m.flush()
		}
	case 8:
		s.propose(m)
	case 9:
		s.read(m)
	default:
		for range 1 + s.rng.IntN(4) {
			s.deliver()
		}
	}
}

// start restarts a member and compares what it remembers with the history.
func (s *simulation) start(m *member) {
	m.start()
	if int(m.index()) > len(s.history.entries) {
		s.t.Fatalf("member %d remembers %d, but only %d were applied", m.id, m.index(), len(s.history.entries))
	}
	s.history.checkState(m)
	s.history.checkMember(m)
}

// crash takes a member down, perhaps in the middle of its next write.
func (s *simulation) crash(m *member) {
	if len(m.writes) > 0 && s.rng.IntN(2) == 0 {
		m.power = s.rng.IntN(8)
		m.write(1 + s.rng.IntN(len(m.writes))) // what it would send is lost with it
	}
	s.cut(m)
}

func (s *simulation) cut(m *member) {
	keep := []float64{0, 0.5, 1}[s.rng.IntN(3)]
	m.crash(vfs.CrashOptions{Seed: s.rng.Uint64(), KeepUnsynced: keep}) // writes are torn between sectors
}

// emit is a turn of the loop.
func (s *simulation) emit(m *member) {
	send, answered, refused := m.emit()
	s.network = append(s.network, send...)
	for _, id := range answered {
		want, open := m.reads[id]
		if !open {
			s.t.Fatalf("member %d answers read %d, which is not open", m.id, id)
		}
		if m.index() < want.index {
			s.t.Fatalf("member %d answers read %d at %d, but when it began %d had been answered", m.id, id, m.index(), want.index)
		}
		s.history.read = max(s.history.read, m.index())
		delete(m.reads, id)
	}
	for _, id := range refused {
		if _, open := m.reads[id]; !open {
			s.t.Fatalf("member %d refuses read %d, which is not open", m.id, id)
		}
		delete(m.reads, id)
	}
}

func (s *simulation) write(m *member) {
	if len(m.writes) == 0 {
		return
	}
	k := 1 + s.rng.IntN(len(m.writes))
	s.history.checkMarks(m, m.writes[:k])
	send, ok := m.write(k)
	if !ok {
		s.t.Fatalf("member %d: the power failed unasked", m.id)
	}
	s.network = append(s.network, send...)
}

func (s *simulation) apply(m *member) {
	if len(m.tasks) == 0 {
		return
	}
	if m.tasks[0].install != nil {
		s.install(m)
		return
	}
	batch, entries := m.apply(1 + s.rng.IntN(min(len(m.tasks), 20)))
	s.history.applied(m.id, entries, batch.View.Rev())
	for _, o := range batch.Outcomes {
		if m.waiting[o.ID] {
			delete(m.waiting, o.ID)
			s.answer(m, o.ID, batch.Index)
		}
	}
}

// answer notes a promise to a client.
func (s *simulation) answer(m *member, id, index uint64) {
	if before, twice := s.history.answered[id]; twice {
		s.t.Fatalf("member %d answers proposal %x at %d, which was answered at %d", m.id, id, index, before)
	}
	s.history.answered[id] = index
	s.history.acked = max(s.history.acked, index)
}

func (s *simulation) propose(m *member) {
	s.ids++
	id := s.ids
	var err error
	if s.rng.IntN(12) == 0 {
		err = m.consensus.ProposeConfChange(s.confChange(id))
	} else {
		err = m.consensus.Propose(s.command(id, m))
	}
	if err == nil {
		m.waiting[id] = true
	}
}

// confChange adds, promotes, changes or removes members, some of which never run: those never get a vote.
func (s *simulation) confChange(id uint64) wire.ConfChange {
	one := schema.Member{ID: uint64(8 + s.rng.IntN(3)), PeerURLs: []string{fmt.Sprintf("http://l%d:1", s.rng.IntN(4))}, IsLearner: true}
	if s.rng.IntN(3) > 0 {
		one.ID = 1 + uint64(s.rng.IntN(len(s.members)))
		one.PeerURLs = []string{fmt.Sprintf("http://m%d:1", one.ID)}
		one.IsLearner = s.rng.IntN(2) == 0
	}
	switch s.rng.IntN(5) {
	case 0:
		return membership.RemoveChange(id, one.ID)
	case 1:
		return membership.UpdateChange(id, one)
	case 2:
		if one.ID <= uint64(len(s.members)) {
			return membership.PromoteChange(id, one.ID)
		}
	}
	return membership.AddChange(id, one)
}

// memberOf is the member with an id that runs, or could; nil if there is none.
func (s *simulation) memberOf(id uint64) *member {
	if id == 0 || id > uint64(len(s.members)) {
		return nil
	}
	return s.members[id-1]
}

// command is a random request.
func (s *simulation) command(id uint64, m *member) []byte {
	key := fmt.Appendf(nil, "k%d", s.rng.IntN(12))
	lease := int64(s.rng.IntN(5))
	field, raw := request.FieldPut, (&request.Put{Key: key, Value: make([]byte, s.rng.IntN(200)), PrevKV: s.rng.IntN(2) == 0}).Append(nil)
	switch s.rng.IntN(12) {
	case 0:
		field, raw = request.FieldDeleteRange, (&request.DeleteRange{Key: key, RangeEnd: []byte("k5"), PrevKV: true}).Append(nil)
	case 1:
		field, raw = request.FieldCompaction, (&request.Compaction{Revision: m.machine.Rev() - int64(s.rng.IntN(20))}).Append(nil)
	case 2:
		field, raw = request.FieldLeaseGrant, (&request.LeaseGrant{ID: lease + 1, TTL: 10}).Append(nil)
	case 3:
		field, raw = request.FieldLeaseRevoke, (&request.LeaseRevoke{ID: lease + 1}).Append(nil)
	case 4, 5:
		raw = (&request.Put{Key: key, Value: []byte("leased"), Lease: lease + 1}).Append(nil)
	}
	return request.AppendInternal(nil, request.Header{ID: id}, field, raw)
}

func (s *simulation) read(m *member) {
	s.ids++
	if m.consensus.ReadIndex(s.ids) == nil {
		m.reads[s.ids] = readBounds{max(s.history.acked, s.history.read)}
	}
}

// deliver does with one message what a bad network may do.
func (s *simulation) deliver() {
	if len(s.network) == 0 {
		return
	}
	at := 0
	if s.rng.Float64() < s.weather.reorder {
		at = s.rng.IntN(len(s.network))
	}
	message := s.network[at]
	if s.rng.Float64() >= s.weather.repeat {
		s.network = append(s.network[:at:at], s.network[at+1:]...)
	}
	to := s.memberOf(message.To)
	if s.rng.Float64() < s.weather.lose || to == nil || !to.running {
		if from := s.memberOf(message.From); s.rng.IntN(2) == 0 && from.running {
			from.consensus.ReportUnreachable(message.To)
		}
		return
	}
	if err := to.consensus.Step(message); err != nil {
		to.lastDrop = err.Error()
	}
	s.emit(to)
}

// heal ends all trouble and demands that everything which was answered is applied everywhere, that new requests are answered, and that all
// members come to the same state.
func (s *simulation) heal() {
	s.weather = weather{}
	for _, m := range s.members {
		if !m.running {
			s.start(m)
		}
	}
	last := s.settleWith(s.propose)
	for _, m := range s.current() {
		s.history.checkState(m)
		s.cutAndCompare(m)
	}
	for id, index := range s.history.answered {
		if index > last {
			s.t.Fatalf("proposal %x was answered at %d, but all members are at %d", id, index, last)
		}
	}
}

// current is the members of the newest configuration that anybody has applied. Others need not learn anything any more.
func (s *simulation) current() (members []*member) {
	newest := slices.MaxFunc(s.members, func(a, b *member) int { return cmp.Compare(a.index(), b.index()) })
	state := newest.machine.ConfState()
	for _, id := range slices.Concat(state.Voters, state.Learners) {
		if m := s.memberOf(id); m != nil {
			members = append(members, m)
		}
	}
	return members
}

// settleWith keeps everybody busy with ask until something new was answered, then lets all come to rest. It returns the last index.
func (s *simulation) settleWith(ask func(*member)) uint64 {
	before := len(s.history.answered)
	for round := 0; ; round++ {
		if round > 2000 {
			for _, m := range s.members {
				s.t.Logf("member %d: %+v idle %v, %s", m.id, m.consensus.Status(), m.idle(), m.lastDrop)
			}
			s.t.Fatal("a healed cluster does not get on")
		}
		busy := len(s.history.answered) < before+3
		for _, m := range s.members {
			if round%4 == 0 {
				m.consensus.Tick()
			}
			if busy {
				ask(m)
			}
			s.run(m)
		}
		for range len(s.network) {
			s.deliver()
		}
		if !busy && s.atRest() {
			return uint64(len(s.history.entries))
		}
	}
}

// run lets a member do all it can.
func (s *simulation) run(m *member) {
	s.emit(m)
	s.write(m)
	s.apply(m)
	m.compact()
	m.seen.applied = m.index()
	m.look()
	m.flush()
	for range 12 {
		m.complete()
	}
	s.emit(m)
	s.carryOut(m)
	s.transfer()
	s.history.checkMember(m)
}

func (s *simulation) atRest() bool {
	for _, m := range s.current() {
		if len(m.tasks) > 0 || m.machine.Compacting() || m.index() != uint64(len(s.history.entries)) {
			return false
		}
	}
	return true
}

// cutAndCompare crashes a member that is at rest: it finds the same again.
func (s *simulation) cutAndCompare(m *member) {
	s.cut(m)
	s.start(m)
}
