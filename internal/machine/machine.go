// Package machine is the replicated state machine: it applies a committed entry to the key-value store, the leases, the alarms, the users
// and the membership. It is the only place where these meet.
//
// A machine is a value with one owner. Applying the same entries in the same order gives the same state and the same bytes in storage on
// every member; nothing in here reads a clock, draws randomness or depends on the order of a map. Applying changes memory and hands
// storage what it has to keep; when that reaches a file is not the machine's business.
package machine

import (
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/internal/auth"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/lease"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Storage keeps what the machine writes, in the order written.
type Storage interface {
	mvcc.Storage
	Delete(bucket schema.Bucket, key []byte)
}

// Saved gives back what storage kept, at start.
type Saved interface {
	// ForEach calls fn with every key and value of a small bucket in key order.
	ForEach(bucket schema.Bucket, fn func(key, value []byte) error) error
}

// Config names the member. Ids go into the headers of replies and into nothing else.
type Config struct {
	ClusterID uint64
	MemberID  uint64
	// MinLeaseTTL is the least time to live of a lease, in seconds. It must be the same on all members, as shorter ones are raised to it.
	MinLeaseTTL int64
	// MaxLearners bounds the learners of the cluster. It must be the same on all members.
	MaxLearners int
	// Full reports whether a request that costs so many bytes goes beyond the quota of this member. It decides what this member answers, and
	// nothing of what the state becomes: members need not agree. nil is never.
	Full func(cost int64) bool
}

// Machine is the state. The zero value is not usable; Restore makes one.
type Machine struct {
	cfg     Config
	storage Storage
	kv      *mvcc.Store
	leases  *lease.Book
	// attached is leases.Keys; to make it of that for each request would be an allocation.
	attached auth.Keys
	members  *membership.Cluster
	alarms   alarms
	users    *auth.State

	storageVersion string

	parser  request.InternalParser
	replies replies
}

// Command is one committed entry that carries a request.
type Command struct {
	Index, Term uint64
	Data        []byte // an InternalRaftRequest; what is stored does not alias it
	// Wanted tells whether anybody here waits for the reply to the request with this id.
	Wanted func(id uint64) bool
	// Events are those of the commands before, if they are gathered: Outcome.Events has them, too.
	Events []mvcc.Event
}

// Outcome is what applying a command did.
type Outcome struct {
	ID    uint64 // request id
	Kind  string // of the request, as metrics name it
	Reply []byte // the encoded v3 response, if it was asked for and Err is nil
	Err   error  // a kverr.Error: the request was refused, nothing changed, unless OverQuota
	// OverQuota: Err is kverr.NoSpace, but what was asked for is done, as it is on the members that have the space.
	OverQuota bool

	Events     []mvcc.Event  // Command.Events, and what changed in the key space, in order
	Leases     []LeaseChange // leases that came or went
	Compaction bool          // a compaction has begun
	Lowered    bool          // the version of the cluster went down
	Alarms     []Alarm       // all alarms after the command, if it may have changed them; not nil then
	Users      *auth.State   // who may do what after the command, if that has changed
	Sessions   []Session     // logins and ends of logins
	Ops        Ops
}

// Ops counts what a command did, operations of a transaction each for itself.
type Ops struct {
	Puts, Deletes int
	Ranges        int   // compares included
	PutBytes      int64 // keys and values put
}

// Add adds what another command did.
func (o *Ops) Add(more Ops) {
	o.Puts += more.Puts
	o.Deletes += more.Deletes
	o.Ranges += more.Ranges
	o.PutBytes += more.PutBytes
}

// Total is how many operations there were.
func (o *Ops) Total() int { return o.Puts + o.Deletes + o.Ranges }

// LeaseChange is a lease granted, gone, or (Checkpoint) noted to have Remaining seconds left.
type LeaseChange struct {
	ID         int64
	TTL        int64 // granted time to live in seconds
	Revoked    bool
	Checkpoint bool
	Remaining  int64
}

// apply collects the outcome of one command.
type apply struct {
	*Machine
	index  uint64
	term   uint64
	wanted bool // somebody waits for the reply
	out    Outcome
}

// Apply applies a command. A request that this version does not know panics: going on would make members differ.
func (m *Machine) Apply(cmd Command) Outcome {
	in, err := m.parser.Parse(cmd.Data)
	if err != nil {
		if old, ok := request.ParseV2(cmd.Data); ok {
			return m.applyV2(cmd, &old)
		}
		panic(fmt.Sprintf("machine: committed entry that cannot be applied: %v", err))
	}
	a := &apply{Machine: m, index: cmd.Index, term: cmd.Term, wanted: cmd.Wanted(in.ID())}
	a.out.ID, a.out.Kind, a.out.Events = in.ID(), in.Field.String(), cmd.Events
	if a.out.Err = m.admit(in.Request); a.out.Err == nil {
		a.out.Err = a.mayApply(&in)
	}
	if a.out.Err == nil {
		over := m.overQuota(in.Request)
		a.dispatch(&in)
		if over && a.out.Err == nil {
			a.out.OverQuota, a.out.Err, a.out.Reply = true, kverr.NoSpace, nil
		}
	}
	return a.out
}

// admit refuses what the alarms forbid.
func (m *Machine) admit(r request.Request) error {
	if m.alarms.Raised(request.AlarmCorrupt) && writes(r) {
		return kverr.Corrupt
	}
	if m.alarms.Raised(request.AlarmNoSpace) && grows(r) {
		return kverr.NoSpace
	}
	return nil
}

// writes reports whether a request may change the key space or the leases.
func writes(r request.Request) bool {
	switch r.(type) {
	case *request.Put, *request.DeleteRange, *request.Txn, *request.Compaction, *request.LeaseGrant, *request.LeaseRevoke:
		return true
	}
	return false
}

// grows reports whether a request may make the database larger.
func grows(r request.Request) bool {
	_, grows := quotaCost(r)
	return grows
}

// quotaCost is what a request adds to the database, in bytes, by the quota's estimate.
func quotaCost(r request.Request) (cost int64, grows bool) {
	switch r := r.(type) {
	case *request.Put:
		return r.QuotaCost(), true
	case *request.LeaseGrant:
		return r.QuotaCost(), true
	case *request.Txn:
		return r.QuotaCost(), r.HasPut()
	}
	return 0, false
}

// overQuota reports whether this member's database has no room for what a request adds.
func (m *Machine) overQuota(r request.Request) bool {
	if m.cfg.Full == nil {
		return false
	}
	cost, grows := quotaCost(r)
	return grows && m.cfg.Full(cost)
}

func (a *apply) dispatch(in *request.Internal) {
	switch r := in.Request.(type) {
	case *request.Put:
		a.put(r)
	case *request.DeleteRange:
		a.deleteRange(r)
	case *request.Txn:
		a.txn(r)
	case *request.Compaction:
		a.compact(r)
	case *request.LeaseGrant:
		a.grant(r)
	case *request.LeaseRevoke:
		a.revoke(r)
	case *request.LeaseCheckpoint:
		a.checkpoint(r)
	case *request.Alarm:
		a.alarm(r)
	case *request.ClusterVersionSet:
		a.setClusterVersion(r.Version)
	case *request.MemberAttrSet:
		a.setAttributes(r)
	case *request.DowngradeInfoSet:
		a.setDowngrade(r)
	case *request.DowngradeVersionTest:
		a.replyEmpty()
	default:
		if in.Field.AboutUsers() {
			a.auth(r)
			return
		}
		panic(fmt.Sprintf("machine: committed request of kind %d, which this version cannot apply", in.Field))
	}
}

// reply encodes the answer if somebody waits for it.
func (a *apply) reply(encode func(h request.ResponseHeader) []byte) {
	if a.wanted {
		a.out.Reply = encode(a.header(a.kv.Rev()))
	}
}

func (a *apply) header(revision int64) request.ResponseHeader {
	return request.ResponseHeader{ClusterID: a.cfg.ClusterID, MemberID: a.cfg.MemberID, Revision: revision, RaftTerm: a.term}
}

func (a *apply) compact(r *request.Compaction) {
	if err := a.kv.Compact(r.Revision); err != nil {
		a.out.Err = err
		return
	}
	a.out.Compaction = true
	a.reply(func(h request.ResponseHeader) []byte { return request.AppendCompactionResponse(nil, h) })
}

// CompactStep moves a compaction on by about budget revisions and reports whether there is more to do. It may be called at any time
// between commands; the state that clients see does not depend on it.
func (m *Machine) CompactStep(budget int) (more bool, err error) {
	done, err := m.kv.CompactStep(budget)
	return !done && err == nil, err
}

// TakeHashTask returns the part of the running compaction that only reads, if that is what comes next, else nil. It may run on another
// goroutine; ReturnHashTask hands it back.
func (m *Machine) TakeHashTask() *mvcc.HashTask { return m.kv.TakeHashTask() }

// ReturnHashTask hands back what TakeHashTask gave.
func (m *Machine) ReturnHashTask(h *mvcc.HashTask) { m.kv.ReturnHashTask(h) }

// View returns the key space as it is now, read through r. The view takes over r.
func (m *Machine) View(r mvcc.Reader) *mvcc.View { return m.kv.View(r) }

// StorageVersion is the version that the storage is marked with, empty if it is not.
func (m *Machine) StorageVersion() string { return m.storageVersion }

// CompactionWork is what compactions have done since the restoration.
func (m *Machine) CompactionWork() mvcc.CompactionWork { return m.kv.CompactionWork() }

// Compacting reports whether a compaction has steps left.
func (m *Machine) Compacting() bool { return m.kv.Compacting() }

// Removing reports whether what comes next of a compaction is the removal of records.
func (m *Machine) Removing() bool { return m.kv.Removing() }

// Removals is how many records the running compaction has still to remove, once it is Removing.
func (m *Machine) Removals() int { return m.kv.Removals() }

// Rev is the current revision.
func (m *Machine) Rev() int64 { return m.kv.Rev() }

// Leases gives access to the leases, to be read only.
func (m *Machine) Leases() *lease.Book { return m.leases }

// Members gives access to the membership, to be read only.
func (m *Machine) Members() *membership.Cluster { return m.members }

// Alarms lists the alarms by member and kind.
func (m *Machine) Alarms() []Alarm { return slices.Clone(m.alarms.list) }

// ConfState is the voters and learners as raft names them.
func (m *Machine) ConfState() wire.ConfState { return m.members.ConfState() }
