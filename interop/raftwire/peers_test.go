package raftwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"math/rand/v2"

	etcd "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/confchange"
	"github.com/quoin-kv/quoin/raft/wire"
)

// peer is a member of a mixed cluster: ours or theirs.
type peer interface {
	tick()
	step(data []byte)
	propose(data []byte)
	read(id uint64)
	change(cc wire.ConfChange)
	changeJointly(cc wire.ConfChangeV2)
	transfer(to uint64)
	// compact forgets the applied log but for a few entries.
	compact(keep uint64)
	snapshotSent(to uint64, ok bool)
	// drain does everything that is decided and returns the messages to be sent.
	drain() []envelope
	leads() (term uint64, leads bool)
	state() *machine
}

// envelope is an encoded message on its way.
type envelope struct {
	from, to uint64
	kind     wire.MessageType
	data     []byte
}

// machine is a state machine that remembers all it applied in one number, and what happened to reads.
type machine struct {
	applied uint64
	sum     uint64
	answers []raft.ReadState
	onApply func(index, sum uint64)
}

func (m *machine) apply(index, term uint64, data []byte) {
	if index != m.applied+1 {
		panic(fmt.Sprintf("applied %d, handed %d", m.applied, index))
	}
	h := fnv.New64a()
	fmt.Fprint(h, m.sum, index, term, string(data))
	m.applied, m.sum = index, h.Sum64()
	m.onApply(m.applied, m.sum)
}

func (m *machine) snapshot() []byte { return binary.BigEndian.AppendUint64(nil, m.sum) }

func (m *machine) install(index uint64, data []byte) {
	m.applied, m.sum = index, binary.BigEndian.Uint64(data)
	m.onApply(m.applied, m.sum)
}

// founders are the log and state with which every founding member begins.
func founders(voters []uint64) (entries []wire.Entry) {
	for i, id := range voters {
		cc := wire.ConfChange{NodeID: id}
		entries = append(entries, wire.Entry{Type: wire.EntryConfChange, Term: 1, Index: uint64(i) + 1, Data: cc.Append(nil)})
	}
	return entries
}

// ourPeer drives a core with a disk that takes a while.
type ourPeer struct {
	id      uint64
	core    *raft.Core
	machine machine
	seq     uint64
	held    []wire.Message // waits for the disk
	terms   map[uint64]uint64
	conf    wire.ConfState
}

func newOurPeer(id uint64, log []wire.Entry, rng *rand.Rand) *ourPeer {
	core, err := raft.New(raft.Config{
		ID: id, ElectionTicks: 10, HeartbeatTicks: 1, PreVote: true, CheckQuorum: true,
		MaxMessageBytes: 200, MaxInflightMessages: 8, Jitter: rng.IntN,
	}, raft.Boot{HardState: founded(log), Entries: log})
	if err != nil {
		panic(err)
	}
	p := &ourPeer{id: id, core: core, terms: map[uint64]uint64{}}
	for _, e := range log {
		p.terms[e.Index] = e.Term
	}
	return p
}

func founded(log []wire.Entry) wire.HardState {
	if len(log) == 0 {
		return wire.HardState{}
	}
	return wire.HardState{Term: 1, Commit: uint64(len(log))}
}

func (p *ourPeer) tick()                              { p.core.Tick() }
func (p *ourPeer) propose(data []byte)                { _ = p.core.Propose(data) }
func (p *ourPeer) read(id uint64)                     { _ = p.core.ReadIndex(id) }
func (p *ourPeer) change(cc wire.ConfChange)          { _ = p.core.ProposeConfChange(cc) }
func (p *ourPeer) changeJointly(cc wire.ConfChangeV2) { _ = p.core.ProposeConfChangeV2(cc) }
func (p *ourPeer) transfer(to uint64)                 { p.core.TransferLeader(to) }
func (p *ourPeer) state() *machine                    { return &p.machine }

