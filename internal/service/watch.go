package service

import (
	"context"
	"errors"
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
	last sent

	// who holds the identities that asked for watchers, and users what they were admitted by. A stream has one identity in nearly all cases:
	// that of the call.
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
	who, err := w.svc.identity(ctx)
	if err == nil {
		err = w.svc.access.users.Load().Admit(who, &request.Range{Key: orFirst(r.Key), RangeEnd: r.RangeEnd}, nil)
	}
	w.who.Store(&who)
	if err != nil {
		r.Refusal = kverr.StatusText(err)
	}
	return w.Stream.Create(ctx, r)
}

// orFirst is the key that a watcher asks for: an empty one means the first there can be.
func orFirst(key []byte) []byte {
	if len(key) == 0 {
		return []byte{0}
	}
	return key
}

// review ends the watchers that the call may not have any more, if permissions have changed since that was looked at last. It comes before
// every message, so that no event reaches who may not see it.
func (w *WatchStream) review() {
	users, who := w.svc.access.users.Load(), w.who.Load()
	if w.users.Swap(users) == users || who == nil {
		return
	}
	now := auth.Identity{User: who.User, Revision: users.Revision()}
	w.Review(func(rng interval.Range) string {
		if err := users.Admit(now, &request.Range{Key: []byte(rng.Key), RangeEnd: []byte(rng.End)}, nil); err != nil {
			return kverr.StatusText(err)
		}
		return ""
	})
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
	for {
		msg, ok, err := w.Poll()
		if ok || err != nil {
			return msg, err
		}
		if err := w.svc.clock.Wait(ctx, w.Wake(), -1); err != nil {
			return nil, err
		}
	}
}

// Poll returns the next message like Next, and false if there is none yet. It belongs to the goroutine that calls Next.
func (w *WatchStream) Poll() (msg []byte, ok bool, err error) {
	w.review()
	r, ok, err := w.Stream.Poll()
	if errors.Is(err, watch.ErrClosed) {
		return nil, false, kverr.Stopped
	}
	if !ok || err != nil {
		return nil, false, err
	}
	w.last = sent{began: w.svc.clock.Now(), events: len(r.Events), answer: r.Created || r.Canceled}
	h := watch.Header{ClusterID: w.svc.cfg.ClusterID, MemberID: w.svc.cfg.MemberID, RaftTerm: w.svc.member.Status().Term}
	return watch.AppendResponse(nil, h, r), true, nil
}

// sent is what is known of the message that Poll gave last.
type sent struct {
	began  time.Time
	events int
	answer bool // to a request, or the end of a watcher
}

// Sent tells that the last message has gone out. It belongs to the goroutine that calls Next, and need not be called.
func (w *WatchStream) Sent() {
	m, took := &w.svc.cfg.Metrics, w.svc.since(w.last.began)
	switch {
	case w.last.events > 0 && m.WatchSent != nil:
		m.WatchSent(w.last.events, took)
	case w.last.answer && m.WatchAnswered != nil:
		m.WatchAnswered(took)
	case w.last.events == 0 && !w.last.answer && m.WatchProgressed != nil:
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
