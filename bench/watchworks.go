package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// pace is the time from one put to the next where it is about their latency
	// beside something else.
	pace = 10 * time.Millisecond
	// behindWatchers is how many watchers catch up at once.
	behindWatchers = 100
	// quietKey is a key that nobody watches.
	quietKey = "quiet"
)

// watchWorks returns the rows of watchers that are far behind, and of the
// latency of puts beside watchers.
func watchWorks(n scale) []work {
	watchers := n.watchers[min(1, len(n.watchers)-1)]
	return []work{
		{
			name:  "watch-catchup",
			about: fmt.Sprintf("event delivered to one of %d watchers that begin %d revisions ago", behindWatchers, n.behind),
			prepare: func(ctx context.Context, c *cluster) (load, error) {
				return catchUpWatchers(n.behind), writePast(ctx, c, n.behind)
			},
		},
		{name: "put-paced", about: fmt.Sprintf("put every %v", pace), prepare: func(context.Context, *cluster) (load, error) { return pacedPuts(quietKey), nil }},
		{
			name: fmt.Sprintf("put-watched-%d", watchers), about: fmt.Sprintf("the same of a key with %d watchers", watchers),
			prepare: func(_ context.Context, c *cluster) (load, error) {
				crowd, err := newCrowd(c.address(), watchers, &etcdserverpb.WatchCreateRequest{Key: keyAt(0)})
				return crowd.beside(pacedPuts(string(keyAt(0)))), err
			},
		},
		{
			name: "put-catchup", about: fmt.Sprintf("put every %v, while %d watchers catch up with %d revisions", pace, behindWatchers, n.behind),
			prepare: func(ctx context.Context, c *cluster) (load, error) {
				return besideCatchUp(n.behind), writePast(ctx, c, n.behind)
			},
		},
	}
}

// writePast makes so many revisions.
func writePast(ctx context.Context, c *cluster, revisions int) error {
	u := unary{path: pathPut, connections: 1, inFlight: 256, limit: int64(revisions), body: randomPuts(1000, smallValue)}
	_, err := u.run(ctx, c.addresses(), 0, 10*time.Minute)
	return err
}

// pacedPuts puts a key, one after the other, at times that are fixed beforehand.
func pacedPuts(key string) load {
	return func(ctx context.Context, c *cluster, _ uint64, length time.Duration) (tally, error) {
		conn, err := dial(c.address(), length+patience)
		if err != nil {
			return tally{}, err
		}
		defer conn.close()
		var t tally
		request := &etcdserverpb.PutRequest{Key: []byte(key), Value: payload(5, smallValue)}
		began := time.Now()
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for ctx.Err() == nil && time.Since(began) < length {
			<-tick.C
			sent := time.Now()
			if err := conn.call(pathPut, request, &etcdserverpb.PutResponse{}); err != nil {
				return t, err
			}
			t.latencies = append(t.latencies, time.Since(sent))
			t.ops++
		}
		t.elapsed = time.Since(began)
		return t, ctx.Err()
	}
}

// catchUpWatchers has watchers begin so many revisions ago and waits until they have
// all that happened since.
func catchUpWatchers(revisions int) load {
	return func(ctx context.Context, c *cluster, _ uint64, _ time.Duration) (tally, error) {
		began := time.Now()
		crowd, err := newCrowd(c.address(), behindWatchers, everyEvent(2))
		if err != nil {
			return tally{}, err
		}
		defer crowd.close()
		want := int64(revisions) * behindWatchers
		if err := crowd.await(ctx, want); err != nil {
			return tally{}, err
		}
		took := time.Since(began)
		return tally{ops: want, elapsed: took, latencies: []time.Duration{took}}, nil
	}
}

// besideCatchUp puts while watchers catch up over and over.
func besideCatchUp(revisions int) load {
	return func(ctx context.Context, c *cluster, seed uint64, length time.Duration) (tally, error) {
		ctx, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		var failed error
		wg.Go(func() {
			for ctx.Err() == nil && failed == nil {
				if _, err := catchUpWatchers(revisions)(ctx, c, seed, length); ctx.Err() == nil {
					failed = err
				}
			}
		})
		t, err := pacedPuts(quietKey)(ctx, c, seed, length)
		stop()
		wg.Wait()
		return t, errors.Join(err, failed)
	}
}

