package request

import "slices"

// ResponseHeader stands in front of almost every response.
type ResponseHeader struct {
	// ClusterID and MemberID name who answered.
	ClusterID, MemberID uint64
	// Revision is the store's revision; which one exactly depends on the call.
	Revision int64
	// RaftTerm is the term in which the call was answered.
	RaftTerm uint64
}

func (h *ResponseHeader) size() int {
	return sizeNumber(1, h.ClusterID) + sizeNumber(2, h.MemberID) +
		sizeNumber(3, uint64(h.Revision)) + sizeNumber(4, h.RaftTerm)
}

// frameSize is the size of the header as field 1 of a response.
func (h *ResponseHeader) frameSize() int { return sizeFrame(1, h.size()) }

// write writes the header as field 1 of a response, also if it is zero.
func (h *ResponseHeader) write(w *writer) {
	end := w.at
	w.number(4, h.RaftTerm)
	w.number(3, uint64(h.Revision))
	w.number(2, h.MemberID)
	w.number(1, h.ClusterID)
	w.message(1, end)
}

// AppendHeaderResponse appends a response that is nothing but its header, as
// compactions, lease revocations and most auth calls have it.
func AppendHeaderResponse(b []byte, h ResponseHeader) []byte {
	w := begin(b, h.frameSize())
	h.write(&w)
	return w.finish()
}

// AppendCompactionResponse appends the answer to a [Compaction].
func AppendCompactionResponse(b []byte, h ResponseHeader) []byte { return AppendHeaderResponse(b, h) }

// AppendLeaseRevokeResponse appends the answer to a [LeaseRevoke].
func AppendLeaseRevokeResponse(b []byte, h ResponseHeader) []byte { return AppendHeaderResponse(b, h) }

// RangeResult answers a [Range].
type RangeResult struct {
	// KVs are encoded KeyValue records in the order of the answer.
	KVs [][]byte
	// More tells that records were left out for the limit.
	More bool
	// Count is the number of keys in the range.
	Count int64
}

func (r *RangeResult) size() int {
	return sizeFrames(2, r.KVs) + sizeFlag(3, r.More) + sizeNumber(4, uint64(r.Count))
}

func (r *RangeResult) write(w *writer) {
	w.number(4, uint64(r.Count))
	w.flag(3, r.More)
	w.frames(2, r.KVs)
}

// SizeRangeResponse is the length in bytes of [AppendRangeResponse]'s message.
func SizeRangeResponse(h ResponseHeader, r *RangeResult) int { return h.frameSize() + r.size() }

// AppendRangeResponse appends the answer to a [Range].
func AppendRangeResponse(b []byte, h ResponseHeader, r *RangeResult) []byte {
	w := begin(b, SizeRangeResponse(h, r))
	r.write(&w)
	h.write(&w)
	return w.finish()
}

// AppendRangeChunk appends one message of a range stream: records, and in the
// last chunk, where h is not nil, header and totals.
func AppendRangeChunk(b []byte, h *ResponseHeader, r *RangeResult) []byte {
	size := r.size()
	if h != nil {
		size += h.frameSize()
	}
	w := begin(b, sizeFrame(1, size))
	end := w.at
	r.write(&w)
	if h != nil {
		h.write(&w)
	}
	w.message(1, end)
	return w.finish()
}

// PutResult answers a [Put].
type PutResult struct {
	// PrevKV is the encoded record that was replaced; nil if it was not asked
	// for or there was none.
	PrevKV []byte
}

func (r *PutResult) size() int {
	if r.PrevKV == nil {
		return 0
	}
	return sizeFrame(2, len(r.PrevKV))
}

func (r *PutResult) write(w *writer) {
	if r.PrevKV != nil {
		w.frame(2, r.PrevKV)
	}
}

// SizePutResponse is the length in bytes of [AppendPutResponse]'s message.
func SizePutResponse(h ResponseHeader, r *PutResult) int { return h.frameSize() + r.size() }

// AppendPutResponse appends the answer to a [Put].
func AppendPutResponse(b []byte, h ResponseHeader, r *PutResult) []byte {
	w := begin(b, SizePutResponse(h, r))
	r.write(&w)
	h.write(&w)
	return w.finish()
}

// DeleteRangeResult answers a [DeleteRange].
type DeleteRangeResult struct {
	// Deleted is the number of keys deleted.
	Deleted int64
	// PrevKVs are the encoded records of those keys in key order, if asked for.
	PrevKVs [][]byte
}

func (r *DeleteRangeResult) size() int {
	return sizeNumber(2, uint64(r.Deleted)) + sizeFrames(3, r.PrevKVs)
}

func (r *DeleteRangeResult) write(w *writer) {
	w.frames(3, r.PrevKVs)
	w.number(2, uint64(r.Deleted))
}

// SizeDeleteRangeResponse is the length in bytes of
// [AppendDeleteRangeResponse]'s message.
func SizeDeleteRangeResponse(h ResponseHeader, r *DeleteRangeResult) int {
	return h.frameSize() + r.size()
}

// AppendDeleteRangeResponse appends the answer to a [DeleteRange].
func AppendDeleteRangeResponse(b []byte, h ResponseHeader, r *DeleteRangeResult) []byte {
	w := begin(b, SizeDeleteRangeResponse(h, r))
	r.write(&w)
	h.write(&w)
	return w.finish()
}

// TxnResult answers a [Txn].
type TxnResult struct {
	// Succeeded tells that the success branch ran.
	Succeeded bool
	// Responses correspond one to one to the operations of that branch.
	Responses []OpResult
}

