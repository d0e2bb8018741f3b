package raft

import (
	"github.com/quoin-kv/quoin/raft/progress"
	"github.com/quoin-kv/quoin/raft/quorum"
	"github.com/quoin-kv/quoin/raft/wire"
)

// campaignTransfer is the context of vote requests that a leader asked for: they override leader stickiness (thesis 3.10,
// 4.2.3).
const campaignTransfer = "CampaignTransfer"

// admit compares a message's term with the member's and reports whether the message is to be looked at further.
func (c *Core) admit(m *wire.Message) bool {
	switch {
	case m.Term > c.term:
		return c.admitHigher(m)
	case m.Term < c.term:
		c.answerLower(m)
		return false
	}
	return true
}

// admitHigher follows a higher term, unless the message only asks about one or would disrupt a working leader.
func (c *Core) admitHigher(m *wire.Message) bool {
	lead := uint64(0)
	switch m.Type {
	case wire.MsgVote, wire.MsgPreVote:
		if c.leaderHeard() && string(m.Context) != campaignTransfer {
			return false
		}
		if m.Type == wire.MsgPreVote {
			return true
		}
	case wire.MsgPreVoteResp:
		if !m.Reject {
			return true // carries the term that it was asked about
		}
	case wire.MsgApp, wire.MsgHeartbeat, wire.MsgSnap:
		lead = m.From
	}
	c.becomeFollower(m.Term, lead)
	return true
}

// leaderHeard reports whether a leader was heard of within the shortest election timeout: then no other may be elected
// (thesis 4.2.3).
func (c *Core) leaderHeard() bool {
	return c.cfg.CheckQuorum && c.lead != 0 && c.timer.election < c.cfg.ElectionTicks
}

// answerLower tells a leader or pre-candidate of an older term about the newer one. Without that, a member that came back
// with a higher term would ignore its leader and be refused as candidate for ever.
func (c *Core) answerLower(m *wire.Message) {
	switch m.Type {
	case wire.MsgApp, wire.MsgHeartbeat, wire.MsgSnap:
		if c.cfg.CheckQuorum || c.cfg.PreVote {
			c.send(wire.Message{Type: wire.MsgAppResp, To: m.From})
		}
	case wire.MsgPreVote:
		c.send(wire.Message{Type: wire.MsgPreVoteResp, To: m.From, Reject: true})
	}
}

// becomeFollower follows lead, 0 if unknown, in term.
func (c *Core) becomeFollower(term, lead uint64) { c.enter(Follower, term, lead) }

// enter starts a role from scratch.
func (c *Core) enter(role Role, term, lead uint64) {
	if term != c.term {
		c.term, c.vote = term, 0
	}
	c.loseReads()
	c.role, c.lead = role, lead
	c.votes = nil
	c.peers, c.pendingConf, c.transferee, c.uncommitted, c.stall = progress.Set{}, 0, 0, 0, stall{}
	c.restartTimer()
}

// Campaign starts an election, or asks whether one could be won if the configuration says so. A member that may not lead
// does nothing: one that leads already, is no voter, has not yet applied a snapshot or a committed membership change, or
// whose disk is stalled.
func (c *Core) Campaign() {
	switch {
	case !c.mayCampaign():
	case c.cfg.PreVote:
		c.campaignBefore()
	default:
		c.campaign(nil)
	}
}

// turnTicks is the time that each of those who learn together that their leader is gone leaves to the one before it.
const turnTicks = 2

// ReportGone tells the core that the process of a member has ended, as far as one can see from here: its connections broke
// and it takes no new ones. The followers of such a leader need not wait until it has been silent for an election timeout.
// They stop protecting it from the campaigns of others (leaderHeard), and campaign themselves one after the other, in the
// order of their ids, lest they split the vote. If the evidence is wrong, what comes of it is a pre-vote: it binds nobody,
// whoever hears the leader refuses it, and the leader's next heartbeat ends it. Without pre-votes nothing happens.
func (c *Core) ReportGone(id uint64) {
	if c.role != Follower || c.lead != id || !c.cfg.PreVote || c.timer.election >= c.cfg.ElectionTicks {
		return
	}
	turn := 0
	for _, other := range c.members.Members() {
		if other < c.cfg.ID && other != id && c.members.Voters.Contains(other) {
			turn++
		}
	}
	c.timer.election = c.cfg.ElectionTicks
	c.timer.timeout = c.timer.election + 1 + turn*turnTicks
}

func (c *Core) mayCampaign() bool {
	return c.role != Leader && c.members.Voters.Contains(c.cfg.ID) && !c.log.installing() && !c.confChangeUnapplied() && !c.stalled()
}