func (p *ourPeer) snapshotSent(to uint64, ok bool) { p.core.ReportSnapshot(to, ok) }

func (p *ourPeer) compact(keep uint64) {
	if p.machine.applied > keep {
		p.core.Compact(p.machine.applied - keep)
	}
}

func (p *ourPeer) leads() (uint64, bool) { return p.core.Term(), p.core.Role() == raft.Leader }

// step takes a message. What another member passed on may be refused, as it knew less when it did.
func (p *ourPeer) step(data []byte) {
	var m wire.Message
	if err := m.Unmarshal(data); err != nil {
		panic(err)
	}
	err := p.core.Step(m)
	for _, refusal := range []error{raft.ErrNoLeader, raft.ErrDropped, raft.ErrConfChangePending, confchange.ErrJoint} {
		if errors.Is(err, refusal) {
			return
		}
	}
	if err != nil {
		panic(fmt.Sprintf("member %d: %v", p.id, err))
	}
}

// drain lets the disk finish what the drain before had begun.
func (p *ourPeer) drain() []envelope {
	out := p.held
	p.held = nil
	p.core.Persisted(p.seq)
	for e := p.core.Effects(); e.Seq != 0; e = p.core.Effects() {
		if err := p.core.Check(); err != nil {
			panic(err)
		}
		p.seq = e.Seq
		p.do(e)
		out = append(out, e.Messages...)
		p.held = append(p.held, e.AfterSync...)
	}
	return p.encode(out)
}

func (p *ourPeer) do(e raft.Effects) {
	if s := e.InstallSnapshot; s != nil {
		p.machine.install(s.Meta.Index, s.Data)
		p.conf, p.terms[s.Meta.Index] = s.Meta.ConfState, s.Meta.Term
		p.core.Applied(s.Meta.Index)
	}
	for _, entry := range e.Append {
		p.terms[entry.Index] = entry.Term
	}
	for _, entry := range e.Committed {
		p.machine.apply(entry.Index, entry.Term, entry.Data)
		if entry.Type == wire.EntryConfChange {
			var cc wire.ConfChange
			if err := cc.Unmarshal(entry.Data); err != nil {
				panic(err)
			}
			p.conf = p.core.ApplyConfChange(cc)
		}
		if entry.Type == wire.EntryConfChangeV2 {
			var cc wire.ConfChangeV2
			if err := cc.Unmarshal(entry.Data); err != nil {
				panic(err)
			}
			p.conf = p.core.ApplyConfChangeV2(cc)
		}
		p.core.Applied(entry.Index)
	}
	p.machine.answers = append(p.machine.answers, e.Reads...)
}

func (p *ourPeer) encode(messages []wire.Message) (out []envelope) {
	for _, m := range messages {
		if m.Type == wire.MsgSnap {
			meta := wire.SnapshotMeta{ConfState: p.conf.Clone(), Index: p.machine.applied, Term: p.terms[p.machine.applied]}
			m.Snapshot = &wire.Snapshot{Data: p.machine.snapshot(), Meta: meta}
		}
		out = append(out, envelope{p.id, m.To, m.Type, m.Append(nil)})
	}
	return out
}

// theirPeer drives etcd's library.
type theirPeer struct {
	id      uint64
	node    *etcd.RawNode
	storage *etcd.MemoryStorage
	machine machine
	conf    *raftpb.ConfState
}

