package servicetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/raft/wire"
)

// queueMax bounds the messages on their way between two members. More fail the test: nothing is lost unless a link is cut.
const queueMax = 1 << 16

// station is a member's place in the network (service.Peers).
type station struct {
	net *network
	id  uint64
}

// send puts messages on their way, in wire form.
func (s *station) send(ms []wire.Message) {
	for i := range ms {
		select {
		case s.net.queue(link{s.id, ms[i].To}) <- ms[i].Append(nil):
		default:
			s.net.t.Errorf("too many messages from %d to %d", s.id, ms[i].To)
		}
	}
}

// queue is what carries messages along a link, each in its order.
func (n *network) queue(l link) chan<- []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := n.mu.queues[l]
	if q == nil {
		q = make(chan []byte, queueMax)
		n.mu.queues[l] = q
		go n.carry(l, q)
	}
	return q
}

func (n *network) carry(l link, q <-chan []byte) {
	for {
		select {
		case raw := <-q:
			n.deliver(l, raw)
		case <-n.done:
			return
		}
	}
}

func (n *network) deliver(l link, raw []byte) {
	var m wire.Message
	if err := m.Unmarshal(raw); err != nil {
		n.t.Errorf("message from %d to %d: %v", l.from, l.to, err)
		return
	}
	if to := n.member(l.to); to != nil && n.connected(l.from, l.to) {
		to.Node.Step(m)
	} else if from := n.member(l.from); from != nil {
		from.Node.Unreachable(l.to)
	}
}

var errUnreachable = errors.New("servicetest: the member does not run or is cut off")

// sendSnapshot hands over a database file and the message that tells of it.
func (s *station) sendSnapshot(ctx context.Context, m wire.Message, body func(io.Writer) error) error {
	to := s.net.member(m.To)
	if to == nil || !s.net.connected(s.id, m.To) {
		return errUnreachable
	}
	var content bytes.Buffer
	if err := body(&content); err != nil {
		return err
	}
	disk, err := backend.ReadMemoryDisk(&content)
	if err != nil {
		return err
	}
	if m.Snapshot.Meta, err = exactMeta(m.Snapshot.Meta, disk); err != nil {
		return err
	}
	s.net.keep(file{m.To, m.Snapshot.Meta.Index}, disk)
	to.Node.Step(m)
	return ctx.Err()
}

// exactMeta corrects what is said of a database file by what the file says.
func exactMeta(meta wire.SnapshotMeta, disk *backend.MemoryDisk) (wire.SnapshotMeta, error) {
	b, err := backend.OpenMemory(backend.Config{}, disk)
	if err != nil {
		return meta, err
	}
	exact, err := replica.ExactMeta(meta, b.Flushed())
	return exact, errors.Join(err, b.Close())
}

func (n *network) keep(f file, disk *backend.MemoryDisk) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.files[f] = disk
}

// received is the file that a member was sent.
func (n *network) received(to, index uint64) *backend.MemoryDisk {
	n.mu.Lock()
	defer n.mu.Unlock()
	disk := n.mu.files[file{to, index}]
	if disk == nil {
		panic(fmt.Sprintf("servicetest: member %d has no file of index %d", to, index))
	}
	return disk
}

// reach returns the member behind peer URLs. One that is cut off does not answer; one that does not run refuses.
func (s *station) reach(ctx context.Context, urls []string) (*Member, error) {
	if len(urls) == 0 {
		return nil, errUnreachable
	}
	id := s.net.idOf(urls[0])
	to := s.net.member(id)
	if to == nil {
		return nil, errUnreachable
	}
	if !s.net.connected(s.id, id) {
		<-ctx.Done()
		return nil, kverr.Timeout
	}
	return to, nil
}

func (n *network) idOf(url string) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.ids[url]
}

// LeaseKeepAlive asks another member (service.Peers).
func (s *station) LeaseKeepAlive(ctx context.Context, urls []string, raw []byte) ([]byte, error) {
	m, err := s.reach(ctx, urls)
	if err != nil {
		return nil, err
	}
	return m.PrimaryKeepAlive(ctx, raw)
}

// LeaseTimeToLive asks another member (service.Peers).
func (s *station) LeaseTimeToLive(ctx context.Context, urls []string, raw []byte) ([]byte, error) {
	m, err := s.reach(ctx, urls)
	if err != nil {
		return nil, err
	}
	return m.PrimaryTimeToLive(ctx, raw)
}

// Promote asks another member (service.Peers).
func (s *station) Promote(ctx context.Context, urls []string, id uint64) error {
	m, err := s.reach(ctx, urls)
	if err != nil {
		return err
	}
	return m.PromoteAsLeader(ctx, id)
}

// Version asks another member (service.Peers).
func (s *station) Version(ctx context.Context, urls []string) (server, cluster string, err error) {
	m, err := s.reach(ctx, urls)
	if err != nil {
		return "", "", err
	}
	server, cluster, _ = m.Versions()
	return server, cluster, nil
}

// Connected tells how long a link has stood (service.Peers).
func (s *station) Connected(id uint64) (time.Duration, bool) { return s.net.stood(s.id, id) }
