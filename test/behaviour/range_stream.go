package behaviour

import (
	"errors"
	"fmt"
	"io"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
)

// stream reads a RangeStream to its end, again if leadership moves all the time and did so then.
func (e *env) stream(r *pb.RangeRequest) ([]*pb.RangeResponse, error) {
	e.Helper()
	for {
		if chunks, err := e.streamOnce(r); !e.target.Restless || !leaderMoved(err) {
			return chunks, err
		}
	}
}

func (e *env) streamOnce(r *pb.RangeRequest) ([]*pb.RangeResponse, error) {
	e.Helper()
	s, err := e.kv.RangeStream(e.ctx, r)
	e.ok(err)
	var chunks []*pb.RangeResponse
	for {
		resp, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return chunks, nil
		}
		if err != nil {
			return chunks, err
		}
		chunks = append(chunks, resp.RangeResponse)
	}
}

// mustStream reads a stream with logical names, checks that only the last chunk
// has header, count and more, and returns all records as one response with the
// sizes of the chunks as "10 20 30".
func (e *env) mustStream(r *pb.RangeRequest) (*pb.RangeResponse, string) {
	e.Helper()
	chunks, err := e.stream(e.realRange(r))
	e.ok(err)
	whole := &pb.RangeResponse{}
	var sizes []string
	for i, c := range chunks {
		sizes = append(sizes, fmt.Sprint(len(c.Kvs)))
		whole.Kvs = append(whole.Kvs, c.Kvs...)
		if i < len(chunks)-1 {
			e.isTrue("header, count and more only in the last chunk", c.Header == nil && c.Count == 0 && !c.More)
			continue
		}
		whole.Header, whole.Count, whole.More = c.Header, c.Count, c.More
	}
	return whole, strings.Join(sizes, " ")
}

func (e *env) putMany(n int) {
	e.Helper()
	for done := 0; done < n; done += 100 {
		var ops []*pb.RequestOp
		for i := done; i < min(n, done+100); i++ {
			ops = append(ops, p(fmt.Sprintf("k%04d", i)))
		}
		e.mustTxn(&pb.TxnRequest{Success: ops})
	}
}

func rangeStreamCases() []testCase {
	type row struct {
		name   string
		change func(r *pb.RangeRequest, base int64)
		sizes  string
		count  int64
		more   bool
	}
	rows := []row{ // over 60 keys written in one revision
		{"chunks double", func(*pb.RangeRequest, int64) {}, "10 20 30", 60, false},
		{"key ascending", func(r *pb.RangeRequest, _ int64) { r.SortOrder = pb.RangeRequest_ASCEND }, "10 20 30", 60, false},
		{"limit", func(r *pb.RangeRequest, _ int64) { r.Limit = 15 }, "10 5", 60, true},
		{"limit of one chunk", func(r *pb.RangeRequest, _ int64) { r.Limit = 10 }, "10", 60, true},
		{"limit in the first chunk", func(r *pb.RangeRequest, _ int64) { r.Limit = 3 }, "3", 60, true},
		{"limit equal to count", func(r *pb.RangeRequest, _ int64) { r.Limit = 60 }, "10 20 30", 60, false},
		{"limit above count", func(r *pb.RangeRequest, _ int64) { r.Limit = 100 }, "10 20 30", 60, false},
		{"keys only", func(r *pb.RangeRequest, _ int64) { r.KeysOnly = true }, "10 20 30", 60, false},
		{"serializable", func(r *pb.RangeRequest, _ int64) { r.Serializable = true }, "10 20 30", 60, false},
		{"count only", func(r *pb.RangeRequest, _ int64) { r.CountOnly = true }, "0", 60, false},
		{"in the past", func(r *pb.RangeRequest, base int64) { r.Revision = base }, "0", 0, false},
		{"at a revision", func(r *pb.RangeRequest, base int64) { r.Revision = base + 1 }, "10 20 30", 60, false},
	}
	cases := []testCase{
		{name: "nothing is one message", run: func(e *env) {
			whole, sizes := e.mustStream(get("", "*"))
			e.equal("chunks", sizes, "0")
			e.fullHeader(whole.Header, e.base)
		}},
		{name: "a single key", run: func(e *env) {
			e.mustPut(put("a", "1"))
			whole, sizes := e.mustStream(get("a", ""))
			e.equal("chunks", sizes, "1")
			e.equal("records", e.shows(whole.Kvs), "a=1 c1 m1 v1")
		}},
		{name: "eleven keys", run: func(e *env) {
			e.putMany(11)
			_, sizes := e.mustStream(get("", "*"))
			e.equal("chunks", sizes, "10 1")
		}},
		{name: "large values shrink the chunks", run: streamLarge},
		{name: "a sort target without an order sorts one chunk", run: streamUnordered},
	}
	for _, row := range rows {
		cases = append(cases, testCase{name: row.name, run: func(e *env) {
			e.putMany(60)
			streamed, plain := get("", "*"), get("", "*")
			row.change(streamed, e.base)
			row.change(plain, e.base)
			whole, sizes := e.mustStream(streamed)
			e.equal("chunks", sizes, row.sizes)
			e.equal("count", whole.Count, row.count)
			e.equal("more", whole.More, row.more)
			e.fullHeader(whole.Header, e.base+1)
			e.equal("records", e.shows(whole.Kvs), e.shows(e.mustGet(plain).Kvs))
		}})
	}
	return append(cases, rangeStreamErrorCases()...)
}

