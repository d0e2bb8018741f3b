package request

// unmarshal merges the wire form b into h.
func (h *ResponseHeader) unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setUint64(&h.ClusterID)
		case 2:
			d.setUint64(&h.MemberID)
		case 3:
			d.setInt64(&h.Revision)
		case 4:
			d.setUint64(&h.RaftTerm)
		}
	}
	return d.done("ResponseHeader")
}

// ParseHeaderResponse reads the header of any response that has one in field 1.
func ParseHeaderResponse(b []byte) (h ResponseHeader, err error) {
	d := decoder{rest: b}
	for d.next() {
		if d.num == 1 && d.isMessage() {
			d.err = h.unmarshal(d.payload)
		}
	}
	return h, d.done("response")
}

// ParseLeaseGrantResponse reads what AppendLeaseGrantResponse writes, without the header.
func ParseLeaseGrantResponse(b []byte) (LeaseTTL, error) { return ParseLeaseKeepAliveResponse(b) }

// ParseRangeResponse reads what AppendRangeResponse writes. Records alias b.
func ParseRangeResponse(b []byte) (h ResponseHeader, r RangeResult, err error) {
	d := decoder{rest: b}
	for d.next() {
		switch {
		case d.num == 1 && d.isMessage():
			d.err = h.unmarshal(d.payload)
		case d.num == 2 && d.isMessage():
			r.KVs = append(r.KVs, d.payload)
		case d.num == 3:
			d.setBool(&r.More)
		case d.num == 4:
			d.setInt64(&r.Count)
		}
	}
	return h, r, d.done("RangeResponse")
}

// ParseTxnResponse reads what AppendTxnResponse writes. Of the operations only ranges are read; the others are there, but empty. Records
// alias b.
func ParseTxnResponse(b []byte) (h ResponseHeader, r TxnResult, err error) {
	d := decoder{rest: b}
	for d.next() {
		switch {
		case d.num == 1 && d.isMessage():
			d.err = h.unmarshal(d.payload)
		case d.num == 2:
			d.setBool(&r.Succeeded)
		case d.num == 3 && d.isMessage():
			var op OpResult
			op, d.err = parseOpResult(d.payload)
			r.Responses = append(r.Responses, op)
		}
	}
	return h, r, d.done("TxnResponse")
}

func parseOpResult(b []byte) (op OpResult, err error) {
	d := decoder{rest: b}
	for d.next() {
		if d.num == 1 && d.isMessage() {
			h, r, err := ParseRangeResponse(d.payload)
			op.Revision, op.Range, d.err = h.Revision, &r, err
		}
	}
	return op, d.done("ResponseOp")
}

// ParseEvent reads an event of a watch: the encoded record, which aliases b, and whether it tells of a deletion.
func ParseEvent(b []byte) (record []byte, deleted bool, err error) {
	d := decoder{rest: b}
	for d.next() {
		switch {
		case d.num == 1:
			d.setBool(&deleted)
		case d.num == 2 && d.isMessage():
			record = d.payload
		}
	}
	return record, deleted, d.done("Event")
}
