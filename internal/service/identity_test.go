package service_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
	"github.com/quoin-kv/quoin/internal/watch"
)

// TestReadsAreLookedAtTwice: an answer that was made while permissions changed is not given.
func TestReadsAreLookedAtTwice(t *testing.T) {
	var during func() // happens once after a read and before its answer
	meddle := func() {
		if do := during; do != nil {
			during = nil
			do()
		}
	}
	synctest.Test(t, func(t *testing.T) {
		m := start(t, func(o *servicetest.Options) {
			o.Service.MaxRequestBytes = 10_000
			o.Service.Metrics.ReadTxn = func(int) { meddle() }
		})
		root := guard(t, m)
		addUser(t, m, root, "ada", "a", "b")
		for i := range 1000 {
			check(t, putAs(m, root, fmt.Sprint("a", i)))
		}
		ada := as(t, logIn(t, m, "ada"))
		read := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("a")}}}}}
		txn := func() error {
			_, err := call(ada, m.Txn, read, new(pb.TxnResponse))
			return err
		}
		chunks := 0
		stream := func() error {
			r := &request.Range{Key: []byte("a"), RangeEnd: []byte("b")}
			return m.RangeStream(ada, r.Append(nil), func([]byte) error {
				chunks++
				meddle()
				return nil
			})
		}
		change := func() { permit(t, m, root, "ada", "x", "y") }
		for what, one := range map[string]func() error{"txn": txn, "stream": stream} {
			check(t, one())
			during = change
			wantError(t, what+" during a change", one(), kverr.AuthOldRevision)
			check(t, one())
			during = func() { check(t, putAs(m, root, "other")) }
			check(t, one())
		}
		if chunks < 8 {
			t.Errorf("%d chunks show nothing", chunks)
		}
	})
}

// TestRangesAreLookedAtTwice is TestReadsAreLookedAtTwice for the commonest read.
func TestRangesAreLookedAtTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var during func()
		m := start(t, func(o *servicetest.Options) {
			o.Service.Metrics.Range = func(_ time.Duration, _ error) {
				if do := during; do != nil {
					during = nil
					do()
				}
			}
		})
		root := guard(t, m)
		addUser(t, m, root, "ada", "a", "b")
		ada := as(t, logIn(t, m, "ada"))
		check(t, getAs(m, ada, "a"))
		during = func() { forbid(t, m, root, "ada", "a", "b") }
		wantError(t, "read during a change", getAs(m, ada, "a"), kverr.AuthOldRevision)
		wantError(t, "read after it", getAs(m, ada, "a"), kverr.PermissionDenied)
		during = func() { auth(t, m, root, request.FieldAuthDisable, &request.AuthDisable{}) }
		permit(t, m, root, "ada", "a", "b")
		check(t, getAs(m, ada, "a")) // then nobody may be kept from anything
	})
}

// watcher creates a watcher and returns what is answered.
func watcher(t testing.TB, w *service.WatchStream, ctx context.Context, r watch.CreateRequest) *pb.WatchResponse {
	t.Helper()
	check(t, w.Create(ctx, r))
	return next(t, w)
}

const (
	deniedText = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
	tokenText  = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
	nobodyText = "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"
)

