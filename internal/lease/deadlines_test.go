package lease

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/schema"
)

const second = int64(time.Second)

// leading returns deadlines of a leader since time 0.
func leading() *Deadlines {
	d := NewDeadlines()
	d.Promote(0, 0)
	return d
}

func expect(t *testing.T, what string, got, want []int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestExpiryInOrderAndRetry(t *testing.T) {
	d := leading()
	d.Grant(1, 5, 0)
	d.Grant(2, 3, 0)
	d.Grant(3, 3, 0)
	expect(t, "a moment early", d.Expired(3*second-1, 10, 2*time.Second), nil)
	expect(t, "limited", d.Expired(3*second, 1, 2*time.Second), []int64{2})
	expect(t, "the rest", d.Expired(3*second, 10, 2*time.Second), []int64{3})
	expect(t, "under way", d.Expired(5*second-1, 10, 2*time.Second), nil)
	expect(t, "retried with what came up", d.Expired(5*second, 10, 2*time.Second), []int64{1, 2, 3})
	d.Revoke(2)
	d.Revoke(2)
	d.check()
	if next, ok := d.Next(); !ok || next != 7*second {
		t.Errorf("next at %d, %v", next, ok)
	}
	expect(t, "revoked", d.Expired(100*second, 10, time.Second), []int64{1, 3})
}

func TestRenew(t *testing.T) {
	d := leading()
	d.Grant(1, 5, 0)
	if ttl, ok := d.Renew(1, 5*second-1); ttl != 5 || !ok {
		t.Fatalf("renewed to %d, %v", ttl, ok)
	}
	if left, ttl, ok := d.Remaining(1, 6*second); left != 4*time.Second-1 || ttl != 5 || !ok {
		t.Fatalf("%v of %d remain, %v", left, ttl, ok)
	}
	if _, ok := d.Renew(1, 10*second-1); ok || !d.Has(1) {
		t.Fatal("a lease that has run out was renewed or is gone")
	}
	if left, _, ok := d.Remaining(1, 11*second); left != 0 || !ok {
		t.Fatalf("%v remain of a lease that has run out, %v", left, ok)
	}
	if _, ok := d.Renew(2, 0); ok || d.Has(2) {
		t.Fatal("an unknown lease was renewed")
	}
	if _, _, ok := d.Remaining(2, 0); ok {
		t.Fatal("an unknown lease has time remaining")
	}
}

func TestNotes(t *testing.T) {
	d := leading()
	d.Grant(3, 1000, 0)
	d.Grant(1, 1000, 0)
	d.Grant(2, 300, 0)
	d.Grant(4, 1<<62, 0)
	expect(t, "longer than 300 s", d.Long(300), []int64{1, 3, 4})
	note := func(id, now int64) []int64 {
		if left, ok := d.Note(id, now); ok {
			return []int64{left}
		}
		return nil
	}
	expect(t, "at once", note(1, 0), nil)
	expect(t, "rounded up to all", note(1, second-1), nil)
	expect(t, "rounded up", note(1, second), []int64{999})
	expect(t, "rounded up", note(1, 300*second+1), []int64{700})
	d.Checkpoint(1, 700)
	expect(t, "noted already", note(1, 300*second), nil)
	expect(t, "less than noted", note(1, 400*second), []int64{600})
	d.Renew(1, 400*second)
	expect(t, "more than noted", note(1, 401*second), nil)
	expect(t, "run out", note(3, 1000*second), nil)
	expect(t, "endless", note(4, 1000*second), nil)
	expect(t, "unknown", note(9, 0), nil)
	d.Demote()
	expect(t, "not leading", note(1, 500*second), nil)
}

func TestLongTTLsDoNotOverflow(t *testing.T) {
	d := leading()
	d.Grant(1, MaxTTL, 300*second)
	d.Grant(2, 1<<62, 300*second)
	d.check()
	if left, _, _ := d.Remaining(1, 300*second); left != time.Duration(MaxTTL)*time.Second {
		t.Errorf("%v remain of the longest TTL", left)
	}
	expect(t, "never", d.Expired(1<<62, 10, 0), nil)
	if _, ok := d.Renew(2, 1<<62); !ok {
		t.Error("the endless lease has run out")
	}
}

func TestNothingRunsOutWithoutLeading(t *testing.T) {
	d := NewDeadlines()
	d.Grant(1, 1, 0)
	expect(t, "before promotion", d.Expired(1<<60, 10, 0), nil)
	if _, ok := d.Renew(1, 0); ok {
		t.Error("renewed before promotion")
	}
	if _, _, ok := d.Remaining(1, 0); ok {
		t.Error("time remains before promotion")
	}
	d.Promote(10*second, time.Second)
	d.Checkpoint(1, 1)
	expect(t, "under way", d.Expired(12*second, 10, time.Hour), []int64{1})
	d.Demote()
	d.check()
	expect(t, "after demotion", d.Expired(1<<60, 10, 0), nil)
	if _, ok := d.Next(); ok || d.Leading() {
		t.Error("something is due after demotion")
	}
	d.Promote(20*second, time.Second)
	expect(t, "revocations under way are forgotten", d.Expired(22*second, 10, time.Hour), []int64{1})
}

func TestPromoteUsesCheckpoints(t *testing.T) {
	d := NewDeadlines()
	d.Grant(1, 600, 0)
	d.Grant(2, 600, 0)
	d.Checkpoint(2, 100)
	d.Promote(50*second, time.Second)
	for id, want := range map[int64]time.Duration{1: 601 * time.Second, 2: 101 * time.Second} {
		if left, _, _ := d.Remaining(id, 50*second); left != want {
			t.Errorf("lease %d has %v, want %v", id, left, want)
		}
	}
	if ttl, _ := d.Renew(2, 60*second); ttl != 600 || d.Checkpointed(2) != 100 || d.Checkpointed(3) != 0 {
		t.Errorf("renewed to %d with checkpoint %d", ttl, d.Checkpointed(2))
	}
	d.Checkpoint(2, 0)
	d.Promote(70*second, 0)
	if left, _, _ := d.Remaining(2, 70*second); left != 600*time.Second {
		t.Errorf("after the checkpoint was cleared %v remain", left)
	}
}

func TestGrantStartsAnew(t *testing.T) {
	d := leading()
	d.Grant(1, 600, 0)
	d.Checkpoint(1, 5)
	d.Grant(1, 700, 10*second)
	if left, ttl, _ := d.Remaining(1, 10*second); left != 700*time.Second || ttl != 700 || d.Checkpointed(1) != 0 {
		t.Errorf("%v of %d remain, checkpoint %d", left, ttl, d.Checkpointed(1))
	}
}

func TestPromoteSpreadsManyLeases(t *testing.T) {
	for _, n := range []int{spreadLeasesMin - 1, spreadLeasesMin, 5000} {
		d := NewDeadlines()
		for id := range n {
			d.Grant(int64(id+1), 10+int64(id%2), 0)
		}
		d.Promote(0, time.Second)
		d.check()
		deadlines := make([]int64, 0, n)
		for _, it := range d.queue {
			deadlines = append(deadlines, it.deadline)
			if it.deadline < (it.ttl+1)*second {
				t.Fatalf("%d leases: one of %d s runs out at %d", n, it.ttl, it.deadline)
			}
		}
		slices.Sort(deadlines)
		inOneSecond := 0
		for i := range deadlines {
			j, _ := slices.BinarySearch(deadlines, deadlines[i]+second)
			inOneSecond = max(inOneSecond, j-i)
		}
		if n < spreadLeasesMin && deadlines[n-1] != 12*second {
			t.Errorf("%d leases are spread to %d", n, deadlines[n-1])
		}
		if n >= spreadLeasesMin && inOneSecond > spreadPerSecond || n == 5000 && inOneSecond < spreadPerSecond {
			t.Errorf("%d leases: %d run out in one second, want %d", n, inOneSecond, spreadPerSecond)
		}
	}
}

func TestByRemaining(t *testing.T) {
	d := NewDeadlines()
	for _, id := range []int64{5, 3, 9} {
		d.Grant(id, 10-id, 0)
	}
	expect(t, "demoted", d.ByRemaining(), []int64{3, 5, 9})
	d.Promote(0, 0)
	expect(t, "leading", d.ByRemaining(), []int64{9, 5, 3})
}

// naiveDeadlines scans all leases for everything.
type naiveDeadlines struct {
	leading bool
	leases  map[int64]*naiveLease
}

type naiveLease struct{ ttl, deadline, retry int64 }

func (n *naiveDeadlines) due(now int64) []int64 {
	var ids []int64
	for id, l := range n.leases {
		if n.leading && l.deadline <= now && l.retry <= now {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func TestDeadlinesAgreeWithNaiveModel(t *testing.T) {
	const seed = 12
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	d, n := NewDeadlines(), &naiveDeadlines{leases: map[int64]*naiveLease{}}
	var now int64
	for range 20000 {
		now += r.Int64N(second)
		stepDeadlines(t, r, d, n, now)
		d.check()
	}
}

func stepDeadlines(t *testing.T, r *rand.Rand, d *Deadlines, n *naiveDeadlines, now int64) {
	t.Helper()
	id, ttl := r.Int64N(20), 1+r.Int64N(5)
	l := n.leases[id]
	switch op := r.IntN(100); {
	case op < 30:
		d.Grant(id, ttl, now)
		n.leases[id] = &naiveLease{ttl: ttl, deadline: now + ttl*second}
	case op < 40:
		d.Revoke(id)
		delete(n.leases, id)
	case op < 70:
		want := n.leading && l != nil && now < l.deadline
		if got, ok := d.Renew(id, now); ok != want || ok && got != l.ttl {
			t.Fatalf("Renew(%d, %d) = %d, %v; want %v", id, now, got, ok, want)
		}
		if want {
			l.deadline = now + l.ttl*second
		}
	case op < 98:
		want := n.due(now)
		got := d.Expired(now, 100, 3*time.Second)
		for _, id := range got {
			n.leases[id].retry = now + 3*second
		}
		slices.Sort(got)
		expect(t, "expired", got, want)
	case op < 99:
		d.Demote()
		n.leading = false
	default:
		d.Promote(now, time.Second)
		n.leading = true
		for _, l := range n.leases {
			l.deadline, l.retry = now+(l.ttl+1)*second, 0
		}
	}
}

func BenchmarkRenew(b *testing.B) {
	d := leading()
	for id := range int64(100_000) {
		d.Grant(id, 60, id*1000)
	}
	b.ReportAllocs()
	now := int64(0)
	for b.Loop() {
		now++
		d.Renew(now%100_000, now)
	}
}

func BenchmarkAttach(b *testing.B) {
	book := NewBook()
	book.Load(schema.LeaseRecord{ID: 1, TTL: 60})
	key := []byte("/registry/leases/kube-node-lease/node-1")
	b.ReportAllocs()
	for b.Loop() {
		book.Attach(1, key)
	}
}
