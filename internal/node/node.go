// Package node is the running half of a member: it gives package replica its goroutines, its clock and its disks, and lets callers
// wait for results.
//
// Four goroutines, each owning what it touches: the loop (consensus), the log writer (write-ahead log), the applier (machine and the
// pending layers) and the flusher (database file); two more watch the room on the disks, and read the database file again, now and then,
// to find damage. They hand each other batches through mailboxes: whoever is busy finds everything that
// came meanwhile as one batch, which is all there is to group commit. Nothing waits for the database file, and the loop waits for nothing.
package node

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Config is what a node runs on. The node takes over Log and Backend and closes them.
type Config struct {
	Logger    *slog.Logger
	Consensus *replica.Consensus
	Applier   *replica.Applier
	Log       *wal.Log
	Backend   *backend.Backend
	Send      func([]wire.Message) // to other members; must not block; gets no MsgSnap

	// SendSnapshot sends a complete MsgSnap, whose database file body writes. It may block. nil: snapshots are never sent.
	SendSnapshot func(ctx context.Context, m wire.Message, body func(io.Writer) error) error
	// Adopt puts the received database file of an index in the place of the present one. nil: snapshots are refused.
	Adopt func(index uint64) error
	// DropReceived deletes the received files that end before an index. nil: they stay.
	DropReceived func(index uint64) error
	// KeepMark stores, durably, what SnapshotData says at a mark of the log. That it fails is logged: nothing here needs it. nil: nothing.
	KeepMark func(wire.Snapshot) error
	// Restore builds the machine on the database file that was adopted.
	Restore func(*backend.Backend) (*machine.Machine, error)
	// SnapshotData is the data of a MsgSnap: the membership as other members want it there. nil: none.
	SnapshotData func(*machine.Machine) []byte
	// Connected reports whether there is a connection to another member. It tells why a request timed out. nil: there always is.
	Connected func(id uint64) bool

	// Room tells how much room there is on the disks; it is asked often. nil: there is always enough. ReleaseRoom gives away what is held back
	// for the time when there is none, and reports whether there was anything; it may be nil.
	Room        func() (Room, error)
	ReleaseRoom func() (bool, error)

	Tick            time.Duration // one tick of the core
	FlushInterval   time.Duration // longest time that applied data stays out of the database file
	CompactionBatch int           // revisions visited in one step of a compaction
	CompactionPause time.Duration // between two steps
	SlowApply       time.Duration // an apply that takes longer is logged
	VerifyPeriod    time.Duration // in which the whole database file is read again and verified; 0: never
	KeepSegments    int           // log segments kept besides the needed ones; 0 keeps all
	MaxPending      int           // proposals that may wait at once; more are refused
	MaxPendingBytes int64         // their data, and likewise the memory of committed entries not yet applied; 0 is 256 MiB
	MaxBacklog      uint64        // committed entries not yet applied above which proposals are refused

	Observer Observer
	Metrics  Metrics
}

// Observer is told what was applied, on the applier's goroutine. It must not block.
type Observer interface {
	// Applying comes before the new view is published: whoever sees it can be judged by what the batch says of who may see what.
	Applying(*replica.Batch)
	// Applied comes after the new view is published and before anybody gets an answer.
	Applied(*replica.Batch)
}

// Metrics receives measurements; every field may be nil.
type Metrics struct {
	Apply          func(time.Duration, *replica.Batch)
	SlowApply      func()
	ProposalFailed func()
	LeaderChanged  func()
	ReadFailed     func()
	MessageDropped func() // one from another member found no room
	SlowRead       func() // a read index was not known in time and is asked for again
	LateHeartbeat  func() // this leader could not keep the others informed in time
	Installing     func(bool)
	CompactionStep func(took time.Duration, work mvcc.CompactionWork)
	Compacted      func(took time.Duration)
}

