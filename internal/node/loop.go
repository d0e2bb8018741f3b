package node

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// event is a completion or a request that reaches the loop from another goroutine of the node. Zero fields say nothing.
type event struct {
	persisted uint64 // Output sequence number that is durable
	applied   uint64 // index that the machine has applied
	changes   []wire.ConfChange
	newTerm   uint64 // of a leader whose first entry is among what was applied
	flushed   *schema.Applied
	conf      wire.ConfState // as of flushed or installed
	campaign  bool
	markFrom  uint64 // a mark is wanted here or later
	ticks     int    // to pass at once

	transfer uint64 // member that is to lead
	gone     uint64 // member whose process seems to have ended

	installed *schema.Applied // where a snapshot ends that was installed, under conf

	sendEnded     uint64 // member to which the sending of a snapshot has ended
	sent, refused bool   // with success; without having begun
}

// loop owns consensus: it takes in whatever has come, asks for the output, and hands it out. It never waits for a disk.
type loop struct {
	*Node
	core      *replica.Consensus
	rounds    *replica.Rounds
	sole      replica.Sole
	sends     sends
	proposals []*replica.Proposal // taken, but not in the core's hands yet: there is no leader, or too much is uncommitted
	data      [][]byte            // scratch of takeProposals
	crowded   bool                // the last requests that came, came together: more may be about to
	outdated  bool                // the published status differs in more than indexes
	former    former
	postponed postponed
	lastTick  time.Time
}

// former is what is to be given up: proposals that a former leader had and the new one has not. They are lost, but for some that come round
// by a late message, which get a few ticks.
type former struct {
	before uint64 // the term in which a proposal is not a former one; 0: there is none
	next   uint64 // likewise, of a leader that came since
	ticks  int    // since before
}

// note takes note of a leader's first entry, unless term is 0.
func (f *former) note(term uint64) {
	if f.before == 0 {
		f.before, f.ticks = term, 0
	} else if term > 0 {
		f.next = term
	}
}

func (f *former) tick(w *waiters) {
	if f.ticks++; f.before > 0 && f.ticks > formerTicks {
		w.giveUp(f.before, kverr.TimeoutDueToLeaderFail)
		*f = former{before: f.next}
	}
}

// formerTicks is how long late messages may come round: longer than proposals are postponed.
const formerTicks = postponedTicks + 2

func (n *Node) runLoop() {
	l := &loop{Node: n, core: n.cfg.Consensus, sends: sends{}, crowded: true, rounds: replica.NewRounds(uint64(time.Now().UnixNano()))}
	defer l.end()
	ticker := time.NewTicker(n.cfg.Tick)
	defer ticker.Stop()
	for {
		l.turn()
		select {
		case <-n.wake:
			if l.crowded || l.waiters.len() > 1 {
				runtime.Gosched() // who is about to ask for something goes first: it has its turn with the others
			}
		case <-ticker.C:
			l.tick()
		case <-n.ctx.Done():
			return
		}
	}
}

// tick passes the time on, and forgets what nobody waits for any more.
func (l *loop) tick() {
	l.core.Tick()
	if l.rounds.Age(l.core.Indexed) {
		report(l.cfg.Metrics.SlowRead)
	}
	l.noteTick()
	l.abandonOverdue()
	l.proposals = l.waiters.wanted(l.proposals, 0, 0)
	l.outdated = true
	l.former.tick(l.waiters)
	l.postponed.age()
	l.postponed.retry(l.stepPostponed)
}

// hurry lets ticks pass at once as long as there is no leader.
func (l *loop) hurry(ticks int) {
	for ; ticks > 0 && l.core.Lead() == 0; ticks-- {
		l.core.Tick()
	}
}

// turn takes in everything that has come and hands out what follows from it.
func (l *loop) turn() {
	l.takeEvents()
	l.takeMessages()
	if came := l.takeProposals() + l.takeReads(); came > 0 {
		l.crowded = came > 1
	}
	l.emit(l.core.Output())
	l.publish()
}

