package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// watchStreams is how many connections, with a stream each, share the watchers.
	watchStreams = 10
	// putBurst is how many changes are made before the generator waits for all
	// their events: enough that the server has always something to deliver.
	putBurst = 4
	// watchLife bounds the life of the watching connections.
	watchLife = time.Hour
)

// A fanOut is a number of watchers on one key, and the writer of that key. An
// operation is one delivered event; its latency runs from the put.
//
// Each stream has a goroutine that reads it as long as the connection lives.
// The writer puts a burst, waits until every watcher has every event of it and
// goes on; so the readers are idle, and their tallies may be read, whenever the
// writer is not in run.
type fanOut struct {
	watchers  int64
	writer    *conn
	put       uint64                 // the number of the last put, in its value
	sent      [putBurst]atomic.Int64 // when put n went out, at n mod putBurst, since began
	began     time.Time
	delivered atomic.Int64
	complete  chan struct{} // a burst may be complete
	failed    chan error
	readers   []*watchReader
}

// A watchReader is one stream with its share of the watchers.
type watchReader struct {
	fan       *fanOut
	conn      *conn
	messages  messages
	created   int
	latencies []time.Duration
	failure   error
}

// newFanOut creates the watchers and returns when the server has confirmed all.
func newFanOut(address string, watchers int) (*fanOut, error) {
	writer, err := dial(address, watchLife)
	if err != nil {
		return nil, err
	}
	f := &fanOut{
		watchers: int64(watchers), writer: writer, began: time.Now(),
		complete: make(chan struct{}, 1), failed: make(chan error, watchStreams),
	}
	for i := range watchStreams {
		r, err := f.newReader(address, share(watchers, watchStreams, i))
		if err != nil {
			return nil, err
		}
		f.readers = append(f.readers, r)
	}
	for _, r := range f.readers {
		go r.loop()
	}
	return f, nil
}

func (f *fanOut) newReader(address string, watchers int) (*watchReader, error) {
	c, err := dial(address, watchLife)
	if err != nil {
		return nil, err
	}
	r := &watchReader{fan: f, conn: c}
	c.onData = func(_ uint32, piece []byte) { r.messages.feed(piece, r.message) }
	c.onEnd = func(_ uint32, err error) { r.failure = fmt.Errorf("watch stream ended: %w", err) }
	id, err := c.open(pathWatch)
	if err != nil {
		return nil, err
	}
	request := must(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{Key: keyAt(0)},
	}})
	for asked := 0; r.created < watchers; {
		for asked < watchers {
			room, err := c.send(id, request)
			if err != nil {
				return nil, err
			}
			if !room {
				break
			}
			asked++
		}
		if err := r.read(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *watchReader) read() error {
	if err := r.conn.read(); err != nil {
		return err
	}
	return r.failure
}

// loop reads until the connection is closed or fails.
func (r *watchReader) loop() {
	for {
		if err := r.read(); err != nil {
			r.fan.failed <- err
			return
		}
	}
}

// message takes in one WatchResponse without decoding more than it needs.
func (r *watchReader) message(message []byte) {
	events := int64(0)
	eachField(message, func(number protowire.Number, value uint64, bytes []byte) {
		switch {
		case number == 3 && value != 0:
			r.created++
		case number == 4 && value != 0:
			r.failure = errors.New("the server cancelled a watch")
		case number == 11:
			events++
			r.event(bytes)
		}
	})
	if events == 0 {
		return
	}
	f := r.fan
	total := f.delivered.Add(events)
	if total/f.watchers != (total-events)/f.watchers {
		select {
		case f.complete <- struct{}{}:
		default: // the writer has been told already
		}
	}
}

// event notes the time from the put, whose number is in the value.
func (r *watchReader) event(event []byte) {
	eachField(event, func(number protowire.Number, _ uint64, pair []byte) {
		if number != 2 {
			return
		}
		eachField(pair, func(number protowire.Number, _ uint64, value []byte) {
			if number == 5 && len(value) >= 8 {
				put := binary.BigEndian.Uint64(value)
				sent := time.Duration(r.fan.sent[put%putBurst].Load())
				r.latencies = append(r.latencies, time.Since(r.fan.began)-sent)
			}
		})
	})
}

// eachField walks the top level of a message; what is malformed ends the walk.
func eachField(message []byte, each func(number protowire.Number, value uint64, bytes []byte)) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		message = message[n:]
		var value uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return
		}
		each(number, value, bytes)
		message = message[n:]
	}
}

// run puts for the given time and returns what the watchers got.
func (f *fanOut) run(ctx context.Context, length time.Duration) (tally, error) {
	for _, r := range f.readers {
		r.latencies = r.latencies[:0]
	}
	began := time.Now()
	before := f.delivered.Load()
	for ctx.Err() == nil && time.Since(began) < length {
		if err := f.burst(); err != nil {
			return tally{}, err
		}
		if err := f.awaitDelivery(ctx); err != nil {
			return tally{}, err
		}
	}
	t := tally{ops: f.delivered.Load() - before, elapsed: time.Since(began)}
	for _, r := range f.readers {
		t.latencies = append(t.latencies, r.latencies...)
	}
	return t, ctx.Err()
}

// burst makes the changes and waits for the answers.
func (f *fanOut) burst() error {
	under := 0
	var failure error
	f.writer.onEnd = func(_ uint32, err error) {
		under--
		failure = errors.Join(failure, err)
	}
	value := make([]byte, 64)
	for sent := 0; sent < putBurst || under > 0; {
		if sent < putBurst {
			f.put++
			binary.BigEndian.PutUint64(value, f.put)
			f.sent[f.put%putBurst].Store(int64(time.Since(f.began)))
			id, err := f.writer.start(pathPut, appendPut(nil, keyAt(0), value))
			if err != nil {
				return err
			}
			if id != 0 {
				sent++
				under++
				continue
			}
			f.put--
		}
		if err := f.writer.read(); err != nil {
			return err
		}
	}
	return failure
}

// awaitDelivery waits until every watcher has every event.
func (f *fanOut) awaitDelivery(ctx context.Context) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for f.delivered.Load() < int64(f.put)*f.watchers {
		select {
		case <-f.complete:
		case err := <-f.failed:
			return err
		case <-limit.C:
			return fmt.Errorf("%d events of %d arrived", f.delivered.Load(), int64(f.put)*f.watchers)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
