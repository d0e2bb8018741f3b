package backend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/quoin-kv/quoin/internal/schema"
)

func newReader(b []byte) io.Reader { return bytes.NewReader(b) }

func rev(main int64) schema.Rev { return schema.Rev{Main: main} }

func applied(index uint64) schema.Applied { return schema.Applied{Index: index, Term: 1} }

// fill appends and commits the revisions from to to, one batch each, with the
// revision as index.
func fill(b *Backend, from, to int64) {
	for main := from; main <= to; main++ {
		b.Append(rev(main), false, content(main))
		b.Commit(applied(uint64(main)))
	}
}

func content(main int64) []byte {
	return []byte(fmt.Sprintf("%d %s", main, strings.Repeat("x", int(main%97))))
}

// scan renders what a reader sees: "2 3 5t" with t for tombstones.
func scan(t testing.TB, r *Reader, from, to int64) string {
	t.Helper()
	var out []string
	err := r.Scan(rev(from), rev(to), func(rev schema.Rev, tombstone bool, rec []byte) bool {
		text := fmt.Sprint(rev.Main)
		if tombstone {
			text += "t"
		} else if !bytes.Equal(rec, content(rev.Main)) {
			text += "=" + string(rec)
		}
		got, err := r.Record(rev)
		if err != nil || !bytes.Equal(got, rec) {
			t.Errorf("Record(%v) = %q, %v; Scan says %q", rev, got, err, rec)
		}
		out = append(out, text)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func wantScan(t testing.TB, b *Backend, want string) {
	t.Helper()
	r := b.Reader()
	defer r.Release()
	if got := scan(t, r, 0, 1<<40); got != want {
		t.Errorf("scan: %s\nwant: %s", got, want)
	}
}

func TestCommitMakesABatchVisible(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		b.Append(rev(2), false, content(2))
		wantScan(t, b, "")
		if got, err := b.Record(rev(2)); err != nil || !bytes.Equal(got, content(2)) {
			t.Errorf("the writer sees %q, %v", got, err)
		}
		b.Commit(applied(1))
		wantScan(t, b, "2")
		b.Append(rev(3), true, []byte("k"))
		b.Commit(applied(2))
		b.check(t)
		wantScan(t, b, "2 3t")
		mustFlush(t, b)
		wantScan(t, b, "2 3t")
		for _, r := range []schema.Rev{rev(2), rev(3)} {
			if _, err := b.Record(r); err != nil {
				t.Errorf("after flush the writer sees %v at %v", err, r)
			}
		}
		if _, err := b.Record(rev(4)); !errors.Is(err, ErrNoRecord) {
			t.Errorf("absent record: %v", err)
		}
		if _, err := b.Record(schema.Rev{Main: 2, Sub: 1}); !errors.Is(err, ErrNoRecord) {
			t.Errorf("absent sub revision: %v", err)
		}
	})
}

func TestFlushTakesWholeBatchesUpToTheDurableIndex(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		b.Append(rev(2), false, content(2))
		b.Append(rev(3), false, content(3))
		b.Commit(applied(5))
		b.Append(rev(4), false, content(4))
		b.Commit(applied(7))
		for _, step := range []struct {
			durable, flushed uint64
			pending          int
			file             string
		}{{4, 0, 3, ""}, {5, 5, 1, "2 3"}, {6, 5, 1, "2 3"}, {9, 7, 0, "2 3 4"}, {9, 7, 0, "2 3 4"}} {
			a, err := b.Flush(step.durable)
			if err != nil || a.Index != step.flushed || b.Pending().Records != step.pending {
				t.Fatalf("Flush(%d) = %v, %v, %d pending; want %+v", step.durable, a, err, b.Pending().Records, step)
			}
			b.check(t)
			wantScan(t, b, "2 3 4")
			after := mustOpen(t, p.crash(t), Config{})
			wantScan(t, after, step.file)
			if after.Flushed().Index != step.flushed {
				t.Errorf("after a crash the file is at %v, want %d", after.Flushed(), step.flushed)
			}
		}
		if p := b.Pending(); p.Batches != 0 || p.Bytes != 0 || p.Applied.Index != 7 {
			t.Errorf("pending after everything is flushed: %+v", p)
		}
	})
}

