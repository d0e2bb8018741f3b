package node_test

import "testing"

// TestCompactionAtZero is the one compaction of a fresh store that removes nothing: it has to finish all the same.
func TestCompactionAtZero(t *testing.T) {
	d := newDisks(t)
	n := start(t, d, d.fs)
	check(t, compact(t.Context(), n, 0))
	check(t, n.WaitCompacted(t.Context()))
	check(t, n.Stop())
}
