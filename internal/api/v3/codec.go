package v3

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// frame is a message in its wire form. Calls that are worth it receive and send frames instead of decoded messages: the service works on bytes.
type frame struct {
	bytes   []byte
	sending *sending // of a large response, in place of bytes
}

// codec passes frames through untouched and leaves every other message to the protobuf codec. It answers to the name of that codec, so
// that no client can tell.
type codec struct {
	proto encoding.CodecV2
}

func newCodec() codec { return codec{proto: encoding.GetCodecV2(proto.Name)} }

func (c codec) Name() string { return proto.Name }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		if f.sending != nil {
			return f.sending.buffers(), nil
		}
		return mem.BufferSlice{mem.SliceBuffer(f.bytes)}, nil
	}
	return c.proto.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		if whole, ok := only(data); ok {
			f.bytes = whole
		} else {
			f.bytes = data.Materialize()
		}
		return nil
	}
	return c.proto.Unmarshal(data, v)
}

// only returns the bytes of a message in one piece that nobody takes back.
func only(data mem.BufferSlice) ([]byte, bool) {
	if len(data) != 1 {
		return nil, false
	}
	b, ok := data[0].(mem.SliceBuffer)
	return b, ok
}
