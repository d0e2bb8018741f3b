package service_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// seeded returns a random source whose seed is in the log and may be given by the environment.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d (set SEED to repeat)", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// stream collects the chunks of a RangeStream.
func stream(t testing.TB, m *servicetest.Member, r *pb.RangeRequest) ([]*pb.RangeResponse, error) {
	t.Helper()
	raw, err := proto.Marshal(r)
	check(t, err)
	var chunks []*pb.RangeResponse
	err = m.RangeStream(t.Context(), raw, func(chunk []byte) error {
		one := new(pb.RangeStreamResponse)
		check(t, proto.Unmarshal(chunk, one))
		chunks = append(chunks, one.RangeResponse)
		return nil
	})
	return chunks, err
}

// TestRangeStreamIsRange compares the merged chunks of random requests with what Range answers.
func TestRangeStreamIsRange(t *testing.T) {
	rng := seeded(t)
	m := start(t, func(o *servicetest.Options) { o.Service.MaxRequestBytes = 4 << 10 })
	key := func() []byte { return []byte(fmt.Sprintf("k%03d", rng.IntN(300))) }
	for range 400 {
		if rng.IntN(5) == 0 {
			must(t, m.DeleteRange, &pb.DeleteRangeRequest{Key: key()}, new(pb.DeleteRangeResponse))
			continue
		}
		must(t, m.Put, &pb.PutRequest{Key: key(), Value: make([]byte, rng.IntN(500))}, new(pb.PutResponse))
	}
	last := get(t, m, "x").Header.Revision
	for range 500 {
		r := &pb.RangeRequest{Key: key(), Limit: int64(rng.IntN(100) - 20), KeysOnly: rng.IntN(4) == 0, CountOnly: rng.IntN(10) == 0}
		r.Serializable = rng.IntN(2) == 0
		switch rng.IntN(4) {
		case 0:
			r.RangeEnd = []byte{0}
		case 1, 2:
			r.RangeEnd = key()
		}
		if rng.IntN(2) == 0 {
			r.Revision = 1 + rng.Int64N(last)
		}
		if rng.IntN(2) == 0 {
			r.SortOrder = pb.RangeRequest_ASCEND
		} else if rng.IntN(3) == 0 {
			r.SortTarget = pb.RangeRequest_VERSION
		}
		want := must(t, m.Range, r, new(pb.RangeResponse))
		chunks, err := stream(t, m, r)
		check(t, err)
		got := new(pb.RangeResponse)
		for i, c := range chunks {
			if i < len(chunks)-1 && (c.Header != nil || c.More || c.Count != 0) {
				t.Errorf("%v: chunk %d of %d says %v", r, i, len(chunks), c)
			}
			proto.Merge(got, c)
		}
		if !proto.Equal(got, want) {
			t.Fatalf("%v: streamed %d keys in %d chunks: %v, %v\nrange gives %d: %v, %v", r,
				len(got.Kvs), len(chunks), got.Header, got.Count, len(want.Kvs), want.Header, want.Count)
		}
	}
}

func TestChunksOfAStream(t *testing.T) {
	m := start(t, func(o *servicetest.Options) { o.Service.MaxRequestBytes = 2000 })
	for i := range 60 {
		put(t, m, fmt.Sprintf("small%02d", i), "")
		put(t, m, fmt.Sprintf("large%02d", i), string(make([]byte, 900)))
	}
	for _, c := range []struct {
		prefix string
		limit  int64
		want   string
	}{
		{"small", 0, "[10 20 30]"},
		{"small", 15, "[10 5]"},
		{"small", 10, "[10]"},
		{"none", 0, "[0]"},
		{"large", 17, "[10 5 2]"},
		{"large", 20, "[10 5 2 2 1]"}, // 9 kB and 4.5 kB are above 4 kB, 1.8 kB is not below 1 kB
	} {
		chunks, err := stream(t, m, &pb.RangeRequest{Key: []byte(c.prefix), RangeEnd: []byte(c.prefix + "~"), Limit: c.limit})
		check(t, err)
		var sizes []int
		for _, chunk := range chunks {
			sizes = append(sizes, len(chunk.Kvs))
		}
		if got := fmt.Sprint(sizes); got != c.want {
			t.Errorf("%s, limit %d: chunks of %s keys, want %s", c.prefix, c.limit, got, c.want)
		}
		if h := chunks[len(chunks)-1].Header; h == nil || h.Revision != 121 {
			t.Errorf("%s: the last header is %v", c.prefix, h)
		}
	}
}

