package raft_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/confchange"
	"github.com/quoin-kv/quoin/raft/wire"
)

// cluster is a set of members in one thread, with a network and disks that do nothing by themselves: a test decides
// which message arrives and which write completes.
type cluster struct {
	t       testing.TB
	cfg     raft.Config // of every member, but for the id
	jitter  func(id uint64, n int) int
	ids     []uint64
	members map[uint64]*member
	network []wire.Message // in flight
	away    []uint64       // isolated members
	history *history
	lazy    bool        // machines apply only when told
	gather  func() bool // whether to take in more messages before asking for effects; nil is never
	trace   func(format string, args ...any)
}

// member is one of them: a core and what its driver keeps.
type member struct {
	id      uint64
	core    *raft.Core // nil while it is down
	disk    disk
	pending []raft.Effects // not yet written, in order
	waiting []raft.Effects // not yet applied, in order
	machine machine
	reads   []raft.ReadState
	lost    []uint64
}

// disk is what survives a crash.
type disk struct {
	state   wire.HardState
	mark    wire.SnapshotMeta // the log begins behind it
	entries []wire.Entry
	machine machine // flushed at some time, never ahead of the log
}

// machine is a state machine that remembers all it applied in one number.
type machine struct {
	applied uint64
	sum     uint64
	conf    wire.ConfState
}

var defaults = raft.Config{
	ElectionTicks: 10, HeartbeatTicks: 1, PreVote: true, CheckQuorum: true,
	MaxMessageBytes: 1 << 20, MaxInflightMessages: 16, MaxUncommittedBytes: 1 << 20,
}

func newCluster(t testing.TB, cfg raft.Config, voters, learners []uint64) *cluster {
	c := &cluster{
		t: t, cfg: cfg, members: map[uint64]*member{},
		jitter:  func(id uint64, _ int) int { return int(id) % 10 },
		history: newHistory(),
		trace:   func(string, ...any) {},
	}
	founding := foundingDisk(voters, learners)
	for _, id := range slices.Sorted(slices.Values(slices.Concat(voters, learners))) {
		c.add(id, founding)
	}
	return c
}

// foundingDisk is what every founder of a cluster begins with: its members as committed entries of term 1.
func foundingDisk(voters, learners []uint64) (d disk) {
	add := func(kind wire.ConfChangeType, ids []uint64) {
		for _, id := range ids {
			cc := wire.ConfChange{Type: kind, NodeID: id}
			d.entries = append(d.entries, wire.Entry{
				Type: wire.EntryConfChange, Term: 1, Index: uint64(len(d.entries)) + 1, Data: cc.Append(nil),
			})
		}
	}
	add(wire.ConfChangeAddNode, voters)
	add(wire.ConfChangeAddLearnerNode, learners)
	d.state = wire.HardState{Term: 1, Commit: uint64(len(d.entries))}
	return d
}

// add brings up a member. One that joins later has an empty disk.
func (c *cluster) add(id uint64, d disk) *member {
	n := &member{id: id, disk: d}
	c.members[id] = n
	c.ids = append(c.ids, id)
	slices.Sort(c.ids)
	c.start(n)
	return n
}

func (c *cluster) start(n *member) {
	cfg := c.cfg
	cfg.ID = n.id
	cfg.Jitter = func(limit int) int { return c.jitter(n.id, limit) }
	boot := raft.Boot{
		HardState: n.disk.state,
		Snapshot:  wire.SnapshotMeta{ConfState: n.disk.machine.conf, Index: n.disk.mark.Index, Term: n.disk.mark.Term},
		Entries:   slices.Clone(n.disk.entries),
		Applied:   n.disk.machine.applied,
	}
	core, err := raft.New(cfg, boot)
	if err != nil {
		c.t.Fatalf("member %d does not start: %v", n.id, err)
	}
	n.core, n.machine = core, n.disk.machine
	c.settle(n)
}

// crash loses what was not written, but for the first kept writes, of which nobody has heard, and some entries of the
// next one, which was torn.
func (c *cluster) crash(n *member, kept, torn int) {
	kept = min(kept, len(n.pending))
	for _, e := range n.pending[:kept] {
		n.disk.write(e)
	}
	if kept < len(n.pending) && n.pending[kept].InstallSnapshot == nil {
		entries := n.pending[kept].Append
		n.disk.write(raft.Effects{Append: entries[:min(torn, len(entries))]})
	}
	n.core, n.pending, n.waiting, n.reads, n.lost = nil, nil, nil, nil, nil
}

// settle takes out what the last step decided, and checks everything that can be checked.
func (c *cluster) settle(n *member) {
	c.t.Helper()
	for {
		if err := n.core.Check(); err != nil {
			c.t.Fatal(err)
		}
		e := n.core.Effects()
		if e.Seq == 0 {
			break
		}
		c.showEffects(n, e)
		n.pending = append(n.pending, e)
		c.post(n, e.Messages)
		n.waiting = append(n.waiting, e)
		if !c.lazy {
			c.apply(n, 1)
		}
		n.reads, n.lost = append(n.reads, e.Reads...), append(n.lost, e.Lost...)
	}
	if err := c.history.observe(n.core.Status()); err != nil {
		c.t.Fatal(err)
	}
}

