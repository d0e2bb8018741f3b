package request

// ParseLeaseKeepAliveResponse reads what AppendLeaseKeepAliveResponse writes, without the header: a member passes on the leader's answer
// under its own.
func ParseLeaseKeepAliveResponse(b []byte) (r LeaseTTL, err error) {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 2:
			d.setInt64(&r.ID)
		case 3:
			d.setInt64(&r.TTL)
		}
	}
	return r, d.done("LeaseKeepAliveResponse")
}

// ParseLeaseTimeToLiveResponse reads what AppendLeaseTimeToLiveResponse writes, without the header. Keys alias b.
func ParseLeaseTimeToLiveResponse(b []byte) (r LeaseTimeToLiveResult, err error) {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 2:
			d.setInt64(&r.ID)
		case 3:
			d.setInt64(&r.TTL)
		case 4:
			d.setInt64(&r.GrantedTTL)
		case 5:
			if d.isMessage() { // which is how bytes look, too
				r.Keys = append(r.Keys, d.payload)
			}
		}
	}
	return r, d.done("LeaseTimeToLiveResponse")
}
