package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/model"
)

// A fault is something that befalls a cluster at work, and its end.
type fault struct {
	name string
	// leader says that the leader is the victim; otherwise a follower is.
	leader bool
	// slow says that the fault needs a network that can delay.
	slow bool
	// small says that every member has a small disk.
	small bool
	// strike lets the fault befall the victim and returns what ends it.
	strike func(t *testing.T, c *cluster, w *workload, victim *member) (heal func())
	// proof waits for the effect without which the test would show nothing.
	proof func(t *testing.T, c *cluster, w *workload, victim *member)
	// end is called when all is well again, before what clients saw is judged; it may be nil.
	end func()
}

// faults is the table of what befalls a cluster.
func faults() []fault {
	return []fault{
		{name: "leader killed", leader: true, strike: killed, proof: anotherLeads},
		{name: "follower killed", strike: killed, proof: goesOn},
		{name: "leader paused", leader: true, strike: paused, proof: anotherLeads},
		{name: "leader cut off", leader: true, strike: cutOff(true, true), proof: anotherLeads},
		{name: "leader cannot send", leader: true, strike: cutOff(true, false), proof: anotherLeads},
		{name: "leader cannot receive", leader: true, strike: cutOff(false, true), proof: anotherLeads},
		{name: "follower cut off", strike: cutOff(true, true), proof: isAlone},
		{name: "follower wiped and added again", strike: wiped, proof: goesOn},
		{name: "leader's disk full", leader: true, small: true, strike: diskFull, proof: yields},
		{name: "follower's disk full", small: true, strike: diskFull, proof: isReadOnly},
		{name: "leader's links slow", leader: true, slow: true, strike: slowLinks, proof: isSlow},
	}
}

// anotherLeads waits for a leader among the others.
func anotherLeads(t *testing.T, c *cluster, _ *workload, victim *member) {
	eventually(t, "another leader", func(ctx context.Context) error {
		for _, m := range c.others(victim) {
			status, err := m.status(ctx)
			if err != nil || status.Leader == 0 || status.Leader == victim.id {
				return fmt.Errorf("%s follows %x (%v)", m.name, status.GetLeader(), err)
			}
		}
		return nil
	})
}

// goesOn lets the others work for a while.
func goesOn(t *testing.T, _ *cluster, _ *workload, _ *member) { pause(t.Context(), 2*flags.election) }

// isAlone waits until the victim cannot answer what needs the cluster.
func isAlone(t *testing.T, _ *cluster, _ *workload, victim *member) {
	eventually(t, victim.name+" being alone", func(ctx context.Context) error {
		if victim.serves(ctx) == nil {
			return errors.New("it still serves")
		}
		return nil
	})
}

// hasEnded waits until the victim's process has ended by itself.
func hasEnded(t *testing.T, _ *cluster, _ *workload, victim *member) {
	select {
	case <-victim.done:
	case <-time.After(patience):
		t.Errorf("%s goes on", victim.name)
	}
}

// isReadOnly waits until the victim refuses what makes the data grow.
func isReadOnly(t *testing.T, _ *cluster, w *workload, victim *member) {
	eventually(t, victim.name+" being read-only", func(ctx context.Context) error { return w.refusesGrowth(ctx, victim) })
}

// yields waits until the victim is read-only and another member leads.
func yields(t *testing.T, c *cluster, w *workload, victim *member) {
	isReadOnly(t, c, w, victim)
	anotherLeads(t, c, w, victim)
}

// isSlow waits until writes take as long as the links want.
func isSlow(t *testing.T, _ *cluster, w *workload, _ *member) {
	from := w.recorder.now()
	pause(t.Context(), 2*flags.election)
	median, n := w.recorder.latency(from, w.recorder.now(), 0.5)
	t.Logf("median of %d writes: %v", n, median.Round(time.Millisecond))
	if n == 0 || median < 2*linkDelay {
		t.Errorf("the median of %d writes is %v with links of %v each way", n, median, linkDelay)
	}
}

// linkDelay is how long slow links take, one way.
const linkDelay = 20 * time.Millisecond

func killed(t *testing.T, _ *cluster, _ *workload, victim *member) func() {
	victim.kill(t)
	return func() { victim.restart(t) }
}

func paused(t *testing.T, _ *cluster, _ *workload, victim *member) func() {
	victim.signal(t, syscall.SIGSTOP)
	return func() { victim.signal(t, syscall.SIGCONT) }
}

// cutOff loses what the victim sends to, or receives from, the other members.
func cutOff(sends, receives bool) func(*testing.T, *cluster, *workload, *member) func() {
	return func(t *testing.T, c *cluster, _ *workload, victim *member) func() {
		for _, m := range c.others(victim) {
			if sends {
				c.network.cut(t, victim.index, m.index)
			}
			if receives {
				c.network.cut(t, m.index, victim.index)
			}
		}
		return func() { c.network.heal(t) }
	}
}

// slowLinks delays everything between the victim and the others, both ways.
func slowLinks(t *testing.T, c *cluster, _ *workload, victim *member) func() {
	for _, m := range c.others(victim) {
		c.network.slow(t, victim.index, m.index, linkDelay)
		c.network.slow(t, m.index, victim.index, linkDelay)
	}
	return func() { c.network.heal(t) }
}

