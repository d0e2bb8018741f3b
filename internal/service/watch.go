package service

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

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

// Next returns the next message in wire form.
func (w *WatchStream) Next(ctx context.Context) ([]byte, error) {
	r, err := w.Stream.Next(ctx)
	if err != nil {
		return nil, err
	}
	h := watch.Header{ClusterID: w.svc.cfg.ClusterID, MemberID: w.svc.cfg.MemberID, RaftTerm: w.svc.node.Status().Term}
	return watch.AppendResponse(nil, h, r), nil
}

// history lets the hub read the published view.
type history struct{ svc *Service }

// Acquire returns the published view. All streams are closed before the node stops, so there is one.
func (h history) Acquire() watch.View {
	v, err := h.svc.node.View()
	if err != nil {
		panic(fmt.Sprintf("service: a watch outlived its member: %v", err))
	}
	return v
}

// WatchStats counts streams, watchers and events.
func (s *Service) WatchStats() watch.Stats { return s.hub.Stats() }
