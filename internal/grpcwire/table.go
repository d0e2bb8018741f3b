package grpcwire

// table finds the streams of a connection by their ids. Ids grow, and most streams live as long as few others: so an id has its place, and only
// where two long-lived ones meet does one of them go to a map.
//
// Invariant: a stream is at its place in slots or else in rest.
type table struct {
	slots []*stream // a power of two of them
	rest  map[uint32]*stream
	count int
}

const (
	slotsMin = 8
	slotsMax = 4096
)

func (t *table) place(id uint32) *(*stream) { return &t.slots[(id>>1)&uint32(len(t.slots)-1)] }

func (t *table) get(id uint32) *stream {
	if t.count == 0 {
		return nil
	}
	if s := *t.place(id); s != nil && s.id == id {
		return s
	}
	return t.rest[id]
}

// put adds a stream that is not there.
func (t *table) put(s *stream) {
	if t.count++; 2*t.count > len(t.slots) && len(t.slots) < slotsMax {
		t.grow()
	}
	if p := t.place(s.id); *p == nil {
		*p = s
	} else {
		t.spill(s)
	}
}

func (t *table) spill(s *stream) {
	if t.rest == nil {
		t.rest = map[uint32]*stream{}
	}
	t.rest[s.id] = s
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]*stream, max(slotsMin, 2*len(old)))
	for _, s := range old {
		if s != nil {
			*t.place(s.id) = s // two that had different places still have
		}
	}
}

// remove takes a stream out, if it is there.
func (t *table) remove(s *stream) {
	if t.get(s.id) != s {
		return
	}
	t.count--
	if p := t.place(s.id); *p == s {
		*p = nil
	} else {
		delete(t.rest, s.id)
	}
}

// all calls f with each stream. f may remove it.
func (t *table) all(f func(*stream)) {
	for _, s := range t.slots {
		if s != nil {
			f(s)
		}
	}
	for _, s := range t.rest {
		f(s)
	}
}
