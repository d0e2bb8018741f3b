package watch

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Response is one message of a watch stream, without what is the same in all messages of the member.
type Response struct {
	// WatchID is the watcher's id, -1 in refusals and in answers to progress requests.
	WatchID int64
	// Created answers a Create; together with Canceled it is a refusal.
	Created bool
	// Canceled says that the watcher gets nothing more.
	Canceled bool
	// CompactRevision is the compacted revision if that is what ended the watcher.
	CompactRevision int64
	// CancelReason is the text of a refusal.
	CancelReason string
	// Fragment says that the same revision goes on in the next response of this watcher.
	Fragment bool
	// HeaderRevision is the revision for the response header.
	HeaderRevision int64
	// Events are complete mvccpb.Event messages. They are shared: never modify them. They stay valid.
	Events [][]byte
}

// Header is the part of every response header that the hub does not know.
type Header struct {
	ClusterID, MemberID, RaftTerm uint64
}

// Field numbers of etcdserverpb.ResponseHeader and WatchResponse.
const (
	headerClusterID = 1
	headerMemberID  = 2
	headerRevision  = 3
	headerRaftTerm  = 4

	responseHeader          = 1
	responseWatchID         = 2
	responseCreated         = 3
	responseCanceled        = 4
	responseCompactRevision = 5
	responseCancelReason    = 6
	responseFragment        = 7
	responseEvents          = 11
)

// headerBytesMax is the largest size of an encoded header field.
const headerBytesMax = 2 + 4*11

// AppendResponse appends r as an etcdserverpb.WatchResponse to b and returns the longer slice.
func AppendResponse(b []byte, h Header, r Response) []byte {
	return r.AppendBody(h.Append(b, r.HeaderRevision))
}

// AppendBody appends everything but the header.
func (r *Response) AppendBody(b []byte) []byte {
	b = appendUint(b, responseWatchID, uint64(r.WatchID))
	b = appendBool(b, responseCreated, r.Created)
	b = appendBool(b, responseCanceled, r.Canceled)
	b = appendUint(b, responseCompactRevision, uint64(r.CompactRevision))
	if r.CancelReason != "" {
		b = appendBytes(b, responseCancelReason, []byte(r.CancelReason))
	}
	b = appendBool(b, responseFragment, r.Fragment)
	if len(r.Events) > 1 {
		b = slices.Grow(b, r.eventBytes())
	}
	for _, ev := range r.Events {
		b = appendBytes(b, responseEvents, ev)
	}
	return b
}

// eventBytes is the size of all events in a response.
func (r *Response) eventBytes() int {
	n := 0
	for _, ev := range r.Events {
		n += lengthPrefixed(len(ev))
	}
	return n
}

// Append appends the header of a response at a revision as the first field of that.
func (h Header) Append(b []byte, rev int64) []byte {
	var buf [headerBytesMax]byte
	m := appendUint(buf[:0], headerClusterID, h.ClusterID)
	m = appendUint(m, headerMemberID, h.MemberID)
	m = appendUint(m, headerRevision, uint64(rev))
	m = appendUint(m, headerRaftTerm, h.RaftTerm)
	return appendBytes(b, responseHeader, m)
}

func appendUint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendBool(b []byte, field protowire.Number, v bool) []byte {
	return appendUint(b, field, protowire.EncodeBool(v))
}

// Size returns the size of the encoded response, with a header as large as headers get.
func (r *Response) Size() int {
	return headerBytesMax + r.frameBytes() + r.eventBytes()
}

// frameBytes is the size of everything but header and events.
func (r *Response) frameBytes() int {
	return len(AppendResponse(nil, Header{}, Response{
		WatchID: r.WatchID, Created: r.Created, Canceled: r.Canceled,
		CompactRevision: r.CompactRevision, CancelReason: r.CancelReason, Fragment: r.Fragment,
	}))
}

// cut splits off the first part of a response that is to be sent in parts below limitBytes. Every part has at least one event;
// all but the last are marked as fragments. more is false when nothing is left.
func (r *Response) cut(limitBytes int) (part Response, more bool) {
	part = *r
	part.Fragment = true
	part.Events = nil
	n, bytes := 0, part.Size()
	for n < len(r.Events) {
		bytes += lengthPrefixed(len(r.Events[n]))
		if n > 0 && bytes >= limitBytes {
			break
		}
		n++
	}
	part.Events = r.Events[:n:n]
	part.Fragment = n < len(r.Events)
	r.Events = r.Events[n:]
	return part, part.Fragment
}
