package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/sim/engine"
	"github.com/quoin-kv/quoin/sim/plan"
)

// operator changes the membership, one step after the other, and starts the members that were added.
type operator struct {
	w       *world
	rng     *rand.Rand
	tasks   []task
	asking  bool  // the first task is being carried out
	settled int64 // until then a change may come about of which the operator was not told
	urls    int   // that were given to members
}

// task is something that the operator wants.
type task struct {
	kind  plan.FaultKind // AddMember, Promote or Remove
	id    uint64         // of the member, unless it is to be added
	as    string         // plan.Learner
	must  bool           // without it the cluster lacks a member
	tries int
}

// Times of the operator, in virtual nanoseconds.
const (
	operatorPause = 1e9
	settleTime    = 15e9
	triesMax      = 8 // then it gives up
)

const membersMax = 7

func newOperator(w *world) *operator {
	return &operator{w: w, rng: engine.Random(w.plan.Seed, "operator", 0)}
}

// nextURL is where a new member can be reached.
func (o *operator) nextURL() string {
	o.urls++
	return urlOf(o.urls - 1)
}

// idle reports whether nothing is left to do.
func (o *operator) idle() bool { return len(o.tasks) == 0 && o.w.engine.Now() >= o.settled }

// look is called again and again: it compares what is with what should be.
func (o *operator) look() {
	if m := o.w.best(); m != nil { // which may have no leader before the one that it added is there
		o.startAdded(m.machine.Members().Members())
	}
	if m := o.w.leader(); m != nil && !m.proc.Paused() {
		o.retire(m)
		o.replaceDamaged(m)
		o.act(m)
	}
	o.w.engine.After(operatorPause, o.look)
}

// startAdded starts members that have no host yet.
func (o *operator) startAdded(members []schema.Member) {
	for _, m := range members {
		if o.w.byID[m.ID] == nil {
			h := o.w.newHost(m.ID, m.PeerURLs[0])
			h.create(nil)
			h.boot()
		}
	}
}

// retire takes hosts out of service whose members were removed. It does not take their own word for it: others have to know.
func (o *operator) retire(m *member) {
	for _, h := range o.w.present() {
		if h != m.host && m.machine.Members().IsRemoved(h.id) {
			h.retired = true
			o.w.engine.After(o.rng.Int64N(5e9), h.exit)
		}
	}
}

// replaceDamaged wants members that have lost their data removed, and others in their places.
func (o *operator) replaceDamaged(m *member) {
	for _, h := range o.w.present() {
		if _, is := m.machine.Members().Member(h.id); !is || !h.damaged || o.wants(plan.Remove, h.id) {
			continue
		}
		as := ""
		if o.rng.IntN(2) == 0 {
			as = plan.Learner
		}
		o.tasks = append(o.tasks, task{kind: plan.Remove, id: h.id, must: true}, task{kind: plan.AddMember, as: as, must: true})
	}
}

func (o *operator) wants(kind plan.FaultKind, id uint64) bool {
	return slices.ContainsFunc(o.tasks, func(t task) bool { return t.kind == kind && t.id == id })
}

// act begins the next task.
func (o *operator) act(m *member) {
	if o.asking || len(o.tasks) == 0 || m.service == nil {
		return
	}
	t := &o.tasks[0]
	t.tries++
	if t.tries > triesMax && !t.must {
		o.tasks = o.tasks[1:]
		return
	}
	o.asking = true
	o.settled = o.w.engine.Now() + settleTime
	one := *t
	m.proc.Exec(func() { m.proc.Go(func() { o.carryOut(m, one) }) })
	if !t.must && o.rng.IntN(4) == 0 {
		o.meddle(one)
	}
}

// meddle lets somebody else ask another member for the same thing.
func (o *operator) meddle(t task) {
	all := o.w.running()
	m := all[o.rng.IntN(len(all))]
	m.proc.Exec(func() {
		m.proc.Go(func() {
			_, err := o.ask(m, t)
			o.w.engine.Comment(m.host.index, "somebody else: %s %x %s: %v", t.kind, t.id, t.as, err)
		})
	})
}