func TestReaderNeverChanges(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		fill(b, 2, 700)
		mustFlush(t, b)
		fill(b, 701, 2000)
		r := b.Reader()
		want := scan(t, r, 0, 1<<40)
		for _, disturb := range []func(){
			func() { fill(b, 2001, 2600) },
			func() { _, _ = b.Flush(1300) },
			func() { b.DeleteRecord(rev(5), false); b.DeleteRecord(rev(1500), false); b.Commit(applied(2601)) },
			func() { mustFlush(t, b) },
			func() { fill(b, 2701, 2800); mustFlush(t, b); fill(b, 2801, 2900); mustFlush(t, b) },
			func() {
				if err := b.Defragment(context.Background(), nil); err != nil {
					t.Fatal(err)
				}
			},
			func() { fill(b, 2901, 3000); mustFlush(t, b) },
			func() { _ = b.Close() },
		} {
			disturb()
			if got := scan(t, r, 0, 1<<40); got != want {
				t.Fatalf("reader changed:\n%s\nwas\n%s", got, want)
			}
		}
		r.Release()
	})
}

func TestScanBounds(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		fill(b, 2, 5)
		mustFlush(t, b)
		fill(b, 6, 9)
		r := b.Reader()
		defer r.Release()
		for _, c := range []struct {
			from, to int64
			want     string
		}{{0, 1, ""}, {0, 2, "2"}, {3, 4, "3 4"}, {5, 6, "5 6"}, {7, 8, "7 8"}, {9, 100, "9"}, {10, 100, ""}, {6, 5, ""}} {
			if got := scan(t, r, c.from, c.to); got != c.want {
				t.Errorf("[%d, %d]: %q, want %q", c.from, c.to, got, c.want)
			}
		}
		for _, stop := range []int{1, 4, 5, 8} {
			seen := 0
			_ = r.Scan(rev(0), rev(100), func(schema.Rev, bool, []byte) bool { seen++; return seen < stop })
			if seen != stop {
				t.Errorf("stopped after %d, want %d", seen, stop)
			}
		}
	})
}

func TestDeletionsTakeEffectAtTheFlush(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		fill(b, 2, 4)
		b.Append(rev(5), true, nil)
		b.Commit(applied(5))
		mustFlush(t, b)
		fill(b, 6, 8)
		b.DeleteRecord(rev(3), false) // in the file
		b.DeleteRecord(rev(5), true)  // a tombstone in the file
		b.DeleteRecord(rev(4), true)  // not what is there
		b.DeleteRecord(rev(7), false) // pending
		b.DeleteRecord(rev(1), false) // never was
		b.Append(rev(9), false, content(9))
		b.DeleteRecord(rev(9), false) // of its own batch
		b.Commit(applied(9))
		wantScan(t, b, "2 3 4 5t 6 7 8 9")
		mustFlush(t, b)
		wantScan(t, b, "2 4 6 8")
		b.DeleteRecord(rev(8), false)
		b.Commit(applied(10))
		mustFlush(t, b)
		wantScan(t, b, "2 4 6")
		wantScan(t, mustOpen(t, p.crash(t), Config{}), "2 4 6")
		if _, err := b.Record(rev(3)); !errors.Is(err, ErrNoRecord) {
			t.Errorf("deleted record: %v", err)
		}
	})
}

