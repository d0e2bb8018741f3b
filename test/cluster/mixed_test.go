package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// mixedFlags make members send each other snapshots, and compare their data all the time.
func mixedFlags() []string {
	return []string{
		"--snapshot-count=200", "--snapshot-catchup-entries=50", "--max-wals=2", "--bcrypt-cost=4",
		"--corrupt-check-time=1s", "--compact-hash-check-time=1s", "--feature-gates=CompactHashCheck=true",
	}
}

// mixedFaults are those that befall clusters of two kinds. A paused leader of the other kind is left out: etcd's can end leases when it goes on,
// see docs/testing.md.
func mixedFaults(ofOther bool) (some []fault) {
	for _, f := range faults() {
		if f.slow || f.small || f.name == "follower wiped and added again" || ofOther && f.name == "leader paused" {
			continue
		}
		some = append(some, f)
	}
	return some
}

// TestMixed: faults befall clusters of two kinds of members in each shape, while either kind leads, with users and without. It takes
// -mixedtime, of which each shape has its half at the same time, and a fault more.
func TestMixed(t *testing.T) {
	if flags.other == "" {
		return
	}
	shapes := map[string][]string{"two and one other": {program, program, other}, "one and two others": {program, other, other}}
	for name, programs := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClusterOf(t, &cluster{programs: programs, users: true, extra: mixedFlags()}, flags.network, len(programs), false)
			c.addRoot(t)
			seed := rand.Uint64()
			t.Logf("seed of the faults: %d", seed)
			rng := rand.New(rand.NewPCG(seed, 1))
			began := time.Now()
			for n := 0; time.Since(began) < flags.mixed/time.Duration(len(shapes)); n++ {
				ofOther := n%2 == 1
				table := mixedFaults(ofOther)
				f := table[rng.IntN(len(table))]
				name := fmt.Sprintf("%d %s, the leader of other kind %t", n, f.name, ofOther)
				if !t.Run(name, func(t *testing.T) { c.strikeMixed(t, f, ofOther, rng) }) {
					t.FailNow()
				}
			}
		})
	}
}

// strikeMixed lets one fault befall the cluster while a member of the wanted kind leads.
func (c *cluster) strikeMixed(t *testing.T, f fault, ofOther bool, rng *rand.Rand) {
	for _, i := range rng.Perm(len(c.members)) {
		if m := c.members[i]; (m.program == other) == ofOther {
			c.lead(t, m)
			break
		}
	}
	g := c.toggle(t.Context(), flags.election)
	defer g.stop()
	f.end = func() { g.end(t) }
	f.run(t, c)
	c.noAlarms(t)
}

// lead makes a member the leader.
func (c *cluster) lead(t *testing.T, m *member) {
	t.Helper()
	eventually(t, m.name+" leading", func(ctx context.Context) error {
		leader := c.leader(t)
		if leader == m {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		_, err := etcdserverpb.NewMaintenanceClient(leader.conn).MoveLeader(ctx, &etcdserverpb.MoveLeaderRequest{TargetID: m.id})
		if err == nil {
			err = fmt.Errorf("%s leads", leader.name)
		}
		return err
	})
}

// noAlarms: no member has been called corrupt, by either kind.
func (c *cluster) noAlarms(t *testing.T) {
	t.Helper()
	eventually(t, "listing alarms", func(ctx context.Context) error {
		r, err := etcdserverpb.NewMaintenanceClient(c.members[0].conn).Alarm(ctx, &etcdserverpb.AlarmRequest{})
		if err == nil && len(r.Alarms) > 0 {
			t.Errorf("alarms: %v", r.Alarms)
		}
		return err
	})
}
