package workload

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

func TestGeneratorRepeatsFromItsSeed(t *testing.T) {
	const seed = 7
	a, b, other := NewGenerator(seed), NewGenerator(seed), NewGenerator(seed+1)
	differs := false
	for i := range 2000 {
		x, y, z := a.Next().String(), b.Next().String(), other.Next().String()
		if x != y {
			t.Fatalf("seed %d, operation %d: got %s and %s", seed, i, x, y)
		}
		differs = differs || x != z
		for _, g := range []*Generator{a, b, other} {
			g.Observe(int64(i+2), int64(i/2))
		}
	}
	if !differs {
		t.Fatalf("seeds %d and %d make the same operations", seed, seed+1)
	}
}

func TestNormalizeRangeOrdersTies(t *testing.T) {
	kv := func(key string, version int64) *mvccpb.KeyValue {
		return &mvccpb.KeyValue{Key: []byte(key), Version: version}
	}
	req := &pb.RangeRequest{SortTarget: pb.RangeRequest_VERSION}
	tests := []struct {
		name string
		more bool
		a, b []*mvccpb.KeyValue
		same bool
	}{
		{"ties in another order", false, []*mvccpb.KeyValue{kv("a", 1), kv("b", 1), kv("c", 2)}, []*mvccpb.KeyValue{kv("b", 1), kv("a", 1), kv("c", 2)}, true},
		{"groups in another order", false, []*mvccpb.KeyValue{kv("a", 1), kv("c", 2)}, []*mvccpb.KeyValue{kv("c", 2), kv("a", 1)}, false},
		{"cut inside a group", true, []*mvccpb.KeyValue{kv("a", 1), kv("b", 2)}, []*mvccpb.KeyValue{kv("a", 1), kv("c", 2)}, true},
		{"cut group of another size", true, []*mvccpb.KeyValue{kv("a", 1), kv("b", 2)}, []*mvccpb.KeyValue{kv("a", 1), kv("b", 2), kv("c", 2)}, false},
		{"other records before the cut", true, []*mvccpb.KeyValue{kv("a", 1), kv("b", 2)}, []*mvccpb.KeyValue{kv("x", 1), kv("b", 2)}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			left, right := &pb.RangeResponse{Kvs: test.a, More: test.more}, &pb.RangeResponse{Kvs: test.b, More: test.more}
			normalizeRange(req, left)
			normalizeRange(req, right)
			if same := (Outcome{Response: left}).Equal(Outcome{Response: right}); same != test.same {
				t.Fatalf("got equal %t, want %t:\n%v\n%v", same, test.same, left, right)
			}
		})
	}
}