// Node is a running member.
//
// Invariants:
//  1. An answer to a proposal is sent after its entry is durable on a quorum, applied here, and visible in the published view.
//  2. The flusher writes no batch whose entries the log does not hold durably.
//  3. After a failure of log or backend nothing is answered but the error. A lack of room is no failure: what finds none is done when there
//     is some, and nothing that depends on it is answered before.
type Node struct {
	cfg     Config
	started time.Time // origin of now
	waiters *waiters

	wake      chan struct{} // the loop's
	proposals *mailbox[*replica.Proposal]
	reads     *mailbox[wantedRead]
	messages  *inbox
	events    *mailbox[event]
	writes    *mailbox[replica.Output]
	tasks     *mailbox[task]
	run       []wire.Entry // scratch of the applier
	pace      pace         // the applier's
	flushes   chan chan error
	marks     chan struct{} // capacity 1: the log has a new mark, at marked
	compact   chan struct{} // capacity 1: a compaction has something to do
	installs  chan struct{} // capacity 1: installable went up

	view    atomic.Pointer[mvcc.View]
	status  atomic.Pointer[raft.Status] // its indexes may be a tick old
	commit  atomic.Uint64
	applied atomic.Uint64
	durable atomic.Uint64 // stored by this member's log; written by the loop
	sole    atomic.Uint64 // index from which on the published view is linearizable by itself; 0: reads need rounds

	installable atomic.Uint64                     // index of the newest snapshot whose mark the log holds durably
	received    atomic.Uint64                     // index of the newest snapshot that came, 0 if its file and those before are dealt with
	marked      atomic.Pointer[wire.SnapshotMeta] // what is below may be released from the log
	kept        atomic.Uint64                     // index of the last mark that the flusher has dealt with
	leaders     atomic.Uint64                     // how many times another leader, or none, was seen
	unreachable idSet
	acks        acks
	backlog     atomic.Int64 // bytes committed and not yet applied
	unwritten   atomic.Int64 // bytes handed to the log writer and not yet written
	room        atomic.Pointer[Room]
	roomChanged chan struct{} // capacity 1: room is short, or no longer
	roomUnknown sync.Once

	logging, flushing stopwatch
	logWrites         spans
	compactionBegan   time.Time // the applier's

	applyMu   sync.Mutex      // held while the applier changes the machine, and by Inspect; guards the next two
	compacted []chan struct{} // closed when no compaction is left to do
	hashing   *hashing        // a compaction waits for its hash, which another goroutine takes

	ctx   context.Context // ends when the node stops
	stop  context.CancelCauseFunc
	close func() error
	wg    sync.WaitGroup
}

// Status is the state of consensus as the loop last saw it, and how far the machine is. First, Last and Peers may be a tick old.
type Status struct {
	raft.Status
	Applied uint64
	Short   bool   // of room on a disk
	Marked  uint64 // index of the newest mark that was made since the start, with what belongs to it
}

// defaultPendingBytes is the MaxPendingBytes of a Config without one.
const defaultPendingBytes = 256 << 20

// Start runs a node until Stop or a failure.
func Start(cfg Config) *Node {
	wake := make(chan struct{}, 1)
	cfg.MaxPendingBytes = cmp.Or(cfg.MaxPendingBytes, defaultPendingBytes)
	n := &Node{
		cfg: cfg, waiters: newWaiters(replica.Bound{Requests: cfg.MaxPending, Bytes: cfg.MaxPendingBytes}), wake: wake, started: time.Now(),
		proposals: newMailbox[*replica.Proposal](wake),
		reads:     newMailbox[wantedRead](wake),
		messages:  &inbox{mailbox: newMailbox[wire.Message](wake)},
		events:    newMailbox[event](wake),
		writes:    newMailbox[replica.Output](make(chan struct{}, 1)),
		tasks:     newMailbox[task](make(chan struct{}, 1)),
		flushes:   make(chan chan error),
		marks:     make(chan struct{}, 1),
		compact:   make(chan struct{}, 1),
		installs:  make(chan struct{}, 1),

		roomChanged: make(chan struct{}, 1),
	}
	n.ctx, n.stop = context.WithCancelCause(context.Background())
	n.close = sync.OnceValue(n.shutDown)
	n.durable.Store(cfg.Consensus.Durable())
	n.applied.Store(cfg.Applier.Applied().Index)
	n.view.Store(cfg.Applier.View())
	n.room.Store(&Room{})
	status := cfg.Consensus.Status()
	n.status.Store(&status)
	n.commit.Store(status.Commit)
	if cfg.Applier.Machine().Compacting() {
		poke(n.compact)
	}
	if cfg.Room != nil {
		n.lookAtRoom()
		n.wg.Go(n.runRoom)
	}
	for _, run := range []func(){n.runLoop, n.runLog, n.runApplier, n.runFlusher, n.runVerifier} {
		n.wg.Go(run)
	}
	return n
}

// errStopped is the cause of an ordinary stop.
var errStopped = errors.New("node: stopped")

// fail stops the node because of err. The first cause wins.
func (n *Node) fail(err error) {
	if err != nil && n.ctx.Err() == nil {
		n.cfg.Logger.Error("member fails", "error", err)
		n.stop(err)
	}
}

// Done is closed when the node stops, by Stop or by a failure.
func (n *Node) Done() <-chan struct{} { return n.ctx.Done() }

// Err is why the node failed: nil while it runs and after an ordinary stop.
func (n *Node) Err() error {
	if err := context.Cause(n.ctx); !errors.Is(err, errStopped) {
		return err
	}
	return nil
}

// Stop ends the node: nothing new is accepted, what is applied is flushed, files are closed. Its error is Err or what closing met; a second
// call returns the same.
func (n *Node) Stop() error {
	n.stop(errStopped)
	return n.close()
}

