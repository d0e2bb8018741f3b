package service

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/quoin-kv/quoin/internal/auth"
	"github.com/quoin-kv/quoin/internal/interval"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/watch"
)

// WatchStream is one client's watch stream.
type WatchStream struct {
	*watch.Stream
	svc  *Service
	beat *beat
	sent sent
	head head
	term uint64 // when the messages that are not sent yet began to be gathered
	turn int64  // when work began that Yield has not accounted for, 0 for none

	// who is the identity that asked for watchers, and users what they were judged by last. A stream has one identity, that of the call.
	users atomic.Pointer[auth.State]
	who   atomic.Pointer[auth.Identity]
}

// Watch opens a watch stream. The caller closes it.
func (s *Service) Watch() *WatchStream {
	period := s.cfg.ProgressInterval
	period += time.Duration(s.cfg.Random(int64(period)/10 + 1)) // spread over streams, which may all begin at once
	stream := s.hub.NewStream(watch.StreamConfig{FragmentBytes: s.cfg.MaxRequestBytes + grpcOverheadBytes})
	w := &WatchStream{Stream: stream, svc: s, beat: &beat{stream: stream, due: s.clock.Now().Add(period), period: period, at: -1}}
	w.users.Store(s.access.users.Load())
	s.progress.add(w.beat)
	return w
}

// Create adds a watcher if the call may read its range; a refusal is an answer like any other.
func (w *WatchStream) Create(ctx context.Context, r watch.CreateRequest) error {
	rng := interval.Make(orFirst(r.Key), r.RangeEnd)
	who, err := w.svc.identity(ctx)
	if err == nil {
		w.who.Store(&who)
		err = mayWatch(w.svc.access.users.Load(), who, rng)
	}
	r.Refusal = func() string {
		if err != nil {
			return kverr.StatusText(err)
		}
		// It may have waited for its turn; what has changed since then counts.
		return refusalNow(w.svc.access.users.Load(), who.User, rng)
	}
	return w.Stream.Create(ctx, r)
}

// mayWatch decides whether somebody may see what happens in a range.
func mayWatch(users *auth.State, who auth.Identity, rng interval.Range) error {
	return users.Admit(who, &request.Range{Key: []byte(rng.Key), RangeEnd: []byte(rng.End)}, nil)
}

// refusalNow is why a user who was let in before may not see what happens in a range, in the words for the client; empty if it may.
func refusalNow(users *auth.State, user string, rng interval.Range) string {
	if err := mayWatch(users, auth.Identity{User: user, Revision: users.Revision()}, rng); err != nil {
		return kverr.StatusText(err)
	}
	return ""
}

// orFirst is the key that a watcher asks for: an empty one means the first there can be.
func orFirst(key []byte) []byte {
	if len(key) == 0 {
		return []byte{0}
	}
	return key
}

// review ends the watchers that the call may not have any more, if permissions have changed since that was looked at last, and returns their
// ids. It comes before every message and after, so that no event reaches who may not see it.
func (w *WatchStream) review() (ended []int64) {
	users := w.svc.access.users.Load()
	if w.users.Load() == users || w.users.Swap(users) == users {
		return nil
	}
	who := w.who.Load()
	if who == nil {
		return nil
	}
	return w.Review(func(rng interval.Range) string { return refusalNow(users, who.User, rng) })
}

// watchConfig sets up the hub of a store at rev.
func (s *Service) watchConfig(rev int64) watch.Config {
	return watch.Config{
		History: history{s}, Rev: rev, RingRevisions: s.cfg.WatchRing, BatchRevisions: s.cfg.WatchBatch, BatchBytes: historyBatchBytes,
	}
}

// historyBatchBytes bounds one response to a watcher that is catching up, unless a single revision is larger. Such a response exists several
// times over on its way, for each stream that catches up.
const historyBatchBytes = 4 << 20

// grpcOverheadBytes is what a message may be larger than a request.
const grpcOverheadBytes = 512 << 10

// Close ends the stream.
func (w *WatchStream) Close() {
	w.svc.progress.remove(w.beat)
	w.Stream.Close()
}

// Next returns the next message in wire form. Once the service is closed the error is kverr.Stopped.
func (w *WatchStream) Next(ctx context.Context) ([]byte, error) {
	r, err := w.NextResponse(ctx)
	if err != nil {
		return nil, err
	}
	w.term = w.svc.member.Status().Term
	return w.appendMessage(nil, &r), nil
}

// NextResponse is Next for who does not want the wire form.
func (w *WatchStream) NextResponse(ctx context.Context) (watch.Response, error) {
	for {
		r, ok, err := w.poll()
		if ok || err != nil {
			return r, err
		}
		if err := w.Wait(ctx); err != nil {
			return r, err
		}
	}
}

