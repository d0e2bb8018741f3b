package transport

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/quoin-kv/quoin/raft/wire"
)

// writeBytes is what is written at once, and has the time of one write.
const writeBytes = 256 << 10

// Why a stream that we write ends.
var (
	errReplaced = errors.New("the peer opened another stream of the kind")
	errStopped  = errors.New("the session has ended")
	errHungUp   = errors.New("the peer closed the stream")
)

// outgoing is what we say to a peer over streams of one kind: a queue, and the stream that empties it.
//
// Invariants:
//  1. The queue is empty while no stream is attached, and never longer than maxStreamQueue.
//  2. One stream at most takes from the queue: a newer one waits until the older has ended.
type outgoing struct {
	kind  streamKind
	ready chan struct{} // holds a token when the queue is not empty
	mu    struct {
		sync.Mutex
		queue  []wire.Message
		stream *stream // nil: detached
	}
}

// stream is one connection over which a peer lets us talk.
type stream struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when nothing is written any more
}

func (o *outgoing) init(k streamKind) { o.kind, o.ready = k, make(chan struct{}, 1) }

// push queues m. It reports whether a stream is attached, and if so whether m found a place.
func (o *outgoing) push(m *wire.Message) (attached, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.stream == nil {
		return false, false
	}
	if len(o.mu.queue) >= maxStreamQueue {
		return true, false
	}
	o.mu.queue = append(o.mu.queue, *m)
	o.signal()
	return true, true
}

func (o *outgoing) signal() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// take returns the queue and leaves spare, emptied, in its place.
func (o *outgoing) take(spare []wire.Message) []wire.Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.mu.queue
	o.mu.queue = spare[:0]
	return q
}

// attach makes s the stream of o and ends the one before it.
func (o *outgoing) attach(s *stream) {
	o.mu.Lock()
	old := o.mu.stream
	o.mu.stream = s
	o.mu.Unlock()
	if old != nil {
		old.cancel(errReplaced)
		<-old.done
		o.signal() // the older may have taken the token
	}
}

// detach ends s's time as the stream of o and returns what was left in the queue, if no other has taken it over.
func (o *outgoing) detach(s *stream) []wire.Message {
	defer close(s.done)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.stream != s {
		return nil
	}
	left := o.mu.queue
	o.mu.stream, o.mu.queue = nil, nil
	return left
}

// serve writes what is queued in o as the answer to r until the connection breaks, the peer opens another one or the session ends.
func (p *peer) serve(o *outgoing, w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(p.ctx, func() { cancel(errStopped) })()
	out := newStreamWriter(p, o, w)
	if err := out.begin(ctx, w); err != nil {
		return
	}
	defer out.takeOver(r, cancel)()
	defer breakOn(ctx, func() { _ = out.out.SetWriteDeadline(timePast()) })()
	s := &stream{ctx: ctx, cancel: cancel, done: make(chan struct{})}
	o.attach(s)
	p.status.up()
	err := out.run(ctx)
	left := o.detach(s)
	p.release(costs(left))
	switch context.Cause(ctx) {
	case errStopped:
	case errReplaced:
		p.t.cfg.Local.Unreachable(p.id) // what was on its way in the older connection may be lost
	default:
		p.log.Info("lost the connection of a stream to the peer", "stream", o.kind.String(), "error", err)
		p.status.down(err)
		p.failed()
	}
}

// breakOn calls f when ctx ends. The function it returns undoes that or waits until f has returned.
func breakOn(ctx context.Context, f func()) (stop func()) {
	done := make(chan struct{})
	undo := context.AfterFunc(ctx, func() { defer close(done); f() })
	return func() {
		if !undo() {
			<-done
		}
	}
}

// streamWriter writes messages into the answer to a peer's request.
type streamWriter struct {
	p     *peer
	o     *outgoing
	out   sink
	enc   encoder
	buf   []byte
	batch []wire.Message
}

func newStreamWriter(p *peer, o *outgoing, w http.ResponseWriter) *streamWriter {
	return &streamWriter{p: p, o: o, out: response{w, http.NewResponseController(w)}, enc: newEncoder(o.kind)}
}

// begin sends the head of the answer.
func (s *streamWriter) begin(ctx context.Context, w http.ResponseWriter) error {
	if err := s.arm(ctx); err != nil {
		return err
	}
	// The connection ends with the stream: a deadline that is set on it could hit a later request.
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusOK)
	return s.out.Flush()
}

// arm gives the next write its time. When ctx ends the deadline is moved into the past; looking at ctx after the deadline is set
// makes sure that this is not undone.
func (s *streamWriter) arm(ctx context.Context) error {
	if err := s.out.SetWriteDeadline(time.Now().Add(s.p.t.cfg.Timing.Write)); err != nil {
		return err
	}
	return ctx.Err()
}

// run writes until something fails or ctx ends. What it was writing then is lost.
func (s *streamWriter) run(ctx context.Context) error {
	idle := s.p.t.cfg.Timing.IO / 3
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return errHungUp
		case <-s.o.ready:
			runtime.Gosched() // what is about to be said goes into the same write
			err = s.writeQueued(ctx)
		case <-timer.C:
			s.buf = s.enc.heartbeat(s.buf[:0])
			err = s.flush(ctx)
		}
		if err != nil {
			return err
		}
		timer.Reset(idle)
	}
}

// writeQueued writes all that is queued, in as few writes as may be, and flushes it.
func (s *streamWriter) writeQueued(ctx context.Context) error {
	s.batch = s.o.take(s.batch)
	cost := costs(s.batch)
	defer func() {
		clear(s.batch)
		s.p.release(cost)
	}()
	s.buf = s.buf[:0]
	for i := range s.batch {
		s.buf = s.enc.encode(s.buf, &s.batch[i])
		if len(s.buf) < writeBytes {
			continue
		}
		if err := s.write(ctx); err != nil {
			return err
		}
	}
	return s.flush(ctx)
}

// write writes the buffer in parts, each of which has its time: a large message on a slow line is no failure.
func (s *streamWriter) write(ctx context.Context) error {
	for b := s.buf; len(b) > 0; {
		part := b[:min(len(b), writeBytes)]
		if err := s.arm(ctx); err != nil {
			return err
		}
		if _, err := s.out.Write(part); err != nil {
			return err
		}
		b = b[len(part):]
	}
	report(s.p.t.cfg.Metrics.Sent, s.p.id, len(s.buf))
	s.buf = s.buf[:0]
	if cap(s.buf) > 16*writeBytes {
		s.buf = nil
	}
	return nil
}

// flush writes the buffer and makes it go.
func (s *streamWriter) flush(ctx context.Context) error {
	if err := s.write(ctx); err != nil {
		return err
	}
	if err := s.arm(ctx); err != nil {
		return err
	}
	return s.out.Flush()
}
