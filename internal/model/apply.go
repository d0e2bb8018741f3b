package model

// Apply carries out a request and returns its answer. A request that fails has
// no effect. Grants, revocations and compactions are answered with the present
// revision; a member may answer them with a later one.
func (s *Store) Apply(r Request) Response {
	switch r.Kind {
	case Put, Delete, Range, Txn:
		return s.execute(r)
	case Compact:
		return s.compact(r.AtRevision)
	case Grant:
		if s.leases[r.Lease] {
			return Response{Failure: FailureLeaseExists}
		}
		s.setLease(r.Lease, true)
		return Response{Revision: s.revision}
	case Revoke, Expire:
		return s.revoke(r.Lease)
	}
	return Response{Failure: FailureRefused}
}

func (s *Store) compact(revision int64) Response {
	switch {
	case revision <= s.compacted:
		return Response{Failure: FailureCompacted}
	case revision > s.revision:
		return Response{Failure: FailureFuture}
	}
	s.compacted = revision
	return Response{Revision: s.revision}
}

// revoke ends a lease and deletes its keys in one revision, in key order.
func (s *Store) revoke(lease int64) Response {
	if !s.leases[lease] {
		return Response{Failure: FailureLeaseNotFound}
	}
	x := s.begin()
	for _, key := range s.attached(lease) {
		x.remove(key)
	}
	x.finish()
	s.setLease(lease, false)
	return Response{Revision: s.revision}
}

// An execution is one request under way: all that it writes is one revision.
type execution struct {
	store *Store
	// next is the revision that the writes make.
	next   int64
	events []Event
}

func (s *Store) begin() *execution { return &execution{store: s, next: s.revision + 1} }

// execute carries out a key-value request.
func (s *Store) execute(r Request) Response {
	plan := s.resolve(r)
	if failure := s.admit(plan); failure != FailureNone {
		return Response{Failure: failure}
	}
	x := s.begin()
	response := x.run(plan)
	x.finish()
	if r.Kind == Txn {
		response.Revision = s.revision
	}
	return response
}

// finish makes the execution's writes a revision, if there are any.
func (x *execution) finish() {
	if len(x.events) == 0 {
		return
	}
	s := x.store
	s.revision = x.next
	s.log = append(s.log, x.events)
	for _, e := range x.events {
		s.digest = mixEvent(s.digest, e)
	}
	s.digest = mix(s.digest, uint64(s.revision))
}

// A plan is a request of which every comparison, nested ones too, has been
// decided: all look at the state before the first write.
type plan struct {
	request   Request
	succeeded bool
	steps     []plan
}

func (s *Store) resolve(r Request) plan {
	p := plan{request: r}
	if r.Kind != Txn {
		return p
	}
	p.succeeded = s.compareAll(r.Compares)
	branch := r.Else
	if p.succeeded {
		branch = r.Then
	}
	for _, step := range branch {
		p.steps = append(p.steps, s.resolve(step))
	}
	return p
}

// admit returns why the plan cannot be carried out; all of it is looked at
// before anything is written.
func (s *Store) admit(p plan) Failure {
	r := p.request
	switch r.Kind {
	case Range:
		return s.admitRange(r)
	case Put:
		return s.admitPut(r)
	case Txn:
		for _, step := range p.steps {
			if failure := s.admit(step); failure != FailureNone {
				return failure
			}
		}
	}
	return FailureNone
}

func (s *Store) admitRange(r Request) Failure {
	switch {
	case r.AtRevision <= 0:
		return FailureNone
	case r.AtRevision > s.revision:
		return FailureFuture
	case r.AtRevision < s.compacted:
		return FailureCompacted
	}
	return FailureNone
}

func (s *Store) admitPut(r Request) Failure {
	if r.Lease != 0 && !s.leases[r.Lease] {
		return FailureLeaseNotFound
	}
	if _, exists := s.latest(r.Key); !exists && (r.IgnoreValue || r.IgnoreLease) {
		return FailureKeyNotFound
	}
	return FailureNone
}

// current is the revision that an answer carries at this point of the execution.
func (x *execution) current() int64 {
	if len(x.events) > 0 {
		return x.next
	}
	return x.store.revision
}

