package request

// Lock asks for the lock of a name.
type Lock struct {
	Name []byte
	// Lease is what the lock's key hangs on; zero asks the server for one.
	Lease int64
}

// Unmarshal merges the wire form b into r. Name aliases b.
func (r *Lock) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setBytes(&r.Name)
		case 2:
			d.setInt64(&r.Lease)
		}
	}
	return d.done("LockRequest")
}

// Unlock gives up the lock whose key is Key.
type Unlock struct{ Key []byte }

// Unmarshal merges the wire form b into r. Key aliases b.
func (r *Unlock) Unmarshal(b []byte) error { return unmarshalBytes("UnlockRequest", b, &r.Key) }

// unmarshalBytes decodes a message whose only field is of bytes.
func unmarshalBytes(name string, b []byte, p *[]byte) error {
	d := decoder{rest: b}
	for d.next() {
		if d.num == 1 {
			d.setBytes(p)
		}
	}
	return d.done(name)
}

// Campaign asks to be leader of the election of a name.
type Campaign struct {
	Name []byte
	// Lease is what the leader's key hangs on; zero asks the server for one.
	Lease int64
	// Value is what the leader proclaims.
	Value []byte
}

// Unmarshal merges the wire form b into r. Name and Value alias b.
func (r *Campaign) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setBytes(&r.Name)
		case 2:
			d.setInt64(&r.Lease)
		case 3:
			d.setBytes(&r.Value)
		}
	}
	return d.done("CampaignRequest")
}

// LeaderKey is what a leader shows to prove that it leads.
type LeaderKey struct {
	Name, Key []byte
	// Rev is the revision at which Key was created.
	Rev int64
	// Lease is what Key hangs on.
	Lease int64
}

// Unmarshal merges the wire form b into k. Name and Key alias b.
func (k *LeaderKey) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setBytes(&k.Name)
		case 2:
			d.setBytes(&k.Key)
		case 3:
			d.setInt64(&k.Rev)
		case 4:
			d.setInt64(&k.Lease)
		}
	}
	return d.done("LeaderKey")
}

func (k *LeaderKey) size() int {
	return sizeBytes(1, len(k.Name)) + sizeBytes(2, len(k.Key)) + sizeNumber(3, uint64(k.Rev)) + sizeNumber(4, uint64(k.Lease))
}

func (k *LeaderKey) write(w *writer) {
	w.number(4, uint64(k.Lease))
	w.number(3, uint64(k.Rev))
	w.bytes(2, k.Key)
	w.bytes(1, k.Name)
}

// Leader asks who leads the election of a name, once or from now on.
type Leader struct{ Name []byte }

// Unmarshal merges the wire form b into r. Name aliases b.
func (r *Leader) Unmarshal(b []byte) error { return unmarshalBytes("LeaderRequest", b, &r.Name) }

// Proclaim changes what a leader proclaims.
type Proclaim struct {
	Leader *LeaderKey // nil if the client sent none
	Value  []byte
}

// Unmarshal merges the wire form b into r. Byte fields alias b.
func (r *Proclaim) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setLeader(&r.Leader)
		case 2:
			d.setBytes(&r.Value)
		}
	}
	return d.done("ProclaimRequest")
}

// Resign ends what a leader leads.
type Resign struct {
	Leader *LeaderKey // nil if the client sent none
}

// Unmarshal merges the wire form b into r. Byte fields alias b.
func (r *Resign) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		if d.num == 1 {
			d.setLeader(&r.Leader)
		}
	}
	return d.done("ResignRequest")
}

func (d *decoder) setLeader(p **LeaderKey) {
	if !d.isMessage() {
		return
	}
	*p = orNew(*p)
	d.err = (*p).Unmarshal(d.payload)
}

// AppendLockResponse appends the answer to a [Lock]: the key that is the lock.
func AppendLockResponse(b []byte, h ResponseHeader, key []byte) []byte {
	w := begin(b, h.frameSize()+sizeBytes(2, len(key)))
	w.bytes(2, key)
	h.write(&w)
	return w.finish()
}

// AppendCampaignResponse appends the answer to a [Campaign].
func AppendCampaignResponse(b []byte, h ResponseHeader, k *LeaderKey) []byte {
	w := begin(b, h.frameSize()+sizeFrame(2, k.size()))
	end := w.at
	k.write(&w)
	w.message(2, end)
	h.write(&w)
	return w.finish()
}

// AppendLeaderResponse appends the answer to a [Leader]: the encoded record of the leader's key.
func AppendLeaderResponse(b []byte, h ResponseHeader, record []byte) []byte {
	w := begin(b, h.frameSize()+sizeFrame(2, len(record)))
	w.frame(2, record)
	h.write(&w)
	return w.finish()
}
