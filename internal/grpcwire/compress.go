package grpcwire

import (
	"bytes"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// compress compresses a message with a compressor that is known.
func compress(name string, data mem.BufferSlice) ([]byte, error) {
	var out bytes.Buffer
	w, err := encoding.GetCompressor(name).Compress(&out)
	if err != nil {
		return nil, err
	}
	for _, b := range data {
		if _, err := w.Write(b.ReadOnlyData()); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decompress returns a message of at most limit bytes.
func decompress(name string, data []byte, limit int) ([]byte, error) {
	r, err := encoding.GetCompressor(name).Decompress(bytes.NewReader(data))
	if err != nil {
		return nil, status.Errorf(codes.Internal, "grpc: failed to decompress the message: %v", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, status.Errorf(codes.Internal, "grpc: failed to decompress the message: %v", err)
	}
	if len(out) > limit {
		return nil, status.Errorf(codes.ResourceExhausted, "grpc: received message after decompression larger than max %d", limit)
	}
	return out, nil
}
