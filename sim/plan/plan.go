// Package plan says what a simulation does, as data: how large the cluster is and how it is tuned, how bad network and disks are, which
// faults happen when, and what clients do. A plan is drawn from a seed, can be written to a file, and can be made smaller.
package plan

import (
	"encoding/json"
	"fmt"
	"os"
)

// Plan is one simulation. Times are nanoseconds of virtual time, probabilities are in thousandths.
type Plan struct {
	Seed    uint64   `json:"seed"`    // of everything that the plan leaves open
	Members int      `json:"members"` // that found the cluster
	Safety  int64    `json:"safety"`  // length of the part with faults
	Tuning  Tuning   `json:"tuning"`
	Network Network  `json:"network"`
	Disk    Disk     `json:"disk"`
	Faults  []Fault  `json:"faults"` // by time
	Clients []Client `json:"clients"`
}

// Tuning is how members are configured.
type Tuning struct {
	Tick           int64  `json:"tick"`
	ElectionTicks  int    `json:"election_ticks"`
	PreVote        bool   `json:"pre_vote"`
	MessageBytes   uint64 `json:"message_bytes"`
	InflightMax    int    `json:"inflight_max"`
	MarkEvery      uint64 `json:"mark_every"`
	CatchupEntries uint64 `json:"catchup_entries"`
	SegmentBytes   int64  `json:"segment_bytes"`
	FlushInterval  int64  `json:"flush_interval"`
	Think          int64  `json:"think"` // longest time that a part of a member takes to react to another
	CompactBatch   int    `json:"compact_batch"`
	WatchRing      int    `json:"watch_ring"`      // revisions that the hub of watches keeps
	WatchBatch     int    `json:"watch_batch"`     // revisions in a response from history
	Quota          int64  `json:"quota,omitempty"` // of the database, bytes; 0 is none
}

// Network is how messages travel.
type Network struct {
	Delay     int64 `json:"delay"`  // shortest
	Jitter    int64 `json:"jitter"` // most that is added
	Loss      int   `json:"loss"`
	Duplicate int   `json:"duplicate"`
	Reorder   int   `json:"reorder"`    // these do not keep the order of their link
	ReplyLoss int   `json:"reply_loss"` // answers to clients that get lost
}

// Disk is how disks behave.
type Disk struct {
	Sync   int64 `json:"sync"`   // shortest write with a sync
	Jitter int64 `json:"jitter"` // most that is added
	Keep   int   `json:"keep"`   // unsynced sectors that survive a crash
}

// Client is one client that does one thing after the other.
type Client struct {
	ID       int   `json:"id"`
	Kind     Kind  `json:"kind"`
	Think    int64 `json:"think"`              // mean time between two requests
	Keys     int   `json:"keys"`               // that it works on, from the first
	Stick    int   `json:"stick"`              // probability of staying with a member
	Compacts bool  `json:"compacts,omitempty"` // it compacts the history now and then
	Burst    int   `json:"burst,omitempty"`    // requests that it may send at once
}

// Kind is what a client does.
type Kind string

// The kinds of clients.
const (
	KV      Kind = "kv"      // puts, reads, deletes, transactions
	Watcher Kind = "watcher" // watches, and comes back where it was cut off
	Leaser  Kind = "leaser"  // grants leases, keeps some alive, lets others end
	Greeter Kind = "greeter" // reads from leaders that have just been elected
)

// FaultKind is what goes wrong.
type FaultKind string

// The kinds of faults, and of what operators do.
const (
	Crash     FaultKind = "crash"      // a member loses power, and is back after For
	Pause     FaultKind = "pause"      // a member stands still for For
	Isolate   FaultKind = "isolate"    // a member is cut off for For; Mode says which way
	CutLink   FaultKind = "cut-link"   // nothing gets from Target to Peer for For
	Split     FaultKind = "split"      // the members whose bits are in Amount are cut off from the rest for For
	SlowLink  FaultKind = "slow-link"  // what Target sends takes Amount longer for For
	StallDisk FaultKind = "stall-disk" // writes of a member take For
	FailSync  FaultKind = "fail-sync"  // the next sync fails; the member stops and is back after For
	FailFile  FaultKind = "fail-file"  // the next write of the database file fails; likewise
	FillDisk  FaultKind = "fill-disk"  // after Amount bytes the disk is full; there is room again after For
	FlipBits  FaultKind = "flip-bits"  // a member crashes, and Amount bits of its log are turned over, or, if Amount is even, one of its database file
	Wipe      FaultKind = "wipe"       // a member loses its disks for good
	ClockRate FaultKind = "clock-rate" // a member's clock runs at Amount thousandths
	ClockJump FaultKind = "clock-jump" // a member's clock jumps forward by Amount
	Transfer  FaultKind = "transfer"   // the leader is asked to hand over to Peer
	AddMember FaultKind = "add-member" // Amount more members, as learners if Mode says so
	Promote   FaultKind = "promote"    // a learner becomes a voter
	Remove    FaultKind = "remove"     // a member is removed
)

// Leader as a Target is whoever leads at the time.
const Leader = -1

// FastestClock and SlowestClock bound the rates of clocks, in thousandths.
const (
	FastestClock = 1250
	SlowestClock = 800
)

// Modes of a fault.
const (
	Both    = "both"
	In      = "in"      // what it would receive is lost
	Out     = "out"     // what it sends is lost
	Stale   = "stale"   // and what it receives comes Amount later
	Learner = "learner" // as a learner
	LogOnly = "log"     // only the disk of the log
	Tear    = "tear"    // the last write is torn within a sector, too
)

// Fault is one thing that goes wrong at one time.
type Fault struct {
	At     int64     `json:"at"`
	Kind   FaultKind `json:"kind"`
	Target int       `json:"target"` // a member by its place among those there are, or Leader
	Peer   int       `json:"peer,omitempty"`
	For    int64     `json:"for,omitempty"`
	Amount int64     `json:"amount,omitempty"`
	Mode   string    `json:"mode,omitempty"`
	Wait   int64     `json:"wait,omitempty"` // not 0: it happens to the next leader, so long after its election
}

// Read reads a plan from a file.
func Read(name string) (*Plan, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	p := &Plan{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// Write writes the plan to a file.
func (p *Plan) Write(name string) error {
	text, err := p.Text()
	if err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

// Text is what stands in the plan's file.
func (p *Plan) Text() ([]byte, error) {
	text, err := json.MarshalIndent(p, "", " ")
	return append(text, '\n'), err
}
