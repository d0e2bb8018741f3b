package service_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// hashes answers for the members of a cluster, with lies on demand. It belongs to a test under fake time.
type hashes struct {
	mu    sync.Mutex
	c     *servicetest.Cluster
	lies  map[uint64]func(*service.PeerHash)
	asked int
}

// lie makes a member's answers pass through fn.
func (h *hashes) lie(id uint64, fn func(*service.PeerHash)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lies[id] = fn
}

// seen counts a question and returns how answers are made.
func (h *hashes) seen() (*servicetest.Cluster, map[uint64]func(*service.PeerHash)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	return h.c, maps.Clone(h.lies)
}

func (h *hashes) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

func (h *hashes) ask(ctx context.Context, urls []string, revision int64) (a service.PeerHash, err error) {
	c, lies := h.seen()
	for id := uint64(1); id <= 3; id++ {
		if !slices.Contains(urls, servicetest.PeerURL(id)) || !c.Runs(id) {
			continue
		}
		if a.Hash, err = c.Member(id).HashKV(ctx, revision); err != nil {
			return a, err
		}
		a.CurrentRev = c.Member(id).Header().Revision
		if lie := lies[id]; lie != nil {
			lie(&a)
		}
		return a, nil
	}
	return a, errors.New("no answer")
}

// checked is a cluster of three whose leader compares data.
func checked(t *testing.T, every, compactions time.Duration) (*servicetest.Cluster, *hashes) {
	t.Helper()
	h := &hashes{lies: map[uint64]func(*service.PeerHash){}}
	c := servicetest.NewCluster(t, 3, func(o *servicetest.Options) {
		o.Service.HashChecks = service.HashChecks{Ask: h.ask, Every: every, Compactions: compactions}
	})
	h.mu.Lock()
	h.c = c
	h.mu.Unlock()
	c.Leader()
	return c, h
}

func corruptAlarms(t *testing.T, m *servicetest.Member) (ids []uint64) {
	t.Helper()
	raw, err := m.Alarm(t.Context(), request.Alarm{Action: request.AlarmGet, Kind: request.AlarmCorrupt})
	if err != nil {
		t.Fatal(err)
	}
	var r pb.AlarmResponse
	if err := proto.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	for _, a := range r.Alarms {
		ids = append(ids, a.MemberID)
	}
	return ids
}

func wrong(a *service.PeerHash) { a.Hash.Hash++ }

// TestDataIsCompared: who has other data than the majority gets the alarm, and nothing is written any more.
func TestDataIsCompared(t *testing.T) {
	for name, lie := range map[string]func(*service.PeerHash){
		"other data":      wrong,
		"ahead":           func(a *service.PeerHash) { a.CurrentRev += 100 },
		"compacted ahead": func(a *service.PeerHash) { a.CompactRev += 100 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, h := checked(t, time.Minute, 0)
				putKey(t, c.Leader(), "k")
				after(3 * time.Minute)
				if got := corruptAlarms(t, c.Leader()); len(got) != 0 || h.count() == 0 {
					t.Fatalf("alarms %v of members that agree, %d asked", got, h.count())
				}
				follower := c.Follower()
				h.lie(follower.ID, lie)
				after(90 * time.Second)
				if got := corruptAlarms(t, follower); !slices.Equal(got, []uint64{follower.ID}) {
					t.Errorf("alarms %v, want one of member %d", got, follower.ID)
				}
				if err := tryPut(t, c.Leader(), "k"); !errors.Is(err, kverr.Corrupt) {
					t.Errorf("a put: %v", err)
				}
			})
		})
	}
}

// TestNoMajority: if nobody can tell who is wrong, the alarm names nobody.
func TestNoMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := checked(t, time.Minute, 0)
		putKey(t, c.Leader(), "k")
		leader := c.Leader().ID
		for id := uint64(1); id <= 3; id++ {
			if id != leader {
				h.lie(id, func(a *service.PeerHash) { a.Hash.Hash += uint32(id) })
			}
		}
		after(90 * time.Second)
		if got := corruptAlarms(t, c.Leader()); !slices.Equal(got, []uint64{0}) {
			t.Errorf("alarms %v, want one of member 0", got)
		}
	})
}

// TestLeaderIsWrong: the leader is not right because it leads.
func TestLeaderIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := checked(t, time.Minute, 0)
		putKey(t, c.Leader(), "k")
		leader := c.Leader().ID
		for id := uint64(1); id <= 3; id++ {
			if id != leader {
				h.lie(id, wrong)
			}
		}
		after(90 * time.Second)
		if got := corruptAlarms(t, c.Leader()); !slices.Equal(got, []uint64{leader}) {
			t.Errorf("alarms %v, want one of member %d", got, leader)
		}
	})
}

// TestCompactionsAreCompared: what members noted at a compaction is compared once; a member that cannot tell is not asked for ever.
func TestCompactionsAreCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := checked(t, 0, time.Minute)
		for range 5 {
			putKey(t, c.Leader(), "k")
		}
		compactTo(t, c.Leader(), 4)
		after(10 * time.Minute)
		if got := corruptAlarms(t, c.Leader()); len(got) != 0 || h.count() != 2 {
			t.Fatalf("alarms %v, %d asked, want none and 2", got, h.count())
		}
		follower := c.Follower()
		h.lie(follower.ID, func(a *service.PeerHash) { a.CompactRev = 5 })
		compactTo(t, c.Leader(), 5)
		after(10 * time.Minute)
		if got := corruptAlarms(t, c.Leader()); len(got) != 0 || h.count() != 2+1+3 {
			t.Fatalf("alarms %v, %d asked, want none and 6", got, h.count())
		}
		h.lie(follower.ID, wrong)
		putKey(t, c.Leader(), "k")
		compactTo(t, c.Leader(), 6)
		after(2 * time.Minute)
		if got := corruptAlarms(t, c.Leader()); !slices.Equal(got, []uint64{follower.ID}) {
			t.Errorf("alarms %v, want one of member %d", got, follower.ID)
		}
	})
}

// TestInitialCheck: a member that finds other data at the others must not serve; one that finds nobody may.
func TestInitialCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := checked(t, 0, 0)
		putKey(t, c.Leader(), "k")
		follower := c.Follower()
		after(time.Second)
		if err := follower.CheckInitial(t.Context()); err != nil {
			t.Errorf("members that agree: %v", err)
		}
		h.lie(c.Leader().ID, wrong)
		if err := follower.CheckInitial(t.Context()); !errors.Is(err, service.ErrInconsistent) {
			t.Errorf("members that differ: %v", err)
		}
		h.lie(c.Leader().ID, func(a *service.PeerHash) { a.CompactRev, a.Hash.Hash = 1, 0 })
		if err := follower.CheckInitial(t.Context()); err != nil {
			t.Errorf("hashes that cannot be compared: %v", err)
		}
	})
}

func tryPut(t *testing.T, m *servicetest.Member, key string) error {
	t.Helper()
	raw, err := proto.Marshal(&pb.PutRequest{Key: []byte(key), Value: []byte("v")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Put(t.Context(), raw)
	return err
}

func putKey(t *testing.T, m *servicetest.Member, key string) {
	t.Helper()
	if err := tryPut(t, m, key); err != nil {
		t.Fatal(err)
	}
}

func compactTo(t *testing.T, m *servicetest.Member, revision int64) {
	t.Helper()
	raw, err := proto.Marshal(&pb.CompactionRequest{Revision: revision, Physical: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Compact(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	after(time.Second)
}
