package request

// Sort orders of a [Range].
const (
	SortNone int32 = iota
	SortAscend
	SortDescend
)

// Sort targets of a [Range].
const (
	SortByKey int32 = iota
	SortByVersion
	SortByCreate
	SortByMod
	SortByValue
)

// Range asks for the records of a key range.
type Range struct {
	// Key is the first key; RangeEnd the first key behind the range, empty for
	// the single key, one zero byte for everything from Key on.
	Key, RangeEnd []byte
	// Limit bounds the number of records; zero or less means no bound.
	Limit int64
	// Revision is the store revision to read at; zero means the latest.
	Revision              int64
	SortOrder, SortTarget int32
	// Serializable allows an answer from local, possibly stale, state.
	Serializable        bool
	KeysOnly, CountOnly bool
	// Inclusive filters; zero is off.
	MinModRevision, MaxModRevision       int64
	MinCreateRevision, MaxCreateRevision int64
}

// Unmarshal merges the wire form b into r. Key and RangeEnd alias b.
func (r *Range) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setBytes(&r.Key)
		case 2:
			d.setBytes(&r.RangeEnd)
		case 3:
			d.setInt64(&r.Limit)
		case 4:
			d.setInt64(&r.Revision)
		case 5:
			d.setInt32(&r.SortOrder)
		case 6:
			d.setInt32(&r.SortTarget)
		case 7:
			d.setBool(&r.Serializable)
		case 8:
			d.setBool(&r.KeysOnly)
		case 9:
			d.setBool(&r.CountOnly)
		case 10:
			d.setInt64(&r.MinModRevision)
		case 11:
			d.setInt64(&r.MaxModRevision)
		case 12:
			d.setInt64(&r.MinCreateRevision)
		case 13:
			d.setInt64(&r.MaxCreateRevision)
		}
	}
	return d.done("RangeRequest")
}

// Size is the length of the wire form in bytes.
func (r *Range) Size() int {
	return sizeBytes(1, len(r.Key)) + sizeBytes(2, len(r.RangeEnd)) +
		sizeNumber(3, uint64(r.Limit)) + sizeNumber(4, uint64(r.Revision)) +
		sizeNumber(5, uint64(r.SortOrder)) + sizeNumber(6, uint64(r.SortTarget)) +
		sizeFlag(7, r.Serializable) + sizeFlag(8, r.KeysOnly) + sizeFlag(9, r.CountOnly) +
		sizeNumber(10, uint64(r.MinModRevision)) + sizeNumber(11, uint64(r.MaxModRevision)) +
		sizeNumber(12, uint64(r.MinCreateRevision)) + sizeNumber(13, uint64(r.MaxCreateRevision))
}

// Append appends the canonical wire form to b.
func (r *Range) Append(b []byte) []byte {
	w := begin(b, r.Size())
	r.write(&w)
	return w.finish()
}

func (r *Range) write(w *writer) {
	w.number(13, uint64(r.MaxCreateRevision))
	w.number(12, uint64(r.MinCreateRevision))
	w.number(11, uint64(r.MaxModRevision))
	w.number(10, uint64(r.MinModRevision))
	w.flag(9, r.CountOnly)
	w.flag(8, r.KeysOnly)
	w.flag(7, r.Serializable)
	w.number(6, uint64(r.SortTarget))
	w.number(5, uint64(r.SortOrder))
	w.number(4, uint64(r.Revision))
	w.number(3, uint64(r.Limit))
	w.bytes(2, r.RangeEnd)
	w.bytes(1, r.Key)
}

// Put stores one key.
type Put struct {
	Key, Value []byte
	// Lease is the id of the lease to attach to; zero detaches.
	Lease int64
	// PrevKV asks for the record that the put replaces.
	PrevKV bool
	// IgnoreValue keeps the present value, IgnoreLease the present lease.
	IgnoreValue, IgnoreLease bool
}

// Unmarshal merges the wire form b into r. Key and Value alias b.
func (r *Put) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setBytes(&r.Key)
		case 2:
			d.setBytes(&r.Value)
		case 3:
			d.setInt64(&r.Lease)
		case 4:
			d.setBool(&r.PrevKV)
		case 5:
			d.setBool(&r.IgnoreValue)
		case 6:
			d.setBool(&r.IgnoreLease)
		}
	}
	return d.done("PutRequest")
}

// Size is the length of the wire form in bytes.
func (r *Put) Size() int {
	return sizeBytes(1, len(r.Key)) + sizeBytes(2, len(r.Value)) + sizeNumber(3, uint64(r.Lease)) +
		sizeFlag(4, r.PrevKV) + sizeFlag(5, r.IgnoreValue) + sizeFlag(6, r.IgnoreLease)
}

// Append appends the canonical wire form to b.
func (r *Put) Append(b []byte) []byte {
	w := begin(b, r.Size())
	r.write(&w)
	return w.finish()
}

func (r *Put) write(w *writer) {
	w.flag(6, r.IgnoreLease)
	w.flag(5, r.IgnoreValue)
	w.flag(4, r.PrevKV)
	w.number(3, uint64(r.Lease))
	w.bytes(2, r.Value)
	w.bytes(1, r.Key)
}

// DeleteRange deletes the keys of a range.
type DeleteRange struct {
	Key, RangeEnd []byte // as in Range
	// PrevKV asks for the deleted records.
	PrevKV bool
}

// Unmarshal merges the wire form b into r. Key and RangeEnd alias b.
func (r *DeleteRange) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setBytes(&r.Key)
		case 2:
			d.setBytes(&r.RangeEnd)
		case 3:
			d.setBool(&r.PrevKV)
		}
	}
	return d.done("DeleteRangeRequest")
}

// Size is the length of the wire form in bytes.
func (r *DeleteRange) Size() int {
	return sizeBytes(1, len(r.Key)) + sizeBytes(2, len(r.RangeEnd)) + sizeFlag(3, r.PrevKV)
}

// Append appends the canonical wire form to b.
func (r *DeleteRange) Append(b []byte) []byte {
	w := begin(b, r.Size())
	r.write(&w)
	return w.finish()
}

func (r *DeleteRange) write(w *writer) {
	w.flag(3, r.PrevKV)
	w.bytes(2, r.RangeEnd)
	w.bytes(1, r.Key)
}

// Compaction forgets history below Revision.
type Compaction struct {
	Revision int64
	// Physical asks for an answer only after the data is removed.
	Physical bool
}

// Unmarshal merges the wire form b into r.
func (r *Compaction) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setInt64(&r.Revision)
		case 2:
			d.setBool(&r.Physical)
		}
	}
	return d.done("CompactionRequest")
}

// Size is the length of the wire form in bytes.
func (r *Compaction) Size() int {
	return sizeNumber(1, uint64(r.Revision)) + sizeFlag(2, r.Physical)
}

// Append appends the canonical wire form to b.
func (r *Compaction) Append(b []byte) []byte {
	w := begin(b, r.Size())
	w.flag(2, r.Physical)
	w.number(1, uint64(r.Revision))
	return w.finish()
}
