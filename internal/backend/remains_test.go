package backend

import (
	"bytes"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// large makes a file of several megabytes and returns a handle of it.
func large(t *testing.T, p filePlace, b *Backend) *os.File {
	t.Helper()
	b.Append(rev(2), false, bytes.Repeat([]byte("x"), 5*remainsStep))
	b.Commit(applied(2))
	mustFlush(t, b)
	b.DeleteRecord(rev(2), false)
	b.Commit(applied(3))
	mustFlush(t, b)
	f, err := os.Open(p.path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func sizeOf(t *testing.T, f *os.File) int64 {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestReplacedFileGoesInSteps: with its last reader, and neither at once nor before.
func TestReplacedFileGoesInSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := filePlace{t.TempDir()}
		b := mustOpen(t, p, Config{})
		old := large(t, p, b)
		whole := sizeOf(t, old)
		r := b.Reader()
		if err := b.Defragment(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := sizeOf(t, old); got != whole {
			t.Fatalf("a file that is read went from %d to %d bytes", whole, got)
		}
		r.Release()
		synctest.Wait()
		for steps := int64(1); whole-steps*remainsStep > 0; steps++ {
			if got, want := sizeOf(t, old), whole-steps*remainsStep; got != want {
				t.Fatalf("after step %d: %d bytes, want %d", steps, got, want)
			}
			time.Sleep(remainsRest)
			synctest.Wait()
		}
	})
}

// TestCloseEndsSteps: what is left of a replaced file goes at once.
func TestCloseEndsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := filePlace{t.TempDir()}
		b := mustOpen(t, p, Config{})
		old := large(t, p, b)
		if err := b.Defragment(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil { // and synctest fails if a goroutine stays
			t.Fatal(err)
		}
		if n := len(b.cfg.remains.files); n != 0 {
			t.Errorf("%d files are still there", n)
		}
		if sizeOf(t, old) <= remainsStep {
			t.Error("closing waited for all steps")
		}
	})
}
