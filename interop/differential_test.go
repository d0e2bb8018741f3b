package interop

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/interop/workload"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// TestDifferential sends the same random operations to a real etcd and to the
// server under test and wants the same answers, the same watch events and the
// same hashes of the history. A real etcd is its own other party once, which
// proves the harness.
func TestDifferential(t *testing.T) {
	t.Parallel()
	eachProgram(t, func(t *testing.T, program process.Program) {
		seeds := flags.seeds
		if program.Name == process.Etcd().Name {
			seeds = min(seeds, 1)
		}
		for i := range seeds {
			seed := flags.seed + uint64(i)
			t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
				t.Parallel()
				newDuel(t, program, seed).run(flags.ops)
			})
		}
	})
}

// side is one of the two servers of a duel.
type side struct {
	name      string
	client    *workload.Client
	followers []*workload.Follower
}

// duel is one run of the differential test.
type duel struct {
	t         *testing.T
	ctx       context.Context
	seed      uint64
	generator *workload.Generator
	sides     [2]side
	trace     []string
	counts    map[string]int // outcomes by request and answer
	revision  int64
	compacted int64
}

func newDuel(t *testing.T, program process.Program, seed uint64) *duel {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	d := &duel{t: t, ctx: ctx, seed: seed, generator: workload.NewGenerator(seed), revision: 1, compacted: -1, counts: make(map[string]int)}
	for i, p := range []process.Program{process.Etcd(), program} {
		server := process.Start(t, process.Config{Program: p, Builder: builder, Volatile: true})
		conn := server.Dial(t)
		t.Cleanup(func() { _ = conn.Close() })
		client, err := workload.NewClient(ctx, conn)
		if err != nil {
			t.Fatal(err)
		}
		d.sides[i] = side{name: fmt.Sprintf("%s(%d)", p.Name, i), client: client}
	}
	t.Cleanup(cancel)
	t.Logf("repeat with: go test . -run 'TestDifferential/%s/seed=%d$' -against %s -seed %d -ops %d", program.Name, seed, program.Name, seed, flags.ops)
	return d
}

// stepTimeout bounds one operation and one wait for the watchers.
const stepTimeout = 30 * time.Second

// historyEvery is how many operations lie between two readings of the history
// by watchers from the past.
const historyEvery = 1000

func (d *duel) run(ops int) {
	d.follow(liveWatchers())
	for i := range ops {
		op := d.generator.Next()
		if _, compacts := op.Request.(*pb.CompactionRequest); compacts {
			d.meet() // previous records are read when an event is sent: none may be under way
		}
		d.do(i, op)
		if i%historyEvery == historyEvery-1 {
			d.readHistory(i)
		}
	}
	d.meet()
	d.readHistory(ops)
	d.hashes(ops)
	d.summarize()
}

// summarize logs how often each request got each answer, which shows what the
// generator reaches.
func (d *duel) summarize() {
	d.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(d.counts)) {
		d.t.Logf("%6d %s", d.counts[name], name)
	}
	d.t.Logf("revision %d, compacted %d", d.revision, d.compacted)
}

// both runs a call on the two sides at once.
func (d *duel) both(call func(s *side)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		call(&d.sides[1])
	}()
	call(&d.sides[0])
	<-done
}

// do sends one operation to both sides and compares the outcomes.
func (d *duel) do(i int, op workload.Op) workload.Outcome {
	d.t.Helper()
	var outcomes [2]workload.Outcome
	ctx, cancel := context.WithTimeout(d.ctx, stepTimeout)
	defer cancel()
	d.both(func(s *side) {
		outcome := s.client.Do(ctx, op)
		if s == &d.sides[0] {
			outcomes[0] = outcome
		} else {
			outcomes[1] = outcome
		}
	})
	d.trace = append(d.trace, fmt.Sprintf("%d %s", i, op))
	if !outcomes[0].Equal(outcomes[1]) {
		d.fail("operation %d: %s\n%s: %s\n%s: %s", i, op, d.sides[0].name, outcomes[0], d.sides[1].name, outcomes[1])
	}
	d.observe(op, outcomes[0])
	d.counts[fmt.Sprintf("%s %s %s", op.Request.ProtoReflect().Descriptor().Name(), outcomes[0].Code, outcomes[0].Text)]++
	return outcomes[0]
}

func (d *duel) observe(op workload.Op, outcome workload.Outcome) {
	d.revision = max(d.revision, outcome.Revision())
	if r, ok := op.Request.(*pb.CompactionRequest); ok && outcome.Code == codes.OK {
		d.compacted = r.Revision
	}
	d.generator.Observe(d.revision, d.compacted)
}

