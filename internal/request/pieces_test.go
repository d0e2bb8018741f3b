package request_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/quoin-kv/quoin/internal/request"
)

// TestPieces puts responses together in pieces: they are the bytes of the whole.
func TestPieces(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		h := request.ResponseHeader{ClusterID: rng.Uint64(), MemberID: rng.Uint64N(2), Revision: rng.Int64N(1 << 40), RaftTerm: rng.Uint64N(3)}
		r := request.RangeResult{More: rng.IntN(2) == 0, Count: rng.Int64N(1000)}
		for range rng.IntN(20) {
			r.KVs = append(r.KVs, make([]byte, rng.IntN(300)))
		}
		got, size := request.AppendRangeStart(nil, h), 0
		for left := r.KVs; len(left) > 0; {
			n := 1 + rng.IntN(len(left))
			before := len(got)
			got = request.AppendRangeRecords(got, left[:n])
			for _, record := range left[:n] {
				size += request.SizeRangeRecord(len(record))
			}
			if len(got)-before != size {
				t.Errorf("%d records have %d bytes, announced were %d", n, len(got)-before, size)
			}
			left, size = left[n:], 0
		}
		got = append(got, request.AppendRangeEnd(nil, &r)...)
		if want := request.AppendRangeResponse(nil, h, &r); !bytes.Equal(got, want) {
			t.Fatalf("pieces are\n%x, the whole is\n%x", got, want)
		}
	}
}

// TestChunkInPieces: start, records and end of a chunk are what AppendRangeChunk makes of them at once.
func TestChunkInPieces(t *testing.T) {
	h := request.ResponseHeader{ClusterID: 1 << 60, MemberID: 2, Revision: 3000, RaftTerm: 4}
	for _, records := range [][][]byte{nil, {{}}, {[]byte("one"), bytes.Repeat([]byte("x"), 300)}} {
		for _, header := range []*request.ResponseHeader{nil, &h, {}} {
			r := request.RangeResult{KVs: records}
			var tail []byte
			if header != nil {
				r.More, r.Count = true, 500
				tail = request.AppendRangeEnd(nil, &r)
			}
			body := request.AppendRangeRecords(nil, records)
			got := append(append(request.AppendRangeChunkStart(nil, header, len(body)+len(tail)), body...), tail...)
			if want := request.AppendRangeChunk(nil, header, &r); !bytes.Equal(got, want) {
				t.Errorf("%d records, header %v: %x, expected %x", len(records), header, got, want)
			}
		}
	}
}
