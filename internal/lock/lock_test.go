package lock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
	"github.com/quoin-kv/quoin/internal/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// message encodes fields in order: from 1 on, nil for none.
func message(fields ...any) (b []byte) {
	for i, f := range fields {
		num := protowire.Number(i + 1)
		switch f := f.(type) {
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), f)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), f)
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(f))
		}
	}
	return b
}

// field returns a field of bytes.
func field(t *testing.T, b []byte, want protowire.Number) []byte {
	t.Helper()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		b = b[n:]
		if num == want && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			return v
		}
		b = b[protowire.ConsumeFieldValue(num, typ, b):]
	}
	return nil
}

// world is a member and its queues, under fake time.
type world struct {
	*testing.T
	*servicetest.Member
	*Queues
}

func inWorld(t *testing.T, run func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		m := servicetest.Start(t, servicetest.NewDisks(t, 1))
		run(&world{t, m, New(m.Service)})
	})
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) lease(id, seconds int64) int {
	w.Helper()
	_, err := w.LeaseGrant(w.Context(), (&request.LeaseGrant{ID: id, TTL: seconds}).Append(nil))
	w.check(err)
	return int(id)
}

// keys lists a queue, oldest first, as key=value.
func (w *world) keys(name string) (out []string) {
	w.Helper()
	r := oldest(queue([]byte(name)))
	r.Limit = 0
	_, result, err := w.read(w.Context(), r)
	w.check(err)
	for _, raw := range result.KVs {
		var kv schema.KeyValue
		w.check(kv.Unmarshal(raw))
		out = append(out, fmt.Sprintf("%s=%s", kv.Key, kv.Value))
	}
	return out
}

func (w *world) wantKeys(name string, want ...string) {
	w.Helper()
	if got := w.keys(name); fmt.Sprint(got) != fmt.Sprint(want) {
		w.Errorf("queue %s: %v, want %v", name, got, want)
	}
}

func (w *world) wantError(err error, text string) {
	w.Helper()
	if err == nil || err.Error() != text {
		w.Errorf("error %v, want %s", err, text)
	}
}

// outcome is what a call that runs beside the test came to.
type outcome struct {
	reply []byte
	err   error
}

func start(call func() ([]byte, error)) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		reply, err := call()
		done <- outcome{reply, err}
	}()
	return done
}

func (w *world) waits(what string, done <-chan outcome) {
	w.Helper()
	synctest.Wait()
	select {
	case o := <-done:
		w.Fatalf("%s: does not wait: %v", what, o)
	default:
	}
}

// TestTurns: who comes first has the lock; everyone else gets it in the order of arrival, when the one before goes, by unlocking, by the end
// of its lease, or by giving up.
func TestTurns(t *testing.T) {
	inWorld(t, func(w *world) {
		for id := int64(1); id <= 4; id++ {
			w.lease(id, 1000)
		}
		reply, err := w.Lock(w.Context(), message("L", 1))
		w.check(err)
		if key := field(w.T, reply, 2); string(key) != "L/1" {
			w.Errorf("key %q", key)
		}
		second := start(func() ([]byte, error) { return w.Lock(w.Context(), message("L", 2)) })
		w.waits("the second", second)
		ctx, cancel := context.WithCancel(w.Context())
		third := start(func() ([]byte, error) { return w.Lock(ctx, message("L", 3)) })
		w.waits("the third", third)
		fourth := start(func() ([]byte, error) { return w.Lock(w.Context(), message("L", 4)) })
		w.waits("the fourth", fourth)
		w.wantKeys("L", "L/1=", "L/2=", "L/3=", "L/4=")

		cancel()
		if o := <-third; !errors.Is(o.err, context.Canceled) {
			w.Errorf("the third: %v", o.err)
		}
		w.waits("the second", second)
		w.waits("the fourth", fourth)
		w.wantKeys("L", "L/1=", "L/2=", "L/4=")

		_, err = w.Unlock(w.Context(), message("L/1"))
		w.check(err)
		w.check((<-second).err)
		w.waits("the fourth", fourth)
		_, err = w.LeaseRevoke(w.Context(), (&request.LeaseRevoke{ID: 2}).Append(nil))
		w.check(err)
		w.check((<-fourth).err)
		w.wantKeys("L", "L/4=")
	})
}

// TestSameLease: a lease has one place in a queue, however often it asks, and the end of a repeated call does not take the lock away.
func TestSameLease(t *testing.T) {
	inWorld(t, func(w *world) {
		w.lease(1, 1000)
		_, err := w.Lock(w.Context(), message("L", 1))
		w.check(err)
		ctx, cancel := context.WithCancel(w.Context())
		cancel()
		_, _ = w.Lock(ctx, message("L", 1))
		w.wantKeys("L", "L/1=")
	})
}