func (l *loop) takeEvents() {
	events := l.events.take()
	for i := range events {
		l.takeEvent(&events[i])
	}
	l.events.done(events)
	for _, id := range l.unreachable.take() {
		l.core.ReportUnreachable(id)
	}
}

func (l *loop) takeEvent(e *event) {
	switch {
	case e.persisted > 0:
		l.core.Persisted(e.persisted)
	case e.applied > 0:
		l.core.Applied(e.applied, e.changes)
		l.former.note(e.newTerm)
		l.sole.Began(e.newTerm)
		l.outdated = l.outdated || len(e.changes) > 0 || e.newTerm > 0
	case e.markFrom != 0:
		l.core.MarkFrom(e.markFrom)
	case e.flushed != nil:
		l.core.Flushed(*e.flushed, e.conf)
	case e.installed != nil:
		l.core.Installed(*e.installed, e.conf)
		l.outdated = true
	case e.sendEnded != 0:
		l.sendEnded(e)
	case e.campaign:
		l.core.Campaign()
	case e.ticks > 0:
		l.hurry(e.ticks)
	case e.gone != 0:
		l.core.ReportGone(e.gone)
	case e.transfer != 0:
		l.core.TransferLeader(e.transfer)
		l.outdated = true
	}
}

func (l *loop) takeMessages() {
	messages := l.messages.take()
	for i := range messages {
		l.takeMessage(&messages[i])
	}
	l.messages.done(messages)
}

func (l *loop) takeMessage(m *wire.Message) {
	if m.Type == wire.MsgSnap && (l.cfg.Adopt == nil || l.cfg.Restore == nil) {
		l.cfg.Logger.Warn("snapshot refused: this member cannot install one", "from", hex(m.From))
		return
	}
	switch err := l.core.Step(*m); {
	case errors.Is(err, raft.ErrDiverged):
		l.fail(failed("consensus", err))
	case err != nil && !l.postponed.keep(m, err):
		l.cfg.Logger.Debug("message dropped", "from", m.From, "type", m.Type, "error", err)
	}
}

// stepPostponed hands the core a message again. One that has come from the member that leads by now goes back to it as if it were our own: the
// core sends nothing back to where it came from, lest two members play ball with it.
func (l *loop) stepPostponed(m wire.Message) error {
	if m.From == l.core.Lead() {
		m.From = l.status.Load().ID
	}
	return l.core.Step(m)
}

// What one turn proposes at most, so that what the log writer gets at once takes it a short time only. One proposal may exceed it.
const (
	maxTurnProposals = 4096
	maxTurnBytes     = 8 << 20
)

// portion is how many of the first proposals one turn may propose.
func portion(proposals []*replica.Proposal) int {
	bytes := 0
	for i := range proposals {
		bytes += len(proposals[i].Data)
		if i > 0 && (i == maxTurnProposals || bytes > maxTurnBytes) {
			return i
		}
	}
	return len(proposals)
}

// takeProposals takes in the proposals that have come, and returns how many.
func (l *loop) takeProposals() (came int) {
	fresh := l.Node.proposals.take()
	l.proposals = append(l.proposals, fresh...)
	l.Node.proposals.done(fresh)
	l.proposeWaiting()
	return len(fresh)
}

// proposeWaiting hands the core waiting proposals as one append. Without a leader they stay here until there is one or their callers give up.
func (l *loop) proposeWaiting() {
	l.proposals = slices.DeleteFunc(l.proposals, l.outOfTerm)
	if len(l.proposals) == 0 || l.core.Lead() == 0 {
		return
	}
	l.proposals = slices.DeleteFunc(l.proposals, l.proposeChange)
	now := portion(l.proposals)
	if now == 0 {
		return
	}
	if !l.propose(l.proposals[:now]) {
		l.proposals = l.waiters.wanted(l.proposals, 0, 0)
		return
	}
	if now == len(l.proposals) {
		l.proposals = recycled(l.proposals, spareItems)
		return
	}
	l.proposals = slices.Delete(l.proposals, 0, now)
	poke(l.wake) // the rest has its turn next
}