// streamUnordered stays within one chunk: over several, etcd goes on behind the
// last record of each sorted chunk, which repeats and leaves out keys. A server
// that sorts the whole range first is right as well.
func streamUnordered(e *env) {
	e.writeHistory()
	r := get("", "*")
	r.SortTarget = pb.RangeRequest_MOD
	whole, _ := e.mustStream(r)
	e.equal("keys", e.names(whole.Kvs), "d a c b")
	e.equal("count", whole.Count, int64(4))
}

func streamLarge(e *env) {
	value := strings.Repeat("v", 512<<10)
	for i := range 24 {
		e.mustPut(put(fmt.Sprintf("k%02d", i), value))
	}
	whole, sizes := e.mustStream(get("", "*"))
	e.equal("chunks", sizes, "10 5 5 4")
	e.equal("count", whole.Count, int64(24))
}

func rangeStreamErrorCases() []testCase {
	type row struct {
		name   string
		change func(r *pb.RangeRequest, base int64)
		want   refusal
	}
	sorted := refusal{codes.Unimplemented, "RangeStream does not support custom sort orders"}
	filtered := refusal{codes.Unimplemented, "RangeStream does not support revision filters"}
	rows := []row{
		{"empty key", func(r *pb.RangeRequest, _ int64) { r.Key = nil }, emptyKey()},
		{"unknown sort order", func(r *pb.RangeRequest, _ int64) { r.SortOrder = 9 }, invalidSort()},
		{"unknown sort target", func(r *pb.RangeRequest, _ int64) { r.SortTarget = 9 }, invalidSort()},
		{"descending", func(r *pb.RangeRequest, _ int64) { r.SortOrder = pb.RangeRequest_DESCEND }, sorted},
		{"by value", func(r *pb.RangeRequest, _ int64) {
			r.SortOrder, r.SortTarget = pb.RangeRequest_ASCEND, pb.RangeRequest_VALUE
		}, sorted},
		{"min mod", func(r *pb.RangeRequest, _ int64) { r.MinModRevision = 1 }, filtered},
		{"max mod", func(r *pb.RangeRequest, _ int64) { r.MaxModRevision = 1 }, filtered},
		{"min create", func(r *pb.RangeRequest, _ int64) { r.MinCreateRevision = 1 }, filtered},
		{"max create", func(r *pb.RangeRequest, _ int64) { r.MaxCreateRevision = 1 }, filtered},
		{"future revision", func(r *pb.RangeRequest, b int64) { r.Revision = b + 1 }, futureRevision()},
	}
	var cases []testCase
	for _, row := range rows {
		cases = append(cases, testCase{name: "refused: " + row.name, run: func(e *env) {
			r := e.realRange(get("", "*"))
			row.change(r, e.base)
			chunks, err := e.stream(r)
			e.refused(err, row.want)
			e.equal("chunks", len(chunks), 0)
		}})
	}
	return cases
}