// carryOut asks a member's service, on a coroutine of the member.
func (o *operator) carryOut(m *member, t task) {
	err := errNoAnswer // if the member ends meanwhile
	defer func() {
		o.w.engine.Note("operator", m.host.index, t.id)
		o.w.engine.Comment(m.host.index, "operator: %s %x %s: %v", t.kind, t.id, t.as, err)
		o.asking = false
		if err == nil || final(err) {
			o.tasks = o.tasks[1:]
		}
	}()
	var added schema.Member
	if added, err = o.ask(m, t); err != nil {
		return
	}
	o.w.faults[string(t.kind)+" done"]++
	if added.IsLearner && t.must {
		o.tasks = append(o.tasks, task{kind: plan.Promote, id: added.ID})
	}
}

// ask has a member's service do what a task says. It returns the member that was added, if one was.
func (o *operator) ask(m *member, t task) (added schema.Member, err error) {
	ctx := context.Background()
	switch t.kind {
	case plan.AddMember:
		added, _, err = m.service.MemberAdd(ctx, []string{o.urlFor(t)}, t.as == plan.Learner)
	case plan.Promote:
		_, err = m.service.MemberPromote(ctx, t.id)
	case plan.Remove:
		_, err = m.service.MemberRemove(ctx, t.id)
	}
	return added, err
}

// urlFor is where a new member can be reached; now and then one that another member has, which the rules refuse.
func (o *operator) urlFor(t task) string {
	if all := o.w.present(); !t.must && o.rng.IntN(6) == 0 {
		return all[o.rng.IntN(len(all))].url
	}
	return o.nextURL()
}

// final reports whether trying again makes no sense.
func final(err error) bool {
	for _, e := range []error{kverr.MemberNotFound, kverr.MemberNotLearner, kverr.MemberExist, kverr.TooManyLearners, kverr.PeerURLExist} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// operate does what a plan wants from operators.
func (w *world) operate(f plan.Fault, h *host) bool {
	switch f.Kind {
	case plan.Transfer:
		return w.transfer(f)
	case plan.AddMember:
		return w.operator.add(f)
	case plan.Promote, plan.Remove:
		return w.operator.change(f, h)
	}
	return false
}

// add wants one more member.
func (o *operator) add(f plan.Fault) bool {
	if len(o.w.present()) >= membersMax || len(o.tasks) > 0 {
		return false
	}
	for range f.Amount {
		o.tasks = append(o.tasks, task{kind: plan.AddMember, as: f.Mode})
	}
	return true
}

// change wants a member promoted or removed.
func (o *operator) change(f plan.Fault, h *host) bool {
	if len(o.tasks) > 0 {
		return false
	}
	if f.Kind == plan.Remove && (o.w.lossy() || len(o.w.present()) < 2) {
		return false
	}
	if f.Kind == plan.Promote {
		if h = o.learner(f.Peer); h == nil {
			return false
		}
	}
	o.tasks = append(o.tasks, task{kind: f.Kind, id: h.id})
	return true
}

// learner is one of the learners, nil if there are none.
func (o *operator) learner(which int) *host {
	m := o.w.best()
	if m == nil {
		return nil
	}
	all := m.machine.Members().Learners()
	if len(all) == 0 {
		return nil
	}
	return o.w.byID[all[which%len(all)].ID]
}

// transfer asks the leader's service to hand over.
func (w *world) transfer(f plan.Fault) bool {
	m := w.leader()
	if m == nil {
		return false
	}
	to := w.target(f.Peer).id
	m.proc.Exec(func() {
		m.proc.Go(func() {
			err := m.service.MoveLeader(context.Background(), to)
			w.engine.Comment(m.host.index, "move leader to %x: %v", to, err)
		})
	})
	return true
}
