package mvcc

import (
	"errors"
	"fmt"
	"testing"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// What etcd 3.7.1 answers for this history.
func TestHashVectors(t *testing.T) {
	s, m := newStore(t)
	expectHash(t, view(t, s, m), 0, Hash{1084519789, -1, 1})
	put(s, "a", "1", 0)
	put(s, "b", "3", 0)
	put(s, "a", "2", 0)
	put(s, "c", "0", 77)
	tx := s.Begin()
	tx.Put([]byte("a"), []byte("t"), 0)
	tx.Put([]byte("n"), []byte("1"), 0)
	tx.End()
	before := view(t, s, m)
	compact(t, s, 5)
	after := view(t, s, m)
	expectHash(t, after, 5, Hash{2695724927, -1, 5})
	expectHash(t, after, 0, Hash{3214497834, 5, 6})
	expectHash(t, before, 5, Hash{2695724927, -1, 5}) // computed, not remembered
}

func expectHash(t *testing.T, v *View, rev int64, want Hash) {
	t.Helper()
	got, err := v.HashKV(rev)
	if err != nil || got != want {
		t.Fatalf("HashKV(%d) = %+v %v, want %+v", rev, got, err, want)
	}
}

func TestHashRevisions(t *testing.T) {
	s, m := newStore(t)
	for range 20 {
		put(s, "k", "v", 0)
	}
	for c := int64(2); c <= 15; c++ {
		compact(t, s, c)
	}
	v := view(t, s, m)
	if n := len(v.CompactHashes()); n != hashesMost {
		t.Fatalf("%d hashes kept, want %d", n, hashesMost)
	}
	if h, err := v.HashKV(6); err != nil || h.CompactRev != 5 {
		t.Fatalf("hash of compaction at 6: %+v %v", h, err)
	}
	for rev, want := range map[int64]error{5: kverr.Compacted, 22: kverr.FutureRev} {
		if _, err := v.HashKV(rev); !errors.Is(err, want) {
			t.Errorf("HashKV(%d): %v, want %v", rev, err, want)
		}
	}
	expectHash(t, v, -3, Hash{1084519789, 15, -3})
}

// A compaction that was asked for while another ran leaves no hash, and after
// a restore none is known.
func TestHashOnlyAfterFinishedCompaction(t *testing.T) {
	s, m := newStore(t)
	for range 9 {
		put(s, "k", "v", 0)
	}
	for _, c := range []int64{4, 6, 8} {
		if err := s.Compact(c); err != nil {
			t.Fatal(err)
		}
	}
	finishCompaction(t, s, 1)
	hashes := view(t, s, m).CompactHashes()
	if len(hashes) != 1 || hashes[0].Rev != 4 {
		t.Fatalf("hashes %+v, want only that of revision 4", hashes)
	}
	if s.finished != 8 {
		t.Fatalf("finished at %d, want 8", s.finished)
	}
	again := restore(t, m, m.options())
	if n := len(view(t, again, m).CompactHashes()); n != 0 {
		t.Fatalf("%d hashes after restore", n)
	}
}

// The hash may be taken on another goroutine while the store goes on; removal
// waits for it.
func TestHashTaskElsewhere(t *testing.T) {
	s, m := newStore(t)
	for i := range 200 {
		put(s, fmt.Sprintf("k%d", i%50), fmt.Sprint(i), 0)
	}
	want, err := view(t, s, m).HashKV(150)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(150); err != nil {
		t.Fatal(err)
	}
	for s.job.stage != hashing {
		if _, err := s.CompactStep(10); err != nil {
			t.Fatal(err)
		}
	}
	task := s.TakeHashTask()
	if s.TakeHashTask() != nil {
		t.Fatal("the task can be taken twice")
	}
	m.frozen = m.reader() // what other goroutines may read
	finished := make(chan error)
	go func() {
		for {
			if done, err := task.Step(7); done || err != nil {
				finished <- err
				return
			}
		}
	}()
	for range 20 {
		put(s, "k1", "later", 0)
		if done, err := s.CompactStep(10); done || err != nil || len(m.removed) > 0 {
			t.Fatalf("a step beside the task: done %v, %d removed, %v", done, len(m.removed), err)
		}
	}
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
	s.ReturnHashTask(task)
	m.frozen.Release()
	m.frozen = nil
	finishCompaction(t, s, 10)
	s.check(m)
	expectHash(t, view(t, s, m), 150, want)
	mustPanic(t, "return of a task that is not out", func() { s.ReturnHashTask(task) })
}
