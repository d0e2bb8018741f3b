package service

import (
	"context"
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/steps"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Member is the running member that a service stands on: a *node.Node, which documents the methods, or one of a simulation.
type Member interface {
	Propose(ctx context.Context, id uint64, data []byte) ([]byte, error)
	ProposeInTerm(ctx context.Context, term, id uint64, data []byte) ([]byte, error)
	ProposeConfChange(ctx context.Context, cc wire.ConfChange) error
	Offer(list []*replica.Proposal)
	Abandon(p *replica.Proposal, cause error)
	Account(p *replica.Proposal, spent *steps.Spent)
	ReadIndex(ctx context.Context) error
	Current() bool
	WaitApplied(ctx context.Context, index uint64) error
	WaitCompacted(ctx context.Context) error
	Flush(ctx context.Context) error
	View() (*mvcc.View, error)
	Status() node.Status
	Inspect(fn func(*machine.Machine))
	TransferLeader(to uint64)
}

var _ Member = (*node.Node)(nil)

// Clock is the time that a service lives in and what it runs beside its calls. A service blocks in nothing but Wait, the methods of its
// Member and those of its Peers, and it starts nothing but with Go; so a simulation can run whole services on one thread. (The exception is
// a watch stream with hundreds of answers that nobody has taken: it takes no more requests until somebody does.)
type Clock interface {
	// Now is the time. Differences of it are those of a monotonic clock.
	Now() time.Time
	// Go runs fn beside the caller.
	Go(fn func())
	// Wait blocks until wake delivers or is closed or d has passed, which is no error, or until ctx ends, which is ctx.Err(). A negative d
	// is no limit; wake may be nil.
	Wait(ctx context.Context, wake <-chan struct{}, d time.Duration) error
	// WithTimeout is context.WithTimeout in this time.
	WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
}

// SystemClock is the real time, and goroutines.
type SystemClock struct{}

// Now is the time.
func (SystemClock) Now() time.Time { return time.Now() }

// Go starts a goroutine.
func (SystemClock) Go(fn func()) { go fn() }

// Wait blocks as Clock says.
func (SystemClock) Wait(ctx context.Context, wake <-chan struct{}, d time.Duration) error {
	var due <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-wake:
	case <-due:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// WithTimeout bounds ctx.
func (SystemClock) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// Peers is what a member asks other members for. Each call tries the given peer URLs of one member in turn. Errors that the other member
// answers with are those of package kverr or, for Promote, of package membership.
type Peers interface {
	// LeaseKeepAlive passes a LeaseKeepAliveRequest to the leader and returns its LeaseKeepAliveResponse, both in wire form.
	LeaseKeepAlive(ctx context.Context, urls []string, raw []byte) ([]byte, error)
	// LeaseTimeToLive passes a LeaseTimeToLiveRequest to the leader and returns its LeaseTimeToLiveResponse, both in wire form.
	LeaseTimeToLive(ctx context.Context, urls []string, raw []byte) ([]byte, error)
	// Promote asks the leader to give a learner a vote.
	Promote(ctx context.Context, urls []string, id uint64) error
	// Version asks a member for the versions of its server and of its cluster.
	Version(ctx context.Context, urls []string) (server, cluster string, err error)
	// Connected tells how long the connection to a member has stood, and false if there is none.
	Connected(id uint64) (time.Duration, bool)
}
