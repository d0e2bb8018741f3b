package backend

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

// stored fills a backend with records and small entries on many pages, some of them free again.
func stored(t testing.TB, b *Backend) {
	t.Helper()
	for main := int64(2); main < 400; main++ {
		b.Append(schema.Rev{Main: main}, main%9 == 0, content(main))
		if main%5 == 0 {
			b.Append(schema.Rev{Main: main, Sub: 1}, false, bytes.Repeat([]byte{byte(main)}, int(main)))
		}
		if main%7 == 0 {
			b.Put(schema.Lease, binaryKey(main), []byte(fmt.Sprint("lease ", main)))
		}
		if main%50 == 0 {
			for old := main - 40; old < main-20; old++ {
				b.DeleteRecord(schema.Rev{Main: old}, old%9 == 0)
			}
			b.Commit(applied(uint64(main)))
			mustFlush(t, b)
		}
	}
	b.Append(schema.Rev{Main: 400}, false, bytes.Repeat([]byte("long"), 5000))
	b.Put(schema.Members, []byte("m"), []byte("{}"))
	b.Commit(applied(400))
	mustFlush(t, b)
}

// together reads every third record of the file at once, so that not all damage is found here.
func together(b *Backend, out *bytes.Buffer) error {
	r := b.Reader()
	defer r.Release()
	var revs []schema.Rev
	cursor := r.snap.records.from(schema.Rev{})
	for n := 0; ; n++ {
		rev, _, ok := cursor.peek()
		if !ok {
			break
		}
		if n%3 == 0 {
			revs = append(revs, rev)
		}
		cursor.skip()
	}
	records, err := r.Records(nil, revs)
	fmt.Fprintf(out, "%x\n", records)
	return err
}

func binaryKey(n int64) []byte { return schema.AppendUint64(nil, uint64(n)) }

