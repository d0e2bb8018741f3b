package service_test

import (
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

func checkpointing(o *servicetest.Options) { o.Service.LeaseCheckpoint = 5 * time.Minute }

// TestCheckpoints: a new leader gives long leases the time that was noted last, those that were renewed since their whole time.
func TestCheckpoints(t *testing.T) {
	for _, on := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			change := func(*servicetest.Options) {}
			if on {
				change = checkpointing
			}
			c := servicetest.NewCluster(t, 3, change)
			after(5 * time.Second)
			leader := c.Leader()
			const ttl = 1000
			for id := int64(1); id <= 3; id++ {
				grant(t, leader, id, ttl)
			}
			grant(t, leader, 4, 299) // a short one
			after(6 * time.Minute)   // noted after five
			keepAlive(t, leader, 2)
			grant(t, leader, 5, ttl)
			c.Kill(leader.ID)
			after(10 * time.Second)
			next := c.Leader()
			for id, want := range map[int64]int64{1: ttl - 300, 2: ttl, 3: ttl - 300, 5: ttl} {
				if !on {
					want = ttl
				}
				if r := timeToLive(t, next, id); r.TTL > want || r.TTL < want-20 {
					t.Errorf("checkpoints %t: lease %d has %d s, want nearly %d", on, id, r.TTL, want)
				}
			}
		})
	}
}

// TestRenewalDuringACheckpoint: of a lease that is renewed while its note is on its way nothing is noted in the end.
func TestRenewalDuringACheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c := servicetest.NewCluster(t, 3, checkpointing)
		after(5 * time.Second)
		leader := c.Leader()
		grant(t, leader, 1, 1000)
		others := func(do func(from, to uint64)) {
			for id := uint64(1); id <= 3; id++ {
				if id != leader.ID {
					do(id, leader.ID)
				}
			}
		}
		after(time.Until(begin.Add(5*time.Minute - servicetest.Tick)))
		others(c.Block) // nothing is committed from here on, so that the note of the fifth minute hangs
		after(2 * servicetest.Tick)
		renewed := make(chan error, 1)
		go func() {
			_, err := call(t.Context(), leader.LeaseKeepAlive, &pb.LeaseKeepAliveRequest{ID: 1}, new(pb.LeaseKeepAliveResponse))
			renewed <- err
		}()
		after(servicetest.Tick)
		if len(renewed) > 0 {
			t.Error("renewed before the note was settled")
		}
		others(c.Heal)
		if err := <-renewed; err != nil {
			t.Fatal(err)
		}
		c.Kill(leader.ID)
		after(10 * time.Second)
		if r := timeToLive(t, c.Leader(), 1); r.TTL < 980 {
			t.Errorf("a renewed lease has %d s", r.TTL)
		}
	})
}
