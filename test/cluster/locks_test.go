package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/quoin-kv/quoin/internal/api/gateway"
)

const (
	lockTTL   = 2 // seconds
	lockers   = 6
	pauseTime = 4 * time.Second // of a holder, longer than its lease
)

// lockWorld is contenders for one lock, and two things that holders write to: a key of the cluster and something outside of it.
type lockWorld struct {
	t       *testing.T
	c       *cluster
	name    string // of the queue
	guarded string // the key that holders write to
	methods map[protoreflect.Name]protoreflect.MethodDescriptor
	leases  atomic.Int64

	held, late, refused atomic.Int64 // times the lock was had; late writes; those that were refused

	outside struct {
		sync.Mutex
		newest int64
		writes []int64 // the fencing revisions of accepted writes, in order
	}
}

func newLockWorld(t *testing.T, c *cluster, name string) *lockWorld {
	t.Helper()
	services, err := gateway.QueueServices()
	if err != nil {
		t.Fatal(err)
	}
	w := &lockWorld{t: t, c: c, name: name, guarded: "guarded-" + name, methods: map[protoreflect.Name]protoreflect.MethodDescriptor{}}
	for _, s := range services {
		for i := range s.Methods().Len() {
			w.methods[s.Methods().Get(i).Name()] = s.Methods().Get(i)
		}
	}
	return w
}

// call calls a method of Lock or Election with fields by name, and returns the answer.
func (w *lockWorld) call(ctx context.Context, m *member, name protoreflect.Name, fields map[protoreflect.Name]any) (*dynamicpb.Message, error) {
	method := w.methods[name]
	in, out := dynamicpb.NewMessage(method.Input()), dynamicpb.NewMessage(method.Output())
	for name, v := range fields {
		in.Set(method.Input().Fields().ByName(name), protoreflect.ValueOf(v))
	}
	return out, m.conn.Invoke(ctx, fmt.Sprintf("/%s/%s", method.Parent().FullName(), name), in, out)
}

// contend takes the lock over and over: by Lock or by Campaign, in both of which the queue is the same.
func (w *lockWorld) contend(ctx context.Context, rng *rand.Rand) {
	for ctx.Err() == nil {
		w.round(ctx, rng, w.c.members[rng.IntN(len(w.c.members))])
		pause(ctx, 10*time.Millisecond)
	}
}

// round is one lease, one attempt, and what a holder may do: write and unlock, be killed, or be paused and go on.
func (w *lockWorld) round(ctx context.Context, rng *rand.Rand, m *member) {
	id := w.leases.Add(1)
	soon, cancel := context.WithTimeout(ctx, 10*flags.election)
	defer cancel()
	if _, err := etcdserverpb.NewLeaseClient(m.conn).LeaseGrant(soon, &etcdserverpb.LeaseGrantRequest{ID: id, TTL: lockTTL}); err != nil {
		return
	}
	name := []protoreflect.Name{"Lock", "Campaign"}[rng.IntN(2)]
	if _, err := w.call(soon, m, name, map[protoreflect.Name]any{"name": []byte(w.name), "lease": id}); err != nil {
		return
	}
	key := []byte(w.name + "/" + strconv.FormatInt(id, 16))
	own, err := etcdserverpb.NewKVClient(m.conn).Range(soon, &etcdserverpb.RangeRequest{Key: key})
	if err != nil || len(own.Kvs) == 0 {
		return
	}
	fence := own.Kvs[0].CreateRevision
	w.held.Add(1)
	w.write(soon, m, key, fence)
	switch rng.IntN(4) {
	case 0: // killed: nobody hears of it again
	case 1:
		pause(ctx, pauseTime)
		late, cancel := context.WithTimeout(ctx, 10*flags.election)
		defer cancel()
		w.late.Add(1)
		if errors.Is(w.write(late, m, key, fence), errFenced) {
			w.refused.Add(1)
		}
	default:
		_, _ = w.call(soon, m, "Unlock", map[protoreflect.Name]any{"key": key})
	}
}

var errFenced = errors.New("fenced")

// write writes to both things as a holder with a fencing revision. The error is that of the cluster.
func (w *lockWorld) write(ctx context.Context, m *member, key []byte, fence int64) error {
	reply, err := etcdserverpb.NewKVClient(m.conn).Txn(ctx, &etcdserverpb.TxnRequest{
		Compare: []*etcdserverpb.Compare{{
			Key: key, Target: etcdserverpb.Compare_CREATE, TargetUnion: &etcdserverpb.Compare_CreateRevision{CreateRevision: fence},
		}},
		Success: []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestPut{
			RequestPut: &etcdserverpb.PutRequest{Key: []byte(w.guarded), Value: strconv.AppendInt(nil, fence, 10)},
		}}},
	})
	w.outside.Lock()
	if fence >= w.outside.newest {
		w.outside.newest = fence
		w.outside.writes = append(w.outside.writes, fence)
	}
	w.outside.Unlock()
	if err == nil && !reply.Succeeded {
		return errFenced
	}
	return err
}

