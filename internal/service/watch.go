package service

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/watch"
)

// WatchStream is one client's watch stream.
type WatchStream struct {
	*watch.Stream
	svc  *Service
	tick *time.Ticker
}

// Watch opens a watch stream. The caller closes it.
func (s *Service) Watch() *WatchStream {
	interval := s.cfg.ProgressInterval
	tick := time.NewTicker(interval + rand.N(interval/10+1)) // spread over streams, which may all begin at once
	stream := s.hub.NewStream(watch.StreamConfig{Ticks: tick.C, FragmentBytes: s.cfg.MaxRequestBytes + grpcOverheadBytes})
	return &WatchStream{Stream: stream, svc: s, tick: tick}
}

// historyBatchBytes bounds one response to a watcher that is catching up. Clients expect up to 1,000 revisions at once.
const historyBatchBytes = 64 << 20

// grpcOverheadBytes is what a message may be larger than a request.
const grpcOverheadBytes = 512 << 10

// Close ends the stream.
func (w *WatchStream) Close() {
	w.tick.Stop()
	w.Stream.Close()
}

// Next returns the next message in wire form. Once the service is closed the error is kverr.Stopped.
func (w *WatchStream) Next(ctx context.Context) ([]byte, error) {
	r, err := w.Stream.Next(ctx)
	if errors.Is(err, watch.ErrClosed) {
		return nil, kverr.Stopped
	}
	if err != nil {
		return nil, err
	}
	h := watch.Header{ClusterID: w.svc.cfg.ClusterID, MemberID: w.svc.cfg.MemberID, RaftTerm: w.svc.node.Status().Term}
	return watch.AppendResponse(nil, h, r), nil
}

// history lets the hub read the published view.
type history struct{ svc *Service }

// Acquire returns the published view. The last calls of a client may come when the node has stopped already: then all streams are closed
// and what these calls find out reaches nobody.
func (h history) Acquire() watch.View {
	v, err := h.svc.node.View()
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