func dump(t testing.TB, b *Backend, bucket schema.Bucket) string {
	t.Helper()
	var out []string
	err := b.ForEach(bucket, func(k, v []byte) error {
		if got := b.Get(bucket, k); !bytes.Equal(got, v) || got == nil {
			t.Errorf("Get(%s, %q) = %q, ForEach says %q", bucket, k, got, v)
		}
		out = append(out, fmt.Sprintf("%s=%s", k, v))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func TestSmallBuckets(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		put := func(bucket schema.Bucket, k, v string) { b.Put(bucket, []byte(k), []byte(v)) }
		put(schema.Auth, "b", "1")
		put(schema.Auth, "a", "1")
		put(schema.Auth, "b", "2")
		put(schema.Lease, "b", "lease")
		b.Put(schema.Alarm, []byte("empty"), nil)
		b.Commit(applied(1))
		if got := dump(t, b, schema.Auth); got != "" {
			t.Errorf("before the flush: %q", got)
		}
		mustFlush(t, b)
		if got := dump(t, b, schema.Auth) + "|" + dump(t, b, schema.Lease) + "|" + dump(t, b, schema.Alarm); got != "a=1 b=2|b=lease|empty=" {
			t.Errorf("after the flush: %q", got)
		}
		b.Delete(schema.Auth, []byte("a"))
		put(schema.Auth, "c", "3")
		b.Delete(schema.Auth, []byte("c"))
		b.Delete(schema.Auth, []byte("never"))
		b.Commit(applied(2))
		b.Delete(schema.Auth, []byte("b"))
		put(schema.Auth, "b", "4")
		b.Commit(applied(3))
		mustFlush(t, b)
		if got := dump(t, b, schema.Auth); got != "b=4" {
			t.Errorf("after deletions: %q", got)
		}
		if b.Get(schema.Auth, []byte("a")) != nil {
			t.Error("a deleted key has a value")
		}
		stop := errors.New("stop")
		if err := b.ForEach(schema.Auth, func(_, _ []byte) error { return stop }); err != stop {
			t.Errorf("ForEach passes on %v", err)
		}
	})
}

func TestPositionIsStoredWithTheData(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		b.Put(schema.Cluster, []byte("x"), []byte("y"))
		b.Commit(schema.Applied{}) // before the first log entry
		mustFlush(t, b)
		if got := dump(t, b, schema.Meta); got != "" {
			t.Errorf("meta without an applied entry: %q", got)
		}
		b.Commit(schema.Applied{Index: 3, Term: 2, ConfState: []byte(`{"voters":[1]}`)})
		b.Commit(schema.Applied{Index: 4, Term: 2})
		mustFlush(t, b)
		b.Commit(schema.Applied{Index: 9, Term: 5})
		mustFlush(t, b)
		want := schema.Applied{Index: 9, Term: 5, ConfState: []byte(`{"voters":[1]}`)}
		after := mustOpen(t, p.crash(t), Config{})
		for name, b := range map[string]*Backend{"running": b, "reopened": after} {
			if got := b.Flushed(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
		if got := after.Get(schema.Meta, []byte("consistent_index")); !bytes.Equal(got, []byte{0, 0, 0, 0, 0, 0, 0, 9}) {
			t.Errorf("consistent_index %x", got)
		}
		after.Append(rev(2), false, nil)
		after.Commit(applied(10))
		mustFlush(t, after)
	})
}

func TestRestartContinuesBehindTheLastRevision(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		fill(b, 2, 5)
		if _, err := b.Flush(4); err != nil {
			t.Fatal(err)
		}
		b = mustOpen(t, p.crash(t), Config{})
		wantScan(t, b, "2 3 4")
		mustPanic(t, "revision above", func() { b.Append(rev(4), false, nil) })
		mustPanic(t, "index of at least 4", func() { b.Commit(applied(3)) })
	})
}

func mustPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
			t.Errorf("panic %q, want one about %q", got, want)
		}
	}()
	f()
}

func TestMisuseIsRefused(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		mustPanic(t, "a small bucket", func() { b.Put(schema.Key, []byte("k"), nil) })
		mustPanic(t, "a small bucket", func() { b.Delete(schema.NumBuckets, []byte("k")) })
		mustPanic(t, "a key of 1 to", func() { b.Put(schema.Auth, nil, nil) })
		mustPanic(t, "a key of 1 to", func() { b.Put(schema.Auth, make([]byte, 40000), nil) })
		r := b.Reader()
		r.Retain()
		r.Release()
		r.Release()
		mustPanic(t, "a live reader", func() { r.Release() })
		mustPanic(t, "a live reader", func() { _, _ = r.Record(rev(1)) })
		for _, cfg := range []Config{{FlushBytes: 2, PendingBytesMax: 1}, {QuotaBytes: -1}, {FreelistType: "list"}} {
			if b, err := p.crash(t).open(cfg); err == nil {
				t.Errorf("%+v is accepted", cfg)
				_ = b.Close()
			}
		}
	})
}

func TestOneBackendAtATime(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		r := b.Reader()
		if _, err := p.open(Config{LockTimeout: 1}); !errors.Is(err, ErrLocked) {
			t.Errorf("second open: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if _, err := p.open(Config{LockTimeout: 1}); !errors.Is(err, ErrLocked) {
			t.Errorf("open while a reader is left: %v", err)
		}
		r.Release()
		again := mustOpen(t, p, Config{})
		again.check(t)
	})
}

func TestAfterClose(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{PendingBytesMax: 10})
		fill(b, 2, 3)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Flush(9); err != ErrClosed {
			t.Errorf("Flush: %v", err)
		}
		if err := b.Throttle(context.Background()); err != ErrClosed {
			t.Errorf("Throttle: %v", err)
		}
		if err := b.Defragment(context.Background(), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Defragment: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		mustPanic(t, "an open backend", func() { b.Reader() })
	})
}

