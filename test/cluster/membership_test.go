package cluster

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// remove takes a member out of the cluster, whether it runs or not, and
// discards it.
func (c *cluster) remove(t *testing.T, m *member) {
	t.Helper()
	through := c.others(m)[0]
	eventually(t, "removing "+m.name, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := etcdserverpb.NewClusterClient(through.conn).MemberRemove(ctx, &etcdserverpb.MemberRemoveRequest{ID: m.id})
		if err != nil && !c.has(ctx, through, m.id) {
			return nil // the answer was lost, not the request
		}
		return err
	})
	c.members = slices.DeleteFunc(c.members, func(o *member) bool { return o == m })
	m.discard()
}

// has says whether a member with an id is in the list. If that is not known it says yes.
func (c *cluster) has(ctx context.Context, through *member, id uint64) bool {
	list, err := etcdserverpb.NewClusterClient(through.conn).MemberList(ctx, &etcdserverpb.MemberListRequest{Linearizable: true})
	if err != nil {
		return true
	}
	return slices.ContainsFunc(list.Members, func(m *etcdserverpb.Member) bool { return m.ID == id })
}

// add adds an empty member, as a voter at once or as a learner that is
// promoted when it has caught up, and waits until it serves.
func (c *cluster) add(t *testing.T, learner bool) *member {
	t.Helper()
	through := c.leader(t)
	m := c.newMember(t)
	eventually(t, "adding "+m.name, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		added, err := etcdserverpb.NewClusterClient(through.conn).MemberAdd(ctx, &etcdserverpb.MemberAddRequest{
			PeerURLs: []string{m.peerURL()}, IsLearner: learner,
		})
		if err == nil {
			m.id = added.Member.ID
			return nil
		}
		m.id = c.idOf(ctx, through, m.peerURL())
		if m.id != 0 {
			return nil // the answer was lost, not the request
		}
		return err
	})
	c.network.identify(m.index, m.id)
	m.start(t, c.founding(), "existing")
	if learner {
		c.promote(t, m)
	}
	eventually(t, "serving", m.serves)
	return m
}

// idOf finds a member by its address; 0 if it is not in the list.
func (c *cluster) idOf(ctx context.Context, through *member, url string) uint64 {
	list, err := etcdserverpb.NewClusterClient(through.conn).MemberList(ctx, &etcdserverpb.MemberListRequest{Linearizable: true})
	if err != nil {
		return 0
	}
	for _, m := range list.Members {
		if slices.Contains(m.PeerURLs, url) {
			return m.ID
		}
	}
	return 0
}

// promote makes a learner a voter as soon as it may be.
func (c *cluster) promote(t *testing.T, learner *member) {
	t.Helper()
	eventually(t, "promoting "+learner.name, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		through := c.others(learner)[0]
		list, err := etcdserverpb.NewClusterClient(through.conn).MemberPromote(ctx, &etcdserverpb.MemberPromoteRequest{ID: learner.id})
		if err == nil && len(list.Members) == 0 {
			t.Errorf("promoting %s was answered without the members", learner.name)
		}
		if err != nil && c.votes(ctx, through, learner.id) {
			return nil
		}
		return err
	})
}

func (c *cluster) votes(ctx context.Context, through *member, id uint64) bool {
	list, err := etcdserverpb.NewClusterClient(through.conn).MemberList(ctx, &etcdserverpb.MemberListRequest{Linearizable: true})
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list.Members, func(m *etcdserverpb.Member) bool { return m.ID == id && !m.IsLearner })
}

// TestGrowAndShrink: one member becomes three and five, through learners, and
// one again, while clients work at all of them.
func TestGrowAndShrink(t *testing.T) {
	c := newCluster(t, flags.network, 1, false)
	w := newWorkload(t, c)
	w.through(c.members[0])
	w.warm(t, c)
	for len(c.members) < 5 {
		m := c.add(t, true)
		w.through(m)
		w.writtenThrough(t, m, w.recorder.now())
		t.Logf("%d members", len(c.members))
	}
	for len(c.members) > 1 {
		// The leader goes every second time.
		victim := c.members[len(c.members)-1]
		if leader := c.leader(t); len(c.members)%2 == 0 {
			victim = leader
		}
		w.leave(victim)
		before := w.recorder.now()
		c.remove(t, victim)
		w.resumed(t, "a removal", w.recorder.now())
		w.neverStopped(t, before)
	}
	w.finish(t, c)
}

// TestReplaceAll: every member of three is replaced, one by one, while clients work.
func TestReplaceAll(t *testing.T) {
	c := newCluster(t, flags.network, 3, false)
	w := newWorkload(t, c)
	for _, m := range c.members {
		w.through(m)
	}
	w.warm(t, c)
	for _, old := range slices.Clone(c.members) {
		m := c.add(t, true)
		w.through(m)
		w.leave(old)
		c.remove(t, old)
		w.writtenThrough(t, m, w.recorder.now())
	}
	w.finish(t, c)
}
