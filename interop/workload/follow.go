package workload

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/prototext"
)

// Follower is one watcher on a stream of its own that records every event as
// a line of text. It checks what must hold on every watch: revisions never
// descend, all events of a revision come in one response, and no event comes at
// or below a revision of an earlier progress answer.
type Follower struct {
	stream grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]
	done   chan struct{} // closed when the stream has ended
	moved  chan struct{} // gets a token after each response

	mu struct {
		sync.Mutex
		lines    []string
		last     int64 // revision of the last event
		progress int64 // revision of the last progress answer
		canceled bool
		err      error
	}
}

// Follow creates a watcher. It ends with the context.
func Follow(ctx context.Context, watch pb.WatchClient, create *pb.WatchCreateRequest) (*Follower, error) {
	stream, err := watch.Watch(ctx)
	if err != nil {
		return nil, fmt.Errorf("open a watch stream: %w", err)
	}
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}
	if err := stream.Send(request); err != nil {
		return nil, fmt.Errorf("create a watcher: %w", err)
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, fmt.Errorf("create a watcher: %w", err)
	}
	if !first.Created {
		return nil, fmt.Errorf("create a watcher: got %v, want created", first)
	}
	f := &Follower{stream: stream, done: make(chan struct{}), moved: make(chan struct{}, 1)}
	f.record(first)
	go f.run()
	return f, nil
}

func (f *Follower) run() {
	defer close(f.done)
	for {
		resp, err := f.stream.Recv()
		if err != nil {
			f.fail(err)
			return
		}
		f.record(resp)
		select {
		case f.moved <- struct{}{}:
		default:
		}
	}
}

func (f *Follower) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.err == nil {
		f.mu.err = err
	}
}

func (f *Follower) record(resp *pb.WatchResponse) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if resp.WatchId == -1 && !resp.Canceled {
		f.mu.progress = max(f.mu.progress, resp.Header.Revision)
		return
	}
	if resp.Canceled {
		f.mu.canceled = true
		f.mu.lines = append(f.mu.lines, fmt.Sprintf("canceled, compacted %d, reason %q", resp.CompactRevision, resp.CancelReason))
	}
	before := f.mu.last
	for _, event := range resp.Events {
		f.check(event.Kv.ModRevision, before)
		f.mu.last = event.Kv.ModRevision
		f.mu.lines = append(f.mu.lines, prototext.MarshalOptions{}.Format(event))
	}
}

// check takes the revision of an event and that of the last event of the
// response before it.
func (f *Follower) check(revision, before int64) {
	switch {
	case f.mu.err != nil:
	case revision < f.mu.last:
		f.mu.err = fmt.Errorf("event order: revision %d after %d", revision, f.mu.last)
	case revision == before:
		f.mu.err = fmt.Errorf("event grouping: revision %d is in two responses", revision)
	case revision <= f.mu.progress:
		f.mu.err = fmt.Errorf("event order: revision %d after progress at %d", revision, f.mu.progress)
	}
}

// Reach waits until the watcher has seen every event up to the revision: it
// asks for progress until an answer says so, because a server drops requests
// that come while the watcher still reads history. A canceled watcher is done.
func (f *Follower) Reach(ctx context.Context, revision int64) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
	for ask := true; ; {
		if reached, err := f.reached(revision); reached || err != nil {
			return err
		}
		if ask {
			if err := f.stream.Send(request); err != nil {
				return fmt.Errorf("ask for progress: %w", err)
			}
		}
		select {
		case <-f.moved:
			ask = false
		case <-tick.C:
			ask = true
		case <-ctx.Done():
			return fmt.Errorf("wait for revision %d: %w", revision, ctx.Err())
		}
	}
}

func (f *Follower) reached(revision int64) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.canceled || f.mu.progress >= revision, f.mu.err
}

// Take returns what was recorded since the last call.
func (f *Follower) Take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := f.mu.lines
	f.mu.lines = nil
	return lines
}

// Close ends the watcher's stream for requests; the stream itself ends with its context.
func (f *Follower) Close() { _ = f.stream.CloseSend() }

// Done is closed when the stream has ended.
func (f *Follower) Done() <-chan struct{} { return f.done }
