package grpcwire

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
)

// kind is what a header field is for.
type kind uint8

const (
	kindPlain     kind = iota // for the handler alone
	kindReserved              // of the protocol, without a meaning in requests
	kindMalformed             // no such field may be
	kindMethod
	kindScheme
	kindPath
	kindAuthority
	kindHost
	kindContentType
	kindContentLength
	kindTE
	kindTimeout
	kindEncoding
	kindAccept
)

// kindOf tells the fields apart by their names.
func kindOf(name string) kind {
	switch name {
	case ":method":
		return kindMethod
	case ":scheme":
		return kindScheme
	case ":path":
		return kindPath
	case ":authority":
		return kindAuthority
	case "host":
		return kindHost
	case "content-type":
		return kindContentType
	case "content-length":
		return kindContentLength
	case "te":
		return kindTE
	case "grpc-timeout":
		return kindTimeout
	case "grpc-encoding":
		return kindEncoding
	case "grpc-accept-encoding":
		return kindAccept
	case "grpc-message-type", "grpc-message", "grpc-status":
		return kindReserved
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade": // RFC 9113, section 8.2.2
		return kindMalformed
	}
	if !validName(name) {
		return kindMalformed
	}
	return kindPlain
}

// validName reports whether a name is one of HTTP/2 (RFC 9113, section 8.2.1).
func validName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return name != ""
}

func validValue(value string) bool { return !strings.ContainsAny(value, "\x00\r\n") }

// head is what the header of a call says, but for its timeout. It is shared by all calls of a connection with the same fields, and never changes.
type head struct {
	fields    []*entry // without timeouts
	pseudo    int      // how many of the fields are pseudo-header fields
	method    *method  // nil: there is no such method
	path      string
	authority string
	subtype   string // of the content type
	encoding  string // of messages, "" for identity
	accept    string // encodings that the client takes
	length    int64  // of the body; -1: not known
	malformed bool   // the stream is reset
	refusal   *refusal
	made      sync.Once
	incoming  metadata.MD // see metadata
}

// refusal is an answer to a call that is not served.
type refusal struct {
	http int
	code codes.Code
	text string
}

// foreign reports whether it is for requests that are none of gRPC.
func (r *refusal) foreign() bool { return r.http == 405 || r.http == 415 }

func refuse(http int, code codes.Code, format string, args ...any) *refusal {
	return &refusal{http, code, fmt.Sprintf(format, args...)}
}

// newHead reads the fields of a call. They may not change any more.
func (s *Server) newHead(fields []*entry) *head {
	h := &head{fields: fields, length: -1}
	var seen [kindAccept + 1]bool
	contentType := ""
	for i, e := range fields {
		if e.name[:min(1, len(e.name))] == ":" {
			h.malformed = h.malformed || h.pseudo < i || seen[e.kind]
			h.pseudo = i + 1
		}
		seen[e.kind] = true
		h.take(e, &contentType)
	}
	h.malformed = h.malformed || !seen[kindMethod] || !seen[kindScheme] || h.path == ""
	if !h.malformed {
		h.refusal = h.judge(contentType)
	}
	if h.refusal == nil {
		h.method, h.refusal = s.find(h.path)
	}
	return h
}

// take takes note of a field.
func (h *head) take(e *entry, contentType *string) {
	if !validValue(e.value) {
		h.malformed = true
	}
	switch e.kind {
	case kindMalformed:
		h.malformed = true
	case kindMethod:
		if e.value != "POST" && h.refusal == nil {
			h.refusal = refuse(405, codes.Internal, "Received a HEADERS frame with :method %q which should be POST", e.value)
		}
	case kindPath:
		h.path = e.value
	case kindAuthority:
		h.authority = e.value
	case kindHost:
		if h.authority == "" {
			h.authority = e.value
		}
	case kindContentType:
		*contentType = e.value
	case kindTE:
		h.malformed = h.malformed || e.value != "trailers"
	case kindEncoding:
		if e.value != encoding.Identity {
			h.encoding = e.value
		}
	case kindAccept:
		h.accept = e.value
	case kindContentLength:
		n, err := strconv.ParseUint(e.value, 10, 62)
		h.malformed = h.malformed || err != nil || h.length >= 0 && h.length != int64(n)
		h.length = int64(n)
	}
}