// outOfTerm refuses a proposal that this member may only make as the leader of a term that is over, and reports whether it did.
func (l *loop) outOfTerm(p *replica.Proposal) bool {
	if p.Term == 0 || l.core.Role() == raft.Leader && l.core.Term() == p.Term {
		return false
	}
	l.waiters.refuse(p, kverr.LeaderChanged)
	return true
}

// propose hands the core some proposals, or returns false if it takes none now.
func (l *loop) propose(proposals []*replica.Proposal) bool {
	// Noted before the core is asked: a caller that gives up in between must not be told that its proposal is certainly without effect.
	for _, p := range l.waiters.wanted(proposals, l.core.Term(), l.now()) {
		l.data = append(l.data, p.Data)
	}
	if len(l.data) == 0 {
		return true
	}
	err := l.core.Propose(l.data...)
	if err != nil {
		l.cfg.Logger.Debug("proposals held back", "count", len(l.data), "error", err)
	}
	l.data = recycled(l.data, spareItems)
	return err == nil
}

// emit hands out the parts of an output.
func (l *loop) emit(out replica.Output) {
	// Before the applier gets entries: see flushable.
	l.durable.Store(l.core.Durable())
	if out.Writes() {
		l.unwritten.Add(memoryOf(out.Log.Entries))
		l.writes.put(out)
	}
	if faultpoint.Enabled && len(out.Send) > 0 && l.core.Role() == raft.Leader {
		faultpoint.Hit(faultpoint.RaftBeforeLeaderSend)
	}
	l.send(out.Send)
	l.stopSends()
	if out.Install != nil {
		l.tasks.put(task{install: out.Install})
	}
	if len(out.Apply) > 0 {
		l.backlog.Add(memoryOf(out.Apply))
		l.tasks.putEach(len(out.Apply), func(i int) task { return task{entry: out.Apply[i]} })
	}
	l.rounds.Finish(out.Answer, nil)
	l.rounds.Lose(out.Refuse, l.core.Lead(), kverr.LeaderChanged)
	if l.rounds.Due() && len(out.Answer)+len(out.Refuse) > 0 {
		poke(l.wake) // the reads that came during the round may begin the next one
	}
}

// memoryOf is what entries take in memory, roughly.
func memoryOf(entries []wire.Entry) int64 {
	const overhead = 64
	size := overhead * int64(len(entries))
	for i := range entries {
		size += int64(len(entries[i].Data))
	}
	return size
}

// publish lets others see the state of the core. The whole of it is copied only when it has changed in more than indexes, and at ticks.
func (l *loop) publish() {
	l.commit.Store(l.core.Commit())
	seen := l.status.Load()
	leader := l.core.Lead()
	if !l.outdated && seen.Lead == leader && seen.Term == l.core.Term() && seen.Role == l.core.Role() {
		return
	}
	st := l.core.Status()
	l.Node.sole.Store(l.sole.Look(&st, l.core.Commit()))
	l.status.Store(&st)
	l.outdated = false
	if seen.Lead == leader {
		return
	}
	l.leaders.Add(1)
	if leader != 0 {
		proposed, asked := l.postponed.retry(l.stepPostponed), l.rounds.AskAgain(l.core.Indexed)
		if proposed || asked {
			poke(l.wake)
		}
	}
	l.cfg.Logger.Info("leader changed", "leader", hex(leader), "was", hex(seen.Lead), "term", st.Term)
	if leader != 0 && l.cfg.Metrics.LeaderChanged != nil {
		l.cfg.Metrics.LeaderChanged()
	}
}

// failed wraps the error of a part of the node.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
