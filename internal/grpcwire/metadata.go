package grpcwire

import (
	"encoding/base64"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// isBinary reports whether the values of a name travel in base64.
func isBinary(name string) bool { return strings.HasSuffix(name, "-bin") }

// decodeBinary decodes a binary value, with or without padding.
func decodeBinary(value string) (string, error) {
	code := base64.RawStdEncoding
	if len(value)%4 == 0 {
		code = base64.StdEncoding
	}
	b, err := code.DecodeString(value)
	return string(b), err
}

func encodeBinary(value string) string { return base64.RawStdEncoding.EncodeToString([]byte(value)) }

// appendMetadata writes what a handler wants to tell, without what is not its to tell.
func appendMetadata(b []byte, md metadata.MD) []byte {
	for name, values := range md {
		if name = strings.ToLower(name); reservedName(name) {
			continue
		}
		for _, value := range values {
			if isBinary(name) {
				value = encodeBinary(value)
			} else if !validValue(value) {
				continue
			}
			b = appendField(b, name, value)
		}
	}
	return b
}

func reservedName(name string) bool {
	if name == statusDetails {
		return true
	}
	switch kindOf(name) {
	case kindPlain:
		return name == "user-agent"
	case kindHost, kindAccept:
		return false
	}
	return true
}

const statusDetails = "grpc-status-details-bin"

// appendStatus writes how a call ended.
func appendStatus(b []byte, s *status.Status) []byte {
	b = appendField(b, "grpc-status", codeText(s.Code()))
	if s.Message() != "" {
		b = appendField(b, "grpc-message", percentEncode(s.Message()))
	}
	if p := s.Proto(); len(p.GetDetails()) > 0 {
		if details, err := proto.Marshal(p); err == nil {
			b = appendField(b, statusDetails, encodeBinary(string(details)))
		}
	}
	return b
}

// codeText is a code in decimal digits.
func codeText(code codes.Code) string { return strconv.FormatUint(uint64(code), 10) }

// percentEncode is the form of grpc-message: printable ASCII as it is, every other byte of its UTF-8 form as % and two digits.
func percentEncode(s string) string {
	const digits = "0123456789ABCDEF"
	if plain(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s { // bytes that are no UTF-8 become U+FFFD
		for _, c := range []byte(string(r)) {
			if c >= ' ' && c <= '~' && c != '%' {
				b.WriteByte(c)
			} else {
				b.Write([]byte{'%', digits[c>>4], digits[c&15]})
			}
		}
	}
	return b.String()
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '%' {
			return false
		}
	}
	return true
}
