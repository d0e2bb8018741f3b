package raft

import (
	"fmt"

	"github.com/quoin-kv/quoin/raft/wire"
)

// Propose asks for each data to become an entry of the log, in this order, all or none. A follower hands them to the
// leader. A nil error promises nothing: the entries may still be lost with a leader or a message. It returns ErrNoLeader,
// or ErrDropped when too much is uncommitted or leadership is being handed over. The core keeps data.
func (c *Core) Propose(data ...[]byte) error {
	if len(data) == 0 {
		return nil
	}
	if c.role != Leader {
		return c.forwardProposal(normalEntries(data))
	}
	size := uint64(0)
	for _, d := range data {
		size += uint64(len(d))
	}
	if err := c.admitProposal(size); err != nil {
		return err
	}
	for _, d := range data {
		c.appendOwn(wire.Entry{Data: d})
	}
	c.broadcastAppend()
	return nil
}

func normalEntries(data [][]byte) []wire.Entry {
	entries := make([]wire.Entry, len(data))
	for i, d := range data {
		entries[i].Data = d
	}
	return entries
}

// ProposeConfChange asks for a membership change. A leader refuses it with ErrConfChangePending while another one may not
// be applied yet (thesis 4.1), and with the reason if it is not possible; a follower hands it to the leader, which drops
// it in these cases. Otherwise it is like Propose.
func (c *Core) ProposeConfChange(cc wire.ConfChange) error {
	e := wire.Entry{Type: wire.EntryConfChange, Data: cc.Append(nil)}
	if c.role != Leader {
		return c.forwardProposal([]wire.Entry{e})
	}
	return c.proposeChange(e, cc.V2())
}

// ProposeConfChangeV2 asks a leader for a set of membership changes, which take effect together by way of a joint
// configuration (thesis 4.3); without changes it asks to leave one that does not end by itself. Etcd's members do not
// understand such entries, so a cluster must be free of them, and no member takes them from another: ErrNotLeader. The
// other errors are those of ProposeConfChange.
func (c *Core) ProposeConfChangeV2(cc wire.ConfChangeV2) error {
	if c.role != Leader {
		return ErrNotLeader
	}
	return c.proposeChange(wire.Entry{Type: wire.EntryConfChangeV2, Data: cc.Append(nil)}, cc)
}

// proposeChange appends a change, of which cc is the meaning, to a leader's log.
func (c *Core) proposeChange(e wire.Entry, cc wire.ConfChangeV2) error {
	if err := c.admitProposal(uint64(len(e.Data))); err != nil {
		return err
	}
	if err := c.admitConfChange(cc); err != nil {
		return err
	}
	c.appendConfChange(e)
	c.broadcastAppend()
	return nil
}

// admitProposal refuses new entries when too much is uncommitted, or when the transferee must catch up. Something small
// is always let in, so that a leader can commit again after a limit was lowered or a single proposal exceeded it.
func (c *Core) admitProposal(size uint64) error {
	limit := c.cfg.MaxUncommittedBytes
	if c.transferee != 0 || limit > 0 && c.uncommitted > 0 && size > 0 && c.uncommitted+size > limit {
		return ErrDropped
	}
	return nil
}

// stepPropose takes the entries that a follower hands over. Membership changes that are not possible now are left out.
func (c *Core) stepPropose(m wire.Message) error {
	if len(m.Entries) == 0 {
		return fmt.Errorf("%w: empty proposal from %x", ErrBadMessage, m.From)
	}
	if c.role != Leader {
		return c.passOn(m)
	}
	if err := c.admitProposal(dataBytes(m.Entries)); err != nil {
		return err
	}
	var refused error
	for i := range m.Entries {
		if err := c.appendForwarded(&m.Entries[i]); err != nil {
			refused = err
		}
	}
	c.broadcastAppend()
	return refused
}

func (c *Core) appendForwarded(e *wire.Entry) error {
	switch e.Type {
	case wire.EntryNormal:
		if len(e.Data) == 0 { // only a new leader has one to say, and no bound would hold many
			return fmt.Errorf("%w: proposal of nothing", ErrBadMessage)
		}
		c.appendOwn(*e)
		return nil
	case wire.EntryConfChange:
		var cc wire.ConfChange
		if err := cc.Unmarshal(e.Data); err != nil {
			return fmt.Errorf("%w: %w", ErrBadMessage, err)
		}
		if err := c.admitConfChange(cc.V2()); err != nil {
			return err
		}
		c.appendConfChange(*e)
		return nil
	default:
		return fmt.Errorf("%w: proposal of entry type %d", ErrBadMessage, e.Type)
	}
}

// forwardProposal hands entries to the leader.
func (c *Core) forwardProposal(entries []wire.Entry) error {
	if c.lead == 0 {
		return ErrNoLeader
	}
	c.send(wire.Message{Type: wire.MsgProp, To: c.lead, Entries: entries})
	return nil
}

// passOn hands a request that came here by mistake to the leader, but not back to who sent it.
func (c *Core) passOn(m wire.Message) error {
	if c.lead == 0 || c.lead == m.From {
		return ErrNoLeader
	}
	m.To = c.lead
	c.send(m)
	return nil
}
