package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

// maxSends bounds the snapshots that a member sends at once.
const maxSends = 2

// send lets messages leave. Snapshots among them are orders, each carried out by a coroutine of its own.
func (m *member) send(ms []wire.Message) {
	var rest []wire.Message
	for i := range ms {
		if ms[i].Type == wire.MsgSnap {
			m.order(ms[i])
		} else {
			rest = append(rest, ms[i])
		}
	}
	if len(rest) > 0 {
		m.w.network.send(m.host, rest)
	}
}

// order begins to carry out an order for a snapshot, unless too many are under way.
func (m *member) order(msg wire.Message) {
	to := msg.To
	if m.sends[to] || len(m.sends) >= maxSends {
		m.later(func() {
			if !m.sends[to] {
				m.consensus.Sent(to, false)
			}
		})
		return
	}
	m.sends[to] = true
	m.consensus.Sending(to, msg.Snapshot.Meta.Index)
	m.proc.Go(func() {
		err := m.sendSnapshot(msg)
		m.w.engine.Comment(m.host.index, "snapshot for %x: %v", to, err)
		m.later(func() {
			delete(m.sends, to)
			m.consensus.Sent(to, err == nil)
		})
	})
}

// errNotSent says that a snapshot did not arrive, or that its sender does not know whether it did.
var errNotSent = errors.New("snapshot not sent")

// sendSnapshot sends the database file to a member, when it holds what was ordered.
func (m *member) sendSnapshot(msg wire.Message) error {
	ctx := context.Background()
	for m.leads() {
		if err := m.Flush(ctx); err != nil {
			return err
		}
		pinned := m.backend.PinFile()
		if pinned.Applied().Index < msg.Snapshot.Meta.Index {
			pinned.Release()
			if err := m.proc.Wait(ctx, nil, time.Duration(m.w.plan.Tuning.FlushInterval)); err != nil {
				return err
			}
			continue
		}
		var file bytes.Buffer
		_, err := pinned.WriteTo(&file)
		meta, metaErr := replica.MetaOf(pinned.Applied())
		pinned.Release()
		if err := errors.Join(err, metaErr); err != nil {
			return err
		}
		msg.Snapshot = &wire.Snapshot{Meta: meta}
		return m.upload(msg, file.Bytes())
	}
	return errNotSent
}

// upload carries a file to the host that it is for, and waits for the answer.
func (m *member) upload(msg wire.Message, file []byte) error {
	n, to := m.w.network, m.w.byID[msg.To]
	if to == nil {
		return errNotSent
	}
	done, ok := false, false
	end := func(arrived bool) {
		m.w.engine.After(n.delay(), func() {
			m.proc.Exec(func() { done, ok = true, arrived && n.connected(m.host, to) })
		})
	}
	m.w.engine.After(n.delay()+int64(len(file))*100, func() {
		if !n.connected(m.host, to) {
			end(false)
			return
		}
		if err := to.store(msg, file); err != nil {
			m.w.fail("snapshot", "member %x cannot use the file of %x: %v", to.id, m.host.id, err)
		}
		m.w.faults["snapshot"]++
		end(true)
		if n.rng.IntN(8) == 0 { // somebody has tried twice
			m.w.engine.After(n.rng.Int64N(10e9), func() { to.storeAgain(msg, file) })
		}
	})
	if err := m.proc.Await(context.Background(), &done); err != nil || !ok {
		return errors.Join(err, errNotSent)
	}
	return nil
}

// storeAgain keeps a file that comes late, if it can.
func (h *host) storeAgain(msg wire.Message, file []byte) {
	if h.member == nil || h.w.healed {
		return
	}
	h.w.faults["late snapshot"]++
	if err := h.store(msg, file); err != nil {
		h.w.fail("snapshot", "member %x cannot use a file that came again: %v", h.id, err)
	}
}

// store keeps a file that has come, durably, before the member hears of it.
func (h *host) store(msg wire.Message, file []byte) error {
	disk, err := backend.ReadMemoryDisk(bytes.NewReader(file))
	if err != nil {
		return err
	}
	at, err := positionOf(disk)
	if err != nil {
		return err
	}
	meta, err := replica.ExactMeta(msg.Snapshot.Meta, at)
	if err != nil {
		return err
	}
	msg.Snapshot = &wire.Snapshot{Meta: meta, Data: msg.Snapshot.Data}
	h.received[meta.Index] = disk
	h.receive(msg)
	return nil
}

func positionOf(disk *backend.MemoryDisk) (schema.Applied, error) {
	b, err := backend.OpenMemory(backend.Config{}, disk)
	if err != nil {
		return schema.Applied{}, err
	}
	return b.Flushed(), b.Close()
}

// adopt puts a received file in the place of the present one.
func (m *member) adopt(index uint64) error {
	return m.backend.Replace(func() error {
		disk := m.host.received[index]
		if disk == nil {
			return fmt.Errorf("the received file of index %d is not there", index)
		}
		if err := m.host.file.Adopt(disk); err != nil {
			return err
		}
		delete(m.host.received, index)
		return nil
	})
}

// adoptAtStart finishes what a crash has interrupted: the mark of a snapshot was durable, but its file not in its place.
func (m *member) adoptAtStart(rec *wal.Recovered) error {
	if rec.Mark.Index > m.backend.Flushed().Index && m.host.received[rec.Mark.Index] != nil {
		return m.adopt(rec.Mark.Index)
	}
	return nil
}

// dropReceived deletes the received files that the database file has passed.
func (m *member) dropReceived(flushed uint64) {
	for index := range m.host.received {
		if index <= flushed {
			delete(m.host.received, index)
		}
	}
}

// install puts a snapshot in the place of machine and database file.
func (m *member) install(s *wire.Snapshot) error {
	if err := m.adopt(s.Meta.Index); err != nil {
		return err
	}
	at := m.backend.Flushed()
	if at.Index != s.Meta.Index || at.Term != s.Meta.Term {
		m.w.fail("install", "member %x got a file that ends at %d of term %d, expected %d of %d", m.host.id, at.Index, at.Term, s.Meta.Index, s.Meta.Term)
	}
	var err error
	if m.machine, err = m.restore(); err != nil {
		return err
	}
	m.hash = nil
	batch := m.applier.Install(m.machine, at)
	m.w.judge.installed(m, batch)
	m.service.Applying(batch)
	m.show(batch.View)
	m.service.Applied(batch)
	m.later(func() {
		m.consensus.Installed(at, s.Meta.ConfState)
		m.outdated = true
	})
	m.rounds.Reached(at.Index)
	m.releaseAfter(at.Index)
	if !m.machine.Compacting() {
		m.wakeCompacted()
	}
	m.stepCompaction()
	return nil
}
