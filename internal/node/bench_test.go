package node_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/node"
)

// BenchmarkPut measures the throughput of puts of 100 bytes from some callers at once. The disks are in memory.
func BenchmarkPut(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			n := options{
				backend: func(c *backend.Config) { c.FlushBytes = 0 },
				node:    func(c *node.Config) { c.FlushInterval = 100 * time.Millisecond },
			}.start(b, newDisks(b))
			value := string(make([]byte, 100))
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var calls sync.WaitGroup
			for range callers {
				calls.Go(func() {
					for left.Add(-1) >= 0 {
						check(b, put(context.Background(), n, "key", value))
					}
				})
			}
			calls.Wait()
			b.StopTimer()
			check(b, n.Stop())
		})
	}
}
