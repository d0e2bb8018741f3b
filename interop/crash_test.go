package interop

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/interop/workload"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	crashWriters    = 16
	crashKeys       = 12  // of each writer
	crashAcksMax    = 600 // a cycle is cut after at most this many acknowledgements
	crashRereadMax  = 100 // acknowledged writes of a cycle that are read at their revision
	crashCallBudget = 20 * time.Second
)

// TestCrash kills a server with SIGKILL again and again while writers are at
// work. After each restart nothing acknowledged is lost, nothing refused
// appears, what was written together is together, and revisions have not gone back.
func TestCrash(t *testing.T) {
	t.Parallel()
	eachProgram(t, func(t *testing.T, program process.Program) {
		c, cycles := newCrash(t, program, flags.seed), flags.cycles
		if program.Name == process.Etcd().Name {
			cycles = (cycles + 4) / 5 // which prove the test
		}
		for cycle := range cycles {
			c.cycle(cycle)
		}
		t.Logf("%d cycles, %d acknowledged, %d unknown, %d refused", cycles, c.acked.Load(), c.unknown.Load(), c.refused.Load())
	})
}

// crash is one run of the crash test.
type crash struct {
	t      *testing.T
	server *process.Server
	rand   *rand.Rand
	ledger *workload.Ledger

	acked, unknown, refused atomic.Int64
}

func newCrash(t *testing.T, program process.Program, seed uint64) *crash {
	t.Helper()
	t.Logf("repeat with: go test . -run TestCrash -against %s -seed %d -cycles %d", program.Name, seed, flags.cycles)
	server := process.Start(t, process.Config{
		Program: program, Builder: builder, DataDir: filepath.Join(process.MemoryDir(t), "data"),
		Flags: []string{"--heartbeat-interval=10", "--election-timeout=100", "--snapshot-count=2000"},
	})
	return &crash{t: t, server: server, rand: rand.New(rand.NewPCG(seed, 2)), ledger: workload.NewLedger()}
}

// cycle lets the writers work, kills the server after a random number of
// acknowledgements, starts it again, and checks what it shows. Now and then the
// new process is killed too before it is ready.
func (c *crash) cycle(n int) {
	c.t.Helper()
	cut := int64(1 + c.rand.IntN(crashAcksMax))
	enough := make(chan struct{})
	var acks atomic.Int64
	var writers sync.WaitGroup
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	for w := range crashWriters {
		source := rand.New(rand.NewPCG(c.rand.Uint64(), uint64(w)))
		writers.Go(func() {
			c.write(ctx, n, w, source, func() {
				if acks.Add(1) == cut {
					close(enough)
				}
			})
		})
	}
	select {
	case <-enough:
	case <-ctx.Done():
		c.t.Fatalf("cycle %d: got %d acknowledgements, want %d", n, acks.Load(), cut)
	}
	c.server.Kill()
	writers.Wait()
	if n%5 == 4 {
		c.server.Launch()
		c.server.Kill()
	}
	c.server.Restart()
	c.check(ctx, n)
}

// write writes until the server is gone. A writer owns its keys, so the order
// of its writes is known.
func (c *crash) write(ctx context.Context, cycle, writer int, source *rand.Rand, acknowledged func()) {
	conn := c.server.Dial(c.t)
	defer conn.Close()
	kv := pb.NewKVClient(conn)
	for i := 0; ; i++ {
		w, request := c.next(cycle, writer, i, source)
		ctx, cancel := context.WithTimeout(ctx, crashCallBudget)
		resp, err := kv.Txn(ctx, request)
		cancel()
		switch outcome(resp, err) {
		case done:
			w.Revision = resp.Header.Revision
			c.ledger.Acknowledged(w)
			c.acked.Add(1)
			acknowledged()
		case notDone:
			c.ledger.Refused(w)
			c.refused.Add(1)
		case unknown:
			c.ledger.Unknown(w)
			c.unknown.Add(1)
			return
		}
	}
}

type fate int

const (
	done fate = iota
	notDone
	unknown
)

// outcome says what became of a write: a transaction whose condition failed and
// an invalid request were decided against; after any other error nobody knows.
func outcome(resp *pb.TxnResponse, err error) fate {
	switch code := status.Code(err); {
	case code == codes.OK && resp.Succeeded:
		return done
	case code == codes.OK, code == codes.InvalidArgument, code == codes.NotFound:
		return notDone
	default:
		return unknown
	}
}

// next makes a writer's next write: of one key, of two keys at once, a delete,
// or one that must be refused because of its condition or its lease.
func (c *crash) next(cycle, writer, i int, source *rand.Rand) (workload.Write, *pb.TxnRequest) {
	slot := source.IntN(crashKeys)
	w := workload.Write{Keys: []string{fmt.Sprintf("k/%02d/%02d", writer, slot)}, Value: fmt.Sprintf("%d.%d.%d", cycle, writer, i)}
	request := &pb.TxnRequest{}
	kind := source.IntN(20)
	switch {
	case slot%3 == 0: // these keys are always written in pairs
		w.Keys = append(w.Keys, w.Keys[0]+"+")
	case kind < 2:
		w.Value = ""
	}
	for _, key := range w.Keys {
		request.Success = append(request.Success, crashOp(key, w.Value, kind == 3))
	}
	if kind == 2 {
		request.Compare = []*pb.Compare{{Target: pb.Compare_VERSION, Result: pb.Compare_LESS, Key: []byte("k"), TargetUnion: &pb.Compare_Version{}}}
	}
	return w, request
}

func crashOp(key, value string, badLease bool) *pb.RequestOp {
	if value == "" {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte(key)}}}
	}
	put := &pb.PutRequest{Key: []byte(key), Value: []byte(value)}
	if badLease {
		put.Lease = 0x7fffffffffffff11
	}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}}
}

// check reads the whole store and judges it, then reads the newest acknowledged
// writes again at the revisions that the server gave them.
func (c *crash) check(ctx context.Context, cycle int) {
	c.t.Helper()
	conn := c.server.Dial(c.t)
	defer conn.Close()
	kv := pb.NewKVClient(conn)
	resp, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil {
		c.t.Fatalf("cycle %d: list: %v", cycle, err)
	}
	store := make(map[string]workload.Record)
	for _, record := range resp.Kvs {
		store[string(record.Key)] = workload.Record{Value: string(record.Value), Revision: record.ModRevision}
	}
	if err := c.ledger.Check(store, resp.Header.Revision); err != nil {
		c.t.Fatalf("cycle %d: after SIGKILL: %v", cycle, err)
	}
	for _, w := range c.ledger.Recent(crashRereadMax) {
		c.reread(ctx, kv, w)
	}
}

func (c *crash) reread(ctx context.Context, kv pb.KVClient, w workload.Write) {
	c.t.Helper()
	for _, key := range w.Keys {
		resp, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte(key), Revision: w.Revision})
		if err != nil {
			c.t.Fatalf("read %s at revision %d: %v", key, w.Revision, err)
		}
		found := ""
		if len(resp.Kvs) == 1 {
			found = string(resp.Kvs[0].Value)
		}
		if found != w.Value {
			c.t.Fatalf("read %s at revision %d: got %q, want %q", key, w.Revision, found, w.Value)
		}
	}
}
