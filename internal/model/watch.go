package model

import "fmt"

// checkWatches judges every watcher against the order of writes.
func (w *witness) checkWatches(h *History) error {
	for i := range h.Watches {
		v := viewer{witness: w, log: &h.Watches[i], next: h.Watches[i].first()}
		if err := v.check(); err != nil {
			return err
		}
	}
	return nil
}

// A viewer follows one watcher. Everything below next has been seen.
type viewer struct {
	*witness
	log  *WatchLog
	next int64
}

func (v *viewer) violation(format string, args ...any) error {
	who := fmt.Sprintf("client %d", v.log.Client)
	if v.log.Member != 0 {
		who += fmt.Sprintf(" (at %x)", v.log.Member)
	}
	who += fmt.Sprintf(" watching %s from %d: ", describeRange(v.log.Key, v.log.End), v.log.first())
	return &Violation{Property: "watch", Reason: who + fmt.Sprintf(format, args...)}
}

func (v *viewer) check() error {
	for i := range v.log.Responses {
		response := &v.log.Responses[i]
		if response.Canceled {
			return v.checkCancel(response)
		}
		if err := v.checkResponse(response); err != nil {
			return err
		}
	}
	return v.nothingBefore(v.log.Until+1, "although it had the time")
}

func (v *viewer) checkResponse(response *WatchResponse) error {
	if !v.existed(response.Revision, response.Time) {
		return v.violation("revision %d did not exist at %d", response.Revision, response.Time)
	}
	if len(response.Events) == 0 {
		if err := v.nothingBefore(response.Revision+1, fmt.Sprintf("when told of progress to %d", response.Revision)); err != nil {
			return err
		}
		v.next = max(v.next, response.Revision+1)
		return nil
	}
	for rest := response.Events; len(rest) > 0; {
		group := sameRevision(rest)
		rest = rest[len(group):]
		if err := v.checkGroup(response, group); err != nil {
			return err
		}
	}
	return nil
}

// sameRevision returns the first events, as far as they are of one revision.
func sameRevision(events []Event) []Event {
	n := 1
	for n < len(events) && events[n].KV.Mod == events[0].KV.Mod {
		n++
	}
	return events[:n]
}

// checkGroup judges the events of one revision.
func (v *viewer) checkGroup(response *WatchResponse, got []Event) error {
	revision := got[0].KV.Mod
	switch {
	case revision < v.next:
		return v.violation("again, or out of order, when %d was next: %s", v.next, describeEvent(got[0]))
	case revision > response.Revision:
		return v.violation("revision %d in the header of: %s", response.Revision, describeEvent(got[0]))
	}
	if err := v.nothingBefore(revision, "when shown "+describeEvent(got[0])); err != nil {
		return err
	}
	want := v.wanted(revision)
	if len(got) != len(want) {
		return v.violation("%d events of revision %d instead of %d: %s\ninstead of: %s",
			len(got), revision, len(want), describeEvents(got), describeEvents(want))
	}
	for i := range got {
		if err := v.checkEvent(response, got[i], want[i]); err != nil {
			return err
		}
	}
	v.next = revision + 1
	return nil
}

func (v *viewer) checkEvent(response *WatchResponse, got, want Event) error {
	if got.KV != want.KV || got.Delete != want.Delete {
		return v.violation("%s\ninstead of: %s", describeEvent(got), describeEvent(want))
	}
	switch {
	case !v.log.PrevKV && got.Prev != nil:
		return v.violation("a previous value that was not asked for: %s", describeEvent(got))
	case v.log.PrevKV && got.Prev == nil && want.Prev != nil && !v.compacted(got.KV.Mod-1, response.Time):
		return v.violation("no previous value with %s\nit was %s", describeEvent(got), describeKV(*want.Prev))
	case got.Prev != nil && want.Prev == nil:
		return v.violation("a previous value where there was none: %s", describeEvent(got))
	case got.Prev != nil && *got.Prev != *want.Prev:
		return v.violation("previous value %s\ninstead of %s", describeKV(*got.Prev), describeKV(*want.Prev))
	}
	return nil
}

// wanted returns the events of a revision that the watcher has to be shown.
func (v *viewer) wanted(revision int64) []Event {
	var want []Event
	for _, e := range v.store.Events(revision) {
		if v.log.wants(e) {
			want = append(want, e)
		}
	}
	return want
}

// nothingBefore says that the watcher owes nothing below a revision.
func (v *viewer) nothingBefore(revision int64, when string) error {
	for r := max(v.next, v.base); r < revision && r <= v.store.revision; r++ {
		if want := v.wanted(r); len(want) > 0 {
			return v.violation("not shown, %s: %s", when, describeEvents(want))
		}
	}
	return nil
}

// checkCancel judges the end of a watcher.
func (v *viewer) checkCancel(response *WatchResponse) error {
	switch {
	case response.CompactRevision == 0:
		return nil
	case response.CompactRevision <= v.next:
		return v.violation("canceled for the compaction of %d when %d was next", response.CompactRevision, v.next)
	case !v.compacted(response.CompactRevision-1, response.Time):
		return v.violation("canceled for a compaction of %d that nobody had asked for", response.CompactRevision)
	}
	return nil
}