// A crowd is watchers that want the same, on several connections with a stream
// each, and only counts what they get.
type crowd struct {
	conns  []*conn
	events atomic.Int64
	more   chan struct{} // events has grown
	failed chan error
	closed atomic.Bool
}

// newCrowd creates the watchers and returns when the server has confirmed all.
func newCrowd(address string, watchers int, request *etcdserverpb.WatchCreateRequest) (*crowd, error) {
	w := &crowd{more: make(chan struct{}, 1), failed: make(chan error, watchStreams)}
	message := must(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: request}})
	for i := range watchStreams {
		m := &member{crowd: w}
		if err := m.open(address, share(watchers, watchStreams, i), message); err != nil {
			w.close()
			return nil, err
		}
		w.conns = append(w.conns, m.conn)
		go m.loop()
	}
	return w, nil
}

func (w *crowd) close() {
	w.closed.Store(true)
	for _, c := range w.conns {
		c.close()
	}
}

// failure is why a stream has ended, nil if none has.
func (w *crowd) failure() error {
	select {
	case err := <-w.failed:
		return err
	default:
		return nil
	}
}

// beside is a load that fails if a watcher does.
func (w *crowd) beside(l load) load {
	return func(ctx context.Context, c *cluster, seed uint64, length time.Duration) (tally, error) {
		t, err := l(ctx, c, seed, length)
		return t, errors.Join(err, w.failure())
	}
}

// await waits for so many events in all.
func (w *crowd) await(ctx context.Context, events int64) error {
	limit := time.NewTimer(2 * patience)
	defer limit.Stop()
	for w.events.Load() < events {
		select {
		case <-w.more:
		case err := <-w.failed:
			return err
		case <-limit.C:
			return fmt.Errorf("%d events of %d arrived", w.events.Load(), events)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// A member is one stream of a crowd.
type member struct {
	crowd   *crowd
	conn    *conn
	pieces  largeMessages
	created int
	ended   error
}

func (m *member) open(address string, watchers int, message []byte) error {
	c, err := dial(address, watchLife)
	if err != nil {
		return err
	}
	m.conn = c
	c.onData = func(_ uint32, piece []byte) { m.pieces.feed(piece, m.message) }
	c.onEnd = func(_ uint32, err error) { m.ended = fmt.Errorf("watch stream ended: %w", err) }
	id, err := c.open(pathWatch)
	for asked := 0; err == nil && m.created < watchers; {
		room := true
		for asked < watchers && room && err == nil {
			if room, err = c.send(id, message); room {
				asked++
			}
		}
		if err == nil {
			err = m.read()
		}
	}
	if err != nil {
		c.close()
	}
	return err
}

func (m *member) read() error {
	if err := m.conn.read(); err != nil {
		return err
	}
	return m.ended
}

func (m *member) loop() {
	for {
		if err := m.read(); err != nil {
			if !m.crowd.closed.Load() {
				m.crowd.failed <- err
			}
			return
		}
	}
}

// message counts the events of a WatchResponse.
func (m *member) message(message []byte) {
	events := int64(0)
	eachField(message, func(number protowire.Number, value uint64, _ []byte) {
		switch {
		case number == 3 && value != 0:
			m.created++
		case number == 4 && value != 0:
			m.ended = errors.New("the server cancelled a watch")
		case number == 11:
			events++
		}
	})
	if events == 0 {
		return
	}
	m.crowd.events.Add(events)
	select {
	case m.crowd.more <- struct{}{}:
	default:
	}
}

// largeMessages cuts the pieces of a stream into messages like messages does, but
// copies of a large one only what has arrived, once.
type largeMessages struct{ pending []byte }

func (t *largeMessages) feed(piece []byte, each func(message []byte)) {
	for len(piece) > 0 {
		if len(t.pending) == 0 {
			var rest []byte
			if rest = whole(piece, each); len(rest) == 0 {
				return
			}
			piece = rest
		}
		n := prefixBytes - len(t.pending)
		if n <= 0 {
			n = prefixBytes + int(binary.BigEndian.Uint32(t.pending[1:])) - len(t.pending)
		}
		n = min(n, len(piece))
		t.pending, piece = append(t.pending, piece[:n]...), piece[n:]
		if len(t.pending) >= prefixBytes && len(t.pending) == prefixBytes+int(binary.BigEndian.Uint32(t.pending[1:])) {
			each(t.pending[prefixBytes:])
			t.pending = t.pending[:0]
		}
	}
}
