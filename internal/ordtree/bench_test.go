package ordtree

import (
	"fmt"
	"math/rand/v2"
	"runtime"
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
		tree.Ascend(Counted, keys[i%benchKeys], nil, func(Key, int) bool { n++; return n < 500 })
		i++
	}
}

// What a key costs in memory, with keys that come in order and at random.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct {
		name  string
		order func([]int)
		key   func(i int) []byte
	}{
		{"ascending", func([]int) {}, func(i int) []byte { return fmt.Appendf(nil, "/registry/pods/%017d", i) }},
		{"shuffled", shuffle, func(i int) []byte { return fmt.Appendf(nil, "/registry/pods/%017d", i) }},
		{"random", shuffle, func(i int) []byte { return fmt.Appendf(nil, "%016x%016x", uint64(i)*0x9e3779b97f4a7c15, i*i) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			order := make([]int, benchKeys)
			for i := range order {
				order[i] = i
			}
			c.order(order)
			for b.Loop() {
				before := heapBytes()
				tree := new(Tree[[3]uint64])
				for n, i := range order {
					if tree.Set(c.key(i), [3]uint64{}, true); n%100 == 0 {
						tree.Clone()
					}
				}
				b.ReportMetric(float64(heapBytes()-before)/benchKeys, "B/key")
				runtime.KeepAlive(tree)
			}
		})
	}
}

func shuffle(order []int) {
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
