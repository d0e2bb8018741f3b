package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
	"github.com/quoin-kv/quoin/sim/engine"
)

// host is a machine: disks, a clock, and a member that runs on it or not.
type host struct {
	w        *world
	index    int
	id       uint64 // of the member
	url      string
	rng      *rand.Rand // of its disks and of how fast its parts are
	fs       *vfs.Mem
	file     *backend.MemoryDisk
	received map[uint64]*backend.MemoryDisk // files that came from other members, by the index at which they end
	member   *member                        // nil while it is down

	retired bool // it was removed from the cluster, or replaced, and does not come back
	damaged bool // its disks have lost what they had promised to keep; it must not start again
	flipped bool // bits of its log, or one of its database file, were turned over

	flippedFile bool // it was the database file
	starts      int  // that wait to happen

	clock   struct{ virtual, local int64 } // when it was last looked at
	rate    int64
	stalled struct{ log, file int64 } // its disks do nothing before these times
	room    int64                     // bytes until the disk is full, -1 is no limit
	power   int                       // disk calls until the power fails, -1 is never
	sync    bool                      // the next sync fails

	promised promise // what the log has reported as stored
}

// promise is what a member must remember.
type promise struct {
	state       wire.HardState
	index, term uint64 // of the last entry; term 0 is any
}

// replacing notes that entries are about to be written: those that they take the place of may be gone from now on, even if the write fails.
func (p *promise) replacing(entries []wire.Entry) {
	if len(entries) > 0 && entries[0].Index <= p.index {
		p.index, p.term = entries[0].Index-1, 0
	}
}

// told notes what a message promises to others: a vote, one's own too, or that entries are stored.
func (p *promise) told(m *member, msg *wire.Message) {
	switch {
	case msg.Type == wire.MsgVoteResp && !msg.Reject && msg.Term >= p.state.Term:
		p.state = wire.HardState{Term: msg.Term, Vote: msg.To}
	case msg.Type == wire.MsgVote && msg.Term >= p.state.Term:
		p.state = wire.HardState{Term: msg.Term, Vote: msg.From}
	case msg.Type == wire.MsgAppResp && !msg.Reject && msg.Index > p.index && msg.Term == m.consensus.Term():
		// In a later term the entries may have been replaced meanwhile.
		if term, ok := m.terms.at(msg.Index); ok {
			p.index, p.term = msg.Index, term
		}
	}
}

// errPower is what a disk call meets when the power goes in the middle of it.
var errPower = errors.New("power failure")

const clusterID = 0xc1

// found makes the founding members and starts them.
func (w *world) found() {
	var members []schema.Member
	for i := range w.plan.Members {
		members = append(members, schema.Member{ID: uint64(i + 1), PeerURLs: []string{w.operator.nextURL()}})
	}
	for i := range members {
		h := w.newHost(members[i].ID, members[i].PeerURLs[0])
		h.create(membership.BootstrapChanges(members))
		h.boot()
	}
}

func urlOf(index int) string { return fmt.Sprintf("http://m%d:2380", index+1) }

// newHost adds a host with empty disks.
func (w *world) newHost(id uint64, url string) *host {
	index := len(w.hosts)
	h := &host{
		w: w, index: index, id: id, url: url, rng: engine.Random(w.plan.Seed, "host", index),
		fs: vfs.NewMem(), file: backend.NewMemoryDisk(), received: map[uint64]*backend.MemoryDisk{}, rate: 1000, room: -1, power: -1,
	}
	h.clock.virtual, h.clock.local = w.engine.Now(), w.engine.Now()+h.rng.Int64N(1e12)
	w.hosts = append(w.hosts, h)
	w.byID[id] = h
	return h
}

func (h *host) walConfig() wal.Config {
	return wal.Config{FS: h.disk(), Dir: "/wal", SegmentBytes: h.w.plan.Tuning.SegmentBytes}
}

// create makes the log of a member that founds the cluster with changes, or that joins one without.
func (h *host) create(changes []wire.ConfChange) {
	log, err := wal.Create(h.walConfig(), wal.Metadata{NodeID: h.id, ClusterID: clusterID})
	if err != nil {
		panic(err)
	}
	if n := len(changes); n > 0 {
		var entries []wire.Entry
		for i, cc := range changes {
			entries = append(entries, wire.Entry{Type: wire.EntryConfChange, Term: 1, Index: uint64(i + 1), Data: cc.Append(nil)})
		}
		state := wire.HardState{Term: 1, Commit: uint64(n)}
		if err := log.Write(wal.Batch{Entries: entries, HardState: state, Sync: true}); err != nil {
			panic(err)
		}
		h.promised = promise{state, uint64(n), 1}
	}
	h.fs = h.fs.Crash(vfs.CrashOptions{})
}