func (n *Node) shutDown() error {
	n.wg.Wait()
	errs := []error{n.Err()}
	if n.Err() == nil {
		if _, err := n.cfg.Backend.Flush(n.flushable()); !n.noRoom(err) { // otherwise the log has it
			errs = append(errs, failed("database file", err))
		}
	}
	if v := n.view.Swap(nil); v != nil {
		v.Release()
	}
	errs = append(errs, n.cfg.Log.Close(), n.cfg.Backend.Close())
	return errors.Join(errs...)
}

// View returns the published view; the caller releases it. It fails once the node has stopped.
func (n *Node) View() (*mvcc.View, error) {
	for {
		v := n.view.Load()
		if v == nil {
			return nil, kverr.Stopped
		}
		if v.Retain() {
			return v, nil
		}
	}
}

// Status returns the last seen state.
func (n *Node) Status() Status {
	st := Status{Status: *n.status.Load(), Applied: n.applied.Load(), Marked: n.kept.Load(), Short: n.Room().Short}
	st.Commit, st.Durable = max(n.commit.Load(), st.Applied), n.durable.Load()
	return st
}

// Pending is the number of proposals that wait for their answer.
func (n *Node) Pending() int { return n.waiters.len() }

// Step hands in a message of another member. If too much waits already it is dropped, as if it had been lost on its way. Of a MsgSnap the
// database file must be there for Adopt, and Meta must say exactly where it ends: see replica.ExactMeta.
func (n *Node) Step(m wire.Message) {
	if m.Type == wire.MsgSnap && m.Snapshot != nil {
		n.noteReceived(m.Snapshot.Meta.Index)
	}
	// What acknowledgements that are held back do not stop is dropped: a leader that does not hear tries one append now and then.
	full := len(m.Entries) > 0 && m.Type == wire.MsgApp && n.backlog.Load() > 2*n.cfg.MaxPendingBytes
	if (full || n.logBehind(&m) || !n.messages.offer(m)) && n.cfg.Metrics.MessageDropped != nil {
		n.cfg.Metrics.MessageDropped()
	}
}

// logBehind reports whether the log has so much left to write, perhaps because there is no room for it, that a message with more must be
// dropped.
func (n *Node) logBehind(m *wire.Message) bool {
	return len(m.Entries) > 0 && n.unwritten.Load() > n.cfg.MaxPendingBytes
}

// Hurry lets ticks pass at once, as long as this member knows no leader: a member that has just started need not wait as long for the first
// one as for the next.
func (n *Node) Hurry(ticks int) { n.events.put(event{ticks: ticks}) }

// Campaign starts an election at once.
func (n *Node) Campaign() { n.events.put(event{campaign: true}) }

// Unreachable tells that a message to a member was dropped or could not be sent.
func (n *Node) Unreachable(id uint64) {
	if n.unreachable.add(id) {
		poke(n.wake)
	}
}

// Gone tells that the process of a member seems to have ended: its connections broke, and it takes no new ones. Nobody waits long for a leader
// that is gone.
func (n *Node) Gone(id uint64) { n.events.put(event{gone: id}) }

// TransferLeader asks the leader to hand over to a voter. Whether it has, Status tells; a request that makes no sense is ignored.
func (n *Node) TransferLeader(to uint64) { n.events.put(event{transfer: to}) }

// Inspect runs fn while the machine stands still between two batches. fn must be short: the applier waits for it.
func (n *Node) Inspect(fn func(*machine.Machine)) {
	n.applyMu.Lock()
	defer n.applyMu.Unlock()
	fn(n.cfg.Applier.Machine())
}

// hasPeers reports whether the cluster has other members.
func (n *Node) hasPeers() bool {
	conf := &n.status.Load().ConfState
	return len(conf.Voters)+len(conf.Learners) > 1
}

// reachesQuorum reports whether this member and the voters that it is connected to are a majority.
func (n *Node) reachesQuorum() bool {
	if n.cfg.Connected == nil {
		return true
	}
	st := n.status.Load()
	reached := 0
	for _, id := range st.ConfState.Voters {
		if id == st.ID || n.cfg.Connected(id) {
			reached++
		}
	}
	return reached > len(st.ConfState.Voters)/2
}

// WaitApplied blocks until the machine has applied index.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	if n.applied.Load() >= index {
		return nil
	}
	return n.awaitRead(ctx, index)
}

// WaitCompacted blocks until no compaction is left to do.
func (n *Node) WaitCompacted(ctx context.Context) error {
	n.applyMu.Lock()
	if !n.cfg.Applier.Machine().Compacting() {
		n.applyMu.Unlock()
		return nil
	}
	done := make(chan struct{})
	n.compacted = append(n.compacted, done)
	n.applyMu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-n.ctx.Done():
		return kverr.Stopped
	}
}

// Flush writes everything applied so far, as far as this member's log holds it durably, to the database file and waits for it.
func (n *Node) Flush(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case n.flushes <- done:
	case <-ctx.Done():
		return ctx.Err()
	case <-n.ctx.Done():
		return kverr.Stopped
	}
	select {
	case err := <-done:
		return err
	case <-n.ctx.Done():
		return kverr.Stopped
	}
}
