package behaviour

import (
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
)

// watchStream is one Watch stream of a case.
type watchStream struct {
	*env
	stream grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]
}

func (e *env) openWatch() *watchStream {
	e.Helper()
	s, err := e.watch.Watch(e.ctx)
	e.ok(err)
	return &watchStream{env: e, stream: s}
}

// watchFrom is a create request with logical names and a start revision
// relative to the start of the case; 0 stands for "now", not for the start.
func watchFrom(key, end string, revision int64) *pb.WatchCreateRequest {
	return &pb.WatchCreateRequest{Key: []byte(key), RangeEnd: []byte(end), StartRevision: revision}
}

func (w *watchStream) send(r *pb.WatchRequest) {
	w.Helper()
	w.ok(w.stream.Send(r))
}

// create sends a create request and makes its names and revision real.
func (w *watchStream) create(r *pb.WatchCreateRequest) {
	w.Helper()
	r.Key, r.RangeEnd = w.key(string(r.Key)), w.end(string(r.RangeEnd))
	if r.StartRevision > 0 {
		r.StartRevision += w.base
	}
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
}

// created creates a watcher, checks the answer and returns its id.
func (w *watchStream) created(r *pb.WatchCreateRequest) int64 {
	w.Helper()
	w.create(r)
	resp := w.next()
	w.isTrue("created", resp.Created && !resp.Canceled && len(resp.Events) == 0)
	return resp.WatchId
}

func (w *watchStream) cancel(id int64) {
	w.Helper()
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}})
}

func (w *watchStream) progress() {
	w.Helper()
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

func (w *watchStream) next() *pb.WatchResponse {
	w.Helper()
	resp, err := w.stream.Recv()
	w.ok(err)
	return resp
}

// quiet ends the case unless the server sends nothing before its answer to one
// more request: a watcher is created and must be the next thing heard of.
func (w *watchStream) quiet() {
	w.Helper()
	const id = 999
	w.create(&pb.WatchCreateRequest{Key: []byte("quiet"), WatchId: id})
	resp := w.next()
	if !resp.Created || resp.WatchId != id {
		w.Fatalf("got %v, want nothing", resp)
	}
	w.cancel(id)
	w.isTrue("canceled", w.next().Canceled)
}

// shown reads n responses with events and writes each as "[events]@revision"
// with a "~" behind it if it is a fragment that is not the last.
func (w *watchStream) shown(n int) string {
	w.Helper()
	parts := make([]string, n)
	for i := range parts {
		parts[i] = w.showResponse(w.next())
	}
	return strings.Join(parts, " ")
}

func (w *watchStream) showResponse(resp *pb.WatchResponse) string {
	events := make([]string, len(resp.Events))
	for i, event := range resp.Events {
		events[i] = w.showEvent(event)
	}
	s := fmt.Sprintf("[%s]@%d", strings.Join(events, "; "), resp.Header.Revision-w.base)
	if resp.Fragment {
		s += "~"
	}
	return s
}

// showEvent writes "PUT record" or "DELETE key m3", and the previous record
// behind " was " if there is one.
func (w *watchStream) showEvent(event *mvccpb.Event) string {
	s := "PUT " + w.show(event.Kv)
	if event.Type == mvccpb.DELETE {
		s = fmt.Sprintf("DELETE %s m%d", w.name(event.Kv.Key), event.Kv.ModRevision-w.base)
		w.isTrue("a delete has only key and mod revision", event.Kv.CreateRevision == 0 && event.Kv.Version == 0 && event.Kv.Lease == 0 && len(event.Kv.Value) == 0)
	}
	if event.PrevKv != nil {
		s += " was " + w.show(event.PrevKv)
	}
	return s
}
