// Package service is what each verb of the API means: it checks a request, proposes or reads, and answers; and it does what a member does
// by itself: announce its attributes, expire leases, raise the alarm when space runs out.
//
// Calls that clients make often take a request and give a response in wire form, so that every edge can pass bytes through. Errors are
// kverr errors, context errors, or environment failures; the edges translate them.
package service

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/quoin-kv/quoin/internal/auth"
	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/steps"
	"github.com/quoin-kv/quoin/internal/watch"
)

// Config is what a service is told. Durations are positive.
type Config struct {
	Logger         *slog.Logger
	ClusterID      uint64
	MemberID       uint64
	Name           string   // this member's, to be announced
	ClientURLs     []string // where clients reach it, to be announced
	Version        string   // of the server, three numbers
	ClusterVersion string   // the cluster version that this server speaks at most, three numbers

	MaxRequestBytes  int           // largest replicated request
	MaxTxnOps        int           // operations of a transaction
	QuotaBytes       int64         // space used (backend.Used) from which nothing that grows it is accepted; 0 or less for none
	KeepNoSpaceAlarm bool          // this member's NOSPACE alarm stays until an operator clears it
	ElectionTimeout  time.Duration // also the extension that leases get from a new leader
	MinLeaseTTL      int64         // seconds; the one that the machine raises shorter ones to
	ProgressInterval time.Duration // between two progress messages of an idle watch
	WatchRing        int           // revisions that watchers find without reading history; 0 for the default
	WatchBatch       int           // revisions in one response to a watcher that is catching up; 0 for the default
	DowngradeCheck   time.Duration // between two looks whether a downgrade is complete; 0 for never
	LeaseCheckpoint  time.Duration // between two notes in the log of the time that long leases have left; 0 for none
	StrictReconfig   bool          // refuse changes of the membership that the cluster could not bear
	RangeBudgetBytes int64         // memory of large answers under way; 0 or less for no bound
	// HasRoom says that the memory of a call's answer was charged before, by AdmitJSON; nil for never.
	HasRoom    func(ctx context.Context) bool
	HashChecks HashChecks // the zero value: members never compare their data
	Metrics    Metrics

	AutoCompaction AutoCompaction
	// AutoDefragPercent is the share of the database file that is free from which on the member rewrites it by itself; 0 or less is never.
	AutoDefragPercent  int
	AutoDefragMinBytes int64 // free space that is worth a rewrite; 0 is 64 MiB

	Access Access              // how calls prove who makes them
	Clock  Clock               // nil for SystemClock
	Random func(n int64) int64 // a number from 0 to n-1; nil for the process's source
	Peers  Peers               // nil for none
	// MembersChanged is told of the members by id and of the ids of removed ones, in Bind and whenever they may have changed. It may be nil
	// and must not block; the lists are shared and must not be changed.
	MembersChanged func(members []schema.Member, removed []uint64)
	// Short tells whether another member has said that the room on its disk is short. nil: no member ever is.
	Short func(id uint64) bool
	// SelfRemoved is told once, also if that was long ago, that this member was removed and should stop. It may be nil and must not block.
	SelfRemoved func()
}

// Metrics receives measurements; every field may be nil.
type Metrics struct {
	Range        func(took time.Duration, err error)
	Request      func(kind string, took time.Duration, err error)
	Lease        func(change LeaseChange, ttl int64)
	LeaseExpired func()
	ReadTxn      func(ranges int) // a transaction that only reads, compares counted as ranges
	Promoted     func(err error)  // a learner by this leader, or not
	Alarms       func(raised []AlarmName)
	// HashedFile and HashedRevision measure hashes of the database file and of the key space.
	HashedFile, HashedRevision func(took time.Duration)
	// WatchSent measures responses with events; WatchAnswered and WatchProgressed those to requests and of progress.
	WatchSent                      func(events int, took time.Duration)
	WatchAnswered, WatchProgressed func(took time.Duration)
}

// LeaseChange is what happened to a lease.
type LeaseChange int

// What happens to leases.
const (
	LeaseGranted LeaseChange = iota
	LeaseRenewed
	LeaseRevoked
)

