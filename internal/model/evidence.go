package model

import "slices"

// evidence is what watchers saw of each revision. It tells which write of
// unknown outcome made a revision that no answer explains.
type evidence struct {
	// seen are the events of each revision, each event once.
	seen map[int64][]Event
	logs []evidenceLog
	last int64
}

// An evidenceLog is a watcher and the revisions of which it saw everything.
type evidenceLog struct {
	log         *WatchLog
	first, last int64
}

func newEvidence(watches []WatchLog) *evidence {
	e := &evidence{seen: map[int64][]Event{}}
	for i := range watches {
		e.add(&watches[i])
	}
	return e
}

func (e *evidence) add(log *WatchLog) {
	l := evidenceLog{log: log, first: log.first()}
	for _, response := range log.Responses {
		if response.Canceled {
			break
		}
		for _, event := range response.Events {
			if log.wants(event) {
				e.note(event)
			}
			l.last = max(l.last, event.KV.Mod)
		}
		if len(response.Events) == 0 {
			l.last = max(l.last, response.Revision)
		}
		e.last = max(e.last, l.last, response.Revision)
	}
	e.logs = append(e.logs, l)
}

// note keeps an event once, without what came before it: that depends on the
// watcher's options.
func (e *evidence) note(event Event) {
	for _, known := range e.seen[event.KV.Mod] {
		if known.KV == event.KV && known.Delete == event.Delete {
			return
		}
	}
	e.seen[event.KV.Mod] = append(e.seen[event.KV.Mod], Event{Delete: event.Delete, KV: event.KV})
}

// allows says whether a revision can have had these events: everything that
// was seen of it is among them, and no watcher that saw the revision lacks one.
func (e *evidence) allows(revision int64, events []Event) bool {
	for _, seen := range e.seen[revision] {
		if !contains(events, seen) {
			return false
		}
	}
	for _, l := range e.logs {
		if revision >= l.first && revision <= l.last && l.lacks(events, e.seen[revision]) {
			return false
		}
	}
	return true
}

// lacks says whether the watcher should have seen one of the events of a revision that nobody saw.
func (l *evidenceLog) lacks(events, seen []Event) bool {
	return slices.ContainsFunc(events, func(event Event) bool { return l.log.wants(event) && !contains(seen, event) })
}

func contains(events []Event, wanted Event) bool {
	for _, e := range events {
		if e.KV == wanted.KV && e.Delete == wanted.Delete {
			return true
		}
	}
	return false
}

// first returns the first revision that the watcher has to show.
func (w *WatchLog) first() int64 {
	switch {
	case w.Start > 0:
		return w.Start
	case w.Created > 0:
		return w.Created + 1
	case len(w.Responses) == 0:
		return never
	case len(w.Responses[0].Events) > 0:
		return w.Responses[0].Events[0].KV.Mod
	}
	return w.Responses[0].Revision + 1
}

// wants says whether the watcher's range and filters let an event through.
func (w *WatchLog) wants(e Event) bool {
	if e.Delete && w.NoDelete || !e.Delete && w.NoPut {
		return false
	}
	return Covers(w.Key, w.End, e.KV.Key)
}