// TestWatchRefusals: the words in which watchers are refused, and in which order what is wrong is looked at.
func TestWatchRefusals(t *testing.T) {
	m := start(t)
	root := guard(t, m)
	addUser(t, m, root, "ada", "a", "m")
	ada := as(t, logIn(t, m, "ada"))
	w := m.Watch()
	defer w.Close()
	for _, one := range []struct {
		ctx        context.Context
		start      int64
		key, end   string
		wantReason string
	}{
		{ada, 0, "b", "", ""},
		{ada, 0, "a", "m", ""},
		{ada, 0, "a", "n", deniedText},
		{ada, 0, "a", "\x00", deniedText},
		{ada, 0, "", "", deniedText},
		{ada, -1, "x", "", kverr.Compacted.Text},
		{ada, 0, "x", "b", deniedText},
		{ada, 0, "c", "b", "mvcc: watcher range is empty"},
		{t.Context(), 0, "b", "", nobodyText},
		{as(t, "aaaaaaaaaaaaaaaa.1"), 0, "b", "", tokenText},
		{as(t, "nonsense"), 0, "b", "", tokenText},
		{root, 0, "x", "", ""},
	} {
		r := watcher(t, w, one.ctx, watch.CreateRequest{StartRevision: one.start, Key: []byte(one.key), RangeEnd: []byte(one.end)})
		refused := one.wantReason != ""
		if !r.Created || r.Canceled != refused || r.CancelReason != one.wantReason || refused != (r.WatchId == -1) {
			t.Errorf("%+v: %v", one, r)
		}
	}
}

// TestWatchersEnd: whoever may not see a range any more is told at once, also if nothing happens there; other watchers go on.
func TestWatchersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		root := guard(t, m)
		addUser(t, m, root, "ada", "a", "m")
		permit(t, m, root, "ada", "x", "")
		ada := as(t, logIn(t, m, "ada"))
		w := m.Watch()
		defer w.Close()
		for _, key := range []string{"a", "x", "b"} {
			if r := watcher(t, w, ada, watch.CreateRequest{Key: []byte(key)}); r.Canceled {
				t.Fatal(r)
			}
		}
		permit(t, m, root, "ada", "z", "")
		check(t, putAs(m, root, "x"))
		if r := next(t, w); len(r.Events) != 1 || r.WatchId != 1 {
			t.Errorf("after a change that takes nothing: %v", r)
		}
		told := make(chan *pb.WatchResponse, 2)
		go func() {
			told <- next(t, w)
			told <- next(t, w)
		}()
		synctest.Wait() // somebody waits for the next message
		forbid(t, m, root, "ada", "a", "m")
		for _, id := range []int64{0, 2} {
			if r := <-told; r.WatchId != id || !r.Canceled || r.Created || r.CancelReason != deniedText {
				t.Errorf("watcher %d ends with %v", id, r)
			}
		}
		check(t, errors.Join(putAs(m, root, "a"), putAs(m, root, "b"), putAs(m, root, "x")))
		if r := next(t, w); len(r.Events) != 1 || r.WatchId != 1 || r.Canceled {
			t.Errorf("the one that may go on: %v", r)
		}
		auth(t, m, root, request.FieldAuthUserDelete, &request.AuthUserDelete{Name: "ada"})
		if r := next(t, w); r.WatchId != 1 || !r.Canceled || r.CancelReason != deniedText {
			t.Errorf("without its user: %v", r)
		}
	})
}

// TestAnonymousWatchersEnd: when authentication is turned on, watchers of nobody end; one with a bad token changes nothing for the others of
// its stream.
func TestAnonymousWatchersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		w := m.Watch()
		defer w.Close()
		watcher(t, w, t.Context(), watch.CreateRequest{Key: []byte("a")})
		root := guard(t, m)
		if r := next(t, w); !r.Canceled || r.CancelReason != nobodyText {
			t.Errorf("the end is %v", r)
		}
		named := m.Watch()
		defer named.Close()
		watcher(t, named, root, watch.CreateRequest{Key: []byte("a")})
		if r := watcher(t, named, as(t, "nonsense"), watch.CreateRequest{Key: []byte("a")}); r.CancelReason != tokenText {
			t.Errorf("a bad token: %v", r)
		}
		auth(t, m, root, request.FieldAuthRoleAdd, &request.AuthRoleAdd{Name: "more"})
		check(t, putAs(m, root, "a"))
		if r := next(t, named); len(r.Events) != 1 {
			t.Errorf("after a change: %v", r)
		}
	})
}

