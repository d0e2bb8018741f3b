package peer

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/quoin-kv/quoin/internal/request"
)

// wrapped is the only field of LeaseInternalRequest and of LeaseInternalResponse: the request or answer inside.
const wrapped = 1

// wrap makes raw the field of such a message.
func wrap(raw []byte) []byte {
	b := make([]byte, 0, protowire.SizeTag(wrapped)+protowire.SizeBytes(len(raw)))
	return protowire.AppendBytes(protowire.AppendTag(b, wrapped, protowire.BytesType), raw)
}

// unwrap returns the message inside, empty if there is none. By protobuf's rules one that occurs again is merged, which is what joining
// the bytes of both does. The result may alias b. Errors wrap request.ErrMalformed.
func unwrap(b []byte) (raw []byte, err error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, malformed(protowire.ParseError(n))
		}
		if b = b[n:]; num == wrapped && typ == protowire.BytesType {
			var part []byte
			if part, n = protowire.ConsumeBytes(b); n >= 0 {
				raw = join(raw, part)
			}
		} else {
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return nil, malformed(protowire.ParseError(n))
		}
		b = b[n:]
	}
	return raw, nil
}

// join appends without writing into the memory of a, which is somebody's input.
func join(a, b []byte) []byte {
	if a == nil {
		return b
	}
	return append(a[:len(a):len(a)], b...)
}

func malformed(err error) error {
	return fmt.Errorf("lease message: %w: %w", request.ErrMalformed, err)
}
