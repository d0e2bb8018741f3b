package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/quoin-kv/quoin/raft/wire"
)

// maxPosts bounds the requests of the pipeline that are under way to one peer.
const maxPosts = 4

// pipeline is what is said in single requests while a stream does not stand.
//
// Invariants:
//  1. At most maxPipelineQueue messages wait, at most maxPosts workers send.
//  2. While messages wait there is a worker.
type pipeline struct {
	mu struct {
		sync.Mutex
		queue   []wire.Message
		workers int
	}
}

// put queues m. It reports whether there was a place, and whether the caller must start a worker.
func (q *pipeline) put(m *wire.Message) (ok, start bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.mu.queue) >= maxPipelineQueue {
		return false, false
	}
	q.mu.queue = append(q.mu.queue, *m)
	if q.mu.workers == maxPosts {
		return true, false
	}
	q.mu.workers++
	return true, true
}

// next takes the oldest message. If there is none the worker that asked has gone.
func (q *pipeline) next() (m wire.Message, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.mu.queue) == 0 {
		q.mu.queue = nil
		q.mu.workers--
		return m, false
	}
	m, q.mu.queue[0] = q.mu.queue[0], wire.Message{}
	q.mu.queue = q.mu.queue[1:]
	return m, true
}

// post queues m for the pipeline and reports whether there was a place.
func (p *peer) post(m *wire.Message) bool {
	ok, start := p.pipe.put(m)
	if start && p.t.enter() {
		go func() {
			defer p.t.wg.Done()
			p.work()
		}()
	}
	return ok
}

// work sends what waits in the pipeline until nothing waits.
func (p *peer) work() {
	for {
		m, ok := p.pipe.next()
		if !ok {
			return
		}
		err := p.postOne(&m)
		p.release(cost(&m))
		if err != nil && p.ctx.Err() == nil {
			p.log.Debug("a message could not be posted", "error", err)
			p.failed()
		}
	}
}

func (p *peer) postOne(m *wire.Message) error {
	u, err := p.urls.pick()
	if err != nil {
		return err
	}
	body := m.Append(make([]byte, 0, m.Size()))
	req := p.request(p.ctx, http.MethodPost, u, "/raft", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/protobuf")
	resp, err := p.t.clients.post.Do(req)
	if err != nil {
		p.urls.failed(u)
		return withoutURL(err)
	}
	defer resp.Body.Close()
	if err := p.checkPost(resp); err != nil {
		p.urls.failed(u)
		return err
	}
	report(p.t.cfg.Metrics.Sent, p.id, len(body))
	return nil
}

// The reasons for the answer 403, in JSON.
const (
	reasonRemoved  = "cannot process message from removed member"
	reasonMismatch = "cannot process message to mismatch member"
)

// checkPost says whether a message or snapshot was accepted.
func (p *peer) checkPost(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusNoContent:
		return nil
	case http.StatusForbidden:
		return p.checkForbidden(resp)
	default:
		return refusal(resp)
	}
}

// checkForbidden tells the two reasons apart: a member that was removed must stop; one that knocked at the wrong door, because the
// address of a former member is another's now, must not.
func (p *peer) checkForbidden(resp *http.Response) error {
	var said struct{ Message string }
	err := json.NewDecoder(io.LimitReader(resp.Body, maxErrorBytes)).Decode(&said)
	if err == nil && said.Message == reasonMismatch {
		return fmt.Errorf("at the peer's address is another member: %s", said.Message)
	}
	return p.sayRemoved()
}

// receivePost is POST /raft.
func (t *Transport) receivePost(w http.ResponseWriter, r *http.Request) {
	if !t.admit(w, r, http.MethodPost) {
		return
	}
	m, text := t.readPost(w, r)
	switch {
	case text != "":
		http.Error(w, text, http.StatusBadRequest)
	case t.cfg.Local.IsRemoved(m.From):
		forbid(w, reasonRemoved)
	case m.To != t.cfg.ID:
		forbid(w, reasonMismatch)
	case t.peer(m.From) == nil:
		http.Error(w, textUnknownSender, http.StatusNotFound)
	default:
		if m.Type != wire.MsgSnap && receivable(m.Type) {
			t.cfg.Local.Step(m)
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// readPost reads the message in r, or says why not.
func (t *Transport) readPost(w http.ResponseWriter, r *http.Request) (m wire.Message, text string) {
	body, stop := t.body(r.Context(), w, r, nil)
	defer stop()
	b, err := io.ReadAll(io.LimitReader(body, maxMessageBytes+1))
	if err != nil || len(b) > maxMessageBytes {
		return m, "error reading raft message"
	}
	if err := m.Unmarshal(b); err != nil {
		return m, "error unmarshalling raft message"
	}
	report(t.cfg.Metrics.Received, m.From, len(b))
	return m, ""
}

// body returns the body of r with a time for each read, which ends with the transport. The caller calls stop when it has read enough.
func (t *Transport) body(ctx context.Context, w http.ResponseWriter, r *http.Request, count func(n int)) (body *deadlineReader, stop func()) {
	rc := http.NewResponseController(w)
	ctx, cancel := context.WithCancel(ctx)
	undo := context.AfterFunc(t.ctx, cancel)
	unbreak := breakOn(ctx, func() { _ = rc.SetReadDeadline(timePast()) })
	return &deadlineReader{ctx: ctx, rc: rc, body: r.Body, time: t.cfg.Timing.Read, read: count}, func() {
		unbreak()
		undo()
		cancel()
	}
}

// forbid answers what makes the sender stop, or at least doubt.
func forbid(w http.ResponseWriter, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(struct {
		Message string `json:"message"`
	}{reason})
}
