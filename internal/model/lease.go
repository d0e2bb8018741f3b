package model

import (
	"fmt"
	"maps"
	"time"
)

// checkLeases judges the timing of leases.
func (w *witness) checkLeases(h *History) error {
	for i := range h.Leases {
		l := timing{LeaseLog: &h.Leases[i], limits: h.Limits}
		if err := l.check(w); err != nil {
			return err
		}
	}
	return nil
}

// A timing is a lease with what is tolerated.
type timing struct {
	*LeaseLog
	limits Limits
}

func (l timing) violation(format string, args ...any) error {
	reason := fmt.Sprintf("lease %x with %d s: ", l.ID, l.TTL) + fmt.Sprintf(format, args...)
	return &Violation{Property: "lease", Reason: reason}
}

func (l timing) check(w *witness) error {
	if l.Gone > 0 {
		if err := l.notEarly(l.Gone, "its keys were gone"); err != nil {
			return err
		}
	}
	if revision, ended := w.ended[l.ID]; ended {
		if by := w.certain[revision-w.base]; by < never {
			if err := l.notEarly(by, fmt.Sprintf("the cluster had ended it, in revision %d,", revision)); err != nil {
				return err
			}
		}
	}
	if err := l.notRevived(); err != nil {
		return err
	}
	return l.notLate()
}

// life is the time to live in nanoseconds, changed by a part of itself.
func (l timing) life(part float64) int64 {
	ttl := time.Duration(l.TTL) * time.Second
	return int64(ttl) + int64(part*float64(ttl))
}

// notEarly says that the lease may have been over at a time: no call that was
// answered before then promised more.
func (l timing) notEarly(over int64, what string) error {
	if l.Revoked != nil && l.Revoked.Call <= over {
		return nil
	}
	promised, by := l.Granted.Call+l.life(-l.limits.ClockDrift), l.Granted
	for _, r := range l.Renewed {
		if until := r.Call + l.life(-l.limits.ClockDrift); !r.Unknown && r.Return < over && until > promised {
			promised, by = until, r
		}
	}
	if over < promised {
		return l.violation("%s at %d, %s before its time: it was last acknowledged in [%d, %d]",
			what, over, time.Duration(promised-over), by.Call, by.Return)
	}
	return nil
}

// notRevived says that no renewal succeeded after the lease was seen to be over.
func (l timing) notRevived() error {
	for _, r := range l.Renewed {
		if l.Gone > 0 && !r.Unknown && r.Call > l.Gone {
			return l.violation("renewed in [%d, %d], after its keys were gone at %d", r.Call, r.Return, l.Gone)
		}
	}
	return nil
}

// notLate says that the lease went when it was no longer renewed.
func (l timing) notLate() error {
	if l.limits.LeaseGrace <= 0 {
		return nil
	}
	last := l.Granted.Return
	for _, r := range l.Renewed {
		last = max(last, r.Return)
	}
	end := last + l.life(l.limits.ClockDrift) + int64(l.limits.LeaseGrace)
	switch {
	case l.Seen > end:
		return l.violation("still there at %d, when it should have gone by %d", l.Seen, end)
	case l.Gone == 0 && l.Until > end:
		return l.violation("never seen gone by %d, when it should have gone by %d", l.Until, end)
	}
	return nil
}

// leaseUsers returns the items that need each lease to be there: puts and a
// revocation that succeeded. Leases that are granted more than once, or perhaps, are left out.
func leaseUsers(r *record) map[int64][]int {
	grants, users := map[int64]int{}, map[int64][]int{}
	for _, lease := range r.start.Leases {
		grants[lease]++
	}
	for i := range r.free {
		if request := &r.free[i].request; request.Kind == Grant {
			grants[request.Lease]++
		}
	}
	for i := range r.items {
		switch it := &r.items[i]; {
		case it.role == mover && it.request.Kind == Grant:
			grants[it.request.Lease]++
		case it.role == mover && it.request.Kind == Revoke, it.role == pinnedWrite && it.request.Kind == Put:
			users[it.request.Lease] = append(users[it.request.Lease], i)
		}
	}
	maps.DeleteFunc(users, func(lease int64, _ []int) bool { return lease == 0 || grants[lease] > 1 })
	return users
}
