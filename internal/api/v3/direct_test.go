package v3

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// wired is a call as a connection would have it.
type wired struct {
	method   string
	raw      []byte
	metadata map[string]string
	deadline time.Time
	cancel   func()

	ended chan struct{} // closed then
	reply []byte
	err   error
	left  bool
}

func newWired(t *testing.T, method string, in proto.Message) *wired {
	t.Helper()
	return &wired{method: method, raw: wireOf(t, in).bytes, metadata: map[string]string{}, ended: make(chan struct{})}
}

func (c *wired) Method() string              { return c.method }
func (c *wired) Request() []byte             { return c.raw }
func (c *wired) Context() context.Context    { return context.Background() }
func (c *wired) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }
func (c *wired) Metadata(name string) string { return c.metadata[name] }
func (c *wired) OnCancel(f func())           { c.cancel = f }
func (c *wired) Answer(message []byte)       { c.end(message, nil) }
func (c *wired) Fail(err error)              { c.end(nil, err) }

func (c *wired) Go() {
	c.left = true
	c.end(nil, nil)
}

func (c *wired) end(reply []byte, err error) {
	c.reply, c.err = reply, err
	close(c.ended)
}

// serveWired serves calls and waits until all have ended.
func serveWired(d *direct, calls ...*wired) {
	serveDirect(d, calls)
	for _, c := range calls {
		<-c.ended
	}
}

// methodCounts counts the calls of a method by their ends.
type methodCounts struct {
	begun atomic.Int64
	ended chan string
}

func (m *methodCounts) Began() { m.begun.Add(1) }

func (m *methodCounts) Ended(err error, took time.Duration) {
	m.ended <- fmt.Sprint(status.Code(err), took > 0)
}

// testDirect serves the calls of a member directly.
func testDirect(m *servicetest.Member, opts Options) (*direct, map[string]*methodCounts) {
	counts := map[string]*methodCounts{}
	opts.Count = func(method string) CallCounts {
		counts[method] = &methodCounts{ended: make(chan string, 100)}
		return counts[method]
	}
	_, _, limit := opts.chains(m.Service)
	return newDirect(m.Service, &opts, limit), counts
}