// post puts messages on the network as bytes would go, with snapshots filled in.
func (c *cluster) post(n *member, messages []wire.Message) {
	for _, m := range messages {
		if slices.Contains(c.away, m.From) || slices.Contains(c.away, m.To) {
			continue
		}
		if m.Type == wire.MsgSnap {
			m.Snapshot = n.snapshot()
		}
		var copied wire.Message
		if err := copied.Unmarshal(m.Append(nil)); err != nil {
			c.t.Fatal(err)
		}
		c.network = append(c.network, copied)
	}
}

func (n *member) snapshot() *wire.Snapshot {
	term, ok := n.termAt(n.machine.applied)
	if !ok {
		panic(fmt.Sprintf("member %d applied %d but has not the entry", n.id, n.machine.applied))
	}
	meta := wire.SnapshotMeta{ConfState: n.machine.conf.Clone(), Index: n.machine.applied, Term: term}
	return &wire.Snapshot{Data: binary.BigEndian.AppendUint64(nil, n.machine.sum), Meta: meta}
}

// termAt looks an entry up where the driver would: in what it handed on, newest first.
func (n *member) termAt(index uint64) (uint64, bool) {
	for _, e := range slices.Backward(n.pending) {
		for _, entry := range e.Append {
			if entry.Index == index {
				return entry.Term, true
			}
		}
		if e.InstallSnapshot != nil && e.InstallSnapshot.Meta.Index == index {
			return e.InstallSnapshot.Meta.Term, true
		}
	}
	if index == n.disk.mark.Index {
		return n.disk.mark.Term, true
	}
	at := index - n.disk.mark.Index - 1
	if at >= uint64(len(n.disk.entries)) {
		return 0, false
	}
	return n.disk.entries[at].Term, true
}

// apply lets the machine of a member do what the first count effects ask for.
func (c *cluster) apply(n *member, count int) {
	c.t.Helper()
	for ; count > 0 && len(n.waiting) > 0; count-- {
		e := n.waiting[0]
		n.waiting = n.waiting[1:]
		c.applyEffects(n, e)
	}
}

func (c *cluster) applyEffects(n *member, e raft.Effects) {
	c.t.Helper()
	if s := e.InstallSnapshot; s != nil {
		n.machine = machine{applied: s.Meta.Index, sum: binary.BigEndian.Uint64(s.Data), conf: s.Meta.ConfState}
		n.core.Applied(s.Meta.Index)
		if now := n.core.Status(); now.First == s.Meta.Index+1 && !sameMembers(now.ConfState, s.Meta.ConfState) {
			c.t.Fatalf("member %d has configuration %+v after a snapshot with %+v", n.id, now.ConfState, s.Meta.ConfState)
		}
	}
	for _, entry := range e.Committed {
		if entry.Index != n.machine.applied+1 {
			c.t.Fatalf("member %d applied %d and is handed %d", n.id, n.machine.applied, entry.Index)
		}
		n.machine.apply(entry)
		if entry.Type != wire.EntryNormal {
			c.applyConfChange(n, entry)
		}
		n.core.Applied(entry.Index)
		if err := c.history.applied(n.id, entry, n.machine.sum); err != nil {
			c.t.Fatal(err)
		}
	}
}

// applyConfChange lets machine and core follow a change, and compares them; unless the core has a snapshot from behind it.
func (c *cluster) applyConfChange(n *member, e wire.Entry) {
	c.t.Helper()
	cc := changesOf(c.t, e)
	conf, err := confchange.FromState(n.machine.conf)
	if err != nil {
		c.t.Fatal(err)
	}
	if next, err := conf.Apply(cc); err == nil {
		conf = next
	}
	n.machine.conf = conf.State()
	installing := n.core.Status().First > e.Index
	if got := n.core.ApplyConfChangeV2(cc); !installing && !sameMembers(got, n.machine.conf) {
		c.t.Fatalf("member %d has configuration %+v after entry %d, expected %+v", n.id, got, e.Index, n.machine.conf)
	}
}

func sameMembers(a, b wire.ConfState) bool { return bytes.Equal(a.Append(nil), b.Append(nil)) }

// changesOf returns the membership changes that an entry holds.
func changesOf(t testing.TB, e wire.Entry) (v2 wire.ConfChangeV2) {
	var cc wire.ConfChange
	err := v2.Unmarshal(e.Data)
	if e.Type == wire.EntryConfChange {
		err = cc.Unmarshal(e.Data)
		v2 = cc.V2()
	}
	if err != nil {
		t.Fatal(err)
	}
	return v2
}