// TestFlushEntries: a flush is wanted once so many log entries are not in the file, however small they are.
func TestFlushEntries(t *testing.T) {
	b, err := memoryPlace{NewMemoryDisk()}.open(Config{FlushEntries: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i := int64(1); i <= 7; i++ {
		b.Append(rev(i), false, []byte("x"))
		b.Commit(applied(uint64(i)))
		select {
		case <-b.FlushWanted():
			if i != 3 && i != 6 {
				t.Errorf("a flush is wanted after %d entries", i)
			}
			if _, err := b.Flush(uint64(i)); err != nil {
				t.Fatal(err)
			}
		default:
			if i == 3 || i == 6 {
				t.Errorf("no flush is wanted after %d entries", i)
			}
		}
	}
}

// TestFlushOfLargeRecords: where they are large, a flush takes twice as much at once.
func TestFlushOfLargeRecords(t *testing.T) {
	for _, c := range []struct {
		size    int
		pending int64 // PendingBytesMax
		after   int   // records
	}{
		{100 << 10, 1 << 30, 11},
		{400 << 10, 1 << 30, 6},
		{400 << 10, 3 << 19, 4},
	} {
		b, err := memoryPlace{NewMemoryDisk()}.open(Config{FlushBytes: 1 << 20, PendingBytesMax: c.pending})
		if err != nil {
			t.Fatal(err)
		}
		for i, wanted := 1, false; !wanted; i++ {
			b.Append(rev(int64(i)), false, make([]byte, c.size))
			b.Commit(applied(uint64(i)))
			select {
			case <-b.FlushWanted():
				wanted = true
			default:
			}
			if wanted != (i >= c.after) {
				t.Fatalf("records of %d bytes: a flush is wanted after %d of them: %v", c.size, i, wanted)
			}
		}
		_ = b.Close()
	}
}

// TestFlushUnderWay: what a flush under way stores is no reason for another one, nor is a wish from before it began.
func TestFlushUnderWay(t *testing.T) {
	var b *Backend
	commit := func(i, size int) (wanted bool) {
		b.Append(rev(int64(i)), false, make([]byte, size))
		b.Commit(applied(uint64(i)))
		select {
		case <-b.FlushWanted():
			return true
		default:
			return false
		}
	}
	info, during := FlushInfo{}, false
	config := Config{FlushBytes: 1000, FlushEntries: 10, OnFlush: func(f FlushInfo) { // before the flush ends
		info, during = f, commit(5, 400)
	}}
	b, err := memoryPlace{NewMemoryDisk()}.open(config)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if commit(1, 400) || !commit(2, 1500) {
		t.Error("a flush is to be wanted after the second commit")
	}
	b.setTaken(taken{bytes: 2000, index: 2})
	if during := commit(3, 400); during {
		t.Error("another flush is wanted because of what one has taken")
	}
	if !commit(4, 1500) {
		t.Error("no other flush is wanted because of what came meanwhile")
	}
	b.setTaken(taken{})
	b.WantFlush()
	if _, err := b.Flush(4); err != nil || info.Records != 4 {
		t.Fatalf("flush of %+v: %v", info, err)
	}
	if during {
		t.Error("a flush is wanted because of what one has stored, or of an earlier wish")
	}
}

func TestThrottleWaitsForAFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := memoryPlace{NewMemoryDisk()}.open(Config{PendingBytesMax: 1000, FlushBytes: 500})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		ctx, cancel := context.WithCancel(t.Context())
		wanted := func() bool {
			select {
			case <-b.FlushWanted():
				return true
			default:
				return false
			}
		}
		b.Append(rev(2), false, make([]byte, 100))
		b.Commit(applied(2))
		if wanted() || b.Throttle(ctx) != nil {
			t.Error("one small batch is too much")
		}
		b.Append(rev(3), false, make([]byte, 2000))
		b.Commit(applied(3))
		if !wanted() {
			t.Error("no flush wanted above FlushBytes")
		}
		result := make(chan error)
		wait := func() { result <- b.Throttle(ctx) }
		go wait()
		synctest.Wait()
		if !wanted() {
			t.Error("no flush wanted by a throttled writer")
		}
		_, _ = b.Flush(2)
		synctest.Wait()
		select {
		case err := <-result:
			t.Errorf("Throttle returned %v with too much pending", err)
		default:
		}
		_, _ = b.Flush(3)
		if err := <-result; err != nil {
			t.Errorf("Throttle after the flush: %v", err)
		}
		b.Append(rev(4), false, make([]byte, 2000))
		b.Commit(applied(4))
		go wait()
		synctest.Wait()
		cancel()
		if err := <-result; err != context.Canceled {
			t.Errorf("Throttle after cancel: %v", err)
		}
	})
}

