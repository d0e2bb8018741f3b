// Package progress keeps what a leader knows about each of its peers: how far its log agrees, what has been sent, and
// whether more may be sent now.
//
// A peer is in one of three states. While probing, the leader does not know where the logs agree and sends one message
// per answer. While replicating, it sends ahead without waiting (thesis section 10.2.1), up to a bound on messages and
// bytes in flight. While a snapshot is on its way, it sends nothing else.
package progress

import "fmt"

// State is how a peer is being fed.
type State uint8

// The states of a peer.
const (
	Probe State = iota
	Replicate
	Snapshot
)

// String returns the name of s.
func (s State) String() string { return [...]string{"probe", "replicate", "snapshot"}[s] }

// Progress is what the leader knows about one peer.
//
// Invariants:
//  1. Match < Next: what is known to agree has been sent.
//  2. In state Replicate, everything in flight lies between Match and Next.
//  3. In state Snapshot, Next is PendingSnapshot+1; in the others PendingSnapshot is 0.
//  4. Only in state Replicate anything is counted as in flight.
type Progress struct {
	Match           uint64 // the peer's log is durable and equal to ours up to here
	Next            uint64 // the next entry to send
	State           State
	PendingSnapshot uint64 // index of the snapshot on its way
	Active          bool   // has been heard of since the leader last asked (CheckQuorum)
	ReadRound       uint64 // last read round that the peer has confirmed
	waiting         bool   // probing: a message is on its way, its answer decides how to go on
	inflights       Inflights
}

// New returns the progress of a peer of which nothing is known; probing starts at next, which must be at least 1.
func New(next uint64, limits Limits) *Progress {
	return &Progress{Next: next, inflights: Inflights{limits: limits}}
}

// Paused reports whether nothing may be sent now except heartbeats.
func (p *Progress) Paused() bool {
	switch p.State {
	case Probe:
		return p.waiting
	case Replicate:
		return p.inflights.Full()
	default:
		return true
	}
}

// Sent notes that a message with count entries from Next on, of size bytes in all, is on its way.
func (p *Progress) Sent(count int, size uint64) {
	switch p.State {
	case Probe:
		p.waiting = true
	case Replicate:
		if count > 0 {
			p.Next += uint64(count)
			p.inflights.Add(p.Next-1, size)
		}
	case Snapshot:
		panic("progress: entries sent to a peer that expects a snapshot")
	}
}

// Acknowledged notes that the peer has everything up to index and reports whether that tells the leader anything: that
// more agrees, or that a probe arrived.
func (p *Progress) Acknowledged(index uint64) bool {
	advanced := index > p.Match
	if advanced {
		p.Match = index
	}
	p.Next = max(p.Next, index+1)
	switch p.State {
	case Probe:
		if index == p.Match {
			p.becomeReplicate()
			return true
		}
	case Replicate:
		p.inflights.FreeTo(index)
	case Snapshot:
		p.resumeAfterSnapshot()
	}
	return advanced
}

// resumeAfterSnapshot ends the state Snapshot when the peer has what the snapshot holds.
func (p *Progress) resumeAfterSnapshot() {
	if p.Match >= p.PendingSnapshot {
		p.becomeReplicate()
	}
}

// Rejected notes that the peer's log does not hold the entry at index, after which something was sent, and that the next
// attempt should follow the entry at hint. It reports whether the answer belongs to what was sent last; if not, it is old
// and changes nothing.
func (p *Progress) Rejected(index, hint uint64) bool {
	switch p.State {
	case Replicate:
		if index <= p.Match {
			return false
		}
		p.BecomeProbe()
		return true
	case Probe:
		if index != p.Next-1 {
			return false
		}
		p.Next = max(min(index, hint+1), p.Match+1)
		p.waiting = false
		return true
	default:
		return false
	}
}

// Resume lets a probe go out again: the last one may be lost. In state Replicate it makes room for one more message when
// too much is in flight, in case what would free it got lost.
func (p *Progress) Resume() {
	p.waiting = false
	if p.State == Replicate && p.inflights.Full() {
		p.inflights.FreeFirst()
	}
}

// BecomeProbe makes the peer be asked again where its log agrees. After a snapshot that is one behind it.
func (p *Progress) BecomeProbe() {
	next := p.Match + 1
	if p.State == Snapshot {
		next = max(next, p.PendingSnapshot+1)
	}
	p.reset(Probe)
	p.Next = next
}

// BecomeSnapshot notes that a snapshot up to index is on its way.
func (p *Progress) BecomeSnapshot(index uint64) {
	p.reset(Snapshot)
	p.PendingSnapshot = index
	p.Next = index + 1
}

// SnapshotDone notes how the sending of the snapshot ended. Either way the next message waits for a sign of life.
func (p *Progress) SnapshotDone(ok bool) {
	if p.State != Snapshot {
		return
	}
	if !ok {
		p.PendingSnapshot = 0
	}
	p.BecomeProbe()
	p.waiting = true
}

func (p *Progress) becomeReplicate() {
	p.reset(Replicate)
	p.Next = p.Match + 1
}

func (p *Progress) reset(s State) {
	p.State = s
	p.PendingSnapshot = 0
	p.waiting = false
	p.inflights.Reset()
}

// Check returns which of the invariants is broken, if any.
func (p *Progress) Check() error {
	switch {
	case p.Match >= p.Next:
		return fmt.Errorf("progress invariant 1: match %d, next %d", p.Match, p.Next)
	case p.inflights.count > 0 && (p.inflights.first() <= p.Match || p.inflights.last() >= p.Next):
		return fmt.Errorf("progress invariant 2: in flight %d to %d, match %d, next %d", p.inflights.first(), p.inflights.last(), p.Match, p.Next)
	case p.State == Snapshot && p.Next != p.PendingSnapshot+1, p.State != Snapshot && p.PendingSnapshot != 0:
		return fmt.Errorf("progress invariant 3: %v with pending snapshot %d, next %d", p.State, p.PendingSnapshot, p.Next)
	case p.State != Replicate && p.inflights.count > 0:
		return fmt.Errorf("progress invariant 4: %d in flight while in %v", p.inflights.count, p.State)
	}
	return p.inflights.check()
}