func TestDirectCalls(t *testing.T) {
	m := servicetest.Start(t, servicetest.NewDisks(t, 1))
	check(t, m.Probe(t.Context(), true))
	observed := map[string]int{}
	d, counts := testDirect(m, Options{Observe: func(kind, version string) { observed[kind+" "+version]++ }})
	put := newWired(t, pb.KV_Put_FullMethodName, &pb.PutRequest{Key: []byte("k"), Value: []byte("v")})
	put.metadata[metaAPIVersion] = "3.6"
	put.metadata[metaHasLeader] = "true"
	serveWired(d, put)
	get := newWired(t, pb.KV_Range_FullMethodName, &pb.RangeRequest{Key: []byte("k")})
	remove := newWired(t, pb.KV_DeleteRange_FullMethodName, &pb.DeleteRangeRequest{Key: []byte("x")})
	op := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k")}}}
	txn := newWired(t, pb.KV_Txn_FullMethodName, &pb.TxnRequest{Success: []*pb.RequestOp{op}})
	list := newWired(t, pb.KV_Txn_FullMethodName, &pb.TxnRequest{})
	empty := newWired(t, pb.KV_Put_FullMethodName, &pb.PutRequest{})
	wrong := newWired(t, pb.KV_Put_FullMethodName, &pb.PutRequest{Key: []byte("k")})
	wrong.raw = []byte{10, 255}
	odd := newWired(t, pb.KV_Put_FullMethodName, &pb.PutRequest{Key: []byte("k")})
	odd.metadata[metaAPIVersion] = "\xff"
	serveWired(d, get, remove, txn, list, empty, wrong, odd)
	var found pb.RangeResponse
	check(t, proto.Unmarshal(get.reply, &found))
	if len(found.Kvs) != 1 || string(found.Kvs[0].Key) != "k" {
		t.Errorf("found %v", found.Kvs)
	}
	for name, c := range map[string]*wired{"put": put, "delete": remove, "txn": txn} {
		h := new(pb.PutResponse) // all begin with the header
		if check(t, proto.Unmarshal(c.reply, h)); h.Header.GetRevision() < 2 || c.err != nil {
			t.Errorf("%s: %v, %v", name, h, c.err)
		}
	}
	wantStatus(t, "put without key", empty.err, codes.InvalidArgument, "etcdserver: key is not provided")
	if text := status.Convert(wrong.err).Message(); status.Code(wrong.err) != codes.Internal || !strings.HasPrefix(text, "grpc: error unmarshalling request") {
		t.Errorf("no message: %v", wrong.err)
	}
	if !list.left || !odd.left {
		t.Error("what is unusual is not left to the ordinary way")
	}
	if observed["unary 3.6"] != 1 || observed["unary unknown"] != 5 {
		t.Errorf("observed %v", observed)
	}
	for method, want := range map[string][]string{
		pb.KV_Put_FullMethodName:   {"OK true", "InvalidArgument true", "Internal true"},
		pb.KV_Range_FullMethodName: {"OK true"}, pb.KV_DeleteRange_FullMethodName: {"OK true"}, pb.KV_Txn_FullMethodName: {"OK true"},
	} {
		c := counts[method]
		if c.begun.Load() != int64(len(want)) || len(c.ended) != len(want) {
			t.Errorf("%s: %d begun, %d ended, want %d", method, c.begun.Load(), len(c.ended), len(want))
			continue
		}
		for _, w := range want {
			if got := <-c.ended; got != w {
				t.Errorf("%s ended with %s, want %s", method, got, w)
			}
		}
	}
}

// TestSlowDirectCalls: they are warned of like the others, with their steps.
func TestSlowDirectCalls(t *testing.T) {
	m := servicetest.Start(t, servicetest.NewDisks(t, 1))
	check(t, m.Probe(t.Context(), true))
	var out bytes.Buffer
	counted := 0
	slow := SlowCalls{Logger: slog.New(slog.NewJSONHandler(&out, nil)), After: time.Nanosecond, Count: func(string) { counted++ }}
	d, _ := testDirect(m, Options{Slow: slow})
	serveWired(d, newWired(t, pb.KV_Put_FullMethodName, &pb.PutRequest{Key: []byte("k"), Value: []byte("s3cret")}))
	serveWired(d, newWired(t, pb.KV_Range_FullMethodName, &pb.RangeRequest{Key: []byte("k")}))
	serveWired(d, newWired(t, pb.KV_Put_FullMethodName, &pb.PutRequest{}))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || counted != 3 || strings.Contains(out.String(), "s3cret") {
		t.Fatalf("%d counted: %s", counted, &out)
	}
	for i, want := range []map[string]any{
		{"method": pb.KV_Put_FullMethodName, "key": "k", "value_bytes": 6.0, "request_bytes": 11.0},
		{"method": pb.KV_Range_FullMethodName, "key": "k", "keys": 1.0},
		{"method": pb.KV_Put_FullMethodName, "code": "InvalidArgument"},
	} {
		var line map[string]any
		check(t, json.Unmarshal([]byte(lines[i]), &line))
		for name, value := range want {
			if line[name] != value {
				t.Errorf("%s: %s is %v, want %v", lines[i], name, line[name], value)
			}
		}
		if spent, _ := line["spent"].(map[string]any); i == 0 && (spent["queue"] == nil || spent["apply"] == nil) {
			t.Errorf("a put has spent %v", spent)
		}
	}
}

