package request

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field is the number of a request in the InternalRaftRequest message, the
// contents of a normal log entry.
type Field int32

// The requests that can be logged.
const (
	FieldRange                    Field = 3
	FieldPut                      Field = 4
	FieldDeleteRange              Field = 5
	FieldTxn                      Field = 6
	FieldCompaction               Field = 7
	FieldLeaseGrant               Field = 8
	FieldLeaseRevoke              Field = 9
	FieldAlarm                    Field = 10
	FieldLeaseCheckpoint          Field = 11
	FieldAuthEnable               Field = 1000
	FieldAuthDisable              Field = 1011
	FieldAuthenticate             Field = 1012
	FieldAuthStatus               Field = 1013
	FieldAuthUserAdd              Field = 1100
	FieldAuthUserDelete           Field = 1101
	FieldAuthUserGet              Field = 1102
	FieldAuthUserChangePassword   Field = 1103
	FieldAuthUserGrantRole        Field = 1104
	FieldAuthUserRevokeRole       Field = 1105
	FieldAuthUserList             Field = 1106
	FieldAuthRoleList             Field = 1107
	FieldAuthRoleAdd              Field = 1200
	FieldAuthRoleDelete           Field = 1201
	FieldAuthRoleGet              Field = 1202
	FieldAuthRoleGrantPermission  Field = 1203
	FieldAuthRoleRevokePermission Field = 1204
	FieldClusterVersionSet        Field = 1300
	FieldMemberAttrSet            Field = 1301
	FieldDowngradeInfoSet         Field = 1302
	FieldDowngradeVersionTest     Field = 9900

	fieldLegacyID protowire.Number = 1
	fieldHeader   protowire.Number = 100
)

// Request is what all requests have in common: the pointer types of this
// package implement it.
type Request interface {
	Unmarshal(b []byte) error
	Size() int
	Append(b []byte) []byte
}

// New returns an empty request of the given kind, nil if there is none.
func New(f Field) Request {
	switch f {
	case FieldRange:
		return new(Range)
	case FieldPut:
		return new(Put)
	case FieldDeleteRange:
		return new(DeleteRange)
	case FieldTxn:
		return new(Txn)
	case FieldCompaction:
		return new(Compaction)
	case FieldLeaseGrant:
		return new(LeaseGrant)
	case FieldLeaseRevoke:
		return new(LeaseRevoke)
	case FieldAlarm:
		return new(Alarm)
	case FieldLeaseCheckpoint:
		return new(LeaseCheckpoint)
	case FieldClusterVersionSet:
		return new(ClusterVersionSet)
	case FieldMemberAttrSet:
		return new(MemberAttrSet)
	case FieldDowngradeInfoSet:
		return new(DowngradeInfoSet)
	case FieldDowngradeVersionTest:
		return new(DowngradeVersionTest)
	}
	return newAuth(f)
}

func newAuth(f Field) Request {
	switch f {
	case FieldAuthEnable:
		return new(AuthEnable)
	case FieldAuthDisable:
		return new(AuthDisable)
	case FieldAuthenticate:
		return new(Authenticate)
	case FieldAuthStatus:
		return new(AuthStatus)
	case FieldAuthUserAdd:
		return new(AuthUserAdd)
	case FieldAuthUserDelete:
		return new(AuthUserDelete)
	case FieldAuthUserGet:
		return new(AuthUserGet)
	case FieldAuthUserChangePassword:
		return new(AuthUserChangePassword)
	case FieldAuthUserGrantRole:
		return new(AuthUserGrantRole)
	case FieldAuthUserRevokeRole:
		return new(AuthUserRevokeRole)
	case FieldAuthUserList:
		return new(AuthUserList)
	case FieldAuthRoleList:
		return new(AuthRoleList)
	case FieldAuthRoleAdd:
		return new(AuthRoleAdd)
	case FieldAuthRoleDelete:
		return new(AuthRoleDelete)
	case FieldAuthRoleGet:
		return new(AuthRoleGet)
	case FieldAuthRoleGrantPermission:
		return new(AuthRoleGrantPermission)
	case FieldAuthRoleRevokePermission:
		return new(AuthRoleRevokePermission)
	}
	return nil
}

// Header says who proposed a request and with which permissions.
type Header struct {
	// ID identifies the proposal among those under way.
	ID uint64
	// Username is the authenticated user, empty while auth is off.
	Username string
	// AuthRevision is the revision of the permissions that the proposer knew.
	AuthRevision uint64
}

// unmarshal reads a header; user is who may well be its user again.
func (h *Header) unmarshal(b []byte, user string) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setUint64(&h.ID)
		case 2:
			d.setKnown(&h.Username, user)
		case 3:
			d.setUint64(&h.AuthRevision)
		}
	}
	return d.done("RequestHeader")
}

