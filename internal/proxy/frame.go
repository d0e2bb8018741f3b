package proxy

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// frame is a message as the bytes that it came in. Who receives one frees it.
type frame struct{ data mem.BufferSlice }

func (f *frame) free() {
	f.data.Free()
	f.data = nil
}

// change puts what fn makes of the message in its place; a nil fn leaves it.
func (f *frame) change(fn func([]byte) ([]byte, error)) error {
	if fn == nil {
		return nil
	}
	message, err := fn(f.data.Materialize())
	if err != nil {
		return err
	}
	f.free()
	f.data = mem.BufferSlice{mem.SliceBuffer(message)}
	return nil
}

// frameCodec lets frames through gRPC without looking into them.
type frameCodec struct{}

// Marshal gives gRPC a reference of its own: the sender of a frame keeps his.
func (frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("a %T is not a frame", v)
	}
	f.data.Ref()
	return f.data, nil
}

func (frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("a %T is not a frame", v)
	}
	data.Ref()
	f.data = data
	return nil
}

func (frameCodec) Name() string { return "proto" }