func TestStreamRefusals(t *testing.T) {
	m := start(t)
	for text, r := range map[string]*pb.RangeRequest{
		"RangeStream does not support custom sort orders":          {Key: []byte("k"), SortOrder: pb.RangeRequest_DESCEND},
		"RangeStream does not support revision filters":            {Key: []byte("k"), MinModRevision: 1},
		"etcdserver: key is not provided":                          {},
		"etcdserver: invalid sort option":                          {Key: []byte("k"), SortOrder: 7},
		"etcdserver: mvcc: required revision is a future revision": {Key: []byte("k"), Revision: 99},
	} {
		if _, err := stream(t, m, r); err == nil || err.Error() != text {
			t.Errorf("%v: %v, want %s", r, err, text)
		}
	}
}

// TestStreamIsPinned writes and compacts while a stream is under way.
func TestStreamIsPinned(t *testing.T) {
	m := start(t)
	for i := range 60 {
		put(t, m, fmt.Sprintf("k%02d", i), "old")
	}
	raw, err := proto.Marshal(&pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte{0}})
	check(t, err)
	keys, chunks := 0, 0
	collect := func(compact bool) error {
		keys, chunks = 0, 0
		return m.RangeStream(t.Context(), raw, func(chunk []byte) error {
			one := new(pb.RangeStreamResponse)
			check(t, proto.Unmarshal(chunk, one))
			for _, kv := range one.RangeResponse.Kvs {
				if keys++; string(kv.Value) != "old" {
					t.Errorf("%s was written after the stream began", kv.Key)
				}
			}
			if chunks++; chunks == 1 {
				last := put(t, m, "k59", "new").Header.Revision
				if compact {
					must(t, m.Compact, &pb.CompactionRequest{Revision: last}, new(pb.CompactionResponse))
				}
				must(t, m.Put, &pb.PutRequest{Key: []byte("k59"), Value: []byte("old")}, new(pb.PutResponse))
			}
			return nil
		})
	}
	check(t, collect(false))
	if keys != 60 || chunks != 3 {
		t.Errorf("%d keys in %d chunks, want 60 in 3", keys, chunks)
	}
	wantError(t, "stream over a compaction", collect(true), kverr.Compacted)
	if chunks != 1 {
		t.Errorf("%d chunks came before the error, want 1", chunks)
	}
	gone := errors.New("client has gone")
	wantError(t, "stream to nobody", m.RangeStream(t.Context(), raw, func([]byte) error { return gone }), gone)
}

// TestPagesAgree pages through a range at a pinned revision while the store moves on, and compares with the range as it was.
func TestPagesAgree(t *testing.T) {
	rng := seeded(t)
	m := start(t)
	write := func() {
		key := []byte(fmt.Sprintf("k%02d", rng.IntN(100)))
		if rng.IntN(3) == 0 {
			must(t, m.DeleteRange, &pb.DeleteRangeRequest{Key: key}, new(pb.DeleteRangeResponse))
		} else {
			must(t, m.Put, &pb.PutRequest{Key: key}, new(pb.PutResponse))
		}
	}
	for range 200 {
		write()
	}
	for range 20 {
		whole := must(t, m.Range, &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}, new(pb.RangeResponse))
		r := &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l"), Limit: 1 + rng.Int64N(20)}
		var got []string
		for more := true; more; {
			page := must(t, m.Range, r, new(pb.RangeResponse))
			if left := whole.Count - int64(len(got)); page.Count != left {
				t.Fatalf("after %d keys the count is %d, want %d", len(got), page.Count, left)
			}
			for _, kv := range page.Kvs {
				got = append(got, kv.String())
			}
			if r.Revision == 0 {
				r.Revision = page.Header.Revision
				if m.RemembersPage(r.Revision) != page.More {
					t.Errorf("more to come: %v, remembered: %v", page.More, !page.More)
				}
			}
			r.Key = append(page.Kvs[len(page.Kvs)-1].Key, 0)
			more = page.More
			write()
		}
		var want []string
		for _, kv := range whole.Kvs {
			want = append(want, kv.String())
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("pages gave %v\nwant %v", got, want)
		}
	}
}

func TestTooManyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := startGated(t, func(o *servicetest.Options) { o.Node.MaxPending = 100 })
		after(time.Second / 2) // it has announced itself
		g.shut.Store(true)
		results := make(chan error, 150)
		for range 150 {
			go func() {
				_, err := call(t.Context(), m.Put, &pb.PutRequest{Key: []byte("k")}, new(pb.PutResponse))
				results <- err
			}()
		}
		for range 50 {
			wantError(t, "call above the bound", <-results, kverr.TooManyRequests)
		}
		close(g.open)
		for range 100 {
			check(t, <-results)
		}
	})
}

// fill puts so many keys k000000, k000001, ....
func fill(t testing.TB, m *servicetest.Member, keys int) {
	t.Helper()
	for i := 0; i < keys; i += 100 {
		txn := new(pb.TxnRequest)
		for k := i; k < i+100; k++ {
			op := &pb.PutRequest{Key: []byte(fmt.Sprintf("k%06d", k))}
			txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: op}})
		}
		must(t, m.Txn, txn, new(pb.TxnResponse))
	}
}

// page reads one page of all keys from k on.
func page(t testing.TB, m *servicetest.Member, k int, limit, revision int64) *pb.RangeResponse {
	t.Helper()
	from := []byte(fmt.Sprintf("k%06d", k))
	return must(t, m.Range, &pb.RangeRequest{Key: from, RangeEnd: []byte("l"), Limit: limit, Revision: revision, Serializable: true}, new(pb.RangeResponse))
}

// TestPagesDoNotWalkTheRange compares the time of a page at a revision that is remembered with one at a revision that is not, for which all
// keys of the range are visited: some hundred times the work.
func TestPagesDoNotWalkTheRange(t *testing.T) {
	m := start(t)
	fill(t, m, 20_000)
	unknown := put(t, m, "a", "").Header.Revision
	put(t, m, "a", "")
	pinned := page(t, m, 0, 10, 0).Header.Revision
	put(t, m, "a", "")
	fastest := func(revision int64) time.Duration {
		best := time.Duration(math.MaxInt64)
		for i := range 30 {
			begin := time.Now()
			page(t, m, i, 10, revision)
			best = min(best, time.Since(begin))
		}
		return best
	}
	if got, walk := fastest(pinned), fastest(unknown); got > walk/3 {
		t.Errorf("a page takes %v, with a walk over all keys %v", got, walk)
	}
	raw, err := proto.Marshal(&pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l"), Limit: 10})
	check(t, err)
	check(t, m.RangeStream(t.Context(), raw, func([]byte) error { return nil }))
	if now := get(t, m, "a").Header.Revision; !m.RemembersPage(now) {
		t.Error("a stream that is a first page is not remembered")
	}
}

// BenchmarkPage reads pages of 500 keys out of 200,000. At a pinned revision whose first page was read here, a page costs what it does at
// the latest one; without that it costs a walk over all keys.
func BenchmarkPage(b *testing.B) {
	const keys, limit = 200_000, 500
	m := start(b)
	fill(b, m, keys)
	unknown := put(b, m, "a", "").Header.Revision
	put(b, m, "a", "")
	pinned := page(b, m, 0, limit, 0).Header.Revision
	put(b, m, "a", "")
	for name, revision := range map[string]int64{"latest": 0, "pinned": pinned, "unknown": unknown} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if n := len(page(b, m, i%(keys/limit)*limit, limit, revision).Kvs); n != limit {
					b.Fatalf("%d keys", n)
				}
			}
		})
	}
}
