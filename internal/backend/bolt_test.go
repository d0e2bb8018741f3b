package backend

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/schema"
)

// raw lists a closed file with plain bbolt: "bucket key=value", hexadecimal.
func raw(t testing.TB, path string) string {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var out strings.Builder
	err = db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("bbolt's check: %v", err)
		}
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			out.WriteString(string(name) + "\n")
			return b.ForEach(func(k, v []byte) error {
				out.WriteString("  " + hex.EncodeToString(k) + "=" + hex.EncodeToString(v) + "\n")
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

const goldenFile = `alarm
  08011001=
auth
authRoles
authUsers
cluster
key
  00000000000000025f0000000000000000=0a016b
  00000000000000025f0000000000000001=0a016c
  00000000000000035f000000000000000074=0a016b
lease
members
members_removed
meta
  636f6e665374617465=7b22766f74657273223a5b315d2c226175746f5f6c65617665223a66616c73657d
  636f6e73697374656e745f696e646578=0000000000000007
  7465726d=0000000000000002
`

func TestFileIsEtcds(t *testing.T) {
	p := filePlace{t.TempDir()}
	b, err := Open(Config{Path: p.path()})
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range []string{"k", "l"} {
		b.Append(schema.Rev{Main: 2, Sub: int64(i)}, false, (&schema.KeyValue{Key: []byte(key)}).Append(nil))
	}
	b.Append(rev(3), true, (&schema.KeyValue{Key: []byte("k")}).Append(nil))
	b.Put(schema.Alarm, schema.AlarmKey(1, 1), nil)
	confState := schema.ConfState{Voters: []uint64{1}}
	b.Commit(schema.Applied{Index: 7, Term: 2, ConfState: confState.Append(nil)})
	mustFlush(t, b)
	for _, when := range []string{"flushed", "defragmented"} {
		clone := p.crash(t).(filePlace)
		if got := raw(t, clone.path()); got != goldenFile {
			t.Errorf("%s:\n%s\nwant\n%s", when, got, goldenFile)
		}
		info, err := os.Stat(p.path())
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v", when, info.Mode(), err)
		}
		page, err := os.ReadFile(p.path())
		if err != nil || !slices.ContainsFunc([]int{0, 4096}, func(at int) bool { // one of the two meta pages
			return hex.EncodeToString(page[at+16+32:at+16+40]) == "ffffffffffffffff"
		}) {
			t.Errorf("%s: the freelist is in the file (%v)", when, err)
		}
		if err := b.Defragment(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	p := filePlace{t.TempDir()}
	for _, name := range []string{"db.tmp.", "db.tmp.123", "db.tmp", "db2.tmp.1", "0000.snap"} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := mustOpen(t, p, Config{})
	if err := b.Defragment(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(files(t, p.dir), " "); got != "0000.snap db db.tmp db2.tmp.1" {
		t.Errorf("files: %s", got)
	}
}

// files lists a directory without the checksums.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".sums") {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestFailedCommitPoisons(t *testing.T) {
	p := filePlace{t.TempDir()}
	var file *os.File
	b, err := p.open(Config{onOpen: func(f *os.File) { file = f }})
	if err != nil {
		t.Fatal(err)
	}
	fill(b, 2, 3)
	mustFlush(t, b)
	fill(b, 4, 5)
	_ = file.Close()
	for range 2 {
		if a, err := b.Flush(9); !errors.Is(err, ErrPoisoned) || !errors.Is(err, os.ErrClosed) || a.Index != 3 {
			t.Errorf("Flush: %v, %v", a, err)
		}
	}
	wantScan(t, b, "2 3 4 5")
	_ = b.Close()
	wantScan(t, mustOpen(t, p.crash(t), Config{}), "2 3")
}

// The copy that replaces the file cannot be written, or not be put in place.
func TestDefragmentFailsOnDisk(t *testing.T) {
	for name, fail := range map[string]func(dir string, copied *os.File){
		"write":  func(_ string, copied *os.File) { _ = copied.Close() },
		"rename": func(dir string, copied *os.File) { _ = os.Remove(copied.Name()) },
	} {
		t.Run(name, func(t *testing.T) {
			p := filePlace{t.TempDir()}
			var last *os.File
			b := mustOpen(t, p, Config{
				onOpen: func(f *os.File) { last = f },
				onStep: func(step string) {
					if step == "copied" {
						fail(p.dir, last)
					}
				},
			})
			fill(b, 2, 5)
			mustFlush(t, b)
			if err := b.Defragment(t.Context(), nil); err == nil || errors.Is(err, ErrPoisoned) {
				t.Fatalf("Defragment: %v", err)
			}
			fill(b, 6, 7)
			mustFlush(t, b)
			wantScan(t, b, "2 3 4 5 6 7")
			if got := files(t, p.dir); len(got) != 1 {
				t.Errorf("files: %v", got)
			}
		})
	}
}

func TestSpaceIsCheckedFirst(t *testing.T) {
	if err := checkSpace(t.TempDir(), 1<<60, 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("an exabyte: %v", err)
	}
	if err := checkSpace(t.TempDir(), 1, 1<<60); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("no room for the reserve: %v", err)
	}
	if err := checkSpace(t.TempDir(), 1, 1); err != nil {
		t.Errorf("a byte: %v", err)
	}
}

// A file that outgrows its mapping is moved under a larger one.
func TestMappingGrows(t *testing.T) {
	p := filePlace{t.TempDir()}
	var steps int
	b := mustOpen(t, p, Config{mapFloorBytes: 20 << 20, onStep: func(step string) {
		if step == "published" {
			steps++
		}
	}})
	r := b.Reader()
	defer r.Release()
	value := make([]byte, 1<<20)
	for main := int64(2); main < 42; main++ {
		b.Append(rev(main), false, value)
		b.Commit(applied(uint64(main)))
		mustFlush(t, b)
	}
	if steps == 0 || steps > 3 {
		t.Errorf("%d rewrites for %d bytes", steps, b.Sizes().FileBytes)
	}
	if got := scan(t, r, 0, 1<<40); got != "" {
		t.Errorf("the reader of the first file sees %.80s", got)
	}
	r2 := b.Reader()
	defer r2.Release()
	n := 0
	_ = r2.Scan(rev(0), rev(100), func(_ schema.Rev, _ bool, rec []byte) bool {
		if bytes.Equal(rec, value) {
			n++
		}
		return true
	})
	if n != 40 {
		t.Errorf("%d records", n)
	}
}

func TestMapBytes(t *testing.T) {
	cfg, err := Config{QuotaBytes: 20 << 30}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	small, err := Config{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cfg       Config
		size, was int64
	}{{small, 0, 10 << 30}, {small, 3 << 30, 12 << 30}, {cfg, 0, 22 << 30}, {cfg, 6 << 30, 24 << 30}} {
		if got := c.cfg.mapBytes(c.size); got != c.was {
			t.Errorf("mapping for %d bytes: %d, want %d", c.size, got, c.was)
		}
	}
}

// Files that other programs made, whole and damaged.
func TestForeignFiles(t *testing.T) {
	p := filePlace{t.TempDir()}
	db, err := bbolt.Open(p.path(), 0o600, nil) // with a freelist in the file
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("test"))
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), []byte("v"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := p.open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Defragment(t.Context(), nil), b.Close()); err != nil {
		t.Fatal(err)
	}
	if got := raw(t, p.path()); !strings.Contains(got, "test\n  6b=76\n") {
		t.Errorf("the unknown bucket is lost:\n%s", got)
	}
}