// judge decides whether a well-formed request is a call.
func (h *head) judge(contentType string) *refusal {
	subtype, ok := contentSubtype(contentType)
	h.subtype = subtype
	switch {
	case h.refusal != nil:
		return h.refusal
	case !ok:
		return refuse(415, codes.InvalidArgument, "invalid gRPC request content-type %q", contentType)
	case h.authority == "":
		return refuse(400, codes.Internal, "no host or :authority header present")
	case h.encoding != "" && encoding.GetCompressor(h.encoding) == nil:
		return refuse(200, codes.Unimplemented, "grpc: Decompressor is not installed for grpc-encoding %q", h.encoding)
	}
	return h.checkBinary()
}

// contentSubtype returns what follows "application/grpc+".
func contentSubtype(contentType string) (string, bool) {
	rest, ok := strings.CutPrefix(strings.ToLower(contentType), "application/grpc")
	switch {
	case !ok:
		return "", false
	case rest == "" || rest[0] == ';':
		return "", true
	case rest[0] == '+':
		return rest[1:], true
	}
	return "", false
}

// checkBinary looks for binary values that cannot be decoded.
func (h *head) checkBinary() *refusal {
	for _, e := range h.fields {
		if e.kind == kindPlain && isBinary(e.name) {
			if _, err := decodeBinary(e.value); err != nil {
				return refuse(400, codes.Internal, "malformed binary metadata %q in header %q: %v", e.value, e.name, err)
			}
		}
	}
	return nil
}

// metadata is what handlers see of the fields. It is shared by calls: package metadata hands out copies.
func (h *head) metadata() metadata.MD {
	h.made.Do(func() {
		md := make(metadata.MD, len(h.fields))
		md[":authority"] = []string{h.authority}
		for _, e := range h.fields {
			if value, ok := visible(e); ok {
				md[e.name] = append(md[e.name], value)
			}
		}
		h.incoming = md
	})
	return h.incoming
}

// first is the first value of a name, as metadata has it.
func (h *head) first(name string) string {
	if name == ":authority" {
		return h.authority
	}
	for _, e := range h.fields {
		if e.name == name {
			value, _ := visible(e)
			return value
		}
	}
	return ""
}

// visible is the value that a handler sees of a field.
func visible(e *entry) (string, bool) {
	switch e.kind {
	case kindPlain:
		if isBinary(e.name) {
			value, err := decodeBinary(e.value)
			return value, err == nil
		}
		return e.value, true
	case kindContentType, kindContentLength, kindAccept:
		return e.value, true
	}
	return "", false
}

// timeoutUnit is what a unit of the field grpc-timeout stands for.
func timeoutUnit(unit byte) (time.Duration, bool) {
	switch unit {
	case 'H':
		return time.Hour, true
	case 'M':
		return time.Minute, true
	case 'S':
		return time.Second, true
	case 'm':
		return time.Millisecond, true
	case 'u':
		return time.Microsecond, true
	case 'n':
		return time.Nanosecond, true
	}
	return 0, false
}

// parseTimeout reads the field grpc-timeout: up to eight digits and a unit. Times too long for a duration become the longest one.
func parseTimeout(s string) (time.Duration, error) {
	const digits = 8
	switch {
	case len(s) < 2:
		return 0, fmt.Errorf("transport: timeout string is too short: %q", s)
	case len(s) > digits+1:
		return 0, fmt.Errorf("transport: timeout string is too long: %q", s)
	}
	unit, ok := timeoutUnit(s[len(s)-1])
	if !ok {
		return 0, fmt.Errorf("transport: timeout unit is not recognized: %q", s)
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 63)
	if err != nil {
		return 0, err
	}
	const longest = 1<<63 - 1
	if n > uint64(longest/unit) {
		return longest, nil
	}
	return time.Duration(n) * unit, nil
}