// wiped takes the victim's directory away; the healing removes the member and
// adds it again, empty, with a new id.
func wiped(t *testing.T, c *cluster, w *workload, victim *member) func() {
	victim.kill(t)
	return func() {
		w.leave(victim)
		c.remove(t, victim)
		fresh := c.add(t, false)
		w.through(fresh)
	}
}

// diskFull leaves no room on the victim's disk. Members take room in advance, so
// large values are written, until the victim has run out even of that if it goes
// on long enough. It goes on by itself when there is room again.
func diskFull(t *testing.T, c *cluster, w *workload, victim *member) func() {
	disk := victim.fill(t)
	ctx, cancel := context.WithCancel(w.ctx)
	var bulk sync.WaitGroup
	for _, m := range c.others(victim)[:2] {
		s := w.recorder.session(m)
		bulk.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key := tracked + model.Bytes(fmt.Sprintf("bulk/%d", n%8))
				if _, ok := s.do(context.WithoutCancel(ctx), model.Request{Kind: model.Put, Key: key, Value: large(s.client, n)}); !ok {
					pause(ctx, 20*time.Millisecond)
				}
			}
		})
	}
	return func() {
		cancel()
		bulk.Wait()
		disk.free(t)
	}
}

// large is a value of a quarter of a megabyte that no other is like.
func large(client, n int) model.Bytes {
	value := make([]byte, 256<<10)
	copy(value, fmt.Sprintf("%d-%d", client, n))
	return model.Bytes(value)
}

// TestFaults3 lets every fault befall three members.
func TestFaults3(t *testing.T) {
	t.Parallel()
	testFaults(t, 3, faults())
}

// TestFaults5 lets every fault befall five members; without -long, one of each kind.
func TestFaults5(t *testing.T) {
	t.Parallel()
	table := faults()
	if !flags.long {
		table = []fault{table[0], table[3]}
	}
	testFaults(t, 5, table)
}

// testFaults runs faults on clusters of n members. Faults that need nothing
// special share a cluster: each has to leave it whole.
func testFaults(t *testing.T, n int, table []fault) {
	var shared *cluster
	for _, f := range table {
		if f.special() {
			continue
		}
		if shared == nil {
			shared = f.cluster(t, n)
		}
		if !t.Run(f.name, func(t *testing.T) { f.run(t, shared) }) {
			t.Fatal("the cluster is not whole any more")
		}
	}
	if shared != nil {
		shared.close(t)
	}
	for _, f := range table {
		if f.special() {
			t.Run(f.name, func(t *testing.T) { f.run(t, f.cluster(t, n)) })
		}
	}
}

// special says that the fault has a cluster of its own.
func (f fault) special() bool { return f.slow || f.small || flags.long }

// cluster starts n members in the surroundings that the fault needs.
func (f fault) cluster(t *testing.T, n int) *cluster {
	t.Helper()
	kind := flags.network
	if f.slow {
		kind = networkLoopback
	}
	return newCluster(t, kind, n, f.small)
}

// run puts clients to work, strikes, heals, and judges what they saw.
func (f fault) run(t *testing.T, c *cluster) {
	w := newWorkload(t, c)
	for _, m := range c.members {
		w.through(m)
	}
	w.warm(t, c)
	victim := c.leader(t)
	if !f.leader {
		victim = c.others(victim)[0]
	}
	began := w.recorder.now()
	heal := f.strike(t, c, w, victim)
	w.resumed(t, "the strike", w.recorder.now())
	f.proof(t, c, w, victim)
	pause(t.Context(), flags.election)
	heal()
	healed := w.recorder.now()
	w.resumed(t, "the healing", healed)
	c.awaitServing(t)
	for _, m := range c.members {
		w.writtenThrough(t, m, healed)
	}
	w.neverStopped(t, began)
	if f.end != nil {
		f.end()
	}
	w.finish(t, c)
}

// warm waits until every member has acknowledged a write.
func (w *workload) warm(t *testing.T, c *cluster) {
	t.Helper()
	for _, m := range c.members {
		w.writtenThrough(t, m, 0)
	}
}

func (w *workload) writtenThrough(t *testing.T, m *member, after int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if _, err := w.recorder.written(ctx, after, m.id); err != nil {
		t.Fatalf("no write through %s in %v: %v\n%s", m.name, patience, err, m.tail(15))
	}
}

// resumed reports the time to the first acknowledged write that was called
// after a moment, through any member.
func (w *workload) resumed(t *testing.T, what string, after int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	at, err := w.recorder.written(ctx, after, 0)
	if err != nil {
		t.Fatalf("no write after %s in %v", what, patience)
	}
	t.Logf("first acknowledged write after %s: %s", what, elections(at-after))
}

// neverStopped reports the longest time without an acknowledged write since a
// moment, and holds it against the bound.
func (w *workload) neverStopped(t *testing.T, since int64) {
	t.Helper()
	longest := w.recorder.longestStop(since, w.recorder.now())
	t.Logf("longest time without an acknowledged write: %s", elections(longest))
	if longest > int64(flags.resume)*int64(flags.election) {
		t.Errorf("writes stopped for %s, longer than %d election timeouts", elections(longest), flags.resume)
	}
}

// elections writes nanoseconds with their number of election timeouts.
func elections(ns int64) string {
	return fmt.Sprintf("%v (%.1f election timeouts)", time.Duration(ns).Round(time.Millisecond), float64(ns)/float64(flags.election))
}