// Service is one member's service.
//
// Invariants:
//  1. A linearizable read is answered from a view that shows everything committed in the cluster before the read began.
//  2. Only a member that has just proved to be leader proposes the end of a lease.
//  3. What says who the members are and which alarms are raised never waits for the applier.
type Service struct {
	cfg      Config
	clock    Clock
	machine  *machine.Machine // read on the applier's goroutine only; others use member.Inspect
	member   Member           // set before bound is closed
	backend  *backend.Backend // likewise
	bound    chan struct{}    // closed by Bind
	hub      *watch.Hub
	courtesy courtesy
	ids      requestIDs
	cluster  atomic.Pointer[cluster]
	alarms   atomic.Pointer[[]machine.Alarm]
	access   access
	leases   leases
	pages    pages
	budget   budget
	answers  answers

	lateReads   lateReads
	progress    progress
	leadership  leadership
	fewHaveRoom atomic.Bool   // so many voters are short of room that the others are no majority
	full        atomic.Bool   // the NOSPACE alarm of this member is to be raised
	spaceLooks  chan struct{} // capacity 1: wakes who looks after that alarm
	leads       chan struct{} // capacity 1: this member has begun to lead
	turn        chan struct{} // capacity 1: whoever has its element may propose a change of the members
	left        bool          // SelfRemoved was called; belongs to Bind, then to the applier
	start       time.Time     // origin of now
	ctx         context.Context
	cancel      context.CancelFunc
	tasks       tasks
}

// New makes a service that knows the restored state of m. The member's node may be started with it as its observer; Bind must follow
// at once, as the applier waits for it when a term begins or the membership changes, and before anything else is called.
func New(cfg Config, m *machine.Machine) *Service {
	if cfg.Clock == nil {
		cfg.Clock = SystemClock{}
	}
	if cfg.Random == nil {
		cfg.Random = rand.Int64N
	}
	start := cfg.Clock.Now()
	s := &Service{
		cfg: cfg, clock: cfg.Clock, machine: m, start: start, ids: newRequestIDs(cfg.MemberID, start),
		bound: make(chan struct{}), spaceLooks: make(chan struct{}, 1), leads: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		tasks: tasks{clock: cfg.Clock},
	}
	poke(s.turn)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.access.init(&s.cfg, m.Users())
	s.leases.init()
	s.leadership.init(start)
	s.pages.init()
	s.budget.clock, s.budget.limit = cfg.Clock, cfg.RangeBudgetBytes
	s.progress.init()
	s.lateReads.init(cfg.Clock)
	s.restoreLeases(m.Leases())
	s.cluster.Store(readCluster(m))
	alarms := m.Alarms()
	s.setAlarms(alarms)
	s.hub = watch.New(s.watchConfig(m.Rev()))
	return s
}

// Bind gives the service its running member and starts what it does by itself.
func (s *Service) Bind(m Member, b *backend.Backend) {
	s.member, s.backend = m, b
	s.tellMembers()
	close(s.bound)
	for _, run := range []func(){s.runLeases, s.runCheckpoints, s.runLeaderWatch, s.runAnnounce, s.runVersion, s.runDowngrade, s.runNoSpace, s.runRoom, s.runAutoCompaction, s.runAutoDefrag, s.runProgress, s.runHashCheck, s.runCompactCheck, s.runSessions} {
		s.tasks.run(run)
	}
}

// Close stops what the service does by itself and ends all watches. Calls under way end when the node stops.
func (s *Service) Close() {
	s.cancel()
	s.leases.close()
	s.hub.Close()
	s.tasks.wait()
}

// Applying takes note of who may do what from a batch on, before anybody sees what is in it (node.Observer).
func (s *Service) Applying(b *replica.Batch) {
	if b.Installed != nil {
		s.access.replace(b.Installed.Users())
	}
	for i := range b.Outcomes {
		s.access.note(&b.Outcomes[i])
	}
}

