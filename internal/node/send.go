package node

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// maxSends bounds the snapshots that are sent at once. What the core asks for beyond them it asks for again.
const maxSends = 16

// sends is what the loop knows of snapshots on their way: how to stop the sending, by member.
type sends map[uint64]context.CancelFunc

// send lets messages leave. Snapshots among them are orders: each is carried out by a goroutine of its own.
func (l *loop) send(ms []wire.Message) {
	isSnapshot := func(m wire.Message) bool { return m.Type == wire.MsgSnap }
	if slices.ContainsFunc(ms, isSnapshot) {
		for i := range ms {
			if isSnapshot(ms[i]) {
				l.sendSnapshot(ms[i])
			}
		}
		ms = slices.DeleteFunc(slices.Clone(ms), isSnapshot)
	}
	if len(ms) > 0 && l.cfg.Send != nil {
		l.cfg.Send(ms)
	}
}

// sendSnapshot begins to carry out an order, unless too many are under way.
func (l *loop) sendSnapshot(m wire.Message) {
	if l.sends[m.To] != nil || len(l.sends) >= maxSends || l.cfg.SendSnapshot == nil {
		l.events.put(event{sendEnded: m.To, refused: true})
		return
	}
	ctx, cancel := context.WithCancel(l.ctx)
	l.sends[m.To] = cancel
	l.core.Sending(m.To, m.Snapshot.Meta.Index)
	l.wg.Go(func() {
		err := l.Node.sendSnapshot(ctx, m)
		if err != nil && l.ctx.Err() == nil {
			l.cfg.Logger.Warn("snapshot not sent", "to", hex(m.To), "error", err)
		}
		l.events.put(event{sendEnded: m.To, sent: err == nil})
	})
}

// sendEnded takes in the end of a sending, or that none was begun.
func (l *loop) sendEnded(e *event) {
	if e.refused {
		if l.sends[e.sendEnded] == nil {
			l.core.Sent(e.sendEnded, false)
		}
		return
	}
	l.sends[e.sendEnded]()
	delete(l.sends, e.sendEnded)
	l.core.Sent(e.sendEnded, e.sent)
}

// stopSends gives up what only a leader sends.
func (l *loop) stopSends() {
	if len(l.sends) == 0 || l.core.Role() == raft.Leader {
		return
	}
	for _, cancel := range l.sends {
		cancel()
	}
}

// sendSnapshot sends the database file to a member, when it holds what was ordered. Writes go on meanwhile.
func (n *Node) sendSnapshot(ctx context.Context, m wire.Message) error {
	file, err := n.fileWith(ctx, m.Snapshot.Meta.Index)
	if err != nil {
		return err
	}
	defer file.Release()
	s := &wire.Snapshot{}
	if s.Meta, err = replica.MetaOf(file.Applied()); err != nil {
		return err
	}
	if n.cfg.SnapshotData != nil {
		n.Inspect(func(m *machine.Machine) { s.Data = n.cfg.SnapshotData(m) })
	}
	m.Snapshot = s
	began := time.Now()
	n.cfg.Logger.Info("sending a snapshot", "to", hex(m.To), "index", s.Meta.Index, "bytes", file.Size())
	err = n.cfg.SendSnapshot(ctx, m, func(w io.Writer) error {
		_, err := file.WriteTo(w)
		return err
	})
	if err == nil {
		n.cfg.Logger.Info("sent database snapshot", "to", hex(m.To), "index", s.Meta.Index, "took", time.Since(began))
	}
	return err
}

// fileWith flushes until the database file holds index, and pins it. That may take as long as the own log has not stored the entry.
func (n *Node) fileWith(ctx context.Context, index uint64) (*backend.PinnedFile, error) {
	for {
		if err := n.Flush(ctx); err != nil {
			return nil, fmt.Errorf("flushing the database file: %w", err)
		}
		file := n.cfg.Backend.PinFile()
		if file.Applied().Index >= index {
			return file, nil
		}
		file.Release()
		if err := wait(ctx, n.cfg.FlushInterval); err != nil {
			return nil, err
		}
	}
}