// TestDirectRate: calls beyond the rate are left to those who refuse them, and one that is left has taken nothing.
func TestDirectRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := servicetest.Start(t, servicetest.NewDisks(t, 1))
		check(t, m.Probe(t.Context(), true))
		d, _ := testDirect(m, Options{Limits: Limits{RequestsPerSecond: 2}})
		calls := func() (all []*wired) {
			for range 3 {
				all = append(all, newWired(t, pb.KV_Range_FullMethodName, &pb.RangeRequest{Key: []byte("k")}))
			}
			return all
		}
		<-time.After(time.Minute) // as many as in one second are saved up
		lists := newWired(t, pb.KV_Txn_FullMethodName, &pb.TxnRequest{})
		serveWired(d, lists)
		all := calls()
		serveWired(d, all...)
		if !lists.left || all[0].left || all[1].left || !all[2].left {
			t.Errorf("left: %v, then %v, %v, %v", lists.left, all[0].left, all[1].left, all[2].left)
		}
	})
}

// TestDirectCallsEnd: a call whose client has gone ends at once; without a leader whoever asks for one is left to those who refuse it.
func TestDirectCallsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := servicetest.Start(t, servicetest.NewDisks(t, 2)) // never has a leader
		d, _ := testDirect(m, Options{})
		asks := newWired(t, pb.KV_Put_FullMethodName, &pb.PutRequest{Key: []byte("k")})
		asks.metadata[metaHasLeader] = "true"
		gone := newWired(t, pb.KV_Put_FullMethodName, &pb.PutRequest{Key: []byte("k")})
		late := newWired(t, pb.KV_Put_FullMethodName, &pb.PutRequest{Key: []byte("k")})
		late.deadline = time.Now().Add(time.Second)
		serveDirect(d, []*wired{asks, gone, late})
		gone.cancel()
		<-gone.ended
		<-time.After(time.Second)
		late.cancel()
		<-late.ended
		if <-asks.ended; !asks.left {
			t.Error("a call that asks for a leader is served without one")
		}
		wantStatus(t, "client that has gone", gone.err, codes.Canceled, "context canceled")
		wantStatus(t, "client whose time is over", late.err, codes.DeadlineExceeded, "context deadline exceeded")
	})
	learner := servicetest.Start(t, servicetest.NewLearnerDisks(t))
	await(t, "it knows what it is", learner.IsLearner)
	d, _ := testDirect(learner, Options{})
	c := newWired(t, pb.KV_Put_FullMethodName, &pb.PutRequest{Key: []byte("k")})
	if serveWired(d, c); !c.left {
		t.Error("a learner serves a call")
	}
}

// rewired is a call that is made again and again.
type rewired struct {
	*wired
	sum *sync.WaitGroup
}

func (c *rewired) OnCancel(func()) {}
func (c *rewired) Answer([]byte)   { c.sum.Done() }
func (c *rewired) Fail(err error)  { panic(err) }
func (c *rewired) Go()             { panic("left") }

// hotBatch is 64 calls that come together, and how to serve them.
func hotBatch(t testing.TB, method string, in proto.Message) (serve func()) {
	m := servicetest.Start(t, servicetest.NewDisks(t, 1))
	check(t, m.Probe(t.Context(), true))
	d := newDirect(m.Service, &Options{Slow: SlowCalls{After: time.Hour}, Observe: func(string, string) {}}, nil)
	raw, err := proto.Marshal(in)
	check(t, err)
	sum := new(sync.WaitGroup)
	var calls []*rewired
	for range hotCalls {
		calls = append(calls, &rewired{&wired{method: method, raw: raw}, sum})
	}
	return func() {
		sum.Add(hotCalls)
		serveDirect(d, calls)
		sum.Wait()
	}
}

const hotCalls = 64

// BenchmarkGetBatch measures one of 64 gets that come together.
func BenchmarkGetBatch(b *testing.B) {
	serve := hotBatch(b, pb.KV_Range_FullMethodName, &pb.RangeRequest{Key: []byte("k")})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%hotCalls == 0 {
			serve()
		}
	}
}
