package node_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/wal"
)

// TestDamagedSegmentIsFound: a bit that turns over in a log segment that is not written any more ends the node, which names the file.
func TestDamagedSegmentIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisks(t)
		n := options{node: func(c *node.Config) { c.VerifyPeriod, c.KeepSegments = time.Minute, 0 }}.start(t, d)
		for i := range 30 {
			check(t, put(t.Context(), n, fmt.Sprint(i), strings.Repeat("x", 10_000)))
		}
		pass(5 * time.Minute)
		check(t, n.Err())
		names, err := d.fs.List("/wal")
		check(t, err)
		if len(names) < 4 {
			t.Fatalf("segments are %v", names)
		}
		path := "/wal/" + names[1]
		f, err := d.fs.OpenWrite(path)
		check(t, err)
		_, err = f.WriteAt([]byte("y"), 30_000)
		check(t, errors.Join(err, f.Close()))
		pass(5 * time.Minute)
		var corrupt *wal.CorruptionError
		if err := n.Err(); !errors.As(err, &corrupt) || corrupt.File != path || corrupt.Offset > 30_000 {
			t.Errorf("the node goes on: %v", err)
		}
		_ = n.Stop() // says the same
	})
}
