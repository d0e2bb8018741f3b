package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/quoin-kv/quoin/raft/wire"
)

const (
	// maxSnapshots bounds the transfers of snapshots that are under way, in each direction.
	maxSnapshots = 16
	// progressEvery is the time between two lines that say how far a transfer is.
	progressEvery = 10 * time.Second
)

// The errors of SendSnapshot that are not the peer's.
var (
	// ErrBusy says that as many snapshots as allowed are being sent.
	ErrBusy = errors.New("too many snapshots are being sent")
	// ErrUnknownPeer says that the receiver of a message is not known.
	ErrUnknownPeer = errors.New("the receiver is not known")
)

// SendSnapshot sends m, which holds the metadata and data of a snapshot, and behind it the database file, which body writes. It
// returns nil when the peer has stored the file and taken the message, else why it has not; ErrBusy and ErrUnknownPeer among others.
// body gets an error from its writer when the transfer ends early, and has returned before SendSnapshot does.
func (t *Transport) SendSnapshot(ctx context.Context, m wire.Message, body func(io.Writer) error) error {
	p := t.peer(m.To)
	if p == nil {
		return fmt.Errorf("send a snapshot to %x: %w", m.To, ErrUnknownPeer)
	}
	if m.Type != wire.MsgSnap || m.Snapshot == nil {
		panic(fmt.Sprintf("transport: SendSnapshot of a message of type %d, want a snapshot", m.Type))
	}
	if !t.enter() {
		return errStopped
	}
	defer t.wg.Done()
	if t.sending.Add(1) > maxSnapshots {
		t.sending.Add(-1)
		return ErrBusy
	}
	defer t.sending.Add(-1)
	x := p.transfer(&m, sending, t.cfg.Metrics.SnapshotSend)
	err := p.sendSnapshot(ctx, &m, body, x)
	x.end(err)
	if err != nil {
		reportOne(t.cfg.Metrics.SendFailed, p.id)
		return fmt.Errorf("send a snapshot to %x: %w", m.To, err)
	}
	return nil
}

func (p *peer) sendSnapshot(ctx context.Context, m *wire.Message, body func(io.Writer) error, x *transfer) error {
	u, err := p.urls.pick()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := writeSnapshot(w, m, body, x)
		w.CloseWithError(err)
		done <- err
	}()
	req := p.request(ctx, http.MethodPost, u, "/raft/snapshot", r)
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := p.t.clients.post.Do(req)
	if err == nil {
		err = p.checkPost(resp)
		resp.Body.Close()
	}
	// The client has closed r or is about to, so the writer ends, whatever came of the request.
	written := <-done
	if err != nil {
		p.urls.failed(u)
		return withoutURL(err)
	}
	return written // not nil if the peer said yes before it had everything
}

// writeSnapshot writes what the body of POST /raft/snapshot holds.
func writeSnapshot(w io.Writer, m *wire.Message, body func(io.Writer) error, x *transfer) error {
	b := binary.BigEndian.AppendUint64(nil, uint64(m.Size()))
	if _, err := w.Write(m.Append(b)); err != nil {
		return err
	}
	return body(&countingWriter{w, x})
}

type countingWriter struct {
	w io.Writer
	x *transfer
}

// Write writes as io.Writer says.
func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.x.count(n)
	return n, err
}

// direction is how the log calls a transfer, and its failure in the words that programs wait for.
type direction struct{ what, failure string }

var (
	sending   = direction{"send a snapshot", "failed to send database snapshot"}
	receiving = direction{"receive a snapshot", "failed to save incoming database snapshot"}
)

// transfer follows one snapshot on its way.
type transfer struct {
	direction

	id      uint64
	log     *slog.Logger
	metrics TransferMetrics
	start   time.Time
	bytes   atomic.Int64
	said    time.Time // when the last line was logged; used by the one goroutine that counts
}

func (p *peer) transfer(m *wire.Message, way direction, metrics TransferMetrics) *transfer {
	x := &transfer{
		direction: way, id: p.id, metrics: metrics, start: time.Now(), said: time.Now(),
		log: p.log.With("index", m.Snapshot.Meta.Index, "term", m.Snapshot.Meta.Term),
	}
	x.log.Info(x.what + ": started")
	reportOne(metrics.Started, p.id)
	return x
}

// count notes n bytes of the file that have gone.
func (x *transfer) count(n int) {
	sum := x.bytes.Add(int64(n))
	report(x.metrics.Bytes, x.id, n)
	if now := time.Now(); now.Sub(x.said) >= progressEvery {
		x.said = now
		x.log.Info(x.what+": under way", "bytes", sum, "took", now.Sub(x.start))
	}
}

func (x *transfer) end(err error) {
	took := time.Since(x.start)
	x.metrics.ended(x.id, took, err)
	if err != nil {
		x.log.Warn(x.failure, "bytes", x.bytes.Load(), "took", took, "error", err)
		return
	}
	x.log.Info(x.what+": done", "bytes", x.bytes.Load(), "took", took)
}

// receiveSnapshot is POST /raft/snapshot.
func (t *Transport) receiveSnapshot(w http.ResponseWriter, r *http.Request) {
	if !t.admit(w, r, http.MethodPost) {
		return
	}
	if t.receiving.Add(1) > maxSnapshots {
		t.receiving.Add(-1)
		http.Error(w, "too many snapshots are being received", http.StatusInternalServerError)
		return
	}
	defer t.receiving.Add(-1)
	var x *transfer
	body, stop := t.body(r.Context(), w, r, func(n int) {
		if x != nil {
			x.count(n)
		}
	})
	defer stop()
	m, err := readEnvelope(body)
	if err != nil {
		http.Error(w, "error reading raft message: "+err.Error(), http.StatusBadRequest)
		return
	}
	p := t.acceptEnvelope(w, &m)
	if p == nil {
		return
	}
	x = p.transfer(&m, receiving, t.cfg.Metrics.SnapshotReceive)
	err = t.cfg.Local.ReceiveSnapshot(body.ctx, m, body)
	x.end(err)
	if err != nil {
		http.Error(w, "failed to receive the snapshot: "+err.Error(), http.StatusInternalServerError)
		return
	}
	t.cfg.Local.Step(m)
	w.WriteHeader(http.StatusNoContent)
}

// acceptEnvelope returns the sender of the message in front of a snapshot, or nil when it has answered why not.
func (t *Transport) acceptEnvelope(w http.ResponseWriter, m *wire.Message) *peer {
	p := t.peer(m.From)
	switch {
	case m.Type != wire.MsgSnap || m.Snapshot == nil:
		http.Error(w, "wrong raft message type", http.StatusBadRequest)
	case t.cfg.Local.IsRemoved(m.From):
		forbid(w, reasonRemoved)
	case m.To != t.cfg.ID:
		http.Error(w, reasonMismatch, http.StatusBadRequest)
	case p == nil:
		http.Error(w, textUnknownSender, http.StatusNotFound)
	default:
		return p
	}
	return nil
}
