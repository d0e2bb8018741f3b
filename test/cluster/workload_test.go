package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/model"
)

// The keys that are judged: everything with this prefix. Nothing else is
// written while a history is recorded.
const (
	tracked    = model.Bytes("t/")
	trackedEnd = model.Bytes("t0")
)

// A workload is the clients and watchers of one history.
type workload struct {
	recorder *recorder
	from     int64 // watchers start after this revision
	seed     uint64
	ctx      context.Context // ends everything at once
	cancel   context.CancelFunc
	parties  []*party
	// pace is the mean pause of a client between two operations.
	pace time.Duration
}

// newWorkload takes the state of the tracked keys as the beginning of a history.
func newWorkload(t *testing.T, c *cluster) *workload {
	t.Helper()
	w := &workload{recorder: newRecorder(), seed: rand.Uint64(), pace: 10 * time.Millisecond}
	w.ctx, w.cancel = context.WithCancel(t.Context())
	t.Cleanup(w.cancel)
	t.Logf("seed of the workload: %d", w.seed)
	h := &w.recorder.mu.history
	eventually(t, "reading the state at the start", func(ctx context.Context) error {
		var all model.Response
		var err error
		for _, m := range c.members {
			s := &session{recorder: newRecorder(), conn: m.conn}
			all, err = s.call(ctx, model.Request{Kind: model.Range, Key: tracked, End: trackedEnd})
			if err == nil {
				break
			}
		}
		h.Start = model.Snapshot{Revision: all.Revision, KVs: all.KVs}
		return err
	})
	for _, kv := range h.Start.KVs {
		if kv.Lease != 0 && !slices.Contains(h.Start.Leases, kv.Lease) {
			h.Start.Leases = append(h.Start.Leases, kv.Lease)
		}
	}
	h.Limits = model.Limits{ClockDrift: leaseDrift, LeaseGrace: leaseGrace}
	w.from = h.Start.Revision
	return w
}

// A party is the clients and the watcher at one member.
type party struct {
	member    *member
	work      context.Context // ends new operations
	stop      context.CancelFunc
	ctx       context.Context // ends everything at once
	cancel    context.CancelFunc
	clients   sync.WaitGroup
	following sync.WaitGroup
	watcher   *watcher
}

// through puts clients and a watcher to work at a member.
func (w *workload) through(m *member) {
	p := &party{member: m, watcher: w.recorder.newWatcher(m, w.from+1)}
	p.ctx, p.cancel = context.WithCancel(w.ctx)
	p.work, p.stop = context.WithCancel(p.ctx)
	for range 2 {
		s := w.recorder.session(m)
		p.clients.Go(func() { s.operations(p.work, w.rng(s), w.pace) })
	}
	once := w.recorder.session(m)
	p.clients.Go(func() { once.once(p.ctx, p.work, w.pace) })
	for range 2 {
		leases := w.recorder.session(m)
		p.clients.Go(func() { leases.leases(p.ctx, p.work, w.rng(leases)) })
	}
	probe := w.recorder.session(m)
	probe.timeout = flags.election / 4
	p.clients.Go(func() { probe.probe(p.work, 3*w.pace) })
	p.following.Go(func() { p.watcher.run(p.ctx) })
	w.parties = append(w.parties, p)
}

// leave ends what goes on at a member, which may be gone already: nothing is
// waited for but the calls under way.
func (w *workload) leave(m *member) {
	rest := w.parties[:0]
	for _, p := range w.parties {
		if p.member != m {
			rest = append(rest, p)
			continue
		}
		p.end()
	}
	w.parties = rest
}

// end stops the party and hands over what its watcher saw.
func (p *party) end() {
	p.cancel()
	p.clients.Wait()
	p.following.Wait()
	p.watcher.close()
}

func (w *workload) rng(s *session) *rand.Rand { return rand.New(rand.NewPCG(w.seed, uint64(s.client))) }

// probe writes one key again and again and soon gives up on each write: a call
// that was lost with a leader does not keep it from noticing the next one. That
// makes the measure of how long writes stop.
func (s *session) probe(ctx context.Context, pace time.Duration) {
	key := tracked + model.Bytes(fmt.Sprintf("probe/%d", s.client))
	for n := 0; ctx.Err() == nil; n++ {
		s.do(context.WithoutCancel(ctx), model.Request{Kind: model.Put, Key: key, Value: model.Bytes(fmt.Sprint(n))})
		pause(ctx, pace)
	}
}

// operations makes random calls until ctx ends.
func (s *session) operations(ctx context.Context, rng *rand.Rand, pace time.Duration) {
	for n := 0; ctx.Err() == nil; n++ {
		// The last call is not torn off: it has a timeout of its own.
		s.do(context.WithoutCancel(ctx), s.draw(rng, n))
		pause(ctx, pace/2+rand.N(pace))
	}
}

