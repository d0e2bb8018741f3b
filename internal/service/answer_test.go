package service_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// load puts n keys with values of so many bytes, key i being key(i). Every third is put twice.
func load(t testing.TB, m *servicetest.Member, n, valueBytes int) {
	t.Helper()
	loadEvery(t, m, n, valueBytes, 1)
	loadEvery(t, m, n, valueBytes, 3)
}

func loadEvery(t testing.TB, m *servicetest.Member, n, valueBytes, every int) {
	t.Helper()
	value := bytes.Repeat([]byte{'v'}, valueBytes)
	for i := 0; i < n; {
		var txn pb.TxnRequest
		for ; i < n && len(txn.Success) < 128; i += every {
			put := &pb.PutRequest{Key: key(i), Value: fmt.Appendf(value[:0:0], "%d%s", n-i, value)}
			txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})
		}
		must(t, m.Txn, &txn, new(pb.TxnResponse))
	}
}

func key(i int) []byte { return fmt.Appendf(nil, "k%06d", i) }

// listKeys is more than what is collected before it is sent.
const listKeys = 10_500

func all() *pb.RangeRequest { return &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")} }

// answer asks for a range.
func answer(t testing.TB, m *servicetest.Member, r *pb.RangeRequest) service.Answer {
	t.Helper()
	raw, err := proto.Marshal(r)
	check(t, err)
	a, err := m.AnswerRange(t.Context(), raw)
	check(t, err)
	return a
}

// rest is what is left of a large answer, piece by piece.
func rest(l *service.Large) (b []byte) {
	for {
		piece, ok := l.Next()
		if !ok {
			return b
		}
		b = append(b, piece...)
		l.Recycle(piece)
	}
}

// TestLargeAnswers compares lists of all sizes with what single reads tell.
func TestLargeAnswers(t *testing.T) {
	m := start(t, func(o *servicetest.Options) { o.Service.RangeBudgetBytes = 16 << 20 })
	load(t, m, listKeys, 100)
	loadEvery(t, m, listKeys, 1, 7)
	past := get(t, m, "x").Header.Revision - 10
	reads := single{t, m, map[string][]*mvccpb.KeyValue{}}
	for _, tc := range []struct {
		name   string
		change func(*pb.RangeRequest)
		large  bool
	}{
		{"all", func(*pb.RangeRequest) {}, true},
		{"in the past", func(r *pb.RangeRequest) { r.Revision = past }, true},
		{"a page of pages", func(r *pb.RangeRequest) { r.Limit = 10_200 }, true},
		{"a page", func(r *pb.RangeRequest) { r.Limit = 5000 }, true},
		{"a small page", func(r *pb.RangeRequest) { r.Limit = 900 }, true},
		{"a very small page", func(r *pb.RangeRequest) { r.Limit = 90 }, false},
		{"keys", func(r *pb.RangeRequest) { r.KeysOnly = true }, true},
		{"count", func(r *pb.RangeRequest) { r.CountOnly = true }, false},
		{"descending", func(r *pb.RangeRequest) { r.SortOrder = pb.RangeRequest_DESCEND }, true},
		{"by value", func(r *pb.RangeRequest) { r.SortTarget, r.SortOrder = pb.RangeRequest_VALUE, pb.RangeRequest_ASCEND }, true},
		{"changed late", func(r *pb.RangeRequest) { r.MinModRevision = past }, true},
		{"nothing", func(r *pb.RangeRequest) { r.Key = []byte("ka") }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := all()
			tc.change(r)
			a := answer(t, m, r)
			if got := a.Large != nil; got != tc.large {
				t.Fatalf("large is %v", got)
			}
			b := a.Bytes
			if a.Large != nil {
				b = rest(a.Large)
				if len(b) != a.Large.Size() {
					t.Errorf("%d bytes, announced were %d", len(b), a.Large.Size())
				}
				a.Large.Close()
			}
			compareAnswer(t, b, reads.expected(r))
		})
	}
	if s := m.RangeBudget(); s.UsedBytes != 0 || s.Answers != 0 {
		t.Errorf("left in the budget: %+v", s)
	}
}

// single answers a range by reading every key of its own, once for each revision.
type single struct {
	*testing.T
	*servicetest.Member
	read map[string][]*mvccpb.KeyValue
}

func (s single) keys(r *pb.RangeRequest) []*mvccpb.KeyValue {
	as := fmt.Sprint(r.Revision, r.KeysOnly)
	if s.read[as] == nil {
		s.read[as] = []*mvccpb.KeyValue{}
		for i := range listKeys {
			one := &pb.RangeRequest{Key: key(i), Revision: r.Revision, KeysOnly: r.KeysOnly}
			s.read[as] = append(s.read[as], must(s, s.Range, one, new(pb.RangeResponse)).Kvs...)
		}
	}
	return s.read[as]
}

