package cluster

import (
	"slices"
	"syscall"

	"github.com/quoin-kv/quoin/sim/plan"
)

// inject lets a fault happen.
func (w *world) inject(f plan.Fault) {
	if w.healed {
		return
	}
	if f.Wait > 0 {
		w.ambushes = append(w.ambushes, f)
		return
	}
	if h := w.target(f.Target); h != nil {
		w.strike(f, h)
	}
}

// ambush lets a fault that waits for a leader happen to this one.
func (w *world) ambush(h *host) {
	if len(w.ambushes) == 0 {
		return
	}
	f := w.ambushes[0]
	w.ambushes = w.ambushes[1:]
	w.engine.After(f.Wait, func() {
		if !w.healed {
			w.strike(f, h)
		}
	})
}

// strike lets a fault happen to a host.
func (w *world) strike(f plan.Fault, h *host) {
	w.engine.Note(string(f.Kind), h.index, uint64(f.At))
	if w.happen(f, h) {
		w.faults[string(f.Kind)]++
	}
}

// target finds the host that a fault means, nil if there is none now.
func (w *world) target(t int) *host {
	if t == plan.Leader {
		if m := w.leader(); m != nil {
			return m.host
		}
		t = 0
	}
	all := w.present()
	if len(all) == 0 {
		return nil
	}
	return all[t%len(all)]
}

// happen does what a fault says and returns whether it made a difference.
func (w *world) happen(f plan.Fault, h *host) bool {
	switch f.Kind {
	case plan.Crash:
		return h.down(f.For, h.crash)
	case plan.Pause:
		return h.pause(f.For)
	case plan.Isolate, plan.CutLink, plan.Split, plan.SlowLink:
		return w.disturb(f, h)
	case plan.StallDisk:
		h.stalled.log = w.engine.Now() + f.For
		if f.Mode != plan.LogOnly {
			h.stalled.file = h.stalled.log
		}
	case plan.FailSync:
		h.sync = true
	case plan.FailFile:
		h.file.Fail(syscall.EIO)
		w.engine.After(f.For, func() { h.file.Fail(nil) })
	case plan.FillDisk:
		return h.fill(f)
	case plan.FlipBits, plan.Wipe:
		return w.damage(f, h)
	case plan.ClockRate:
		return h.setRate(f.Amount)
	case plan.ClockJump:
		return h.jump(f.Amount)
	default:
		return w.operate(f, h)
	}
	return true
}

// down ends a member in some way and starts it again later.
func (h *host) down(ns int64, how func()) bool {
	if h.member == nil {
		return false
	}
	how()
	h.bootAfter(ns)
	return true
}

func (h *host) pause(ns int64) bool {
	m := h.member
	if m == nil || m.proc.Paused() {
		return false
	}
	m.proc.Pause()
	h.w.engine.After(ns, func() {
		if h.member == m {
			m.proc.Resume()
		}
	})
	return true
}

// fill makes a disk full for a while.
func (h *host) fill(f plan.Fault) bool {
	h.room = f.Amount
	if f.Amount%2 == 0 {
		h.file.Fail(syscall.ENOSPC)
	}
	h.w.engine.After(f.For, func() {
		h.room = -1
		h.file.Fail(nil)
	})
	return true
}

func (h *host) setRate(permille int64) bool {
	h.rate = permille
	if h.member != nil {
		h.member.proc.Tick(permille)
	}
	return true
}

func (h *host) jump(ns int64) bool {
	h.w.jumps = append(h.w.jumps, h.w.engine.Now())
	if h.member == nil {
		h.clock.local += ns
	} else {
		h.member.proc.Jump(ns)
	}
	return true
}

