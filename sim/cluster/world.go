// Package cluster runs one plan: members made of the real consensus core, replica, machine, log and service on simulated disks, clocks and
// network, clients that record what they see, and judges that know only what a correct cluster must look like from outside.
package cluster

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/sim/engine"
	"github.com/quoin-kv/quoin/sim/plan"
)

// Failure is what a judge found.
type Failure struct {
	Check string // which judge: stays the same when a plan is made smaller
	What  string
}

func (f *Failure) Error() string { return f.Check + ": " + f.What }

// Result is what became of a plan.
type Result struct {
	Failure    *Failure // nil if nothing was wrong
	Hash       uint64   // fingerprint of everything that happened
	Steps      uint64
	Simulated  time.Duration
	Operations int            // of clients, with an answer or without
	Unknown    int            // of these without
	Faults     map[string]int // that took place, by kind
	History    *model.History
}

// world is everything in a simulation.
type world struct {
	plan     *plan.Plan
	engine   *engine.Engine
	network  *network
	hosts    []*host // in order of their coming
	byID     map[uint64]*host
	judge    *judge
	operator *operator
	recorder recorder
	clients  []actor
	greeters []*greeter // among them
	faults   map[string]int
	jumps    []int64      // when a clock jumped
	ambushes []plan.Fault // that wait for a leader
	failure  *Failure
	healed   bool
	done     bool
	closing  bool // clients begin nothing new
}

// Run plays a plan. trace, if not nil, gets a line for everything that happens.
func Run(p *plan.Plan, trace io.Writer) *Result {
	w := newEmpty(p, trace)
	defer w.close()
	w.play()
	r := &Result{
		Hash: w.engine.Hash(), Steps: w.engine.Steps(), Simulated: time.Duration(w.engine.Now()), Faults: maps.Clone(w.faults),
		Operations: len(w.recorder.history.Ops), Unknown: w.recorder.unknown(), History: &w.recorder.history,
	}
	if w.failure == nil {
		w.judgeHistory()
	}
	r.Failure = w.failure
	return r
}

// newEmpty returns the world of a plan before anything is in it.
func newEmpty(p *plan.Plan, trace io.Writer) *world {
	w := &world{plan: p, engine: engine.New(trace), byID: map[uint64]*host{}, faults: map[string]int{}}
	w.network = newNetwork(w)
	w.judge, w.operator = newJudge(w), newOperator(w)
	return w
}

// play runs the parts of the plan one after the other, until one finds a failure.
func (w *world) play() {
	defer func() {
		if v := recover(); v != nil {
			w.fail("panic", "%s", describePanic(v))
		}
	}()
	w.found()
	w.startClients()
	w.operator.look()
	for _, f := range w.plan.Faults {
		w.engine.At(f.At, func() { w.inject(f) })
	}
	w.run(w.plan.Safety)
	w.heal()
}

// run lets time pass up to until, or to the first failure.
func (w *world) run(until int64) {
	w.engine.Run(until, func() bool { return w.failure != nil || w.done })
}

func describePanic(v any) string {
	var p *engine.Panic
	if err, ok := v.(error); ok && errors.As(err, &p) {
		return p.Error()
	}
	return fmt.Sprintf("%v\n%s", v, debug.Stack())
}

// fail notes the first failure.
func (w *world) fail(check, format string, args ...any) {
	if w.failure == nil {
		w.failure = &Failure{check, fmt.Sprintf(format, args...)}
		w.engine.Comment(0, "FAILURE %s", w.failure)
	}
}

// close ends what still runs, so that no coroutine is left.
func (w *world) close() {
	defer func() { _ = recover() }() // a member that has panicked may do so again
	for _, h := range w.hosts {
		if h.member != nil {
			h.member.proc.Kill()
		}
	}
}

// running returns the members that run.
func (w *world) running() (all []*member) {
	for _, h := range w.hosts {
		if h.member != nil {
			all = append(all, h.member)
		}
	}
	return all
}

// present returns the hosts that belong to the cluster, or may come to.
func (w *world) present() []*host {
	return slices.DeleteFunc(slices.Clone(w.hosts), func(h *host) bool { return h.retired })
}

// leader returns the running member that leads in the highest term, nil if there is none.
func (w *world) leader() *member {
	var best *member
	for _, m := range w.running() {
		if m.leads() && (best == nil || m.consensus.Term() > best.consensus.Term()) {
			best = m
		}
	}
	return best
}

// judgeHistory hands what clients saw to the model.
func (w *world) judgeHistory() {
	h := &w.recorder.history
	h.Watches = append(h.Watches, w.judge.audit)
	h.Limits.ClockDrift = 1 - 1000.0/plan.FastestClock
	if err := w.recorder.history.Check(historyTimeout); err != nil {
		check := "history"
		var v *model.Violation
		if errors.As(err, &v) {
			check = v.Property
		}
		w.fail(check, "%v", err)
	}
}

// historyTimeout bounds the judgement of one history, in real time.
const historyTimeout = time.Minute
