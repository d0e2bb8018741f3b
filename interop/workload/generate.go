package workload

import (
	"math/rand/v2"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// Generator makes random operations from a seed. The same seed and the same
// observations give the same operations. Leases get ids of the client and
// lifetimes of days, so that nothing depends on a clock.
type Generator struct {
	rand      *rand.Rand
	keys      []string
	leases    []int64
	revision  int64
	compacted int64
}

// NewGenerator returns a generator for a store that nobody has written to.
func NewGenerator(seed uint64) *Generator {
	g := &Generator{rand: rand.New(rand.NewPCG(seed, 1)), revision: 1, compacted: -1}
	for _, a := range []string{"a", "b", "c", "d", "e"} {
		g.keys = append(g.keys, a)
		for _, b := range []string{"\x00", "1", "2", "a", "\xff"} {
			g.keys = append(g.keys, a+b, a+b+a)
		}
	}
	g.leases = []int64{-3, -1, 1, 2, 3, 10, 77, 1000, 1 << 40, 1<<63 - 1}
	return g
}

// Observe tells the generator the store's revision and its compacted revision,
// -1 for none, so that it can aim at the edges.
func (g *Generator) Observe(revision, compacted int64) {
	g.revision, g.compacted = max(g.revision, revision), compacted
}

// choice is one kind of request and how often it is made.
type choice struct {
	weight int
	make   func() proto.Message
}

// Next makes one operation.
func (g *Generator) Next() Op {
	request := g.choose([]choice{
		{300, func() proto.Message { return g.put() }},
		{200, func() proto.Message { return g.get() }},
		{80, func() proto.Message { return g.delete() }},
		{250, func() proto.Message { return g.txn(0) }},
		{40, func() proto.Message { return &pb.LeaseGrantRequest{ID: g.lease(), TTL: g.ttl()} }},
		{25, func() proto.Message { return &pb.LeaseRevokeRequest{ID: g.lease()} }},
		{30, func() proto.Message { return &pb.LeaseTimeToLiveRequest{ID: g.lease(), Keys: g.one(2)} }},
		{10, func() proto.Message { return &pb.LeaseLeasesRequest{} }},
		{15, func() proto.Message { return &pb.LeaseKeepAliveRequest{ID: g.lease()} }},
		{4, func() proto.Message { return g.compaction() }},
		{15, func() proto.Message { return &pb.HashKVRequest{Revision: g.anyRevision()} }},
	})
	return Op{Request: request, Stream: g.one(8) && streamable(request)}
}

// streamable says whether the request may be sent as RangeStream. Without an
// order but with a sort target other than the key, etcd 3.7 sorts each chunk and
// goes on behind its last record, which repeats and leaves out keys; no
// server is asked to copy that.
func streamable(request proto.Message) bool {
	r, isRange := request.(*pb.RangeRequest)
	return isRange && (r.SortOrder != pb.RangeRequest_NONE || r.SortTarget == pb.RangeRequest_KEY)
}

func (g *Generator) choose(list []choice) proto.Message {
	sum := 0
	for _, c := range list {
		sum += c.weight
	}
	n := g.rand.IntN(sum)
	for _, c := range list {
		if n -= c.weight; n < 0 {
			return c.make()
		}
	}
	panic("workload: choice: got a number above the sum of the weights")
}

// one is true once in n times.
func (g *Generator) one(n int) bool { return g.rand.IntN(n) == 0 }

func pick[T any](g *Generator, list ...T) T { return list[g.rand.IntN(len(list))] }

func (g *Generator) key() []byte {
	if g.one(300) {
		return nil
	}
	return []byte(pick(g, g.keys...))
}

// span is a key with a range end: mostly none, sometimes a range, a prefix, the
// rest of the store, or an empty range.
func (g *Generator) span() (key, end []byte) {
	key = g.key()
	switch n := g.rand.IntN(20); {
	case n < 10:
		return key, nil
	case n < 15:
		return key, g.key()
	case n < 18 && len(key) > 0:
		end = slices.Clone(key[:1])
		end[0]++
		return key[:1], end
	case n < 19:
		return []byte{0}, []byte{0}
	default:
		return key, []byte{0}
	}
}

func (g *Generator) value() []byte {
	value := make([]byte, g.rand.IntN(4)*g.rand.IntN(8))
	for i := range value {
		value[i] = byte('a' + g.rand.IntN(3))
	}
	return value
}

func (g *Generator) lease() int64 {
	if g.one(50) {
		return 123456789
	}
	return pick(g, g.leases...)
}

func (g *Generator) ttl() int64 {
	if g.one(20) {
		return 9_000_000_001
	}
	return 1_000_000 + g.rand.Int64N(1_000_000)
}

// anyRevision is a revision around the edges or in the history; often 0.
func (g *Generator) anyRevision() int64 {
	switch g.rand.IntN(12) {
	case 0:
		return g.revision + 1
	case 1:
		return g.compacted
	case 2:
		return g.compacted - 1
	case 3:
		return -g.rand.Int64N(3)
	case 4, 5, 6, 7:
		low := max(g.compacted, 1)
		return low + g.rand.Int64N(g.revision-low+1)
	case 8:
		return g.revision
	default:
		return 0
	}
}

func (g *Generator) put() *pb.PutRequest {
	r := &pb.PutRequest{Key: g.key(), Value: g.value(), PrevKv: g.one(3)}
	if g.one(4) {
		r.Lease = g.lease()
	}
	if g.one(10) {
		r.IgnoreValue = true
		if !g.one(10) {
			r.Value = nil
		}
	}
	if g.one(10) {
		r.IgnoreLease = true
		if !g.one(10) {
			r.Lease = 0
		}
	}
	return r
}

func (g *Generator) delete() *pb.DeleteRangeRequest {
	key, end := g.span()
	if len(end) > 0 && g.one(2) { // most deletes are of one key, so that the store stays full
		end = nil
	}
	return &pb.DeleteRangeRequest{Key: key, RangeEnd: end, PrevKv: g.one(3)}
}

func (g *Generator) get() *pb.RangeRequest {
	key, end := g.span()
	r := &pb.RangeRequest{Key: key, RangeEnd: end, Serializable: g.one(4), KeysOnly: g.one(6), CountOnly: g.one(10)}
	if g.one(3) {
		r.Revision = g.anyRevision()
	}
	if g.one(3) {
		r.Limit = int64(g.rand.IntN(12)) - 1
	}
	if g.one(3) {
		r.SortOrder = pb.RangeRequest_SortOrder(g.rand.IntN(3))
		r.SortTarget = pb.RangeRequest_SortTarget(g.rand.IntN(5))
	}
	if g.one(200) {
		r.SortOrder = 9
	}
	if r.KeysOnly && r.SortTarget == pb.RangeRequest_VALUE {
		r.Limit = 0 // without values a cut group of equal records cannot be recognised
	}
	g.filters(r)
	return r
}

func (g *Generator) filters(r *pb.RangeRequest) {
	for _, field := range []*int64{&r.MinModRevision, &r.MaxModRevision, &r.MinCreateRevision, &r.MaxCreateRevision} {
		if g.one(15) {
			*field = g.revision - g.rand.Int64N(min(g.revision, 200))
		}
	}
}

// compaction does not make revision 0 the first one that is compacted: etcd 3.7
// accepts that, and then answers every hash "of the present", which is asked for
// as revision 0, with the hash that it remembers of this compaction.
func (g *Generator) compaction() *pb.CompactionRequest {
	r := &pb.CompactionRequest{Physical: true, Revision: g.revision - g.rand.Int64N(min(g.revision, 300))}
	if g.one(4) {
		r.Revision = g.anyRevision()
	}
	if g.compacted < 0 {
		r.Revision = max(r.Revision, 1)
	}
	return r
}