func (m *machine) apply(e wire.Entry) {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint64(nil, m.sum))
	h.Write(e.Append(nil))
	m.applied, m.sum = e.Index, h.Sum64()
}

// sync completes the first count writes of a member.
func (c *cluster) sync(n *member, count int) {
	c.t.Helper()
	for ; count > 0 && len(n.pending) > 0; count-- {
		e := n.pending[0]
		n.pending = n.pending[1:]
		n.disk.write(e)
		if len(e.AfterSync) > 0 {
			c.post(n, e.AfterSync)
		}
		n.core.Persisted(e.Seq)
		c.settle(n)
	}
}

func (d *disk) write(e raft.Effects) {
	if s := e.InstallSnapshot; s != nil {
		d.mark, d.entries = s.Meta, nil
		d.machine = machine{applied: s.Meta.Index, sum: binary.BigEndian.Uint64(s.Data), conf: s.Meta.ConfState}
	}
	if len(e.Append) > 0 {
		keep := e.Append[0].Index - d.mark.Index - 1
		d.entries = slices.Concat(d.entries[:keep], e.Append)
	}
	if !e.HardState.IsZero() {
		d.state = e.HardState
	}
}

// flush stores the machine, as far as the log allows, and lets the log begin behind it, less a few entries.
func (c *cluster) flush(n *member, keep uint64) {
	if n.machine.applied > n.core.Durable() || n.machine.applied <= n.disk.machine.applied {
		return
	}
	term := func(index uint64) uint64 {
		t, ok := n.termAt(index)
		if !ok {
			c.t.Fatalf("member %d has no entry %d", n.id, index)
		}
		return t
	}
	n.disk.machine = n.machine
	if n.machine.applied <= n.disk.mark.Index+keep {
		return
	}
	mark := n.machine.applied - keep
	meta := wire.SnapshotMeta{Index: mark, Term: term(mark)}
	n.disk.entries = slices.Clone(n.disk.entries[mark-n.disk.mark.Index:])
	n.disk.mark = meta
	n.core.Compact(mark)
	c.settle(n)
}

// deliver lets message at position i of the network arrive.
func (c *cluster) deliver(i int) {
	c.t.Helper()
	m := c.network[i]
	c.network = slices.Delete(c.network, i, i+1)
	n := c.members[m.To]
	if n == nil || n.core == nil {
		return
	}
	c.showMessage(m)
	if err := n.core.Step(m); err != nil {
		c.trace("%d refuses: %v", n.id, err)
		c.history.refused(c.t, err)
	}
	if c.gather == nil || !c.gather() {
		c.settle(n)
	}
}

// run lets messages arrive in order and writes complete, until nothing is left to happen. held says whose disk is stuck.
func (c *cluster) run(held ...uint64) {
	c.t.Helper()
	for range 100_000 {
		busy := false
		for _, id := range c.ids {
			n := c.members[id]
			if n.core != nil && len(n.pending) > 0 && !slices.Contains(held, id) {
				c.sync(n, 1)
				busy = true
			}
		}
		if len(c.network) > 0 {
			c.deliver(0)
			busy = true
		}
		if !busy {
			return
		}
	}
	c.t.Fatal("the cluster does not come to rest")
}

// each calls fn for the members that are up.
func (c *cluster) each(fn func(n *member)) {
	for _, id := range c.ids {
		if c.members[id].core != nil {
			fn(c.members[id])
		}
	}
}

// do calls fn on a member that is up and settles what follows.
func (c *cluster) do(id uint64, fn func(core *raft.Core)) {
	c.t.Helper()
	n := c.members[id]
	fn(n.core)
	c.settle(n)
}

// tick passes count ticks on a member.
func (c *cluster) tick(id uint64, count int) {
	c.t.Helper()
	for range count {
		c.do(id, (*raft.Core).Tick)
	}
}

// elect makes a member leader and runs until all is quiet.
func (c *cluster) elect(id uint64) {
	c.t.Helper()
	c.do(id, (*raft.Core).Campaign)
	c.run()
	if role := c.members[id].core.Role(); role != raft.Leader {
		c.t.Fatalf("member %d was to lead but is %v", id, role)
	}
}

// propose proposes and fails the test if it is refused.
func (c *cluster) propose(id uint64, data ...string) {
	c.t.Helper()
	c.do(id, func(core *raft.Core) {
		for _, d := range data {
			if err := core.Propose([]byte(d)); err != nil {
				c.t.Fatal(err)
			}
		}
	})
}

// isolate cuts members off, and ends earlier isolation.
func (c *cluster) isolate(ids []uint64) {
	c.away = ids
	for _, id := range ids {
		c.cut(id)
	}
}

// cut drops all messages in flight from or to a member.
func (c *cluster) cut(id uint64) {
	c.network = slices.DeleteFunc(c.network, func(m wire.Message) bool { return m.From == id || m.To == id })
}
