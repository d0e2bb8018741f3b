package v3

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// blobWriter sends what is written to it as snapshot blobs of one size.
type blobWriter struct {
	stream    grpc.ServerStreamingServer[pb.SnapshotResponse]
	version   string
	remaining int64 // bytes of the file not sent yet
	blob      []byte
}

func (w *blobWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if w.blob == nil {
			w.blob = make([]byte, 0, snapshotBlobBytes) // a sent blob belongs to the stream
		}
		k := min(len(p), snapshotBlobBytes-len(w.blob))
		w.blob, p = append(w.blob, p[:k]...), p[k:]
		if len(w.blob) == snapshotBlobBytes {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush sends what is gathered.
func (w *blobWriter) flush() error {
	if len(w.blob) == 0 {
		return nil
	}
	w.remaining -= int64(len(w.blob))
	err := w.stream.Send(&pb.SnapshotResponse{RemainingBytes: uint64(max(w.remaining, 0)), Blob: w.blob, Version: w.version})
	w.blob = nil
	return err
}