// campaignBefore asks the voters whether they would vote for this member (thesis 9.6). That binds nobody, so nothing
// needs to be stored.
func (c *Core) campaignBefore() {
	c.enter(PreCandidate, c.term, 0)
	c.votes = map[uint64]bool{}
	c.requestVotes(wire.Message{Type: wire.MsgPreVote, Term: c.term + 1}, c.send)
	c.recordVote(c.cfg.ID, true)
}

// campaign asks the voters for their votes in a new term. The requests wait for the disk: a member that forgot them and
// some entries could otherwise win with a shorter log than the voters were told of. The own vote counts once it is stored.
func (c *Core) campaign(context []byte) {
	c.enter(Candidate, c.term+1, 0)
	c.vote = c.cfg.ID
	c.votes = map[uint64]bool{}
	c.requestVotes(wire.Message{Type: wire.MsgVote, Context: context}, c.sendAfterSync)
}

func (c *Core) requestVotes(m wire.Message, send func(wire.Message)) {
	m.Index, m.LogTerm = c.log.last(), c.log.lastTerm()
	for _, id := range c.members.Members() {
		if id != c.cfg.ID && c.members.Voters.Contains(id) {
			m.To = id
			send(m)
		}
	}
}

// stepVote answers a request for a vote, or the question whether it would be granted.
func (c *Core) stepVote(m wire.Message) {
	answer := wire.Message{Type: wire.MsgVoteResp, To: m.From}
	if !c.mayVote(&m) || !c.log.upToDate(m.Index, m.LogTerm) {
		answer.Reject = true
		answer.Commit = c.log.commit
		answer.LogTerm, _ = c.log.term(c.log.commit)
	}
	if m.Type == wire.MsgPreVote {
		answer.Type = wire.MsgPreVoteResp
		if !answer.Reject {
			answer.Term = m.Term
		}
		c.send(answer)
		return
	}
	if !answer.Reject {
		c.vote = m.From
		c.timer.election = 0
	}
	c.sendAfterSync(answer)
}

// mayVote reports whether this member is still free in the term that it is asked about (paper 5.2). Learners answer too:
// they may have become voters without knowing it yet. A stalled disk could not store the vote; to say so beforehand keeps
// terms from rising in vain.
func (c *Core) mayVote(m *wire.Message) bool {
	if m.Type == wire.MsgPreVote && c.stalled() {
		return false
	}
	return c.vote == m.From || c.vote == 0 && c.lead == 0 || m.Type == wire.MsgPreVote && m.Term > c.term
}

// stepVoteResponse counts a vote. A refusal says what is committed, which may be a membership change that this member has
// stored but does not act upon yet. Without that, a leader of two that removed itself and stopped leading before the other
// knew would leave behind one that needs its vote and cannot get it.
func (c *Core) stepVoteResponse(m wire.Message) {
	if m.Reject && c.role != Leader && c.log.matches(m.Commit, m.LogTerm) {
		c.commitTo(m.Commit)
	}
	switch {
	case m.Type == wire.MsgVoteResp && c.role == Candidate:
		c.recordVote(m.From, !m.Reject)
	case m.Type == wire.MsgPreVoteResp && c.role == PreCandidate && (m.Reject || m.Term == c.term+1):
		c.recordVote(m.From, !m.Reject)
	}
}

// recordVote counts an answer; the first one of each voter holds.
func (c *Core) recordVote(id uint64, granted bool) {
	if _, answered := c.votes[id]; !answered {
		c.votes[id] = granted
	}
	switch c.members.Voters.Vote(c.votes) {
	case quorum.Lost:
		c.becomeFollower(c.term, 0)
	case quorum.Won:
		if c.role == PreCandidate {
			c.campaign(nil)
		} else {
			c.becomeLeader()
		}
	}
}

// becomeLeader begins to lead with an empty entry: only an entry of its own term lets a leader commit those of earlier
// terms (paper 5.4.2, 8).
func (c *Core) becomeLeader() {
	c.enter(Leader, c.term, c.cfg.ID)
	c.pendingConf = c.log.last() // perhaps; finding out is not worth reading the log
	c.uncommitted = dataBytes(c.log.slice(c.log.commit+1, c.log.last()))
	c.trackMembers()
	c.peers.Get(c.cfg.ID).Acknowledged(c.log.durable)
	c.appendOwn(wire.Entry{})
	c.broadcastAppend()
}

// quorumActive reports whether a quorum was heard of since the last call (thesis 6.2).
func (c *Core) quorumActive() bool {
	active := map[uint64]bool{c.cfg.ID: true}
	for _, id := range c.peers.IDs() {
		p := c.peers.Get(id)
		if p.Active {
			active[id] = true
		}
		p.Active = false
	}
	return c.members.Voters.Vote(active) == quorum.Won
}
