package machine

import (
	"cmp"
	"slices"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Alarm is one kind of trouble at one member.
type Alarm = request.AlarmMember

// alarms is the set of raised alarms, sorted by member and kind.
type alarms struct {
	list []Alarm
}

func compareAlarms(a, b Alarm) int {
	return cmp.Or(cmp.Compare(a.MemberID, b.MemberID), cmp.Compare(a.Kind, b.Kind))
}

// Raised reports whether any member has an alarm of the kind.
func (s *alarms) Raised(kind int32) bool {
	return slices.ContainsFunc(s.list, func(a Alarm) bool { return a.Kind == kind })
}

// add reports whether a was not there yet.
func (s *alarms) add(a Alarm) bool {
	i, found := slices.BinarySearchFunc(s.list, a, compareAlarms)
	if !found {
		s.list = slices.Insert(s.list, i, a)
	}
	return !found
}

// remove reports whether a was there.
func (s *alarms) remove(a Alarm) bool {
	i, found := slices.BinarySearchFunc(s.list, a, compareAlarms)
	if found {
		s.list = slices.Delete(s.list, i, i+1)
	}
	return found
}

// alarm raises or clears an alarm. Raising one again changes nothing and answers the same; clearing one that is not raised answers an empty list.
func (a *apply) alarm(r *request.Alarm) {
	one := Alarm{MemberID: r.MemberID, Kind: r.Kind}
	key := schema.AlarmKey(one.MemberID, one.Kind)
	var answer []Alarm
	switch {
	case r.Action == request.AlarmActivate && one.Kind != request.AlarmNone:
		if a.alarms.add(one) {
			a.storage.Put(schema.Alarm, key, nil)
		}
		answer = append(answer, one)
	case r.Action == request.AlarmDeactivate:
		if a.alarms.remove(one) {
			a.storage.Delete(schema.Alarm, key)
			answer = append(answer, one)
		}
	}
	a.out.Alarms = a.Machine.Alarms()
	a.reply(func(h request.ResponseHeader) []byte { return request.AppendAlarmResponse(nil, h, answer) })
}