// Applied takes note of a batch, before its requests are answered (node.Observer).
func (s *Service) Applied(b *replica.Batch) {
	if b.Installed != nil {
		s.installed(b.Installed)
	}
	for i := range b.Outcomes {
		o := &b.Outcomes[i]
		if len(o.Leases) > 0 {
			s.leaseChanges(o.Leases)
		}
		if o.Alarms != nil {
			s.setAlarms(o.Alarms)
		}
		if o.OverQuota && !s.anyRaised(request.AlarmNoSpace) {
			s.raiseNoSpace()
		}
	}
	if b.Installed != nil || changesCluster(b) {
		s.cluster.Store(readCluster(s.machine).after(s.cluster.Load(), b))
		<-s.bound
		s.tellMembers()
	}
	if b.NewTerm > 0 {
		<-s.bound
		s.termBegan(b.NewTerm)
	}
	if changesUsers(b) && s.AuthEnabled() {
		s.hub.WakeAll() // watchers may have to end
	}
	s.pages.forget(b.View.Rev(), b.View.CompactRev())
	if len(b.Events) > 0 {
		s.courtesy.wrote.Store(s.now())
	}
	s.hub.Publish(b.View.Rev(), b.Events)
}

// installed takes over a state that a snapshot has brought in the place of the former one.
func (s *Service) installed(m *machine.Machine) {
	s.machine = m
	s.leases.forget()
	s.restoreLeases(m.Leases())
	alarms := m.Alarms()
	s.setAlarms(alarms)
}

// setAlarms takes note of the alarms that are raised now.
func (s *Service) setAlarms(alarms []machine.Alarm) {
	s.alarms.Store(&alarms)
	if s.cfg.Metrics.Alarms == nil {
		return
	}
	names := make([]AlarmName, len(alarms))
	for i, a := range alarms {
		names[i] = AlarmName{a.MemberID, alarmName(a.Kind)}
	}
	s.cfg.Metrics.Alarms(names)
}

// AlarmName is an alarm as people read it.
type AlarmName struct {
	Member uint64
	Kind   string // NOSPACE, CORRUPT
}

// now is the monotonic time in nanoseconds.
func (s *Service) now() int64 { return int64(s.clock.Now().Sub(s.start)) }

// requestTimeout bounds what a member waits for the others.
func (s *Service) requestTimeout() time.Duration { return 5*time.Second + 2*s.cfg.ElectionTimeout }

// Header is the header of a response as of now.
func (s *Service) Header() request.ResponseHeader {
	h := request.ResponseHeader{ClusterID: s.cfg.ClusterID, MemberID: s.cfg.MemberID, RaftTerm: s.member.Status().Term}
	if v, err := s.member.View(); err == nil {
		h.Revision = v.Rev()
		v.Release()
	}
	return h
}

// propose replicates a request of a call, which is encoded already, and returns the encoded response.
func (s *Service) propose(ctx context.Context, field request.Field, raw []byte) ([]byte, error) {
	who, err := s.identity(ctx)
	if err != nil {
		return nil, err
	}
	return s.proposeAs(ctx, who, 0, field, raw)
}

// proposeAs is propose for a known identity. What only the leader of a term may ask for has that term; 0 is any member, in any term.
func (s *Service) proposeAs(ctx context.Context, who auth.Identity, term uint64, field request.Field, raw []byte) ([]byte, error) {
	id := s.ids.next()
	data := request.AppendInternal(nil, request.Header{ID: id, Username: who.User, AuthRevision: who.Revision}, field, raw)
	if len(data) > s.cfg.MaxRequestBytes {
		return nil, kverr.RequestTooLarge
	}
	ctx, cancel := s.clock.WithTimeout(ctx, s.requestTimeout())
	defer cancel()
	return s.member.ProposeInTerm(ctx, term, id, data)
}

// readIndex waits until the published view is linearizable.
func (s *Service) readIndex(ctx context.Context) error {
	if s.member.Current() {
		return nil // without the cost of a deadline
	}
	ctx, cancel := s.clock.WithTimeout(ctx, s.requestTimeout())
	defer cancel()
	start := s.clock.Now()
	err := s.member.ReadIndex(ctx)
	steps.From(ctx).Add(steps.ReadIndex, s.since(start))
	return err
}

// requestIDs makes ids for proposals, unique among members and, for a member, among its runs: two bytes of the member's id, five of the
// time of its start in milliseconds, and a count that may flow over into the time.
type requestIDs struct {
	base  uint64
	count *atomic.Uint64
}

func newRequestIDs(member uint64, start time.Time) requestIDs {
	ms := uint64(start.UnixMilli()) & (1<<40 - 1)
	return requestIDs{base: member<<48 | ms<<8, count: new(atomic.Uint64)}
}

func (r requestIDs) next() uint64 {
	const low = 1<<48 - 1
	return r.base&^uint64(low) | (r.base+r.count.Add(1))&low
}
