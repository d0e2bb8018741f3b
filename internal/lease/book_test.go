package lease

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/schema"
)

func TestMinTTL(t *testing.T) {
	for _, c := range []struct {
		ticks int
		tick  time.Duration
		want  int64
	}{
		{10, 100 * time.Millisecond, 2},
		{20, 100 * time.Millisecond, 3},
		{21, 100 * time.Millisecond, 4},
		{10, time.Millisecond, 1},
		{7, 100 * time.Millisecond, 1}, // one and a half times 7 ticks are 10 whole ones
		{500, 100 * time.Millisecond, 75},
	} {
		if got := MinTTL(c.ticks, c.tick); got != c.want {
			t.Errorf("MinTTL(%d, %v) = %d, want %d", c.ticks, c.tick, got, c.want)
		}
	}
}

func TestGrantedTTL(t *testing.T) {
	for _, c := range []struct {
		wanted, want int64
		err          error
	}{
		{-5, 2, nil},
		{0, 2, nil},
		{3, 3, nil},
		{MaxTTL, MaxTTL, nil},
		{MaxTTL + 1, 0, kverr.LeaseTTLTooLarge},
	} {
		if got, err := GrantedTTL(c.wanted, 2); got != c.want || err != c.err {
			t.Errorf("GrantedTTL(%d) = %d, %v; want %d, %v", c.wanted, got, err, c.want, c.err)
		}
	}
}

func TestGrantErrors(t *testing.T) {
	b := NewBook()
	if err := b.Grant(-7, 10); err != nil {
		t.Fatalf("a negative id is refused: %v", err)
	}
	for _, c := range []struct {
		id, ttl int64
		want    error
	}{
		{0, MaxTTL + 1, kverr.LeaseNotFound},
		{-7, MaxTTL + 1, kverr.LeaseTTLTooLarge},
		{-7, 5, kverr.LeaseExist},
		{8, MaxTTL, nil},
	} {
		if err := b.Grant(c.id, c.ttl); err != c.want {
			t.Errorf("Grant(%d, %d) = %v, want %v", c.id, c.ttl, err, c.want)
		}
	}
	if _, err := b.Revoke(99); err != kverr.LeaseNotFound {
		t.Errorf("Revoke of an unknown lease: %v", err)
	}
	if r, _ := b.Lookup(-7); r.TTL != 10 {
		t.Errorf("a refused grant changed the lease to %+v", r)
	}
}

func TestBookKeepsCopiesOfKeys(t *testing.T) {
	b := NewBook()
	b.Load(schema.LeaseRecord{ID: 1, TTL: 5})
	key := []byte("key")
	b.Attach(1, key)
	key[0] = 'X'
	if keys := b.Keys(1); len(keys) != 1 || string(keys[0]) != "key" {
		t.Fatalf("keys are %q", keys)
	}
}

func TestLoadedLeaseKeepsItsCheckpoint(t *testing.T) {
	b := NewBook()
	b.Load(schema.LeaseRecord{ID: 1, TTL: 500, RemainingTTL: 7})
	b.Attach(1, []byte("k"))
	b.Load(schema.LeaseRecord{ID: 1, TTL: 500, RemainingTTL: 9})
	if r, ok := b.Lookup(1); !ok || r.RemainingTTL != 9 || b.owner["k"] != 1 {
		t.Fatalf("record %+v, key's lease %d", r, b.owner["k"])
	}
	if r, ok := b.Checkpoint(1, 0); !ok || r != (schema.LeaseRecord{ID: 1, TTL: 500}) {
		t.Fatalf("checkpoint gives %+v", r)
	}
	if _, ok := b.Checkpoint(2, 5); ok {
		t.Fatal("an unknown lease took a checkpoint")
	}
}

// naiveBook is the same as Book with nothing but a map of owners.
type naiveBook struct {
	ttl   map[int64]int64
	owner map[string]int64
}

func (n *naiveBook) keys(id int64) [][]byte {
	var keys [][]byte
	for _, key := range slices.Sorted(maps.Keys(n.owner)) {
		if n.owner[key] == id {
			keys = append(keys, []byte(key))
		}
	}
	return keys
}

func TestBookAgreesWithNaiveModel(t *testing.T) {
	const seed = 11
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	b, n := NewBook(), &naiveBook{ttl: map[int64]int64{}, owner: map[string]int64{}}
	for step := range 20000 {
		id, key := int64(r.IntN(9)-4), []byte(fmt.Sprint("k", r.IntN(30)))
		stepBook(t, b, n, r.IntN(10), id, key)
		b.check()
		_, has := n.ttl[id]
		if b.Has(id) != has || b.owner[string(key)] != n.owner[string(key)] || !equalKeys(b.Keys(id), n.keys(id)) {
			t.Fatalf("step %d: lease %d has %v %q, want %v %q", step, id, b.Has(id), b.Keys(id), has, n.keys(id))
		}
		if b.Len() != len(n.ttl) || len(b.Leases()) != len(n.ttl) {
			t.Fatalf("step %d: %d leases, want %d", step, b.Len(), len(n.ttl))
		}
	}
	if !slices.IsSortedFunc(b.Leases(), func(x, y schema.LeaseRecord) int { return int(x.ID - y.ID) }) {
		t.Fatalf("leases are not ordered: %v", b.Leases())
	}
}

func stepBook(t *testing.T, b *Book, n *naiveBook, op int, id int64, key []byte) {
	t.Helper()
	_, known := n.ttl[id]
	switch {
	case op < 2:
		err := b.Grant(id, 10)
		if (err == nil) != (!known && id != 0) {
			t.Fatalf("Grant(%d) = %v, known %v", id, err, known)
		}
		if err == nil {
			n.ttl[id] = 10
		}
	case op == 2:
		want := n.keys(id)
		got, err := b.Revoke(id)
		if (err == nil) != known || known && !equalKeys(got, want) {
			t.Fatalf("Revoke(%d) = %q, %v; want %q", id, got, err, want)
		}
		for _, key := range got {
			delete(n.owner, string(key))
		}
		delete(n.ttl, id)
	case op < 8:
		if b.Attach(id, key) != known {
			t.Fatalf("Attach(%d) disagrees with known %v", id, known)
		}
		delete(n.owner, string(key))
		if known {
			n.owner[string(key)] = id
		}
	default:
		b.Detach(key)
		delete(n.owner, string(key))
	}
}

func equalKeys(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