func TestFailedWritePoisons(t *testing.T) {
	broken := errors.New("broken disk")
	disk := NewMemoryDisk()
	b := mustOpen(t, memoryPlace{disk}, Config{PendingBytesMax: 10})
	fill(b, 2, 4)
	mustFlush(t, b)
	fill(b, 5, 6)
	disk.Fail(broken)
	result := make(chan error)
	go func() { result <- b.Throttle(context.Background()) }()
	if a, err := b.Flush(9); !errors.Is(err, ErrPoisoned) || !errors.Is(err, broken) || a.Index != 4 {
		t.Errorf("Flush: %v, %v", a, err)
	}
	if err := <-result; !errors.Is(err, ErrPoisoned) {
		t.Errorf("Throttle: %v", err)
	}
	disk.Fail(nil)
	if _, err := b.Flush(9); !errors.Is(err, ErrPoisoned) {
		t.Errorf("Flush on a healed disk: %v", err)
	}
	if err := b.Defragment(context.Background(), nil); !errors.Is(err, ErrPoisoned) {
		t.Errorf("Defragment: %v", err)
	}
	wantScan(t, b, "2 3 4 5 6")
	wantScan(t, mustOpen(t, memoryPlace{disk.Crash()}, Config{}), "2 3 4")
}

func snapshotOf(t testing.TB, b *Backend) []byte {
	t.Helper()
	var out bytes.Buffer
	var size int64
	n, err := b.WriteSnapshot(func(s int64, at schema.Applied) (io.Writer, error) {
		size = s
		if at.Index != b.Flushed().Index {
			t.Errorf("snapshot is at %v, file at %v", at, b.Flushed())
		}
		return &out, nil
	})
	if err != nil || n != size || int64(out.Len()) != size {
		t.Fatalf("wrote %d (%d) of %d bytes: %v", n, out.Len(), size, err)
	}
	return out.Bytes()
}

func TestWriteSnapshot(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		fill(b, 2, 300)
		b.Put(schema.Auth, []byte("k"), []byte("v"))
		b.Commit(applied(300))
		mustFlush(t, b)
		fill(b, 301, 302)
		copied := mustOpen(t, p.fromSnapshot(t, snapshotOf(t, b)), Config{})
		if got := copied.Flushed().Index; got != 300 || dump(t, copied, schema.Auth) != "k=v" {
			t.Errorf("copy is at %d, auth %q", got, dump(t, copied, schema.Auth))
		}
		r := copied.Reader()
		defer r.Release()
		if got := scan(t, r, 299, 400); got != "299 300" {
			t.Errorf("copy ends with %q", got)
		}
		refused := errors.New("refused")
		if _, err := b.WriteSnapshot(func(int64, schema.Applied) (io.Writer, error) { return nil, refused }); err != refused {
			t.Errorf("refused snapshot: %v", err)
		}
		if _, err := b.WriteSnapshot(func(int64, schema.Applied) (io.Writer, error) { return badWriter{refused}, nil }); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("failed snapshot: %v", err)
		}
	})
}

type badWriter struct{ err error }

func (w badWriter) Write([]byte) (int, error) { return 0, w.err }

func TestSnapshotStandsStillWhileFlushesGoOn(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		fill(b, 2, 2000)
		mustFlush(t, b)
		w := &disturbedWriter{disturb: func(i int64) {
			fill(b, 2001+100*i, 2100+100*i)
			b.DeleteRecord(rev(2+i), false)
			b.Commit(applied(uint64(2100 + 100*i)))
			mustFlush(t, b)
		}}
		if _, err := b.WriteSnapshot(func(int64, schema.Applied) (io.Writer, error) { return w, nil }); err != nil {
			t.Fatal(err)
		}
		copied := mustOpen(t, p.fromSnapshot(t, w.Bytes()), Config{})
		r := copied.Reader()
		defer r.Release()
		if got := strings.Fields(scan(t, r, 0, 1<<40)); len(got) != 1999 || got[0] != "2" || got[1998] != "2000" {
			t.Errorf("copy has %d records: %v…", len(got), got[:min(3, len(got))])
		}
	})
}

type disturbedWriter struct {
	bytes.Buffer
	writes  int64
	disturb func(i int64)
}

func (w *disturbedWriter) Write(p []byte) (int, error) {
	w.disturb(w.writes)
	w.writes++
	return w.Buffer.Write(p)
}

// A crashed image and the original go on without touching each other.
func TestCrashImageIsIndependent(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		fill(b, 2, 4)
		mustFlush(t, b)
		image := p.crash(t)
		for name, b := range map[string]*Backend{"original": b, "image": mustOpen(t, image, Config{})} {
			b.Append(rev(5), false, []byte(name))
			b.Commit(applied(5))
			mustFlush(t, b)
			defer wantScan(t, b, "2 3 4 5="+name)
		}
	})
}
