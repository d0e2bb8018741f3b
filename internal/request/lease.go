package request

import "slices"

// LeaseGrant creates a lease. TTL is in seconds; ID zero asks the server for
// an id.
type LeaseGrant struct{ TTL, ID int64 }

// Unmarshal merges the wire form b into r.
func (r *LeaseGrant) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setInt64(&r.TTL)
		case 2:
			d.setInt64(&r.ID)
		}
	}
	return d.done("LeaseGrantRequest")
}

// Size is the length of the wire form in bytes.
func (r *LeaseGrant) Size() int {
	return sizeNumber(1, uint64(r.TTL)) + sizeNumber(2, uint64(r.ID))
}

// Append appends the canonical wire form to b.
func (r *LeaseGrant) Append(b []byte) []byte {
	w := begin(b, r.Size())
	w.number(2, uint64(r.ID))
	w.number(1, uint64(r.TTL))
	return w.finish()
}

// LeaseRevoke ends a lease and deletes its keys.
type LeaseRevoke struct{ ID int64 }

// Unmarshal merges the wire form b into r.
func (r *LeaseRevoke) Unmarshal(b []byte) error {
	return unmarshalID("LeaseRevokeRequest", b, &r.ID)
}

// Size is the length of the wire form in bytes.
func (r *LeaseRevoke) Size() int { return sizeNumber(1, uint64(r.ID)) }

// Append appends the canonical wire form to b.
func (r *LeaseRevoke) Append(b []byte) []byte { return appendID(b, r.ID) }

// LeaseKeepAlive renews a lease. It is never logged.
type LeaseKeepAlive struct{ ID int64 }

// Unmarshal merges the wire form b into r.
func (r *LeaseKeepAlive) Unmarshal(b []byte) error {
	return unmarshalID("LeaseKeepAliveRequest", b, &r.ID)
}

// Size is the length of the wire form in bytes.
func (r *LeaseKeepAlive) Size() int { return sizeNumber(1, uint64(r.ID)) }

// Append appends the canonical wire form to b.
func (r *LeaseKeepAlive) Append(b []byte) []byte { return appendID(b, r.ID) }

// unmarshalID decodes a message whose only field is an id.
func unmarshalID(name string, b []byte, id *int64) error {
	d := decoder{rest: b}
	for d.next() {
		if d.num == 1 {
			d.setInt64(id)
		}
	}
	return d.done(name)
}

func appendID(b []byte, id int64) []byte {
	w := begin(b, sizeNumber(1, uint64(id)))
	w.number(1, uint64(id))
	return w.finish()
}

// LeaseTimeToLive asks for a lease's remaining time. It is never logged.
type LeaseTimeToLive struct {
	ID int64
	// Keys asks for the attached keys.
	Keys bool
}

// Unmarshal merges the wire form b into r.
func (r *LeaseTimeToLive) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setInt64(&r.ID)
		case 2:
			d.setBool(&r.Keys)
		}
	}
	return d.done("LeaseTimeToLiveRequest")
}

// Size is the length of the wire form in bytes.
func (r *LeaseTimeToLive) Size() int { return sizeNumber(1, uint64(r.ID)) + sizeFlag(2, r.Keys) }

// Append appends the canonical wire form to b.
func (r *LeaseTimeToLive) Append(b []byte) []byte {
	w := begin(b, r.Size())
	w.flag(2, r.Keys)
	w.number(1, uint64(r.ID))
	return w.finish()
}

// LeaseCheckpoint records how much time leases have left.
type LeaseCheckpoint struct{ Checkpoints []Checkpoint }

// Checkpoint is the remaining time of one lease, in seconds.
type Checkpoint struct{ ID, RemainingTTL int64 }

// Unmarshal merges the wire form b into r.
func (r *LeaseCheckpoint) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		if d.num == 1 && d.isMessage() {
			r.Checkpoints = append(r.Checkpoints, Checkpoint{})
			d.err = r.Checkpoints[len(r.Checkpoints)-1].Unmarshal(d.payload)
		}
	}
	return d.done("LeaseCheckpointRequest")
}

// Size is the length of the wire form in bytes.
func (r *LeaseCheckpoint) Size() int {
	n := 0
	for i := range r.Checkpoints {
		n += sizeFrame(1, r.Checkpoints[i].Size())
	}
	return n
}

// Append appends the canonical wire form to b.
func (r *LeaseCheckpoint) Append(b []byte) []byte {
	w := begin(b, r.Size())
	for i := range slices.Backward(r.Checkpoints) {
		end := w.at
		r.Checkpoints[i].write(&w)
		w.message(1, end)
	}
	return w.finish()
}

// Unmarshal merges the wire form b into c.
func (c *Checkpoint) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setInt64(&c.ID)
		case 2:
			d.setInt64(&c.RemainingTTL)
		}
	}
	return d.done("LeaseCheckpoint")
}

// Size is the length of the wire form in bytes.
func (c *Checkpoint) Size() int {
	return sizeNumber(1, uint64(c.ID)) + sizeNumber(2, uint64(c.RemainingTTL))
}

func (c *Checkpoint) write(w *writer) {
	w.number(2, uint64(c.RemainingTTL))
	w.number(1, uint64(c.ID))
}