// OpResult answers one [Op]. Exactly one of the results is set.
type OpResult struct {
	// Revision is the only thing that the operation's own header says. The
	// header of a nested transaction does not say even that: it is empty.
	Revision    int64
	Range       *RangeResult
	Put         *PutResult
	DeleteRange *DeleteRangeResult
	Txn         *TxnResult
}

func (r *TxnResult) size() int {
	n := sizeFlag(2, r.Succeeded)
	for i := range r.Responses {
		n += sizeFrame(3, r.Responses[i].size())
	}
	return n
}

func (r *TxnResult) write(w *writer) {
	for i := range slices.Backward(r.Responses) {
		end := w.at
		r.Responses[i].write(w)
		w.message(3, end)
	}
	w.flag(2, r.Succeeded)
}

func (r *OpResult) header() ResponseHeader {
	if r.Txn != nil {
		return ResponseHeader{}
	}
	return ResponseHeader{Revision: r.Revision}
}

func (r *OpResult) size() int {
	h := r.header()
	switch {
	case r.Range != nil:
		return sizeFrame(1, SizeRangeResponse(h, r.Range))
	case r.Put != nil:
		return sizeFrame(2, SizePutResponse(h, r.Put))
	case r.DeleteRange != nil:
		return sizeFrame(3, SizeDeleteRangeResponse(h, r.DeleteRange))
	case r.Txn != nil:
		return sizeFrame(4, SizeTxnResponse(h, r.Txn))
	}
	return 0
}

func (r *OpResult) write(w *writer) {
	h, end := r.header(), w.at
	switch {
	case r.Range != nil:
		r.Range.write(w)
		h.write(w)
		w.message(1, end)
	case r.Put != nil:
		r.Put.write(w)
		h.write(w)
		w.message(2, end)
	case r.DeleteRange != nil:
		r.DeleteRange.write(w)
		h.write(w)
		w.message(3, end)
	case r.Txn != nil:
		r.Txn.write(w)
		h.write(w)
		w.message(4, end)
	}
}

// SizeTxnResponse is the length in bytes of [AppendTxnResponse]'s message.
func SizeTxnResponse(h ResponseHeader, r *TxnResult) int { return h.frameSize() + r.size() }

// AppendTxnResponse appends the answer to a [Txn].
func AppendTxnResponse(b []byte, h ResponseHeader, r *TxnResult) []byte {
	w := begin(b, SizeTxnResponse(h, r))
	r.write(&w)
	h.write(&w)
	return w.finish()
}

// LeaseTTL is a lease's id and a time in seconds.
type LeaseTTL struct{ ID, TTL int64 }

// AppendLeaseGrantResponse appends the answer to a [LeaseGrant]: the lease's id
// and the TTL that was granted.
func AppendLeaseGrantResponse(b []byte, h ResponseHeader, r LeaseTTL) []byte {
	return appendLeaseTTL(b, h, r)
}

// AppendLeaseKeepAliveResponse appends the answer to a [LeaseKeepAlive]: the
// full TTL, or zero for a lease that does not exist.
func AppendLeaseKeepAliveResponse(b []byte, h ResponseHeader, r LeaseTTL) []byte {
	return appendLeaseTTL(b, h, r)
}

func appendLeaseTTL(b []byte, h ResponseHeader, r LeaseTTL) []byte {
	w := begin(b, h.frameSize()+sizeNumber(2, uint64(r.ID))+sizeNumber(3, uint64(r.TTL)))
	w.number(3, uint64(r.TTL))
	w.number(2, uint64(r.ID))
	h.write(&w)
	return w.finish()
}

// LeaseTimeToLiveResult answers a [LeaseTimeToLive].
type LeaseTimeToLiveResult struct {
	// TTL is the time left in seconds, -1 for an unknown lease.
	ID, TTL, GrantedTTL int64
	Keys                [][]byte // in any order
}

// AppendLeaseTimeToLiveResponse appends the answer to a [LeaseTimeToLive].
func AppendLeaseTimeToLiveResponse(b []byte, h ResponseHeader, r *LeaseTimeToLiveResult) []byte {
	size := h.frameSize() + sizeNumber(2, uint64(r.ID)) + sizeNumber(3, uint64(r.TTL)) +
		sizeNumber(4, uint64(r.GrantedTTL)) + sizeFrames(5, r.Keys)
	w := begin(b, size)
	w.frames(5, r.Keys)
	w.number(4, uint64(r.GrantedTTL))
	w.number(3, uint64(r.TTL))
	w.number(2, uint64(r.ID))
	h.write(&w)
	return w.finish()
}

// AppendLeaseLeasesResponse appends the list of all leases.
func AppendLeaseLeasesResponse(b []byte, h ResponseHeader, ids []int64) []byte {
	size := h.frameSize()
	for _, id := range ids {
		size += sizeFrame(2, sizeNumber(1, uint64(id)))
	}
	w := begin(b, size)
	for _, id := range slices.Backward(ids) {
		end := w.at
		w.number(1, uint64(id))
		w.message(2, end)
	}
	h.write(&w)
	return w.finish()
}

// AlarmMember is a raised alarm.
type AlarmMember struct {
	MemberID uint64
	Kind     int32
}

func (a AlarmMember) size() int { return sizeNumber(1, a.MemberID) + sizeNumber(2, uint64(a.Kind)) }

// AppendAlarmResponse appends the answer to an [Alarm].
func AppendAlarmResponse(b []byte, h ResponseHeader, alarms []AlarmMember) []byte {
	size := h.frameSize()
	for _, a := range alarms {
		size += sizeFrame(2, a.size())
	}
	w := begin(b, size)
	for _, a := range slices.Backward(alarms) {
		end := w.at
		w.number(2, uint64(a.Kind))
		w.number(1, a.MemberID)
		w.message(2, end)
	}
	h.write(&w)
	return w.finish()
}
