package cluster

import (
	"context"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/internal/model"
)

// A watcher follows the tracked keys through one member. When its stream
// breaks it goes on from where it was, so that its log has no seam.
type watcher struct {
	recorder *recorder
	conn     grpc.ClientConnInterface
	mu       struct {
		sync.Mutex
		log model.WatchLog
		// next is the revision to go on from, seen the one up to which everything came.
		next, seen int64
		progress   chan struct{} // closed and replaced when seen grows
		over       bool
	}
}

// watch starts a watcher at a revision. It ends with ctx.
func (r *recorder) newWatcher(m *member, from int64) *watcher {
	w := &watcher{recorder: r, conn: m.conn}
	w.mu.log = model.WatchLog{
		Client: r.client(), Member: m.id, Key: tracked, End: trackedEnd, Start: from, PrevKV: true,
	}
	w.mu.next, w.mu.seen, w.mu.progress = from, from-1, make(chan struct{})
	return w
}

// run follows until ctx ends or the watcher is canceled.
func (w *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.follow(ctx)
		if w.over() {
			return
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func (w *watcher) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.over
}

// follow uses one stream for as long as it lasts.
func (w *watcher) follow(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := etcdserverpb.NewWatchClient(w.conn).Watch(ctx)
	if err != nil {
		return
	}
	w.mu.Lock()
	create := &etcdserverpb.WatchCreateRequest{
		Key: []byte(tracked), RangeEnd: []byte(trackedEnd), StartRevision: w.mu.next, PrevKv: true,
	}
	w.mu.Unlock()
	if stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: create}}) != nil {
		return
	}
	var asking sync.WaitGroup
	asking.Go(func() { askProgress(ctx, stream) })
	defer asking.Wait()
	defer cancel()
	for {
		response, err := stream.Recv()
		if err != nil || w.take(response) {
			return
		}
	}
}

// askProgress asks how far the stream is, again and again: a request may go unanswered.
func askProgress(ctx context.Context, stream etcdserverpb.Watch_WatchClient) {
	for ctx.Err() == nil {
		pause(ctx, 200*time.Millisecond)
		request := &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_ProgressRequest{
			ProgressRequest: &etcdserverpb.WatchProgressRequest{},
		}}
		if stream.Send(request) != nil {
			return
		}
	}
}

// take keeps a message and says whether it was the last.
func (w *watcher) take(response *etcdserverpb.WatchResponse) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if response.Created && !response.Canceled {
		return false
	}
	if response.Canceled && notLoggedIn(response.CancelReason) {
		return true // the next stream will be
	}
	r := model.WatchResponse{
		Time: w.recorder.now(), Revision: response.Header.GetRevision(),
		Canceled: response.Canceled, CompactRevision: response.CompactRevision,
	}
	for _, e := range response.Events {
		r.Events = append(r.Events, fromEvent(e))
	}
	w.mu.log.Responses = append(w.mu.log.Responses, r)
	if r.Canceled && r.CompactRevision > 0 {
		w.beginAgain(r.CompactRevision)
		return true
	}
	if r.Canceled {
		w.mu.over = true
		w.advance(never)
		return true
	}
	seen := r.Revision
	if len(r.Events) > 0 {
		seen = r.Events[len(r.Events)-1].KV.Mod
	}
	w.advance(seen)
	return false
}

// beginAgain lets another watcher of the history go on, under the lock, behind a
// compaction that has ended this one: what nobody watches, nobody can judge.
func (w *watcher) beginAgain(from int64) {
	w.recorder.watch(w.mu.log)
	w.mu.log.Client, w.mu.log.Start, w.mu.log.Responses = w.recorder.client(), from, nil
	w.advance(from - 1)
}

// never is a revision that does not come.
const never = 1 << 62

// advance notes, under the lock, how far everything has come.
func (w *watcher) advance(seen int64) {
	if seen <= w.mu.seen {
		return
	}
	w.mu.seen, w.mu.next = seen, seen+1
	close(w.mu.progress)
	w.mu.progress = make(chan struct{})
}

// until waits until the watcher has seen everything up to a revision, and says
// so in its log; a watcher that was canceled promises nothing.
func (w *watcher) until(ctx context.Context, revision int64) error {
	for {
		w.mu.Lock()
		if w.mu.seen >= revision {
			if !w.mu.over {
				w.mu.log.Until = revision
			}
			w.mu.Unlock()
			return nil
		}
		progress := w.mu.progress
		w.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close hands the log to the recorder. The watcher must have ended.
func (w *watcher) close() { w.recorder.watch(w.mu.log) }

func fromEvent(e *mvccpb.Event) model.Event {
	event := model.Event{Delete: e.Type == mvccpb.Event_DELETE, KV: fromKV(e.Kv)}
	if e.PrevKv != nil {
		prev := fromKV(e.PrevKv)
		event.Prev = &prev
	}
	return event
}