func (s single) expected(r *pb.RangeRequest) *pb.RangeResponse {
	s.Helper()
	found := slices.DeleteFunc(slices.Clone(s.keys(r)), func(kv *mvccpb.KeyValue) bool { return bytes.Compare(kv.Key, r.Key) < 0 })
	want := &pb.RangeResponse{Header: get(s, s.Member, "x").Header, Count: int64(len(found))}
	found = slices.DeleteFunc(found, func(kv *mvccpb.KeyValue) bool { return r.CountOnly || kv.ModRevision < r.MinModRevision })
	slices.SortStableFunc(found, func(a, b *mvccpb.KeyValue) int {
		switch {
		case r.SortTarget == pb.RangeRequest_VALUE:
			return cmp.Or(bytes.Compare(a.Value, b.Value), bytes.Compare(a.Key, b.Key))
		case r.SortOrder == pb.RangeRequest_DESCEND:
			return -bytes.Compare(a.Key, b.Key)
		}
		return bytes.Compare(a.Key, b.Key)
	})
	if r.Limit > 0 && int64(len(found)) > r.Limit {
		found, want.More = found[:r.Limit], true
	}
	want.Kvs = found
	return want
}

func compareAnswer(t *testing.T, b []byte, want *pb.RangeResponse) {
	t.Helper()
	var got pb.RangeResponse
	check(t, proto.Unmarshal(b, &got))
	if len(got.Kvs) != len(want.Kvs) || got.Count != want.Count || got.More != want.More {
		t.Fatalf("%d keys of %d, more %v; want %d of %d, %v", len(got.Kvs), got.Count, got.More, len(want.Kvs), want.Count, want.More)
	}
	if !proto.Equal(&got, want) {
		t.Error("the answers differ")
	}
}

// TestLargeAnswerOutlivesChanges reads one piece of a list and the others only after everything in it was overwritten and compacted.
func TestLargeAnswerOutlivesChanges(t *testing.T) {
	m := start(t)
	load(t, m, listKeys, 100)
	want := single{t, m, map[string][]*mvccpb.KeyValue{}}.expected(all())
	a := answer(t, m, all())
	first, ok := a.Large.Next()
	if !ok || a.Large.Pieces() < 3 {
		t.Fatalf("no first piece of %d", a.Large.Pieces())
	}
	first = slices.Clone(first)
	loadEvery(t, m, listKeys, 7, 1)
	second, _ := a.Large.Next()
	first = append(first, second...)
	rev := get(t, m, "x").Header.Revision
	must(t, m.Compact, &pb.CompactionRequest{Revision: rev, Physical: true}, new(pb.CompactionResponse))
	compareAnswer(t, append(first, rest(a.Large)...), want)
	a.Large.Close()
	a.Large.Close()
}

// TestLargeAnswerGivenUp closes an answer half way: it yields nothing more and holds nothing.
func TestLargeAnswerGivenUp(t *testing.T) {
	m := start(t)
	load(t, m, listKeys, 100)
	a, b := answer(t, m, all()), answer(t, m, all())
	if s := m.RangeBudget(); s.Answers != 2 || s.UsedBytes == 0 {
		t.Errorf("two answers are under way, the budget says %+v", s)
	}
	if _, ok := a.Large.Next(); !ok {
		t.Fatal("no first piece")
	}
	a.Large.Close()
	if _, ok := a.Large.Next(); ok {
		t.Error("a piece after Close")
	}
	m.DropAnswers()
	if _, ok := b.Large.Next(); ok {
		t.Error("a piece of a dropped answer")
	}
	if s := m.RangeBudget(); s.Answers != 0 || s.UsedBytes != 0 {
		t.Errorf("left in the budget: %+v", s)
	}
}

// TestWritesAreChargedForWhatTheyAnswer has writes answer with ranges: as large as they are, and nothing stays charged.
func TestWritesAreChargedForWhatTheyAnswer(t *testing.T) {
	m := start(t)
	const keys = 2000
	load(t, m, keys, 300)
	list := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: all()}}
	write := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("x")}}}
	for name, tc := range map[string]struct {
		call func(context.Context, []byte) (service.Answer, error)
		in   proto.Message
		keys func([]byte) int
	}{
		"read-only txn": {m.AnswerTxn, &pb.TxnRequest{Success: []*pb.RequestOp{list, list}}, keysInTxn(t)},
		"mixed txn":     {m.AnswerTxn, &pb.TxnRequest{Success: []*pb.RequestOp{write, list, list}}, keysInTxn(t)},
		"delete":        {m.AnswerDeleteRange, &pb.DeleteRangeRequest{Key: []byte("k"), RangeEnd: []byte("k001"), PrevKv: true}, keysInDelete(t)},
	} {
		raw, err := proto.Marshal(tc.in)
		check(t, err)
		a, err := tc.call(t.Context(), raw)
		check(t, err)
		if a.Large == nil {
			t.Errorf("%s: not large", name)
			continue
		}
		if s := m.RangeBudget(); s.Answers != 1 || s.UsedBytes != int64(a.Large.Size()) {
			t.Errorf("%s: %+v for an answer of %d bytes", name, s, a.Large.Size())
		}
		if got := tc.keys(a.Whole()); got != keys && got != 2*keys && got != keys/2 {
			t.Errorf("%s: %d keys", name, got)
		}
		if s := m.RangeBudget(); s.Answers != 0 {
			t.Errorf("%s: left in the budget: %+v", name, s)
		}
	}
}