// TestOwnLease: a lease that the call asked for ends with it, unless the lock is had.
func TestOwnLease(t *testing.T) {
	inWorld(t, func(w *world) {
		reply, err := w.Lock(w.Context(), message("L"))
		w.check(err)
		holder := field(w.T, reply, 2)
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		_, err = w.Lock(ctx, message("L"))
		if !errors.Is(err, context.DeadlineExceeded) {
			w.Error(err)
		}
		w.wantKeys("L", string(holder)+"=")
		raw, err := w.LeaseLeases(w.Context(), nil)
		w.check(err)
		var leases pb.LeaseLeasesResponse
		w.check(proto.Unmarshal(raw, &leases))
		if len(leases.Leases) != 1 {
			w.Errorf("leases: %v", leases.Leases)
		}
	})
}

// TestExpiredWhileWaiting: who has lost its place does not get what it waited for.
func TestExpiredWhileWaiting(t *testing.T) {
	inWorld(t, func(w *world) {
		w.lease(1, 10)
		w.lease(2, 4)
		w.check(second(w.Lock(w.Context(), message("L", 1))))
		w.wantError(second(w.Lock(w.Context(), message("L", 2))), "mutex: session is expired")
		w.lease(1, 10)
		w.lease(2, 4)
		w.check(second(w.Campaign(w.Context(), message("E", 1))))
		w.wantError(second(w.Campaign(w.Context(), message("E", 2))), "election: session is expired")
		w.wantKeys("L")
	})
}

func second(_ []byte, err error) error { return err }

// TestCompactionWhileWaiting: history may be forgotten at any time; who waits looks again.
func TestCompactionWhileWaiting(t *testing.T) {
	inWorld(t, func(w *world) {
		w.lease(1, 1000)
		w.lease(2, 1000)
		w.check(second(w.Lock(w.Context(), message("L", 1))))
		waiting := start(func() ([]byte, error) { return w.Lock(w.Context(), message("L", 2)) })
		for range 10 {
			w.check(second(w.Put(w.Context(), (&request.Put{Key: []byte("x")}).Append(nil))))
			synctest.Wait()
			w.check(second(w.Compact(w.Context(), (&request.Compaction{Revision: w.Header().Revision}).Append(nil))))
		}
		w.waits("the second", waiting)
		w.check(second(w.Unlock(w.Context(), message("L/1"))))
		w.check((<-waiting).err)
	})
}

func TestRefusals(t *testing.T) {
	inWorld(t, func(w *world) {
		w.lease(1, 1000)
		for _, tc := range []struct {
			name string
			call func(context.Context, []byte) ([]byte, error)
			raw  []byte
			want string
		}{
			{"lock with an unknown lease", w.Lock, message("L", 99), "etcdserver: requested lease not found"},
			{"unlock nothing", w.Unlock, nil, "etcdserver: key is not provided"},
			{"no leader", w.Leader, message("E"), "election: no leader"},
			{"campaign with an unknown lease", w.Campaign, message("E", 99), "etcdserver: requested lease not found"},
			{"proclaim without leader", w.Proclaim, message(nil, "v"), `"leader" field must be provided`},
			{"proclaim of nobody", w.Proclaim, message([]byte{}), "etcdserver: key is not provided"},
			{"proclaim of a stranger", w.Proclaim, message(message("E", "E/1", 5, 1)), "election: not leader"},
			{"resign without leader", w.Resign, nil, `"leader" field must be provided`},
			{"resign of nobody", w.Resign, message([]byte{}), "etcdserver: key is not provided"},
		} {
			w.wantError(second(tc.call(w.Context(), tc.raw)), tc.want)
		}
		for _, call := range []func(context.Context, []byte) ([]byte, error){w.Lock, w.Unlock, w.Campaign, w.Proclaim, w.Leader, w.Resign} {
			if err := second(call(w.Context(), []byte{0x0a, 9})); !errors.Is(err, request.ErrMalformed) {
				w.Errorf("malformed: %v", err)
			}
		}
	})
}

