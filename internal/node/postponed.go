package node

import (
	"errors"
	"slices"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Bounds of proposals that other members passed on to this one when it could neither take them nor pass them on. Beyond them they are lost,
// and those who wait for them are told so in time.
const (
	maxPostponed   = 1024
	postponedTicks = 10
)

// postponed is proposals of other members that came while leadership was being handed over, or while there was no leader. They are tried again
// when a leader is known, so that a planned change of the leader loses none.
type postponed struct {
	list []postponedMessage
}

type postponedMessage struct {
	m     wire.Message
	ticks int // left
}

// keep takes a message if the core's refusal is one that passes, and reports whether it did.
func (p *postponed) keep(m *wire.Message, refusal error) bool {
	passes := errors.Is(refusal, raft.ErrDropped) || errors.Is(refusal, raft.ErrNoLeader)
	if m.Type != wire.MsgProp || !passes || len(p.list) >= maxPostponed {
		return false
	}
	p.list = append(p.list, postponedMessage{*m, postponedTicks})
	return true
}

// age counts a tick.
func (p *postponed) age() {
	for i := range p.list {
		p.list[i].ticks--
	}
	p.list = slices.DeleteFunc(p.list, func(one postponedMessage) bool { return one.ticks <= 0 })
}

// retry hands the core what was postponed, and reports whether it took any. What it refuses again stays, in order.
func (p *postponed) retry(step func(wire.Message) error) bool {
	before := len(p.list)
	p.list = slices.DeleteFunc(p.list, func(one postponedMessage) bool {
		err := step(one.m)
		return !errors.Is(err, raft.ErrDropped) && !errors.Is(err, raft.ErrNoLeader)
	})
	return len(p.list) < before
}
