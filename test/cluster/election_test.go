package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// electionWorld is candidates of one election, and observers of it through every member.
type electionWorld struct {
	*lockWorld
	observers []*observer
}

// observer is what somebody heard of leaders through one member.
type observer struct {
	sync.Mutex
	streams [][]int64 // for each stream the revisions of the leaders' keys, in order, each once
}

func newElectionWorld(t *testing.T, c *cluster) *electionWorld {
	t.Helper()
	w := &electionWorld{lockWorld: newLockWorld(t, c, "election")}
	for range c.members {
		w.observers = append(w.observers, &observer{})
	}
	return w
}

// fieldOf is a field of a message by name.
func fieldOf(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(name))
}

// observe opens one stream after the other until the end.
func (w *electionWorld) observe(ctx context.Context, m *member, o *observer) {
	method := w.methods["Observe"]
	in := dynamicpb.NewMessage(method.Input())
	in.Set(method.Input().Fields().ByName("name"), protoreflect.ValueOfBytes([]byte(w.name)))
	path := fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
	for ctx.Err() == nil {
		stream, err := m.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, path)
		if err == nil && stream.SendMsg(in) == nil && stream.CloseSend() == nil {
			o.listen(stream, method)
		}
		pause(ctx, flags.election/10)
	}
}

// listen notes the leaders of one stream.
func (o *observer) listen(stream grpc.ClientStream, method protoreflect.MethodDescriptor) {
	o.Lock()
	o.streams = append(o.streams, nil)
	o.Unlock()
	for {
		out := dynamicpb.NewMessage(method.Output())
		if stream.RecvMsg(out) != nil {
			return
		}
		revision := fieldOf(fieldOf(out, "kv").Message(), "create_revision").Int()
		o.Lock()
		last := &o.streams[len(o.streams)-1]
		if n := len(*last); n == 0 || (*last)[n-1] != revision {
			*last = append(*last, revision)
		}
		o.Unlock()
	}
}

// candidate stands for the election over and over.
func (w *electionWorld) candidate(ctx context.Context, rng *rand.Rand) {
	for ctx.Err() == nil {
		w.term(ctx, rng, w.c.members[rng.IntN(len(w.c.members))])
		pause(ctx, flags.election/50)
	}
}

// term is one lease, one campaign, and what a leader may do: write, proclaim and resign, be killed, or be paused and go on.
func (w *electionWorld) term(ctx context.Context, rng *rand.Rand, m *member) {
	id := w.leases.Add(1)
	soon, cancel := context.WithTimeout(ctx, 10*flags.election)
	defer cancel()
	if _, err := etcdserverpb.NewLeaseClient(m.conn).LeaseGrant(soon, &etcdserverpb.LeaseGrantRequest{ID: id, TTL: lockTTL}); err != nil {
		return
	}
	reply, err := w.call(soon, m, "Campaign", map[protoreflect.Name]any{"name": []byte(w.name), "lease": id, "value": []byte("first")})
	if err != nil {
		return
	}
	leader := fieldOf(reply, "leader").Message()
	key, fence := fieldOf(leader, "key").Bytes(), fieldOf(leader, "rev").Int()
	w.held.Add(1)
	_ = w.write(soon, m, key, fence)
	_ = w.proclaim(soon, m, leader)
	switch rng.IntN(4) {
	case 0: // killed: nobody hears of it again
	case 1:
		pause(ctx, pauseTime)
		w.lateTerm(ctx, m, leader)
	default:
		_, _ = w.call(soon, m, "Resign", map[protoreflect.Name]any{"leader": leader})
	}
}

// lateTerm is what a leader does that was paused until its lease was over and does not know it.
func (w *electionWorld) lateTerm(ctx context.Context, m *member, leader protoreflect.Message) {
	soon, cancel := context.WithTimeout(ctx, 10*flags.election)
	defer cancel()
	w.late.Add(1)
	key, fence := fieldOf(leader, "key").Bytes(), fieldOf(leader, "rev").Int()
	written, proclaimed := w.write(soon, m, key, fence), w.proclaim(soon, m, leader)
	if written == errFenced && proclaimed == nil {
		w.t.Errorf("a leader of revision %d cannot write any more, but proclaims", fence)
	}
	if written == errFenced {
		w.refused.Add(1)
	}
}

func (w *electionWorld) proclaim(ctx context.Context, m *member, leader protoreflect.Message) error {
	_, err := w.call(ctx, m, "Proclaim", map[protoreflect.Name]any{"leader": leader, "value": []byte("second")})
	return err
}

// moveLeader hands the cluster's leadership to somebody else.
func (w *electionWorld) moveLeader() {
	w.t.Helper()
	old := w.c.leader(w.t)
	eventually(w.t, "moving the leadership", func(ctx context.Context) error {
		_, err := etcdserverpb.NewMaintenanceClient(old.conn).MoveLeader(ctx, &etcdserverpb.MoveLeaderRequest{TargetID: w.c.others(old)[0].id})
		return err
	})
}