// TestLocks: contenders for one lock that are killed and paused while they hold it, on members that are killed and paused while they lead. Every
// write that was accepted came from the holder of its moment, and holders' revisions only grow.
func TestLocks(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "loopback", 3, false)
	w := newLockWorld(t, c, "lock")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var contenders sync.WaitGroup
	for i := range lockers {
		contenders.Go(func() { w.contend(ctx, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for range 2 {
		w.disturb(syscall.SIGKILL)
		w.disturb(syscall.SIGSTOP)
	}
	eventually(t, "a late write that is refused", w.hasRefused)
	stop()
	contenders.Wait()
	w.judge()
	t.Logf("the lock was had %d times; %d late writes, %d refused by the cluster", w.held.Load(), w.late.Load(), w.refused.Load())
}

// disturb takes the leader away by a signal while the lock is had by one after the other, and brings it back.
func (w *lockWorld) disturb(s syscall.Signal) {
	w.t.Helper()
	w.holders(3)
	victim := w.c.leader(w.t)
	if s == syscall.SIGKILL {
		victim.kill(w.t)
	} else {
		victim.signal(w.t, s)
	}
	anotherLeads(w.t, w.c, nil, victim)
	w.holders(2)
	if s == syscall.SIGKILL {
		victim.restart(w.t)
	} else {
		victim.signal(w.t, syscall.SIGCONT)
	}
	eventually(w.t, "serving again", victim.serves)
}

// hasRefused says no as long as no late write was refused.
func (w *lockWorld) hasRefused(context.Context) error {
	if w.refused.Load() == 0 {
		return fmt.Errorf("%d late writes", w.late.Load())
	}
	return nil
}

// holders waits until the lock was had n times more.
func (w *lockWorld) holders(n int64) {
	w.t.Helper()
	want := w.held.Load() + n
	eventually(w.t, "locks that are had", func(context.Context) error {
		if have := w.held.Load(); have < want {
			return fmt.Errorf("%d of %d", have, want)
		}
		return nil
	})
}

// judge looks at every write that was accepted.
func (w *lockWorld) judge() {
	w.t.Helper()
	kv := etcdserverpb.NewKVClient(w.c.leader(w.t).conn)
	now, err := kv.Range(w.t.Context(), &etcdserverpb.RangeRequest{Key: []byte(w.guarded)})
	if err != nil || len(now.Kvs) != 1 {
		w.t.Fatalf("the guarded key: %v %v", now, err)
	}
	newest, writes := int64(0), 0
	for rev := now.Kvs[0].ModRevision; rev >= now.Kvs[0].CreateRevision; writes++ {
		then, err := kv.Range(w.t.Context(), &etcdserverpb.RangeRequest{Key: []byte(w.guarded), Revision: rev})
		if err != nil || len(then.Kvs) != 1 {
			w.t.Fatalf("the guarded key at %d: %v %v", rev, then, err)
		}
		rev = then.Kvs[0].ModRevision
		fence, err := strconv.ParseInt(string(then.Kvs[0].Value), 10, 64)
		if err != nil {
			w.t.Fatal(err)
		}
		if newest != 0 && fence > newest {
			w.t.Errorf("the write at %d has fencing revision %d, a later one %d", rev, fence, newest)
		}
		newest = fence
		holder, err := kv.Range(w.t.Context(), &etcdserverpb.RangeRequest{
			Key: []byte(w.name + "/"), RangeEnd: []byte(w.name + "0"), Revision: rev, Limit: 1,
			SortTarget: etcdserverpb.RangeRequest_CREATE, SortOrder: etcdserverpb.RangeRequest_ASCEND,
		})
		if err != nil || len(holder.Kvs) != 1 || holder.Kvs[0].CreateRevision != fence {
			w.t.Errorf("the write at %d has fencing revision %d, the holder is %v (%v)", rev, fence, holder.GetKvs(), err)
		}
		rev--
	}
	if writes == 0 {
		w.t.Error("no write was accepted")
	}
	for i, fence := range w.outside.writes {
		if i > 0 && fence < w.outside.writes[i-1] {
			w.t.Errorf("outside, %d was accepted after %d", fence, w.outside.writes[i-1])
		}
	}
}
