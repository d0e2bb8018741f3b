package ordtree

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

const benchKeys = 200_000

func benchTree() (*Tree[int], [][]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	keys := make([][]byte, benchKeys)
	var tree Tree[int]
	for _, i := range r.Perm(benchKeys) {
		keys[i] = fmt.Appendf(nil, "/registry/pods/namespace/%08d", i)
		tree.Set(keys[i], i, true)
	}
	r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return &tree, keys
}

func BenchmarkGet(b *testing.B) {
	tree, keys := benchTree()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		tree.Get(keys[i%benchKeys])
		i++
	}
}

func BenchmarkReplace(b *testing.B) {
	tree, keys := benchTree()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		tree.Set(keys[i%benchKeys], i, true)
		i++
	}
}

// What publishing a view after every single write costs.
func BenchmarkReplaceAndClone(b *testing.B) {
	tree, keys := benchTree()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		tree.Set(keys[i%benchKeys], i, true)
		tree.Clone()
		i++
	}
}

func BenchmarkInsertRandom(b *testing.B) {
	_, keys := benchTree()
	b.ReportAllocs()
	for b.Loop() {
		var tree Tree[int]
		for i, key := range keys {
			tree.Set(key, i, true)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchKeys, "ns/key")
}

func BenchmarkCount(b *testing.B) {
	tree, keys := benchTree()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		tree.Count(Counted, keys[i%benchKeys], keys[(i+1)%benchKeys])
		i++
	}
}

func BenchmarkAscend500(b *testing.B) {
	tree, keys := benchTree()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		n := 0
		tree.Ascend(Counted, keys[i%benchKeys], func([]byte, int) bool { n++; return n < 500 })
		i++
	}
}