// Wait returns when there may be a next message, or with ctx's error.
func (w *WatchStream) Wait(ctx context.Context) error { return w.svc.clock.Wait(ctx, w.Wake(), -1) }

// Poll appends the next message to b like Next, and returns false if there is none yet. It belongs to the goroutine that calls Next.
func (w *WatchStream) Poll(b []byte) (longer []byte, ok bool, err error) {
	if w.sent.none() {
		w.term = w.svc.member.Status().Term
	}
	if w.turn == 0 {
		w.turn = w.svc.now()
	}
	r, ok, err := w.poll()
	if !ok || err != nil {
		return b, false, err
	}
	longer = w.appendMessage(b, &r)
	w.Release()
	return longer, true, nil
}

func (w *WatchStream) poll() (r watch.Response, ok bool, err error) {
	for {
		w.review()
		r, ok, err = w.Stream.Poll()
		if errors.Is(err, watch.ErrClosed) {
			return r, false, kverr.Stopped
		}
		if !ok || err != nil {
			return r, ok, err
		}
		if w.forbidden(&r) {
			continue
		}
		if w.sent.none() {
			w.sent.began = w.svc.clock.Now()
		}
		w.sent.add(&r)
		return r, true, nil
	}
}

// forbidden reports whether events that were just taken are for a watcher that ended meanwhile: they may be from after that.
func (w *WatchStream) forbidden(r *watch.Response) bool {
	return len(r.Events) > 0 && slices.Contains(w.review(), r.WatchID)
}

func (w *WatchStream) appendMessage(b []byte, r *watch.Response) []byte {
	h := watch.Header{ClusterID: w.svc.cfg.ClusterID, MemberID: w.svc.cfg.MemberID, RaftTerm: w.term}
	return r.AppendBody(append(b, w.head.encoded(h, r.HeaderRevision)...))
}

// head is the header of the last message in wire form. The messages of a revision have the same.
type head struct {
	watch.Header
	rev   int64
	bytes []byte
}

func (h *head) encoded(header watch.Header, rev int64) []byte {
	if h.bytes == nil || h.Header != header || h.rev != rev {
		h.Header, h.rev, h.bytes = header, rev, header.Append(h.bytes[:0], rev)
	}
	return h.bytes
}

// sent is what is known of the messages that Poll gave since the last Sent.
type sent struct {
	began     time.Time // of the first of them
	events    int
	answers   int // to requests, and ends of watchers
	responses int // with events
	progress  int
}

func (s *sent) none() bool { return s.responses+s.answers+s.progress == 0 }

func (s *sent) add(r *watch.Response) {
	switch {
	case len(r.Events) > 0:
		s.responses++
		s.events += len(r.Events)
	case r.Created || r.Canceled:
		s.answers++
	default:
		s.progress++
	}
}

// Sent tells that the messages since the last call have gone out, which counts as one for each kind among them. It belongs to the goroutine
// that calls Next, and need not be called.
func (w *WatchStream) Sent() {
	m, was := &w.svc.cfg.Metrics, w.sent
	w.sent = sent{}
	if was.none() {
		return
	}
	took := w.svc.since(was.began)
	if was.responses > 0 && m.WatchSent != nil {
		m.WatchSent(was.events, took)
	}
	if was.answers > 0 && m.WatchAnswered != nil {
		m.WatchAnswered(took)
	}
	if was.progress > 0 && m.WatchProgressed != nil {
		m.WatchProgressed(took)
	}
}

// history lets the hub read the published view.
type history struct{ svc *Service }

// Acquire returns the published view. The last calls of a client may come when the node has stopped already: then all streams are closed
// and what these calls find out reaches nobody.
func (h history) Acquire() watch.View {
	v, err := h.svc.member.View()
	if err != nil {
		return noView{err}
	}
	return v
}

// noView is what there is to see of a member that has stopped.
type noView struct{ err error }

func (noView) Rev() int64        { return 0 }
func (noView) CompactRev() int64 { return -1 }
func (noView) Release()          {}

func (v noView) Changes(mvcc.ChangesQuery) (mvcc.Changes, error) { return mvcc.Changes{}, v.err }
func (v noView) Record(schema.Rev) ([]byte, error)               { return nil, v.err }

// WatchStats counts streams, watchers and events.
func (s *Service) WatchStats() watch.Stats { return s.hub.Stats() }

// WatchRing says how much of the recent past watchers find without reading history.
func (s *Service) WatchRing() watch.RingStats { return s.hub.Ring() }