func TestDamagedFiles(t *testing.T) {
	p := filePlace{t.TempDir()}
	b := mustOpen(t, p, Config{})
	fill(b, 2, 2000)
	mustFlush(t, b)
	whole := snapshotOf(t, b)
	for name, damage := range map[string]func(b []byte) []byte{
		"cut":         func(b []byte) []byte { return b[:len(b)-1] },
		"cut short":   func(b []byte) []byte { return b[:3*4096] },
		"one page":    func(b []byte) []byte { return b[:4096] },
		"no meta":     func(b []byte) []byte { clear(b[:2*4096]); return b },
		"not a db":    func([]byte) []byte { return bytes.Repeat([]byte("nonsense"), 4096) },
		"bad pages":   func(b []byte) []byte { clear(b[4*4096:]); return b },
		"bad meta 0 ": func(b []byte) []byte { clear(b[:4096]); return b[:len(b)-1] },
	} {
		t.Run(name, func(t *testing.T) {
			var corrupt *CorruptError
			broken := p.fromSnapshot(t, damage(bytes.Clone(whole)))
			if b, err := broken.open(Config{}); !errors.As(err, &corrupt) {
				t.Errorf("opened: %v", err)
				if err == nil {
					_ = b.Close()
				}
			}
		})
	}
	oneMeta := bytes.Clone(whole)
	clear(oneMeta[:4096])
	again := mustOpen(t, p.fromSnapshot(t, oneMeta), Config{})
	again.check(t)
}

