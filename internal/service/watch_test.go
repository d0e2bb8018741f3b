package service_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
	"github.com/quoin-kv/quoin/internal/watch"
)

func next(t testing.TB, w *service.WatchStream) *pb.WatchResponse {
	t.Helper()
	raw, err := w.Next(t.Context())
	check(t, err)
	out := new(pb.WatchResponse)
	check(t, proto.Unmarshal(raw, out))
	return out
}

func TestWatch(t *testing.T) {
	m := start(t)
	put(t, m, "k", "before")
	w := m.Watch()
	defer w.Close()
	check(t, w.Create(t.Context(), watch.CreateRequest{Key: []byte("k"), StartRevision: 2, PrevKV: true}))
	r := next(t, w)
	header(t, "created", r.Header, 2)
	if !r.Created || r.WatchId != 0 {
		t.Errorf("created: %v", r)
	}
	if r = next(t, w); len(r.Events) != 1 || string(r.Events[0].Kv.Value) != "before" {
		t.Errorf("history: %v", r)
	}
	put(t, m, "k", "after")
	r = next(t, w)
	header(t, "event", r.Header, 3)
	if len(r.Events) != 1 || string(r.Events[0].Kv.Value) != "after" || string(r.Events[0].PrevKv.GetValue()) != "before" {
		t.Errorf("event: %v", r)
	}
	if st := m.WatchStats(); st.Streams != 1 || st.Watchers != 1 || st.Events != 2 {
		t.Errorf("stats are %+v", st)
	}
}

// TestProgressInterval: a watcher that asked for it hears of the revision about every interval, if nothing else happens.
func TestProgressInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		w := m.Watch()
		defer w.Close()
		check(t, w.Create(t.Context(), watch.CreateRequest{Key: []byte("k"), ProgressNotify: true}))
		next(t, w)
		put(t, m, "other", "")
		begin := time.Now()
		r := next(t, w)
		header(t, "progress", r.Header, 2)
		if took := time.Since(begin); len(r.Events) != 0 || r.WatchId != 0 || took < 10*time.Minute || took > 11*time.Minute {
			t.Errorf("after %v: %v", took, r)
		}
	})
}

func TestWatchEndsWithTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		w := m.Watch()
		defer w.Close()
		ended := make(chan error, 1)
		go func() {
			_, err := w.Next(t.Context())
			ended <- err
		}()
		synctest.Wait()
		m.Close()
		wantError(t, "open stream", <-ended, kverr.Stopped)
		late := m.Watch()
		defer late.Close()
		_, err := late.Next(t.Context())
		wantError(t, "stream after the end", err, kverr.Stopped)
		m.Stop(t)
		for range 100 { // whether the end of the stream or of the node is seen first is a matter of luck
			wantError(t, "create after the stop", late.Create(t.Context(), watch.CreateRequest{Key: []byte("k")}), watch.ErrClosed)
			wantError(t, "cancel after the stop", late.Cancel(t.Context(), 0), watch.ErrClosed)
		}
	})
}

// TestStopUnderLoad stops a member while calls of all kinds are under way. All of them end, with success or as a stop says.
func TestStopUnderLoad(t *testing.T) {
	m := start(t)
	var calls sync.WaitGroup
	started := make(chan struct{}, 1000)
	loop := func(what string, fn func(i int) error) {
		calls.Go(func() {
			for i := 0; ; i++ {
				if err := fn(i); err != nil {
					wantError(t, what, err, kverr.Stopped)
					return
				}
				if i == 20 {
					started <- struct{}{}
				}
			}
		})
	}
	unary := func(what string, fn method, in proto.Message) {
		loop(what, func(int) error {
			_, err := call(t.Context(), fn, in, new(pb.PutResponse))
			return err
		})
	}
	key := []byte("k")
	unary("put", m.Put, &pb.PutRequest{Key: key})
	unary("range", m.Range, &pb.RangeRequest{Key: key})
	unary("delete", m.DeleteRange, &pb.DeleteRangeRequest{Key: key})
	unary("grant", m.LeaseGrant, &pb.LeaseGrantRequest{TTL: 5})
	unary("txn", m.Txn, &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}}})
	loop("stream", func(int) error {
		raw, _ := proto.Marshal(&pb.RangeRequest{Key: key})
		return m.RangeStream(t.Context(), raw, func([]byte) error { return nil })
	})
	loop("snapshot", func(int) error { return m.Node.Flush(t.Context()) })
	loop("watch", func(i int) error { return watchOnce(t.Context(), m, fmt.Sprint(i)) })
	for range 8 {
		<-started
	}
	m.Stop(t)
	calls.Wait()
}

// watchOnce opens a stream, watches a key and waits for the answer.
func watchOnce(ctx context.Context, m *servicetest.Member, key string) error {
	w := m.Watch()
	defer w.Close()
	if err := w.Create(ctx, watch.CreateRequest{Key: []byte(key)}); err != nil {
		if errors.Is(err, watch.ErrClosed) {
			return kverr.Stopped
		}
		return err
	}
	_, err := w.Next(ctx)
	return err
}
