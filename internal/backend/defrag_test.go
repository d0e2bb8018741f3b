package backend

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

// fragment makes a file with content and much free space.
func fragment(t testing.TB, b *Backend) {
	t.Helper()
	fill(b, 2, 3000)
	b.Put(schema.AuthUsers, []byte("root"), []byte("1"))
	b.Commit(applied(3000))
	mustFlush(t, b)
	for main := int64(2); main <= 2900; main++ {
		b.DeleteRecord(rev(main), false)
	}
	b.Commit(applied(3001))
	mustFlush(t, b)
	b.Commit(applied(3002))
	mustFlush(t, b)
}

func TestDefragmentKeepsContentAndShrinks(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		fragment(t, b)
		r := b.Reader()
		want := scan(t, r, 0, 1<<40)
		r.Release()
		before := b.Sizes()
		if before.InUseBytes >= before.FileBytes/2 || before.InUseBytes <= 0 {
			t.Errorf("before: %+v", before)
		}
		var calls, lastCopied, lastTotal int64
		err := b.Defragment(t.Context(), func(copied, total int64) { calls, lastCopied, lastTotal = calls+1, copied, total })
		if err != nil {
			t.Fatal(err)
		}
		b.check(t)
		if calls == 0 || lastCopied == 0 || lastCopied > lastTotal {
			t.Errorf("progress: %d calls, %d of %d", calls, lastCopied, lastTotal)
		}
		after := b.Sizes()
		if after.FileBytes >= before.FileBytes/2 || after.InUseBytes > after.FileBytes {
			t.Errorf("sizes %+v → %+v", before, after)
		}
		wantScan(t, b, want)
		fill(b, 3003, 3004)
		mustFlush(t, b)
		for _, b := range []*Backend{b, mustOpen(t, p.crash(t), Config{})} {
			wantScan(t, b, want+" 3003 3004")
			if got := dump(t, b, schema.AuthUsers); got != "root=1" || b.Flushed().Index != 3004 {
				t.Errorf("users %q at %d", got, b.Flushed().Index)
			}
		}
	})
}

// Between the bulk of the copy and its last step all kinds of things happen.
func TestDefragmentCatchesUp(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		var b *Backend
		steps := ""
		cfg := Config{onStep: func(step string) {
			steps += step + " "
			if step != "copied" {
				return
			}
			fill(b, 11, 13)
			b.DeleteRecord(rev(3), false)
			b.DeleteRecord(rev(12), false)
			b.Put(schema.Auth, []byte("late"), []byte("1"))
			b.Commit(applied(14))
			mustFlush(t, b)
			b.DeleteRecord(rev(13), false)
			b.Commit(applied(15))
			mustFlush(t, b)
			if err := b.Defragment(t.Context(), nil); err != ErrDefragmenting {
				t.Errorf("second Defragment: %v", err)
			}
			fill(b, 16, 16)
		}}
		b = mustOpen(t, p, cfg)
		fill(b, 2, 10)
		mustFlush(t, b)
		if err := b.Defragment(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if steps != "copied sealed published " {
			t.Errorf("steps: %s", steps)
		}
		wantScan(t, b, "2 4 5 6 7 8 9 10 11 16")
		mustFlush(t, b)
		after := mustOpen(t, p.crash(t), Config{})
		wantScan(t, after, "2 4 5 6 7 8 9 10 11 16")
		if got := dump(t, after, schema.Auth); got != "late=1" {
			t.Errorf("auth %q", got)
		}
	})
}

func TestDefragmentCopiesInRanges(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		const records = 2*rangeRecordsMax + 7
		for main := int64(2); main < records+2; main++ {
			b.Append(rev(main), false, content(main))
		}
		b.Commit(applied(2))
		mustFlush(t, b)
		calls := int64(0)
		err := b.Defragment(t.Context(), func(int64, int64) {
			calls++
			// What is deleted while it is copied must not come back.
			b.DeleteRecord(rev(2+calls), false)
			b.DeleteRecord(rev(2+rangeRecordsMax+calls), false)
			b.DeleteRecord(rev(2+2*rangeRecordsMax+calls), false)
			b.Commit(applied(2 + uint64(calls)))
			mustFlush(t, b)
		})
		if err != nil {
			t.Fatal(err)
		}
		r := b.Reader()
		defer r.Release()
		got := int64(len(strings.Fields(scan(t, r, 0, 1<<40))))
		if calls < 3 || got != records-3*calls {
			t.Errorf("%d calls, %d records left of %d", calls, got, records)
		}
	})
}