func (s *session) key(rng *rand.Rand) model.Bytes {
	return tracked + model.Bytes('a'+rune(rng.IntN(5)))
}

func (s *session) put(rng *rand.Rand, n int) model.Request {
	return model.Request{
		Kind: model.Put, Key: s.key(rng), Value: model.Bytes(fmt.Sprintf("%d-%d", s.client, n)), PrevKV: rng.IntN(2) == 0,
	}
}

// draw chooses a call. Values are unique, so that a value tells its write.
func (s *session) draw(rng *rand.Rand, n int) model.Request {
	switch p := rng.IntN(100); {
	case p < 45:
		return s.put(rng, n)
	case p < 50:
		return model.Request{Kind: model.Delete, Key: s.key(rng), PrevKV: true}
	case p < 51:
		return model.Request{Kind: model.Delete, Key: tracked + "a", End: tracked + "c"}
	case p < 65:
		return s.txn(rng, n)
	case p < 66:
		// What was before the history counts as compacted in it.
		return model.Request{Kind: model.Compact, AtRevision: s.recorder.past(200) + 1}
	}
	return s.reading(rng)
}

func (s *session) reading(rng *rand.Rand) model.Request {
	r := model.Request{Kind: model.Range, Key: s.key(rng), Serializable: rng.IntN(3) == 0}
	switch rng.IntN(4) {
	case 0:
		r.Key, r.End, r.Limit = tracked, trackedEnd, int64(rng.IntN(4))
	case 1:
		r.Key, r.End, r.AtRevision = tracked+"a", tracked+"c", s.recorder.past(int64(rng.IntN(20)))
	}
	return r
}

// txn replaces a key if it is what the client thinks, and reads it otherwise.
func (s *session) txn(rng *rand.Rand, n int) model.Request {
	put := s.put(rng, n)
	c := model.Compare{Key: put.Key, Target: model.TargetVersion, Relation: model.Less, Number: int64(rng.IntN(6))}
	return model.Request{
		Kind: model.Txn, Compares: []model.Compare{c},
		Then: []model.Request{put, {Kind: model.Range, Key: tracked + "a", End: tracked + "c"}},
		Else: []model.Request{{Kind: model.Range, Key: put.Key}, {Kind: model.Delete, Key: put.Key}},
	}
}

// past is a revision that lies some way behind the highest that any client was
// told, within the history.
func (r *recorder) past(back int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.mu.revision-back, r.mu.history.Start.Revision)
}

// once creates one key after the other, each exactly once: a creation of
// unknown outcome is tried again until there is an answer.
func (s *session) once(ctx, work context.Context, pace time.Duration) {
	for n := 0; work.Err() == nil; n++ {
		key := model.Bytes(fmt.Sprintf("%sonce/%d-%d", tracked, s.client, n))
		create := model.Request{
			Kind: model.Txn, Compares: []model.Compare{{Key: key, Target: model.TargetVersion, Relation: model.Equal}},
			Then: []model.Request{{Kind: model.Put, Key: key, Value: "1"}}, Else: []model.Request{{Kind: model.Range, Key: key}},
		}
		for ctx.Err() == nil {
			if _, ok := s.do(ctx, create); ok {
				break
			}
			pause(ctx, 5*pace)
		}
		pause(work, 4*pace)
	}
}

// finish ends the clients, waits until every watcher has seen everything and
// every member is the same, and judges.
func (w *workload) finish(t *testing.T, c *cluster) {
	t.Helper()
	for _, p := range w.parties {
		p.stop()
	}
	for _, p := range w.parties {
		p.clients.Wait()
	}
	last := w.lastRevision(t, c)
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	for _, p := range w.parties {
		if err := p.watcher.until(ctx, last); err != nil {
			t.Errorf("the watcher through %s has not seen revision %d: %v", p.member.name, last, err)
		}
	}
	c.sameHash(t, last)
	for _, p := range w.parties {
		p.end()
	}
	w.cancel()
	w.recorder.judge(t)
}

// lastRevision reads everything once more, as part of the history.
func (w *workload) lastRevision(t *testing.T, c *cluster) int64 {
	t.Helper()
	var last model.Op
	eventually(t, "the last read", func(ctx context.Context) error {
		var ok bool
		if last, ok = w.recorder.session(c.members[0]).do(ctx, model.Request{Kind: model.Range, Key: tracked, End: trackedEnd}); !ok {
			return fmt.Errorf("no answer from %s", c.members[0].name)
		}
		return nil
	})
	return last.Response.Revision
}

// quantile returns the part-quantile of some durations.
func quantile(all []int64, part float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return time.Duration(all[min(int(float64(len(all))*part), len(all)-1)])
}