// TestNothingIsSeenAfterwards: once a permission is taken away, no event of later comes, however the watcher and the change meet.
func TestNothingIsSeenAfterwards(t *testing.T) {
	m := start(t)
	root := guard(t, m)
	addUser(t, m, root, "ada", "a", "b")
	ada := as(t, logIn(t, m, "ada"))
	for round := range 100 {
		w := m.Watch()
		var taken sync.WaitGroup
		var last int64 // revision before the permission is taken
		taken.Go(func() {
			for range 3 {
				last = putWatched(t, m, root)
			}
			forbid(t, m, root, "ada", "a", "b")
			putWatched(t, m, root)
			putWatched(t, m, root)
		})
		check(t, w.Create(ada, watch.CreateRequest{Key: []byte("a")}))
		highest := int64(0)
		for canceled := false; !canceled; {
			r := next(t, w)
			for _, e := range r.Events {
				highest = max(highest, e.Kv.ModRevision)
			}
			canceled = r.Canceled
		}
		taken.Wait()
		if highest > last {
			t.Fatalf("round %d: an event of revision %d was seen, the permission was taken after %d", round, highest, last)
		}
		w.Close()
		permit(t, m, root, "ada", "a", "b")
	}
}

// putWatched puts the key that is watched and returns the revision.
func putWatched(t testing.TB, m *servicetest.Member, ctx context.Context) int64 {
	out, err := call(ctx, m.Put, &pb.PutRequest{Key: []byte("a")}, new(pb.PutResponse))
	if err != nil {
		t.Error(err)
		return 0
	}
	return out.Header.Revision
}

// TestEventsThatWereTaken: an event that was taken for a client just before its permission was does not go out.
func TestEventsThatWereTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		root := guard(t, m)
		addUser(t, m, root, "ada", "a", "b")
		permit(t, m, root, "ada", "x", "")
		w := m.Watch()
		defer w.Close()
		ada := as(t, logIn(t, m, "ada"))
		watcher(t, w, ada, watch.CreateRequest{Key: []byte("a")})
		watcher(t, w, ada, watch.CreateRequest{Key: []byte("x")})
		for _, key := range []string{"x", "a"} {
			want := key == "a"
			check(t, putAs(m, root, key))
			r, ok, err := w.Stream.Poll()
			if !ok || err != nil || len(r.Events) != 1 {
				t.Fatalf("%+v, %t, %v", r, ok, err)
			}
			if w.Forbidden(r) {
				t.Errorf("an event of %s is forbidden while nothing has changed", key)
			}
			if want {
				forbid(t, m, root, "ada", "a", "b")
			} else {
				permit(t, m, root, "ada", "y", "")
			}
			if w.Forbidden(r) != want {
				t.Errorf("an event of %s is forbidden: %t, want %t", key, !want, want)
			}
		}
		if r := next(t, w); !r.Canceled || r.WatchId != 0 {
			t.Errorf("the end is %v", r)
		}
	})
}

// TestRequestsThatWaited: a watcher whose request had to wait is judged when its turn comes.
func TestRequestsThatWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		root := guard(t, m)
		addUser(t, m, root, "ada", "a", "b")
		ada := as(t, logIn(t, m, "ada"))
		w := m.Watch()
		defer w.Close()
		const requests = 2000 // more than a stream takes before anybody reads
		var asked atomic.Int64
		go func() {
			for range requests {
				if w.Create(ada, watch.CreateRequest{Key: []byte("a")}) != nil {
					return
				}
				asked.Add(1)
			}
		}()
		synctest.Wait()
		if asked.Load() == requests {
			t.Fatal("no request waits")
		}
		forbid(t, m, root, "ada", "a", "b")
		for answers := 0; answers < requests; {
			if r := next(t, w); r.Created {
				answers++
			}
		}
		synctest.Wait()
		if n := m.WatchStats().Watchers; n != 0 {
			t.Errorf("%d watchers go on", n)
		}
	})
}
