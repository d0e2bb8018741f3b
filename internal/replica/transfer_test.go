package replica_test

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// task is one thing that the applier has to do: an entry, or a snapshot.
type task struct {
	entry   wire.Entry
	install *wire.Snapshot
}

// upload is a snapshot on its way.
type upload struct {
	message wire.Message
	file    []byte
	ended   func(ok bool) // tells the sender
}

// order takes the snapshots out of what a member sends: they are carried out later.
func (m *member) order(ms []wire.Message) (rest []wire.Message) {
	for _, message := range ms {
		switch {
		case message.Type != wire.MsgSnap:
			rest = append(rest, message)
		case slices.ContainsFunc(m.orders, func(o wire.Message) bool { return o.To == message.To }) || m.sending[message.To]:
			// answered when the one under way ends
		default:
			m.consensus.Sending(message.To, message.Snapshot.Meta.Index)
			m.orders = append(m.orders, message)
		}
	}
	return rest
}

// carryOut begins the sending of a snapshot whose index the file has reached. Now and then the sender says less of the file than it holds.
func (s *simulation) carryOut(m *member) {
	at := slices.IndexFunc(m.orders, func(o wire.Message) bool { return o.Snapshot.Meta.Index <= m.backend.Flushed().Index })
	if at < 0 {
		return
	}
	message := m.orders[at]
	m.orders = slices.Delete(m.orders, at, at+1)
	var file bytes.Buffer
	pinned := m.backend.PinFile()
	_, err := pinned.WriteTo(&file)
	m.check(err)
	meta, err := replica.MetaOf(pinned.Applied())
	m.check(err)
	if s.rng.IntN(3) == 0 {
		meta = message.Snapshot.Meta
	}
	pinned.Release()
	message.Snapshot = &wire.Snapshot{Meta: meta}
	m.sending[message.To] = true
	run := m.runs
	s.uploads = append(s.uploads, upload{message, file.Bytes(), func(ok bool) {
		if m.running && m.runs == run {
			delete(m.sending, message.To)
			m.events = append(m.events, func() { m.consensus.Sent(message.To, ok) })
		}
	}})
}

// transfer ends an upload: it fails, or the file is stored and the message taken in. The answer may get lost even so.
func (s *simulation) transfer() {
	if len(s.uploads) == 0 {
		return
	}
	at := s.rng.IntN(len(s.uploads))
	u := s.uploads[at]
	s.uploads = slices.Delete(s.uploads, at, at+1)
	to := s.memberOf(u.message.To)
	if to == nil || !to.running || s.rng.Float64() < s.weather.lose {
		u.ended(false)
		return
	}
	s.receive(to, &u)
	u.ended(s.rng.Float64() >= s.weather.lose)
}

// receive stores a file as a member's transport does: it is durable before anything else hears of it.
func (s *simulation) receive(to *member, u *upload) {
	disk, err := backend.ReadMemoryDisk(bytes.NewReader(u.file))
	to.check(err)
	meta, err := replica.ExactMeta(u.message.Snapshot.Meta, appliedOf(to, disk))
	to.check(err)
	u.message.Snapshot.Meta = meta
	to.received[meta.Index] = disk
	s.network = append(s.network, u.message)
	s.counts.sent++
}

func appliedOf(m *member, disk *backend.MemoryDisk) schema.Applied {
	b, err := backend.OpenMemory(backend.Config{}, disk)
	m.check(err)
	defer func() { m.check(b.Close()) }()
	return b.Flushed()
}

// adopt is the only thing that exchanges a database file.
func (m *member) adopt(index uint64) error {
	return m.backend.Replace(func() error {
		disk := m.received[index]
		if disk == nil {
			return fmt.Errorf("the received file of index %d is not there", index)
		}
		err := m.disk.Adopt(disk)
		delete(m.received, index)
		return err
	})
}

// adoptAtStart finishes what a crash has interrupted.
func (m *member) adoptAtStart(mark uint64) {
	plan := datadir.Plan{}
	for index := range m.received {
		plan.Received = append(plan.Received, index)
	}
	if plan.Adopt(mark, m.backend.Flushed().Index) {
		m.check(m.adopt(mark))
	}
	m.dropReceived()
}

// dropReceived deletes the received files that the database file has passed.
func (m *member) dropReceived() {
	for index := range m.received {
		if index <= m.backend.Flushed().Index {
			delete(m.received, index)
		}
	}
}

// install puts a snapshot in the place of everything, when its mark is durable.
func (s *simulation) install(m *member) {
	index := m.tasks[0].install.Meta.Index
	if m.installable < index {
		return
	}
	m.check(m.adopt(index))
	m.tasks = m.tasks[1:]
	at := m.backend.Flushed()
	if at.Index != index {
		s.t.Fatalf("member %d installs the snapshot of %d, the file is at %d", m.id, index, at.Index)
	}
	m.machine, m.hash = restore(s.t, m.backend), nil
	batch := m.applier.Install(m.machine, at)
	m.view.Release()
	m.view = batch.View
	conf := m.machine.ConfState()
	m.applied = append(m.applied, func() { m.consensus.Installed(at, conf) })
	m.releaseLog(index)
	s.history.checkState(m)
	s.counts.installed++
}