func (h *Header) size() int {
	return sizeNumber(1, h.ID) + sizeBytes(2, len(h.Username)) + sizeNumber(3, h.AuthRevision)
}

func (h *Header) write(w *writer) {
	end := w.at
	w.number(3, h.AuthRevision)
	w.text(2, h.Username)
	w.number(1, h.ID)
	w.message(fieldHeader, end)
}

// AppendInternal appends an InternalRaftRequest to b: the header and the bytes
// of a request of the kind f, which are not decoded or changed. Fields ascend,
// so canonical raw bytes give a canonical entry.
func AppendInternal(b []byte, h Header, f Field, raw []byte) []byte {
	w := begin(b, SizeInternal(h, f, len(raw)))
	num := protowire.Number(f)
	if num < fieldHeader {
		h.write(&w)
		w.frame(num, raw)
	} else {
		w.frame(num, raw)
		h.write(&w)
	}
	return w.finish()
}

// SizeInternal is the length in bytes of the entry that [AppendInternal] makes
// of a request of rawSize bytes.
func SizeInternal(h Header, f Field, rawSize int) int {
	return sizeFrame(fieldHeader, h.size()) + sizeFrame(protowire.Number(f), rawSize)
}

// Internal is a decoded InternalRaftRequest.
type Internal struct {
	Header Header
	// LegacyID is the proposal's id as very old members wrote it; see ID.
	LegacyID uint64
	// Field is the kind of Request, Raw its bytes.
	Field Field
	Raw   []byte
	// Request is the decoded request; its type is the one that [New] returns
	// for Field.
	Request Request
}

// ID is the id that the proposer waits for.
func (in *Internal) ID() uint64 {
	if in.LegacyID != 0 {
		return in.LegacyID
	}
	return in.Header.ID
}

// UnknownFieldError reports an entry with a field that this version does not
// know or cannot take for what it is. To skip it would let replicas diverge.
type UnknownFieldError struct {
	Field Field
	// Type is the field's wire type.
	Type protowire.Type
}

func (e *UnknownFieldError) Error() string {
	return fmt.Sprintf("request: log entry has the unknown field %d (wire type %d)", e.Field, e.Type)
}

// RequestCountError reports an entry that does not have exactly one request.
type RequestCountError struct {
	// First and Second are two requests of one entry; both are zero if it has
	// none.
	First, Second Field
}

func (e *RequestCountError) Error() string {
	if e.First == 0 {
		return "request: log entry has no request"
	}
	return fmt.Sprintf("request: log entry has two requests, fields %d and %d", e.First, e.Second)
}

// ParseInternal decodes a log entry. Raw and the byte fields of the request
// alias b. The error is an [*UnknownFieldError], a [*RequestCountError] or
// wraps [ErrMalformed].
func ParseInternal(b []byte) (Internal, error) { return new(InternalParser).Parse(b) }

// InternalParser parses one log entry after the other. The zero value is ready.
type InternalParser struct {
	put  Put    // of the last entry
	user string // likewise
}

// Parse is [ParseInternal], but a [Put] that it returns is valid until the next
// call only.
func (p *InternalParser) Parse(b []byte) (Internal, error) {
	var in Internal
	d := decoder{rest: b}
	for d.next() {
		switch {
		case d.num == fieldLegacyID && d.typ == protowire.VarintType:
			in.LegacyID = d.varint
		case d.num == fieldHeader && d.isMessage():
			d.err = in.Header.unmarshal(d.payload, p.user)
			p.user = in.Header.Username
		default:
			d.err = in.add(&d, p)
		}
	}
	if d.err == nil && in.Request == nil {
		d.err = &RequestCountError{}
	}
	return in, d.entryError()
}

// empty is New.
func (p *InternalParser) empty(f Field) Request {
	if f != FieldPut {
		return New(f)
	}
	p.put = Put{}
	return &p.put
}

// entryError is done for an entry: it leaves the entry's own errors alone.
func (d *decoder) entryError() error {
	switch d.err.(type) {
	case *UnknownFieldError, *RequestCountError:
		return d.err
	}
	return d.done("InternalRaftRequest")
}

// add takes the current field as the request, or as more of it.
func (in *Internal) add(d *decoder, p *InternalParser) error {
	f := Field(d.num)
	if in.Request != nil && in.Field != f {
		return &RequestCountError{First: in.Field, Second: f}
	}
	if in.Request == nil {
		in.Request = p.empty(f)
		in.Field = f
	}
	if in.Request == nil || !d.isMessage() {
		return &UnknownFieldError{Field: f, Type: d.typ}
	}
	// Concatenated messages are one merged message.
	if in.Raw == nil {
		in.Raw = d.payload
	} else {
		in.Raw = slices.Concat(in.Raw, d.payload)
	}
	return in.Request.Unmarshal(d.payload)
}