func newTheirPeer(id uint64, entries []wire.Entry) *theirPeer {
	p := &theirPeer{id: id, storage: etcd.NewMemoryStorage()}
	if len(entries) > 0 {
		var pb []*raftpb.Entry
		for i := range entries {
			pb = append(pb, entryPB(&entries[i]))
		}
		state := founded(entries)
		must(p.storage.Append(pb))
		must(p.storage.SetHardState(hardStatePB(&state)))
	}
	node, err := etcd.NewRawNode(&etcd.Config{
		ID: id, ElectionTick: 10, HeartbeatTick: 1, Storage: p.storage, MaxSizePerMsg: 200, MaxInflightMsgs: 8,
		CheckQuorum: true, PreVote: true, Logger: &etcd.DefaultLogger{Logger: log.New(io.Discard, "", 0)},
	})
	must(err)
	p.node = node
	return p
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (p *theirPeer) tick()                     { p.node.Tick() }
func (p *theirPeer) propose(data []byte)       { _ = p.node.Propose(data) }
func (p *theirPeer) read(id uint64)            { p.node.ReadIndex(binary.BigEndian.AppendUint64(nil, id)) }
func (p *theirPeer) change(cc wire.ConfChange) { _ = p.node.ProposeConfChange(confChangePB(&cc)) }

// changeJointly asks only a leader: theirs would hand it to ours, who takes no such thing from others.
func (p *theirPeer) changeJointly(cc wire.ConfChangeV2) {
	if _, leads := p.leads(); leads {
		_ = p.node.ProposeConfChange(confChangeV2PB(&cc))
	}
}

func (p *theirPeer) transfer(to uint64) { p.node.TransferLeader(to) }
func (p *theirPeer) state() *machine    { return &p.machine }

func (p *theirPeer) snapshotSent(to uint64, ok bool) {
	status := etcd.SnapshotFinish
	if !ok {
		status = etcd.SnapshotFailure
	}
	p.node.ReportSnapshot(to, status)
}

func (p *theirPeer) compact(keep uint64) {
	if p.machine.applied <= keep || p.conf == nil {
		return
	}
	if _, err := p.storage.CreateSnapshot(p.machine.applied, p.conf, p.machine.snapshot()); err == nil {
		_ = p.storage.Compact(p.machine.applied - keep)
	}
}

func (p *theirPeer) leads() (uint64, bool) {
	s := p.node.Status()
	return s.GetTerm(), s.RaftState == etcd.StateLeader
}

func (p *theirPeer) step(data []byte) {
	m := &raftpb.Message{}
	must(proto.Unmarshal(data, m))
	_ = p.node.Step(m)
}

func (p *theirPeer) drain() (out []envelope) {
	for p.node.HasReady() {
		rd := p.node.Ready()
		if !etcd.IsEmptySnap(rd.Snapshot) {
			must(p.storage.ApplySnapshot(rd.Snapshot))
			p.machine.install(rd.Snapshot.GetMetadata().GetIndex(), rd.Snapshot.GetData())
			p.conf = rd.Snapshot.GetMetadata().GetConfState()
		}
		must(p.storage.Append(rd.Entries))
		if !etcd.IsEmptyHardState(rd.HardState) {
			must(p.storage.SetHardState(rd.HardState))
		}
		for _, e := range rd.CommittedEntries {
			p.apply(e)
		}
		for _, r := range rd.ReadStates {
			p.machine.answers = append(p.machine.answers, raft.ReadState{ID: binary.BigEndian.Uint64(r.RequestCtx), Index: r.Index})
		}
		for _, m := range rd.Messages {
			data, err := proto.Marshal(m)
			must(err)
			out = append(out, envelope{p.id, m.GetTo(), wire.MessageType(m.GetType()), data})
		}
		p.node.Advance(rd)
	}
	return out
}

func (p *theirPeer) apply(e *raftpb.Entry) {
	p.machine.apply(e.GetIndex(), e.GetTerm(), e.GetData())
	if e.GetType() == raftpb.EntryConfChange {
		cc := &raftpb.ConfChange{}
		must(proto.Unmarshal(e.GetData(), cc))
		p.conf = p.node.ApplyConfChange(cc)
	}
	if e.GetType() == raftpb.EntryConfChangeV2 {
		cc := &raftpb.ConfChangeV2{}
		must(proto.Unmarshal(e.GetData(), cc))
		p.conf = p.node.ApplyConfChange(cc)
	}
}
