package workload

import (
	"context"
	"fmt"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Mirror keeps a copy of the keys under a prefix by watching them with the
// official client, which resumes by itself when the server is gone for a while.
// All writes to the store must be single writes under the prefix: then the
// events' revisions are consecutive, and a gap or a repeat is seen at once.
type Mirror struct {
	done chan struct{} // closed when the watch has ended

	mu struct {
		sync.Mutex
		copy     map[string]Digest
		revision int64
		events   int
		err      error
		waiters  []waiter
	}
}

type waiter struct {
	revision int64
	ready    chan struct{}
}

// StartMirror watches the prefix from the revision on. It ends with the context.
func StartMirror(ctx context.Context, client *clientv3.Client, prefix string, revision int64) *Mirror {
	m := &Mirror{done: make(chan struct{})}
	m.mu.copy = make(map[string]Digest)
	m.mu.revision = revision - 1
	changes := client.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithRev(revision))
	go func() {
		defer close(m.done)
		for resp := range changes {
			m.apply(resp)
		}
	}()
	return m
}

func (m *Mirror) apply(resp clientv3.WatchResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := resp.Err(); err != nil && m.mu.err == nil {
		m.mu.err = fmt.Errorf("watch: %w", err)
	}
	for _, event := range resp.Events {
		m.applyEvent(event)
	}
	m.wake()
}

func (m *Mirror) applyEvent(event *clientv3.Event) {
	if want := m.mu.revision + 1; event.Kv.ModRevision != want && m.mu.err == nil {
		m.mu.err = fmt.Errorf("watch: got revision %d, want %d", event.Kv.ModRevision, want)
	}
	m.mu.revision = event.Kv.ModRevision
	m.mu.events++
	if event.Type == clientv3.EventTypeDelete {
		delete(m.mu.copy, string(event.Kv.Key))
		return
	}
	m.mu.copy[string(event.Kv.Key)] = DigestOf(event.Kv.Value)
}

// wake answers the waiters whose revision has been reached, and all of them
// after an error.
func (m *Mirror) wake() {
	rest := m.mu.waiters[:0]
	for _, w := range m.mu.waiters {
		if m.mu.revision >= w.revision || m.mu.err != nil {
			close(w.ready)
			continue
		}
		rest = append(rest, w)
	}
	m.mu.waiters = rest
}

// Reach waits until the mirror has seen the revision and returns the copy, which
// is the caller's, and the number of events so far.
func (m *Mirror) Reach(ctx context.Context, revision int64) (map[string]Digest, int, error) {
	w := waiter{revision: revision, ready: make(chan struct{})}
	m.mu.Lock()
	m.mu.waiters = append(m.mu.waiters, w)
	m.wake()
	m.mu.Unlock()
	select {
	case <-w.ready:
	case <-m.done:
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("wait for revision %d: %w", revision, ctx.Err())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	same := make(map[string]Digest, len(m.mu.copy))
	for key, digest := range m.mu.copy {
		same[key] = digest
	}
	return same, m.mu.events, m.mu.err
}