// disturb cuts or slows links for a while.
func (w *world) disturb(f plan.Fault, h *host) bool {
	var links []*link
	switch f.Kind {
	case plan.CutLink, plan.SlowLink:
		links = []*link{w.network.link(h.index, w.target(f.Peer).index)}
	case plan.Isolate:
		links = w.isolating(f, h)
	case plan.Split:
		for _, a := range w.hosts {
			for _, b := range w.hosts {
				if f.Amount>>(a.index%5)&1 != f.Amount>>(b.index%5)&1 {
					links = append(links, w.network.link(a.index, b.index))
				}
			}
		}
	}
	for _, l := range links {
		w.trouble(l, f)
	}
	return true
}

// isolating returns the links that a fault cuts around a host; others it only slows.
func (w *world) isolating(f plan.Fault, h *host) (links []*link) {
	for _, o := range w.hosts {
		if o == h {
			continue
		}
		in, out := w.network.link(o.index, h.index), w.network.link(h.index, o.index)
		switch f.Mode {
		case plan.In:
			links = append(links, in)
		case plan.Out:
			links = append(links, out)
		case plan.Stale:
			w.age(in, out, f)
		default:
			links = append(links, in, out)
		}
	}
	return links
}

// How links around a member become slower and slower: so slowly that a leader does not miss its followers.
const (
	ageStep  = 400e6 // slower each time
	agePause = 500e6
)

// age lets what a member receives come later and later, and then cuts off what it sends: answers to what it had sent before go on coming in
// for seconds, while others elect a leader.
func (w *world) age(in, out *link, f plan.Fault) {
	steps := 1 + f.Amount/ageStep
	for i := int64(1); i <= steps; i++ {
		w.engine.After(i*agePause, func() {
			if !w.healed {
				in.slow = i * ageStep
			}
		})
	}
	w.engine.After(steps*agePause, func() {
		if !w.healed {
			w.cut(out, f.For)
		}
	})
	w.engine.After(steps*agePause+f.For, func() { in.slow = 0 })
}

// slow makes a link slow for a while.
func (w *world) slow(l *link, by, ns int64) {
	l.slow = by
	w.engine.After(ns, func() { l.slow = 0 })
}

// trouble makes a link slow or cuts it, for a while.
func (w *world) trouble(l *link, f plan.Fault) {
	if f.Kind == plan.SlowLink {
		w.slow(l, f.Amount, f.For)
		return
	}
	w.cut(l, f.For)
}

// cut cuts a link for a while.
func (w *world) cut(l *link, ns int64) {
	l.cuts++
	w.engine.After(ns, func() {
		l.cuts = max(l.cuts-1, 0)
		l.since = w.engine.Now()
	})
}

// damage takes from a host for good what it had promised to keep, unless too many have lost that already.
func (w *world) damage(f plan.Fault, h *host) bool {
	if !w.spare(h) {
		return false
	}
	ofFile := f.Amount%2 == 0 // the database file's turn
	if h.member == nil || f.Kind != plan.Wipe && ofFile && !h.file.Covered() {
		return false
	}
	o := h.crashOptions()
	if f.Kind == plan.Wipe {
		h.end(o)
		h.damaged = true
		clear(h.received)
		return true
	}
	h.flipped = true
	if ofFile {
		h.end(o)
		h.flippedFile = h.file.Flip(h.rng.IntN)
		h.bootAfter(f.For)
		return true
	}
	o.FlipBits, o.TearLast = int(f.Amount), f.Mode == plan.Tear
	h.end(o)
	h.bootAfter(f.For)
	return true
}

// spare reports whether the cluster can lose what a host remembers.
func (w *world) spare(h *host) bool {
	best := w.best()
	if best == nil {
		return false
	}
	return !w.lossy() && w.operator.idle() && len(best.machine.ConfState().Voters) >= 3
}

// lossy reports whether a member may have lost what it had promised to keep.
func (w *world) lossy() bool {
	return slices.ContainsFunc(w.present(), func(h *host) bool { return h.damaged || h.flipped })
}

// best returns the running member that has applied most, nil if none runs.
func (w *world) best() *member {
	var best *member
	for _, m := range w.running() {
		if best == nil || m.applier.Applied().Index > best.applier.Applied().Index {
			best = m
		}
	}
	return best
}