// beforeDisk lets disk calls fail.
func (h *host) beforeDisk(op vfs.Op) error {
	switch op.Kind {
	case vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpTruncate, vfs.OpCreate, vfs.OpRemove, vfs.OpSyncDir, vfs.OpPreallocate:
	default:
		return nil
	}
	if h.power == 0 {
		return errPower
	}
	h.power = max(h.power-1, -1)
	switch {
	case op.Kind == vfs.OpSync && h.sync:
		h.sync = false
		h.power = 0 // what was not made durable now never will be, whatever the member does
		return syscall.EIO
	case op.Kind == vfs.OpWrite || op.Kind == vfs.OpPreallocate:
		return h.takeRoom(op)
	}
	return nil
}

// takeRoom lets a full disk take no more.
func (h *host) takeRoom(op vfs.Op) error {
	switch {
	case h.room < 0:
		return nil
	case op.Kind == vfs.OpPreallocate:
		return syscall.ENOSPC
	case op.Bytes <= h.room:
		h.room -= op.Bytes
		return nil
	}
	part := h.room
	h.room = 0
	return &vfs.PartialWrite{Bytes: part, Err: syscall.ENOSPC}
}

// logTime is how long a synced write of the log takes that begins now, and fileTime one of the database file.
func (h *host) logTime() int64  { return h.diskTime(h.stalled.log) }
func (h *host) fileTime() int64 { return h.diskTime(h.stalled.file) }

func (h *host) diskTime(stalled int64) int64 {
	d := h.w.plan.Disk
	return max(stalled-h.w.engine.Now(), 0) + d.Sync + h.rng.Int64N(d.Jitter+1)
}

// receive hands a message to the member; it returns false if none runs.
func (h *host) receive(msg wire.Message) bool {
	m := h.member
	if m == nil {
		return false
	}
	m.proc.Exec(func() {
		m.messages = append(m.messages, msg)
		m.poke()
	})
	return true
}

// boot starts the member if it may, and tries again later if it cannot.
func (h *host) boot() {
	if h.member != nil || h.retired || h.damaged {
		return
	}
	h.w.engine.Note("boot", h.index)
	switch err := h.start(); {
	case err == nil && h.flippedFile:
		h.w.fail("corruption", "member %d started from a damaged database file", h.index)
	case err == nil:
	case h.flipped:
		h.w.engine.Comment(h.index, "damage found: %v", err)
		h.damaged = true
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EIO), errors.Is(err, errPower):
		h.fs, h.file, h.power = h.fs.Crash(h.crashOptions()), h.file.Crash(), -1
		h.bootAfter(1e9)
	default:
		h.w.fail("restart", "member %d: %v", h.index, err)
	}
	if h.damaged {
		h.w.engine.Note("damaged", h.index)
	}
}

// bootAfter starts the member when some time has passed.
func (h *host) bootAfter(ns int64) {
	h.starts++
	h.w.engine.After(ns, func() {
		h.starts--
		h.boot()
	})
}

// localTime is what the host's clock shows.
func (h *host) localTime() int64 {
	if h.member != nil {
		return h.member.proc.Local()
	}
	return h.clock.local + h.w.engine.Now() - h.clock.virtual
}

// end stops the member: its process is gone, and what its disks had not made durable survives as options say.
func (h *host) end(o vfs.CrashOptions) {
	m := h.member
	if m == nil {
		return
	}
	h.w.engine.Note("end", h.index, m.applier.Applied().Index)
	h.clock.local, h.clock.virtual = h.localTime(), h.w.engine.Now()
	h.member = nil
	m.proc.Kill()
	h.w.network.gone(h)
	h.fs, h.file = h.fs.Crash(o), h.file.Crash()
	h.power = -1
}

// crash takes the power from the member, perhaps in the middle of a write.
func (h *host) crash() {
	m := h.member
	if m == nil {
		return
	}
	if m.writing && h.rng.IntN(2) == 0 {
		h.power = h.rng.IntN(6)
		h.promised.replacing(m.written.Log.Entries)
		_ = m.log.Write(m.written.Log) // fails when the power does
	}
	h.end(h.crashOptions())
}

// crashOptions is what a power failure leaves.
func (h *host) crashOptions() vfs.CrashOptions {
	d := h.w.plan.Disk
	return vfs.CrashOptions{Seed: h.rng.Uint64(), KeepUnsynced: float64(d.Keep) / 1000}
}

// exit ends the process but not the machine: nothing that was written is lost.
func (h *host) exit() { h.end(vfs.CrashOptions{Seed: h.rng.Uint64(), KeepUnsynced: 1}) }