// everything is all that a backend has in its file, or the error of reading it.
func everything(b *Backend) (string, error) {
	var out bytes.Buffer
	if err := together(b, &out); err != nil {
		return "", err
	}
	for bucket := range schema.NumBuckets {
		err := b.ForEach(bucket, func(k, v []byte) error {
			fmt.Fprintf(&out, "%s %x %x\n", bucket, k, v)
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	r := b.Reader()
	defer r.Release()
	for main := range int64(401) {
		record, err := r.Record(schema.Rev{Main: main})
		if err != nil && !errors.Is(err, ErrNoRecord) {
			return "", err
		}
		fmt.Fprintf(&out, "%d %x\n", main, record)
	}
	return out.String(), nil
}

// located reports whether an error names the file and, unless something is missing altogether, a place in it.
func located(t *testing.T, err error, path string) {
	t.Helper()
	var c *CorruptError
	if !errors.As(err, &c) || c.Path != path {
		t.Errorf("not named: %v", err)
	}
}

// damageSeed prints the seed of a test that flips bits.
func damageSeed(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Whatever bit is flipped while nobody has the file open: it opens with exactly what was stored, or not at all.
func TestFlippedBitAtRest(t *testing.T) {
	p := filePlace{t.TempDir()}
	b := mustOpen(t, p, Config{})
	stored(t, b)
	want, err := everything(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(p.path())
	if err != nil {
		t.Fatal(err)
	}
	used := usedBytes(t, p.path())
	sums, err := os.ReadFile(p.sums())
	if err != nil {
		t.Fatal(err)
	}
	random, found := damageSeed(t), 0
	for range 500 {
		bit := random.Int64N(used * 8)
		broken := filePlace{t.TempDir()}
		damaged := bytes.Clone(whole[:used])
		damaged[bit/8] ^= 1 << (bit % 8)
		writeFiles(t, broken, damaged, sums)
		if !opensWhole(t, broken, want, bit) {
			found++
		}
		_ = os.RemoveAll(broken.dir)
	}
	t.Logf("%d of 500 found, the others did no harm", found)
	if found < 100 {
		t.Errorf("only %d of 500 were found", found)
	}
}

func opensWhole(t *testing.T, p filePlace, want string, bit int64) bool {
	t.Helper()
	b, err := p.open(Config{})
	if err != nil {
		located(t, err, p.path())
		return false
	}
	defer b.Close()
	older := bit/8 < 2*int64(os.Getpagesize()) // of the two meta pages one was damaged, so the other one counts
	if got, err := everything(b); err != nil || got != want && !older {
		t.Fatalf("bit %d of byte %d flipped: opened with other content (%v)", bit%8, bit/8, err)
	}
	return true
}

// TestFlippedLogPosition: another log position in the file is damage, although it names another state of the file.
func TestFlippedLogPosition(t *testing.T) {
	p := filePlace{t.TempDir()}
	b := mustOpen(t, p, Config{})
	stored(t, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(p.path())
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(p.sums())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{schema.MetaConsistentIndex, schema.MetaTerm} {
		for bit := range 64 {
			broken := filePlace{t.TempDir()}
			writeFiles(t, broken, flippedBehind(file, name, bit), sums)
			b, err := broken.open(Config{})
			if err == nil {
				t.Errorf("%s with bit %d flipped: opened at index %d", name, bit, b.Flushed().Index)
				_ = b.Close()
				continue
			}
			located(t, err, broken.path())
		}
	}
}

// flippedBehind returns the file with a bit flipped behind each place where the name stands.
func flippedBehind(file []byte, name string, bit int) []byte {
	damaged := bytes.Clone(file)
	for at := 0; ; damaged[at+bit/8] ^= 1 << (bit % 8) {
		next := bytes.Index(damaged[at:], []byte(name))
		if next < 0 {
			return damaged
		}
		at += next + len(name)
	}
}

func writeFiles(t testing.TB, p filePlace, file, sums []byte) {
	t.Helper()
	if err := errors.Join(os.WriteFile(p.path(), file, 0o600), os.WriteFile(p.sums(), sums, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func usedBytes(t testing.TB, path string) int64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	meta, ok := newestMeta(f)
	if !ok {
		t.Fatal("no meta page")
	}
	return int64(meta.highWater) * meta.pageSize
}

// Whatever bit is flipped under an open backend: reading yields what was stored, or an error. Then a snapshot, a rewrite and a flush
// keep from spreading it.
func TestFlippedBitWhileOpen(t *testing.T) {
	p := filePlace{t.TempDir()}
	b := mustOpen(t, p, Config{})
	stored(t, b)
	want, err := everything(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	random, found := damageSeed(t), 0
	for range 120 {
		clone := p.crash(t).(filePlace)
		if flipUnder(t, clone, random, want) {
			found++
		}
		_ = os.RemoveAll(clone.dir)
	}
	t.Logf("%d of 120 found, the others did no harm", found)
	if found < 24 {
		t.Errorf("only %d of 120 were found", found)
	}
}

func flipUnder(t *testing.T, p filePlace, random *rand.Rand, want string) (found bool) {
	t.Helper()
	b, err := p.open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	bit := random.Int64N(usedBytes(t, p.path()) * 8)
	flip(t, p.path(), bit)
	got, err := everything(b)
	switch {
	case err != nil:
		located(t, err, p.path())
	case got != want:
		t.Fatalf("bit %d of byte %d flipped: other content", bit%8, bit/8)
	}
	found = err != nil
	if found != (b.Damage() != nil) {
		t.Errorf("bit %d of byte %d: error %v, damage %v", bit%8, bit/8, err, b.Damage())
	}
	afterDamage(t, b, found)
	return found
}

// afterDamage does what must fail once damage is known, and must not spread it while it is not.
func afterDamage(t *testing.T, b *Backend, known bool) {
	t.Helper()
	f := b.PinFile()
	_, copied := f.WriteTo(io.Discard)
	f.Release()
	rewritten := b.Defragment(context.Background(), nil)
	b.Append(schema.Rev{Main: 500}, false, content(500))
	for main := int64(300); main < 320; main++ {
		b.DeleteRecord(schema.Rev{Main: main}, main%9 == 0)
	}
	b.Commit(applied(500))
	_, flushed := b.Flush(500)
	if known && (copied == nil || rewritten == nil || flushed == nil) {
		t.Errorf("damage is known, but: snapshot %v, rewrite %v, flush %v", copied, rewritten, flushed)
	}
	if flushed == nil {
		if _, err := everything(b); err != nil {
			t.Errorf("after a rewrite and a flush: %v", err)
		}
	}
}

// A key of a branch page that leads lookups astray is found by who reads everything in order, too: a snapshot would spread it.
func TestFlippedBranchKey(t *testing.T) {
	p := filePlace{t.TempDir()}
	b := mustOpen(t, p, Config{})
	stored(t, b)
	defer b.Close()
	st := b.pinSnapshot()
	defer st.release()
	var keys [][]byte
	if err := st.walk(schema.Key, func(key, _ []byte, _ int64) error { keys = append(keys, bytes.Clone(key)); return nil }); err != nil {
		t.Fatal(err)
	}
	astray := func(key []byte) bool {
		value, _, err := st.snapshot.lookup(schema.Key, key)
		return value == nil || err != nil
	}
	pages, found := st.snapshot.(*boltSnapshot).pages, 0
	for id := uint64(2); id < pages.used; id++ {
		pg, err := pages.page(id)
		if err != nil || pg.leaf {
			continue // or not in use
		}
		for i := 1; i < pg.count; i++ {
			head, at := pg.head(i)
			bit := (pg.offset + int64(at) + int64(binary.LittleEndian.Uint32(head)) + 7) * 8 // the last of the main revision
			flip(t, p.path(), bit)
			if slices.ContainsFunc(keys, astray) {
				found++
				if err := st.verifyAll(); err == nil {
					t.Errorf("page %d, element %d: lookups go astray, and everything seems to be right", id, i)
				}
			}
			flip(t, p.path(), bit)
		}
	}
	if found == 0 {
		t.Error("no lookup went astray")
	}
}

// A root that says of an empty bucket that it is on a page of others is found by a flush and by a rewrite, neither of which spreads it.
func TestFlippedBucketRoot(t *testing.T) {
	spread := map[string]func(b *Backend) error{
		"rewrite": func(b *Backend) error { return b.Defragment(context.Background(), nil) },
		"flush": func(b *Backend) error {
			b.Commit(applied(401))
			_, err := b.Flush(401)
			return err
		},
	}
	for name, spread := range spread {
		t.Run(name, func(t *testing.T) { testFlippedBucketRoot(t, spread) })
	}
}

func testFlippedBucketRoot(t *testing.T, spread func(b *Backend) error) {
	p := filePlace{t.TempDir()}
	b := mustOpen(t, p, Config{})
	stored(t, b)
	defer b.Close()
	st := b.pinSnapshot()
	empty, _, err := st.snapshot.(*boltSnapshot).bucket(schema.AuthUsers)
	st.release()
	if err != nil || empty.root != 0 || empty.inline.count != 0 {
		t.Fatalf("expected an empty bucket within the root, found %+v, error %v", empty, err)
	}
	flip(t, p.path(), (empty.inline.offset-bucketBytes)*8+4) // page 0 becomes page 16
	before, err := os.ReadFile(p.path())
	if err != nil {
		t.Fatal(err)
	}
	var damage *CorruptError
	if err := spread(b); !errors.As(err, &damage) || b.Damage() == nil {
		t.Errorf("expected an error about damage, got %v", err)
	}
	if after, err := os.ReadFile(p.path()); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed, error %v", err)
	}
}

func flip(t testing.TB, path string, bit int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], bit/8); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << (bit % 8)
	if _, err := f.WriteAt(b[:], bit/8); err != nil {
		t.Fatal(err)
	}
}

// Without its checksums, or with those of another state, a file is taken as it is.
func TestForeignLedger(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, p filePlace){
		"none":    func(t *testing.T, p filePlace) { t.Helper(); _ = os.Remove(p.sums()) },
		"torn":    func(t *testing.T, p filePlace) { t.Helper(); _ = os.Truncate(p.sums(), 1000) },
		"empty":   func(t *testing.T, p filePlace) { t.Helper(); _ = os.Truncate(p.sums(), 0) },
		"another": func(t *testing.T, p filePlace) { t.Helper(); foreign(t, p) },
	} {
		t.Run(name, func(t *testing.T) {
			p := filePlace{t.TempDir()}
			b := mustOpen(t, p, Config{})
			stored(t, b)
			want, _ := everything(b)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			spoil(t, p)
			again := mustOpen(t, p, Config{})
			if got, err := everything(again); got != want || err != nil {
				t.Errorf("other content: %v", err)
			}
			again.check(t)
		})
	}
}

func foreign(t *testing.T, p filePlace) {
	t.Helper()
	q := filePlace{t.TempDir()}
	b := mustOpen(t, q, Config{})
	fill(b, 2, 50)
	mustFlush(t, b)
	if err := os.Rename(q.sums(), p.sums()); err != nil {
		t.Fatal(err)
	}
}

func FuzzLedger(f *testing.F) {
	p := filePlace{f.TempDir()}
	b := mustOpen(f, p, Config{})
	fill(b, 2, 20)
	b.Put(schema.Alarm, []byte("a"), nil)
	mustFlush(f, b)
	sums, err := os.ReadFile(p.sums())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sums, uint64(3))
	f.Fuzz(func(_ *testing.T, in []byte, txid uint64) {
		_, _, size, _ := readLedger(bytes.NewReader(in), txid)
		if size > int64(len(in)) {
			panic("longer than it is")
		}
	})
}

func FuzzSurvey(f *testing.F) {
	p := filePlace{f.TempDir()}
	b := mustOpen(f, p, Config{})
	fill(b, 2, 20)
	mustFlush(f, b)
	used := usedBytes(f, p.path())
	whole, err := os.ReadFile(p.path())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[:used])
	f.Fuzz(func(t *testing.T, in []byte) {
		path := filepath.Join(t.TempDir(), "db")
		if err := os.WriteFile(path, in, 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := Open(Config{Path: path, NoSync: true}); err == nil {
			_, _ = everything(b)
			_ = b.Close()
		}
	})
}

// A file that somebody cuts off under an open backend is damage, not the end of the process.
func TestFileCutOffWhileOpen(t *testing.T) {
	p := filePlace{t.TempDir()}
	b := mustOpen(t, p, Config{})
	stored(t, b)
	if err := os.Truncate(p.path(), 8192); err != nil {
		t.Fatal(err)
	}
	_, err := everything(b)
	located(t, err, p.path())
	select {
	case <-b.Damaged():
	default:
		t.Error("nobody was told")
	}
}