func keysInTxn(t *testing.T) func([]byte) int {
	return func(b []byte) (n int) {
		var r pb.TxnResponse
		check(t, proto.Unmarshal(b, &r))
		for _, one := range r.Responses {
			n += len(one.GetResponseRange().GetKvs())
		}
		return n
	}
}

func keysInDelete(t *testing.T) func([]byte) int {
	return func(b []byte) int {
		var r pb.DeleteRangeResponse
		check(t, proto.Unmarshal(b, &r))
		return len(r.PrevKvs)
	}
}

// TestListsBeyondTheBudget makes fifty lists at once with room for three: each is right or refused, and all of them together never hold more.
func TestListsBeyondTheBudget(t *testing.T) {
	const limit, plans = 2 << 20, 16 << 10
	m := start(t, func(o *servicetest.Options) { o.Service.RangeBudgetBytes = limit })
	load(t, m, listKeys, 100)
	want := len(answer(t, m, all()).Whole())
	raw := (&request.Range{Key: []byte("k"), RangeEnd: []byte("l")}).Append(nil)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			a, err := m.AnswerRange(t.Context(), raw)
			if errors.Is(err, service.ErrBusy) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			defer a.Large.Close()
			if s := m.RangeBudget(); s.UsedBytes > limit+plans {
				t.Errorf("%d bytes under way", s.UsedBytes)
			}
			if got := len(rest(a.Large)); got != want {
				t.Errorf("%d bytes, want %d", got, want)
			}
		})
	}
	wg.Wait()
}

// BenchmarkList measures lists by their length.
func BenchmarkList(b *testing.B) {
	m := start(b)
	load(b, m, 100_000, 200)
	for _, limit := range []int64{100, 1000, 10_000, 100_000} {
		raw := (&request.Range{Key: []byte("k"), RangeEnd: []byte("l"), Limit: limit, Serializable: true}).Append(nil)
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a, err := m.AnswerRange(b.Context(), raw)
				check(b, err)
				if a.Large == nil {
					continue
				}
				for {
					piece, ok := a.Large.Next()
					if !ok {
						break
					}
					a.Large.Recycle(piece)
				}
				a.Large.Close()
			}
		})
	}
}

// TestJSONIsCharged: an answer that is turned into JSON is charged for several times its size, a small one not at all.
func TestJSONIsCharged(t *testing.T) {
	m := start(t, func(o *servicetest.Options) { o.Service.RangeBudgetBytes = 1 << 20 })
	load(t, m, 3000, 300)
	for end, want := range map[string]int64{"": 0, "k00001": 0, "k0003": 300, "l": 3000} {
		r := &request.Txn{Success: []request.Op{{Range: &request.Range{Key: []byte("k"), RangeEnd: []byte(end)}}}}
		release, err := m.AdmitJSON(t.Context(), r.Append(nil))
		check(t, err)
		if used := m.RangeBudget().UsedBytes; used < want*300*12 || used > want*400*12 {
			t.Errorf("up to %q, %d keys: %d bytes are charged", end, want, used)
		}
		release()
	}
	if s := m.RangeBudget(); s.Answers != 0 {
		t.Errorf("left in the budget: %+v", s)
	}
}

// TestChunksAreCharged: a stream of answers has room for each large chunk, until whoever sends it is done with it, and waits for that.
func TestChunksAreCharged(t *testing.T) {
	m := start(t, func(o *servicetest.Options) {
		o.Service.MaxRequestBytes, o.Service.RangeBudgetBytes = 256<<10, 1<<20
	})
	load(t, m, listKeys, 300)
	raw := (&request.Range{Key: []byte("k"), RangeEnd: []byte("l")}).Append(nil)
	charged, keys := 0, 0
	check(t, m.AnswerRangeStream(t.Context(), raw, func(chunk service.Answer) error {
		if chunk.Large != nil {
			charged++
			size := int64(chunk.Large.Size())
			if s := m.RangeBudget(); s.Answers != 1 || s.UsedBytes < size || s.UsedBytes > size+1024 {
				t.Errorf("%+v for a chunk of %d bytes", s, chunk.Large.Size())
			}
		}
		var r pb.RangeStreamResponse
		check(t, proto.Unmarshal(chunk.Whole(), &r))
		keys += len(r.RangeResponse.Kvs)
		return nil
	}))
	if charged < 5 || keys != listKeys {
		t.Errorf("%d chunks were charged, %d keys came", charged, keys)
	}
	taker := answer(t, m, all())
	defer taker.Close()
	var kept []service.Answer
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // it would wait for some seconds
	defer cancel()
	err := m.AnswerRangeStream(ctx, raw, func(chunk service.Answer) error {
		kept = append(kept, chunk)
		return nil
	})
	wantError(t, "a stream whose chunks nobody sends", err, context.DeadlineExceeded)
	if len(kept) < 2 {
		t.Errorf("only %d chunks came before that", len(kept))
	}
	for _, chunk := range kept {
		chunk.Close()
	}
}