func (x *execution) run(p plan) Response {
	switch p.request.Kind {
	case Put:
		return x.put(p.request)
	case Delete:
		return x.delete(p.request)
	case Range:
		return x.rangeKeys(p.request)
	case Txn:
		response := Response{Succeeded: p.succeeded}
		for _, step := range p.steps {
			response.Responses = append(response.Responses, x.run(step))
		}
		return response
	}
	return Response{Failure: FailureRefused}
}

func (x *execution) put(r Request) Response {
	prev, exists := x.store.latest(r.Key)
	kv := KV{Key: r.Key, Value: r.Value, Create: x.next, Mod: x.next, Version: 1, Lease: r.Lease}
	if exists {
		kv.Create, kv.Version = prev.Create, prev.Version+1
	}
	if r.IgnoreValue {
		kv.Value = prev.Value
	}
	if r.IgnoreLease {
		kv.Lease = prev.Lease
	}
	x.write(Event{KV: kv}, kv.Create != x.next)
	response := Response{Revision: x.current()}
	if r.PrevKV && exists {
		response.KVs = []KV{prev}
	}
	return response
}

func (x *execution) delete(r Request) Response {
	var response Response
	for _, key := range x.store.within(r.Key, r.End) {
		prev, exists := x.store.latest(key)
		if !exists {
			continue
		}
		response.Count++
		if r.PrevKV {
			response.KVs = append(response.KVs, prev)
		}
		x.remove(key)
	}
	response.Revision = x.current()
	return response
}

// remove deletes a key that exists.
func (x *execution) remove(key Bytes) {
	x.write(Event{Delete: true, KV: KV{Key: key, Mod: x.next}}, true)
}

// write adds an event and the version it makes. What a watcher is shown as the
// previous value is what stood before the whole revision.
func (x *execution) write(e Event, hasPast bool) {
	if prev, ok := x.store.at(e.KV.Key, x.next-1); ok && hasPast {
		e.Prev = &prev
	}
	x.events = append(x.events, e)
	x.store.push(version{revision: x.next, kv: e.KV, dead: e.Delete})
}

func (x *execution) rangeKeys(r Request) Response {
	revision := x.next
	if r.AtRevision > 0 {
		revision = r.AtRevision
	}
	kvs := x.store.live(r.Key, r.End, revision)
	response := Response{Revision: x.current(), Count: int64(len(kvs))}
	if r.CountOnly {
		return response
	}
	if r.Limit > 0 && r.Limit < int64(len(kvs)) {
		kvs, response.More = kvs[:r.Limit], true
	}
	if r.KeysOnly {
		for i := range kvs {
			kvs[i].Value, kvs[i].Lease = "", 0
		}
	}
	response.KVs = kvs
	return response
}

// compareAll says whether every condition holds now.
func (s *Store) compareAll(compares []Compare) bool {
	for _, c := range compares {
		if !s.compare(c) {
			return false
		}
	}
	return true
}

// compare says whether a condition holds for every key of its range; a range
// without keys is like a key that does not exist.
func (s *Store) compare(c Compare) bool {
	found := false
	for _, key := range s.within(c.Key, c.End) {
		if kv, ok := s.latest(key); ok {
			found = true
			if !c.holds(kv) {
				return false
			}
		}
	}
	if found {
		return true
	}
	return c.Target != TargetValue && c.holds(KV{})
}

func (c Compare) holds(kv KV) bool {
	switch c.Target {
	case TargetVersion:
		return c.Relation.holds(sign(kv.Version, c.Number))
	case TargetCreate:
		return c.Relation.holds(sign(kv.Create, c.Number))
	case TargetMod:
		return c.Relation.holds(sign(kv.Mod, c.Number))
	case TargetLease:
		return c.Relation.holds(sign(kv.Lease, c.Number))
	case TargetValue:
		return c.Relation.holds(sign(kv.Value, c.Value))
	}
	return false
}

func sign[T int64 | Bytes](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (r Relation) holds(sign int) bool {
	switch r {
	case Equal:
		return sign == 0
	case NotEqual:
		return sign != 0
	case Less:
		return sign < 0
	case Greater:
		return sign > 0
	}
	return false
}