func TestDefragmentCanBeCancelled(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		ctx, cancel := context.WithCancel(t.Context())
		b := mustOpen(t, p, Config{onStep: func(string) { cancel() }})
		fill(b, 2, 10)
		mustFlush(t, b)
		for range 2 { // the second time it is cancelled from the start
			if err := b.Defragment(ctx, nil); !errors.Is(err, context.Canceled) {
				t.Fatalf("cancelled: %v", err)
			}
			b.check(t)
		}
		fill(b, 11, 12)
		mustFlush(t, b)
		wantScan(t, b, "2 3 4 5 6 7 8 9 10 11 12")
		if err := b.Defragment(t.Context(), nil); err != nil {
			t.Errorf("another attempt: %v", err)
		}
		wantScan(t, b, "2 3 4 5 6 7 8 9 10 11 12")
	})
}

func TestDefragmentFails(t *testing.T) {
	disk := NewMemoryDisk()
	full := errors.New("no space left")
	b := mustOpen(t, memoryPlace{disk}, Config{onStep: func(step string) {
		if step == "sealed" {
			disk.Fail(full)
		}
	}})
	fill(b, 2, 3)
	mustFlush(t, b)
	if err := b.Defragment(t.Context(), nil); !errors.Is(err, full) || errors.Is(err, ErrPoisoned) {
		t.Errorf("Defragment: %v", err)
	}
	disk.Fail(nil)
	fill(b, 4, 5)
	mustFlush(t, b)
	wantScan(t, b, "2 3 4 5")
}

// A power failure at any step leaves one whole file or the other.
func TestCrashDuringDefragment(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		images := map[string]place{}
		b := mustOpen(t, p, Config{onStep: func(step string) { images[step] = p.crash(t) }})
		fragment(t, b)
		r := b.Reader()
		want := scan(t, r, 0, 1<<40)
		r.Release()
		if err := b.Defragment(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if len(images) != 3 {
			t.Fatalf("%d steps", len(images))
		}
		for step, image := range images {
			t.Run(fmt.Sprint(step), func(t *testing.T) {
				after := mustOpen(t, image, Config{})
				wantScan(t, after, want)
				if after.Flushed().Index != 3002 {
					t.Errorf("at %v", after.Flushed())
				}
				if shrunk := after.Sizes().FileBytes < b.Sizes().FileBytes*2; shrunk != (step == "published") {
					t.Errorf("file has %d bytes", after.Sizes().FileBytes)
				}
			})
		}
	})
}

// TestDefragmentInSlices: what one transaction of a rewrite copies is bounded by records and by bytes, and the copy is not allocated anew for
// each.
func TestDefragmentInSlices(t *testing.T) {
	for _, c := range []struct {
		about   string
		records int64
		bytes   int
		slices  int64
	}{
		{"many small ones", 2*rangeRecordsMax + 7, 8, 3},
		{"few large ones", 10, rangeBytesMax / 2, 5},
		{"too large ones", 3, 2 * rangeBytesMax, 4},
	} {
		b := mustOpen(t, filePlace{t.TempDir()}, Config{})
		for main := range c.records {
			b.Append(rev(main+2), false, make([]byte, c.bytes))
		}
		b.Commit(applied(1))
		mustFlush(t, b)
		calls, last := int64(0), int64(0)
		err := b.Defragment(t.Context(), func(copied, _ int64) {
			calls++
			if step := copied - last; step > rangeBytesMax+int64(c.bytes)+schema.RevTombstoneSize {
				t.Errorf("%s: %d bytes copied at once", c.about, step)
			}
			last = copied
		})
		if err != nil || calls < c.slices-1 || calls > c.slices+1 {
			t.Errorf("%s: %d slices, want about %d; %v", c.about, calls, c.slices, err)
		}
	}
}
