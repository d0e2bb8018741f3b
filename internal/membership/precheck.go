package membership

import (
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/schema"
)

// HealthyAfter is how long a connection has to stand before its member counts
// as connected.
const HealthyAfter = 5 * time.Second

// Links is a member's view of its connections.
type Links struct {
	Self uint64
	// Since tells how long the connection to a member has been standing, and
	// false if there is none. It is not asked about Self.
	Since func(member uint64) (time.Duration, bool)
}

func (l Links) healthy(id uint64) bool {
	if id == l.Self {
		return true
	}
	d, up := l.Since(id)
	return up && d >= HealthyAfter
}

func (l Links) down(id uint64) bool {
	if id == l.Self {
		return false
	}
	_, up := l.Since(id)
	return !up
}

// count is the number of members to which the connection is healthy.
func (l Links) count(members []schema.Member) int {
	n := 0
	for _, m := range members {
		if l.healthy(m.ID) {
			n++
		}
	}
	return n
}

func quorum(n int) int { return n/2 + 1 }

// started counts the voters, without one, that have said who they are.
func (c *Cluster) started(without uint64) (started, voters int) {
	for _, m := range c.Voters() {
		if m.ID == without {
			continue
		}
		voters++
		if m.Name != "" {
			started++
		}
	}
	return started, voters
}

// CheckAdd checks before a proposal that the cluster can bear one more member,
// which counts as down. A voter needs a quorum of started voters, except that a
// single started member may always get a second one. Any member needs, unless
// there is a single voter, a quorum of voters that are connected.
// Errors: MemberNotEnoughStarted, Unhealthy.
func (c *Cluster) CheckAdd(learner bool, links Links) error {
	started, n := c.started(0)
	lone := started == 1 && n == 1
	if !learner && !lone && started < quorum(n+1) {
		return kverr.MemberNotEnoughStarted
	}
	if n > 1 && links.count(c.Voters()) < quorum(n+1) {
		return kverr.Unhealthy
	}
	return nil
}

// CheckRemove checks before a proposal that the cluster can lose a member. A
// learner can always go. Without a voter, a quorum of the others has to be
// started; they have to be connected as well, unless it is another one that is
// down itself. Errors: MemberNotEnoughStarted, Unhealthy.
func (c *Cluster) CheckRemove(id uint64, links Links) error {
	if m, ok := c.Member(id); ok && m.IsLearner {
		return nil
	}
	if started, n := c.started(id); started < quorum(n) {
		return kverr.MemberNotEnoughStarted
	}
	if links.down(id) {
		return nil
	}
	voters := c.Voters()
	if links.count(voters)-1 < quorum(len(voters)-1) {
		return kverr.Unhealthy
	}
	return nil
}

// CheckPromote checks before a proposal that the voters, the learner among
// them, would have a quorum of started members.
// Errors: MemberNotFound, MemberNotEnoughStarted.
func (c *Cluster) CheckPromote(id uint64) error {
	if c.members[id] == nil {
		return kverr.MemberNotFound
	}
	started, n := c.started(id)
	if started+1 < quorum(n+1) {
		return kverr.MemberNotEnoughStarted
	}
	return nil
}

// LearnerReady tells whether a learner whose log matches the leader's up to
// match is close enough to the leader's own last index to be promoted: nine
// tenths. It is checked before everything but the member's existence.
func LearnerReady(match, leader uint64) bool {
	return match >= leader-leader/10
}
