package request

import "google.golang.org/protobuf/encoding/protowire"

// V2 is a request of the old API, by which members of etcd 3.5 and before told each other their names, addresses and versions. Logs of
// theirs hold such entries.
type V2 struct {
	ID                  uint64
	Method, Path, Value string
}

// Fields of such a request, and of an entry around it.
const (
	v2ID     protowire.Number = 1
	v2Method protowire.Number = 2
	v2Path   protowire.Number = 3
	v2Value  protowire.Number = 4

	fieldV2 protowire.Number = 2
)

// ParseV2 reads a log entry that [ParseInternal] does not understand as a request of the old API, which is the whole entry or a part of it. It
// reports false if it is none. Almost all entries are none, which their first byte shows.
func ParseV2(entry []byte) (V2, bool) {
	if len(entry) == 0 || entry[0] != byte(v2ID<<3) && entry[0] != byte(fieldV2<<3|2) {
		return V2{}, false
	}
	if r, ok := parseV2(entry); ok {
		return r, true
	}
	d := decoder{rest: entry}
	for d.next() {
		if d.num == fieldV2 && d.isMessage() {
			return parseV2(d.payload)
		}
	}
	return V2{}, false
}

func parseV2(b []byte) (r V2, ok bool) {
	d := decoder{rest: b}
	for d.next() {
		switch {
		case d.num == v2ID && d.typ == protowire.VarintType:
			r.ID = d.varint
		case d.num == v2Method && d.isMessage():
			r.Method = string(d.payload)
		case d.num == v2Path && d.isMessage():
			r.Path = string(d.payload)
		case d.num == v2Value && d.isMessage():
			r.Value = string(d.payload)
		}
	}
	return r, d.done("Request") == nil && isMethod(r.Method)
}

// isMethod is whether a text can be the method of such a request: a few capital letters.
func isMethod(text string) bool {
	for _, c := range text {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(text) > 0 && len(text) <= 8
}