func TestDamagedContent(t *testing.T) {
	for name, entry := range map[string][3]string{
		"index":    {"meta", "consistent_index", "short"},
		"term":     {"meta", "term", ""},
		"revision": {"key", "zz", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			p := filePlace{t.TempDir()}
			writeRaw(t, p.path(), entry)
			var corrupt *CorruptError
			if _, err := p.open(Config{}); !errors.As(err, &corrupt) || corrupt.Bucket != entry[0] || !errors.Is(err, schema.ErrMalformed) {
				t.Errorf("opened: %v", err)
			}
		})
	}
	p := filePlace{t.TempDir()}
	writeRaw(t, p.path(), [3]string{"key", "\x00\x00\x00\x00\x00\x00\x00\x01", "x"}, [3]string{"key", "\x00\x00\x00\x00\x00\x00\x00\x02_12345678", "x"})
	var corrupt *CorruptError
	if _, err := p.open(Config{}); !errors.As(err, &corrupt) || corrupt.Path != p.path() || corrupt.Offset == 0 {
		t.Errorf("opened: %v", err)
	}
}

func writeRaw(t *testing.T, path string, entries ...[3]string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, e := range entries {
			b, err := tx.CreateBucketIfNotExists([]byte(e[0]))
			if err != nil {
				return err
			}
			if err := b.Put([]byte(e[1]), []byte(e[2])); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// The replaced file is closed with its last reader, not before.
func TestOldFileIsClosed(t *testing.T) {
	p := filePlace{t.TempDir()}
	b := mustOpen(t, p, Config{})
	fill(b, 2, 3)
	mustFlush(t, b)
	r := b.Reader()
	old := b.store.(*boltStore).file
	if err := b.Defragment(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if old.refs.Load() != 1 || old.db.Path() == "" {
		t.Errorf("%d references, path %q", old.refs.Load(), old.db.Path())
	}
	r.Release()
	if old.refs.Load() != 0 || old.db.Path() != "" {
		t.Errorf("%d references, path %q", old.refs.Load(), old.db.Path())
	}
}

func TestFlushInfo(t *testing.T) {
	var got []FlushInfo
	b := mustOpen(t, filePlace{t.TempDir()}, Config{OnFlush: func(i FlushInfo) { got = append(got, i) }})
	fill(b, 2, 4)
	b.DeleteRecord(rev(4), false)
	b.Put(schema.Auth, []byte("k"), nil)
	b.Commit(applied(4))
	mustFlush(t, b)
	b.DeleteRecord(rev(3), false)
	b.Commit(applied(4))
	mustFlush(t, b)
	mustFlush(t, b)
	if len(got) != 2 || got[0].Records != 2 || got[0].SmallChanges != 3 || got[1].Deletions != 1 || got[0].Bytes <= 0 || got[0].Took <= 0 || got[0].Write <= 0 ||
		got[0].Written <= 0 || got[1].Written != b.Written() {
		t.Errorf("%+v", got)
	}
}

// Between flushes there is one snapshot of the file, whatever happened before.
func TestSnapshotsDoNotPileUp(t *testing.T) {
	b := mustOpen(t, filePlace{t.TempDir()}, Config{})
	for main := int64(2); main < 30; main++ {
		r := b.Reader()
		fill(b, main, main)
		if _, err := b.Record(rev(2)); err != nil {
			t.Fatal(err)
		}
		mustFlush(t, b)
		r.Release()
		if main%10 == 0 {
			if err := b.Defragment(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(b, 30, 30)
	if n := b.store.(*boltStore).file.refs.Load(); n != 2 {
		t.Errorf("%d references to the file, want the owner's and one snapshot's", n)
	}
}