// liveWatchers start before the first operation.
func liveWatchers() []*pb.WatchCreateRequest {
	const noPut, noDelete = pb.WatchCreateRequest_NOPUT, pb.WatchCreateRequest_NODELETE
	all := []byte{0}
	return []*pb.WatchCreateRequest{
		{RangeEnd: all},
		{RangeEnd: all, PrevKv: true},
		{Key: []byte("b"), RangeEnd: []byte("d"), PrevKv: true, Filters: []pb.WatchCreateRequest_FilterType{noPut}},
		{Key: []byte("c"), RangeEnd: all, Filters: []pb.WatchCreateRequest_FilterType{noDelete}},
		{Key: []byte("a")},
		{Key: []byte("e1"), PrevKv: true},
		{Key: []byte("z")},
	}
}

// follow starts the watchers on both sides.
func (d *duel) follow(requests []*pb.WatchCreateRequest) {
	d.t.Helper()
	for i := range d.sides {
		for _, r := range requests {
			f, err := workload.Follow(d.ctx, d.sides[i].client.Watch, proto.CloneOf(r))
			if err != nil {
				d.fail("%s: %v", d.sides[i].name, err)
			}
			d.sides[i].followers = append(d.sides[i].followers, f)
		}
	}
}

// meet waits until all watchers have seen all events and compares what they saw.
func (d *duel) meet() {
	d.t.Helper()
	d.meetOf(d.sides[0].followers, d.sides[1].followers)
}

func (d *duel) meetOf(left, right []*workload.Follower) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.ctx, stepTimeout)
	defer cancel()
	for i := range left {
		var lines [2][]string
		for n, f := range []*workload.Follower{left[i], right[i]} {
			if err := f.Reach(ctx, d.revision); err != nil {
				d.fail("%s: watcher %d: %v", d.sides[n].name, i, err)
			}
			lines[n] = f.Take()
		}
		if !slices.Equal(lines[0], lines[1]) {
			d.fail("watcher %d: %s", i, difference(lines[0], lines[1]))
		}
	}
}

// readHistory follows the past from several revisions on both sides, and hashes it.
func (d *duel) readHistory(i int) {
	d.t.Helper()
	oldest := max(d.compacted, 1)
	middle := oldest + (d.revision-oldest)/2
	all := []byte{0}
	live := len(d.sides[0].followers)
	d.follow([]*pb.WatchCreateRequest{
		{RangeEnd: all, StartRevision: oldest, PrevKv: true},
		{RangeEnd: all, StartRevision: middle, Fragment: true},
		{Key: []byte("a"), RangeEnd: []byte("b"), StartRevision: oldest, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE}},
		{Key: []byte("d"), StartRevision: middle, PrevKv: true},
		{RangeEnd: all, StartRevision: d.compacted - 1},
	})
	d.meetOf(d.sides[0].followers[live:], d.sides[1].followers[live:])
	for n := range d.sides {
		for _, f := range d.sides[n].followers[live:] {
			f.Close()
		}
		d.sides[n].followers = d.sides[n].followers[:live]
	}
	d.hashes(i)
}

// hashes compares the hash and the whole content at several revisions.
func (d *duel) hashes(i int) {
	d.t.Helper()
	oldest := max(d.compacted, 1)
	for n := range int64(5) {
		revision := oldest + (d.revision-oldest)*n/4
		d.do(i, workload.Op{Request: &pb.HashKVRequest{Revision: revision}})
		d.do(i, workload.Op{Request: &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: revision}})
	}
}

// fail writes the trace and ends the test.
func (d *duel) fail(format string, args ...any) {
	d.t.Helper()
	dir, err := os.MkdirTemp("", fmt.Sprintf("quoin-differential-seed-%d-", d.seed))
	if err != nil {
		d.t.Fatal(err)
	}
	path := filepath.Join(dir, "trace")
	message := fmt.Sprintf(format, args...)
	if err := os.WriteFile(path, []byte(strings.Join(d.trace, "\n")+"\n\n"+message+"\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.t.Fatalf("seed %d: %s\ntrace: %s", d.seed, message, path)
}

// difference describes the first line in which two records differ.
func difference(left, right []string) string {
	for i := range max(len(left), len(right)) {
		a, b := lineOr(left, i), lineOr(right, i)
		if a != b {
			return fmt.Sprintf("event %d of %d and %d:\n%s\n%s", i, len(left), len(right), a, b)
		}
	}
	return "none"
}

func lineOr(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "none"
}
