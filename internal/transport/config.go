package transport

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/quoin-kv/quoin/raft/wire"
)

// Peer is a member of the cluster and where it is reached.
type Peer struct {
	ID   uint64
	URLs []string // each a scheme (http or https) and a host with port
}

// Local is the member behind a transport. Its methods are called from many goroutines. None may block for long, except ReceiveSnapshot.
type Local interface {
	// Step takes a message from a peer. To is this member, From is the peer or, in messages that members pass on, some member. The
	// message's memory is the callee's.
	Step(m wire.Message)
	// Unreachable says that a message for a peer was dropped, or that sending to it failed.
	Unreachable(id uint64)
	// Gone says that a peer's process seems to have ended: a stream from it broke, and nobody listens at its address. It is said once for
	// each stream that breaks so.
	Gone(id uint64)
	// IsRemoved reports whether a member was removed from the cluster.
	IsRemoved(id uint64) bool
	// Removed says that a peer refused this member because it was removed from the cluster: the member must stop. It is called
	// once at most for each peer.
	Removed(by uint64, err error)
	// ReceiveSnapshot stores the database file that body yields durably, for m.Snapshot.Meta.Index. The transport calls Step(m)
	// when it has returned nil. A body that is cut short ends with an error other than io.EOF.
	ReceiveSnapshot(ctx context.Context, m wire.Message, body io.Reader) error
}

// DialFunc opens a connection, as net.Dialer does.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Config is what a Transport needs.
type Config struct {
	Logger    *slog.Logger // nil: nothing is logged
	ID        uint64       // of this member
	ClusterID uint64
	Version   string   // of this member, as "3.7.3"
	PeerURLs  []string // under which this member is reached
	Local     Local
	Metrics   Metrics
	Timing    Timing
	// Short tells whether room on this member's disk is short, which peers learn by their probes. Nil: never. It must not block.
	Short func() bool

	// OverTLS returns the function that opens a connection with dial and takes it through TLS. It must not agree on a protocol: peers offer
	// more than they speak. Nil: the system's authorities are trusted, and no certificate is shown.
	OverTLS func(dial DialFunc) DialFunc
	// Dial opens connections to peers. Nil: a net.Dialer with DialTimeout.
	Dial DialFunc
	// DialTimeout bounds opening a connection. Zero: 2 s, which is etcd's one second plus its usual election timeout.
	DialTimeout time.Duration
}

// Timing holds the times of the protocol. Zero fields take the values that etcd has.
type Timing struct {
	// IO is the time in which a read or write on a stream's connection must make progress. Zero: 5 s. A third of it is the time
	// after which a stream without messages carries a sign of life.
	IO time.Duration
	// Read and Write take the place of IO for reads and writes that somebody waits for, where they may take longer. Zero: IO.
	Read, Write time.Duration
	// Answer is the time that a peer has to answer a request of the pipeline, or a snapshot, once it has all of it. Zero: 5 s.
	Answer time.Duration
	// Redial is the pause before a stream is opened again. Zero: 100 ms.
	Redial time.Duration
	// Probe is the time between two probes of a peer. Zero: 4 s.
	Probe time.Duration
	// Linger is the time that a peer which left the cluster has to take what is queued for it. Zero: 1 s.
	Linger time.Duration
}

func (t Timing) withDefaults() Timing {
	t.IO = cmp.Or(t.IO, 5*time.Second)
	return Timing{
		IO:     t.IO,
		Read:   cmp.Or(t.Read, t.IO),
		Write:  cmp.Or(t.Write, t.IO),
		Answer: cmp.Or(t.Answer, 5*time.Second),
		Redial: cmp.Or(t.Redial, 100*time.Millisecond),
		Probe:  cmp.Or(t.Probe, 4*time.Second),
		Linger: cmp.Or(t.Linger, time.Second),
	}
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.DialTimeout = cmp.Or(c.DialTimeout, 2*time.Second)
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: c.DialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	c.Timing = c.Timing.withDefaults()
	return c
}