// TestElection: candidates of one election that are killed and paused while they lead it, on members that are killed, paused and replaced as
// leaders. Every write that was accepted came from the leader of its moment, and each observer hears of every leader, in order.
func TestElection(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "loopback", 3, false)
	w := newElectionWorld(t, c)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var people sync.WaitGroup
	for i := range lockers {
		people.Go(func() { w.candidate(ctx, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	watching, blind := context.WithCancel(t.Context())
	defer blind()
	for i, m := range c.members {
		people.Go(func() { w.observe(watching, m, w.observers[i]) })
	}
	w.disturb(syscall.SIGKILL)
	w.holders(2)
	w.moveLeader()
	w.disturb(syscall.SIGSTOP)
	eventually(t, "a late write that is refused", w.hasRefused)
	stop()
	eventually(t, "observers that have heard of the last leader", w.allHeard)
	blind()
	people.Wait()
	w.judge()
	w.judgeObservers(w.leaders())
	t.Logf("%d terms; %d late writes, %d refused by the cluster", w.held.Load(), w.late.Load(), w.refused.Load())
}

// leaders are the revisions of the keys that have led, in order, by what happened in the queue.
func (w *electionWorld) leaders() []int64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	m := w.c.leader(w.t)
	present, err := etcdserverpb.NewKVClient(m.conn).Range(ctx, &etcdserverpb.RangeRequest{Key: []byte(w.name)})
	if err != nil {
		w.t.Fatal(err)
	}
	stream, err := etcdserverpb.NewWatchClient(m.conn).Watch(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	create := &etcdserverpb.WatchCreateRequest{Key: []byte(w.name + "/"), RangeEnd: []byte(w.name + "0"), StartRevision: 1}
	if err := stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
		w.t.Fatal(err)
	}
	h := queueHistory{places: map[string]int64{}}
	for reached := int64(0); reached < present.Header.Revision; {
		if err := stream.Send(progressRequest()); err != nil {
			w.t.Fatal(err)
		}
		reply, err := stream.Recv()
		if err != nil {
			w.t.Fatal(err)
		}
		h.play(reply.Events)
		if !reply.Created && len(reply.Events) == 0 {
			reached = reply.Header.Revision // nothing before it is to come
		}
	}
	return h.leaders
}

func progressRequest() *etcdserverpb.WatchRequest {
	return &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_ProgressRequest{ProgressRequest: &etcdserverpb.WatchProgressRequest{}}}
}

// queueHistory follows a queue through its events.
type queueHistory struct {
	places  map[string]int64 // the revision at which each key was created
	leaders []int64
}

// play takes events in the order of their revisions; those of one revision count together.
func (h *queueHistory) play(events []*mvccpb.Event) {
	for i, e := range events {
		key := string(e.Kv.Key)
		if e.Type == mvccpb.Event_DELETE {
			delete(h.places, key)
		} else {
			h.places[key] = e.Kv.CreateRevision
		}
		if i+1 < len(events) && events[i+1].Kv.ModRevision == e.Kv.ModRevision {
			continue
		}
		oldest := int64(0)
		for _, revision := range h.places {
			if oldest == 0 || revision < oldest {
				oldest = revision
			}
		}
		if n := len(h.leaders); oldest != 0 && (n == 0 || h.leaders[n-1] != oldest) {
			h.leaders = append(h.leaders, oldest)
		}
	}
}

// allHeard says no as long as an observer has not heard of the last leader.
func (w *electionWorld) allHeard(context.Context) error {
	all := w.leaders()
	last := all[len(all)-1]
	for i, o := range w.observers {
		o.Lock()
		heard := slices.Concat(o.streams...)
		o.Unlock()
		if len(heard) == 0 || heard[len(heard)-1] != last {
			return fmt.Errorf("observer %d has heard of %d leaders of %d, not of the last, %d", i, len(heard), len(all), last)
		}
	}
	return nil
}

// judgeObservers wants of each stream that it names leaders without gaps, and of streams that follow each other that they do not go back.
func (w *electionWorld) judgeObservers(leaders []int64) {
	w.t.Helper()
	if !slices.IsSorted(leaders) {
		w.t.Errorf("the leaders' revisions do not grow: %v", leaders)
	}
	for i, o := range w.observers {
		newest, heard := int64(0), 0
		for _, stream := range o.streams {
			if len(stream) == 0 {
				continue
			}
			at := slices.Index(leaders, stream[0])
			if at < 0 || at+len(stream) > len(leaders) || !slices.Equal(leaders[at:at+len(stream)], stream) {
				w.t.Errorf("observer %d heard of %v, the leaders were %v", i, stream, leaders)
			}
			if stream[0] < newest {
				w.t.Errorf("observer %d heard of %d after %d", i, stream[0], newest)
			}
			newest, heard = stream[len(stream)-1], heard+len(stream)
		}
		w.t.Logf("observer %d: %d streams, %d leaders of %d", i, len(o.streams), heard, len(leaders))
	}
}
