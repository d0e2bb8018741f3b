package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// What a healed cluster has to achieve, in virtual nanoseconds after the end of all trouble.
const (
	quietAfter  = 6e9   // clients go on so long at least
	quietLimit  = 150e9 // and so long at most, if they have not done much yet
	lookEvery   = 250e6 // between two looks at whether all is well
	healTimeout = 240e9
	watchTime   = 12e9 // that watchers have to see everything
)

// heal ends all trouble and demands that the cluster comes to rest: it has a leader, all clients get their answers, and all members are
// in the same state.
func (w *world) heal() {
	if w.failure != nil {
		return
	}
	w.engine.Note("heal", 0)
	w.healed = true
	w.network.heal()
	for _, h := range w.hosts {
		h.heal()
	}
	start := w.engine.Now()
	w.engine.After(quietAfter, func() { w.quiet(start + quietLimit) })
	w.lookAgain()
	w.run(start + healTimeout)
	if !w.done {
		w.fail("progress", "%s", w.describe())
		return
	}
	w.compare()
}

// operationsMin is what clients do in a simulation at least, as long as that can be had.
const operationsMin = 550

// quiet lets clients begin nothing new, once they have done enough.
func (w *world) quiet(limit int64) {
	if len(w.recorder.history.Ops) < operationsMin && w.engine.Now() < limit && len(w.clients) > 0 {
		w.engine.After(1e9, func() { w.quiet(limit) })
		return
	}
	w.closing = true
}

// heal ends the trouble of one host.
func (h *host) heal() {
	h.sync, h.room, h.stalled.log, h.stalled.file = false, -1, 0, 0
	h.file.Fail(nil)
	h.setRate(1000)
	if m := h.member; m != nil && m.proc.Paused() {
		m.proc.Resume()
	}
	h.boot()
}

// lookAgain looks from time to time whether the cluster is at rest.
func (w *world) lookAgain() {
	w.engine.After(lookEvery, func() {
		if w.closing && w.atRest() {
			w.engine.After(watchTime, w.finish)
			return
		}
		w.lookAgain()
	})
}

// finish closes the books: by now every watcher has seen everything.
func (w *world) finish() {
	if !w.atRest() { // it was not the end
		w.lookAgain()
		return
	}
	w.done = true
	rev := w.best().view.Rev()
	for _, c := range w.clients {
		if v, ok := c.(*watcher); ok && v.log != nil {
			v.log.Until = rev
			v.finish()
		}
	}
}

// atRest reports whether nothing is left to do.
func (w *world) atRest() bool {
	if slices.ContainsFunc(w.clients, actor.busy) {
		return false
	}
	lead := w.leader()
	if lead == nil || !w.operator.idle() || w.lossyVoter(lead) {
		return false
	}
	for _, h := range w.present() {
		m := h.member
		if h.damaged {
			continue
		}
		if m == nil {
			return false
		}
		last := lead.consensus.Status().Last
		if m.applier.Applied().Index != last || m.consensus.Lead() != lead.host.id || m.machine.Compacting() || m.alarmLingers() {
			return false
		}
	}
	return true
}

// lossyVoter reports whether a member that will not come back still counts.
func (w *world) lossyVoter(lead *member) bool {
	for _, h := range w.hosts {
		if _, is := lead.machine.Members().Member(h.id); is && (h.damaged || h.retired) {
			return true
		}
	}
	return false
}

// describe says where everybody is, for who wonders why there is no progress.
func (w *world) describe() string {
	var b strings.Builder
	b.WriteString("a healed cluster does not come to rest\n")
	for i, c := range w.clients {
		fmt.Fprintf(&b, "client %d busy %v\n", i, c.busy())
	}
	for _, h := range w.hosts {
		fmt.Fprintf(&b, "host %d member %x retired %v damaged %v runs %v\n", h.index, h.id, h.retired, h.damaged, h.member != nil)
		if m := h.member; m != nil {
			fmt.Fprintf(&b, " %+v compacting %v writing %v\n", m.Status(), m.machine.Compacting(), m.writing)
		}
	}
	return b.String()
}

// compare demands the same state of all members.
func (w *world) compare() {
	var want string
	for _, m := range w.running() {
		got, err := m.describe()
		if err != nil {
			w.fail("hash", "member %x: %v", m.host.id, err)
			return
		}
		if want == "" {
			want = got
		}
		if got != want {
			w.fail("equal-state", "member %x is\n%s\nthe first one\n%s", m.host.id, got, want)
			return
		}
	}
}

// describe is all that members have to agree about.
func (m *member) describe() (string, error) {
	hash, err := m.view.HashKV(0)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "revision %d hash %+v\nmembers %+v removed %v\nconfiguration %+v core %+v\n", m.view.Rev(), hash,
		m.machine.Members().Members(), m.machine.Members().Removed(), m.machine.ConfState(), m.consensus.Status().ConfState)
	for _, l := range m.machine.Leases().Leases() {
		fmt.Fprintf(&b, "lease %+v %s\n", l, m.machine.Leases().Keys(l.ID))
	}
	return b.String(), nil
}