// TestObserve: the present leader, what it proclaims, and its successors.
func TestObserve(t *testing.T) {
	inWorld(t, func(w *world) {
		w.lease(1, 1000)
		w.lease(2, 1000)
		seen := make(chan string, 10)
		ctx, cancel := context.WithCancel(w.Context())
		done := start(func() ([]byte, error) {
			return nil, w.Observe(ctx, message("E"), func(reply []byte) error {
				var kv schema.KeyValue
				if err := kv.Unmarshal(field(w.T, reply, 2)); err != nil {
					return err
				}
				seen <- fmt.Sprintf("%s=%s", kv.Key, kv.Value)
				return nil
			})
		})
		w.waits("the observer", done)
		want := func(text string) {
			t.Helper()
			if got := <-seen; got != text {
				w.Errorf("observed %s, want %s", got, text)
			}
		}
		reply, err := w.Campaign(w.Context(), message("E", 1, "a"))
		w.check(err)
		want("E/1=a")
		leader := bytes.Clone(field(w.T, reply, 2))
		w.check(second(w.Proclaim(w.Context(), message(leader, "b"))))
		want("E/1=b")
		next := start(func() ([]byte, error) { return w.Campaign(w.Context(), message("E", 2, "c")) })
		w.waits("the successor", next)
		w.check(second(w.Resign(w.Context(), message(leader))))
		w.check((<-next).err)
		want("E/2=c")
		w.wantError(second(w.Proclaim(w.Context(), message(leader, "d"))), "election: not leader")
		w.check(second(w.Resign(w.Context(), message(leader))))
		w.wantKeys("E", "E/2=c")
		w.check(second(w.Campaign(w.Context(), message("E", 2, "e"))))
		want("E/2=e")
		cancel()
		if o := <-done; !errors.Is(o.err, context.Canceled) || len(seen) != 0 {
			w.Errorf("the observer ends with %v, %d unread", o.err, len(seen))
		}
	})
}

// TestObserveThoseWhoAreGone: an observer that is slow hears of leaders that have come and gone meanwhile, unless their time is compacted.
func TestObserveThoseWhoAreGone(t *testing.T) {
	inWorld(t, func(w *world) {
		for id := range int64(6) {
			w.lease(id+1, 1000)
		}
		lead := func(ids ...int) {
			for _, id := range ids {
				reply, err := w.Campaign(w.Context(), message("E", id, "x"))
				w.check(err)
				w.check(second(w.Resign(w.Context(), message(bytes.Clone(field(w.T, reply, 2))))))
			}
		}
		ctx, cancel := context.WithCancel(w.Context())
		seen := make(chan string)
		done := start(func() ([]byte, error) {
			return nil, w.Observe(ctx, message("E"), func(reply []byte) error {
				var kv schema.KeyValue
				err := kv.Unmarshal(field(w.T, reply, 2))
				seen <- string(kv.Key)
				return err
			})
		})
		w.waits("the observer", done)
		lead(1, 2, 3)
		for _, want := range []string{"E/1", "E/2", "E/3"} {
			if got := <-seen; got != want {
				w.Errorf("observed %s, want %s", got, want)
			}
		}
		w.waits("the observer", done)
		lead(4, 5)
		synctest.Wait() // 4 is being told
		w.check(second(w.Compact(w.Context(), (&request.Compaction{Revision: w.Header().Revision}).Append(nil))))
		w.check(second(w.Campaign(w.Context(), message("E", 6, "x"))))
		if got := []string{<-seen, <-seen}; got[0] != "E/4" || got[1] != "E/6" {
			w.Errorf("observed %v", got)
		}
		cancel()
		<-done
	})
}

// TestCompactedPast: who comes too late for the past is told to look at the present, and an observer does not hear twice of the same thing.
func TestCompactedPast(t *testing.T) {
	inWorld(t, func(w *world) {
		w.lease(1, 1000)
		w.check(second(w.Campaign(w.Context(), message("E", 1, "a"))))
		w.check(second(w.Put(w.Context(), (&request.Put{Key: []byte("x")}).Append(nil))))
		w.check(second(w.Compact(w.Context(), (&request.Compaction{Revision: w.Header().Revision}).Append(nil))))
		err := w.follow(w.Context(), watch.CreateRequest{Key: []byte("E/1"), StartRevision: 1}, func(event) (bool, error) { return true, nil })
		if !errors.Is(err, errCompacted) || unlessCompacted(err) != nil {
			w.Errorf("the past: %v", err)
		}
		told := 0
		o := &observation{queues: w.Queues, prefix: queue([]byte("E")), send: func([]byte) error { told++; return nil }}
		for range 2 {
			ctx, cancel := context.WithTimeout(w.Context(), time.Second)
			if err := o.term(ctx); !errors.Is(err, context.DeadlineExceeded) {
				w.Errorf("term: %v", err)
			}
			cancel()
		}
		if told != 1 {
			w.Errorf("told %d times", told)
		}
	})
}
