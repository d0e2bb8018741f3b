package backend

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

// other is the file of a backend that went another way, up to index and revision last.
func other(t *testing.T, p place, last int64) place {
	t.Helper()
	b := mustOpen(t, p.fromSnapshot(t, snapshotOf(t, mustOpen(t, p.crash(t), Config{}))), Config{})
	fill(b, 2, last)
	b.Put(schema.Auth, []byte("who"), []byte("other"))
	b.Commit(schema.Applied{Index: uint64(last), Term: 7, ConfState: []byte(`{"voters":[7]}`)})
	mustFlush(t, b)
	return p.fromSnapshot(t, snapshotOf(t, b))
}

func TestReplace(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		from := other(t, p, 30)
		fill(b, 2, 5)
		mustFlush(t, b)
		fill(b, 6, 7)
		if _, err := b.Record(rev(3)); err != nil { // the writer pins the old file
			t.Fatal(err)
		}
		old, file := b.Reader(), b.PinFile()
		defer old.Release()
		if err := b.Replace(func() error { return p.adopt(from) }); err != nil {
			t.Fatal(err)
		}
		b.check(t)
		if got := scan(t, old, 0, 100); got != "2 3 4 5 6 7" {
			t.Errorf("a reader from before sees %q", got)
		}
		if at := b.Flushed(); at.Index != 30 || at.Term != 7 || string(at.ConfState) != `{"voters":[7]}` || b.Pending().Batches != 0 || b.Pending().Applied.Index != 30 {
			t.Errorf("flushed %+v, pending %+v", at, b.Pending())
		}
		if got := dump(t, b, schema.Auth); got != "who=other" {
			t.Errorf("auth %q", got)
		}
		copied := bytes.Buffer{}
		if n, err := file.WriteTo(&copied); err != nil || n != file.Size() || file.Applied().Index != 5 {
			t.Errorf("the file that was pinned before is at %d: %d of %d bytes, %v", file.Applied().Index, n, file.Size(), err)
		}
		file.Release()
		r := mustOpen(t, p.fromSnapshot(t, copied.Bytes()), Config{}).Reader()
		defer r.Release()
		if got := scan(t, r, 0, 100); got != "2 3 4 5" {
			t.Errorf("and holds %q", got)
		}
		fill(b, 31, 33)
		mustFlush(t, b)
		if err := b.Defragment(t.Context(), nil); err != nil {
			t.Error(err)
		}
		again := mustOpen(t, p.crash(t), Config{}).Reader()
		defer again.Release()
		if got := scan(t, again, 28, 100); got != "28 29 30 31 32 33" {
			t.Errorf("after a restart it ends with %q", got)
		}
	})
}

func TestReplaceFails(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{})
		fill(b, 2, 5)
		refused := errors.New("refused")
		if err := b.Replace(func() error { return refused }); !errors.Is(err, refused) || errors.Is(err, ErrPoisoned) {
			t.Errorf("Replace: %v", err)
		}
		mustFlush(t, b)
		wantScan(t, b, "2 3 4 5")
	})
	p := filePlace{t.TempDir()}
	b := mustOpen(t, p, Config{})
	fill(b, 2, 5)
	mustFlush(t, b)
	err := b.Replace(func() error {
		if err := os.WriteFile(p.path()+"x", bytes.Repeat([]byte("nonsense"), 4096), 0o600); err != nil {
			return err
		}
		return os.Rename(p.path()+"x", p.path())
	})
	var corrupt *CorruptError
	if !errors.Is(err, ErrPoisoned) || !errors.As(err, &corrupt) {
		t.Errorf("a file that is no database: %v", err)
	}
	wantScan(t, b, "2 3 4 5")
	if err := b.Replace(func() error { t.Error("swapped again"); return nil }); !errors.Is(err, ErrPoisoned) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestCheck(t *testing.T) {
	p := filePlace{t.TempDir()}
	b := mustOpen(t, p, Config{})
	fill(b, 2, 2000)
	b.Commit(schema.Applied{Index: 2001, Term: 3, ConfState: []byte("{}")})
	mustFlush(t, b)
	var whole bytes.Buffer
	if _, err := b.WriteSnapshot(func(int64, schema.Applied) (io.Writer, error) { return &whole, nil }); err != nil {
		t.Fatal(err)
	}
	try := func(content []byte) (schema.Applied, error) {
		path := filepath.Join(t.TempDir(), "received")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		at, err := Check(path)
		if now, readErr := os.ReadFile(path); readErr != nil || !bytes.Equal(now, content) {
			t.Errorf("checking has changed the file: %v", readErr)
		}
		return at, err
	}
	if at, err := try(whole.Bytes()); err != nil || at.Index != 2001 || at.Term != 3 || string(at.ConfState) != "{}" {
		t.Errorf("position %+v, %v", at, err)
	}
	bad := func(name string, content []byte) {
		var corrupt *CorruptError
		if at, err := try(content); !errors.As(err, &corrupt) {
			t.Errorf("%s: %+v, %v", name, at, err)
		}
	}
	for cut := 0; cut < whole.Len(); cut += 4096 * 3 / 2 {
		bad("cut off", whole.Bytes()[:cut])
	}
	bad("cut off by a byte", whole.Bytes()[:whole.Len()-1])
	zeros := bytes.Clone(whole.Bytes())
	clear(zeros[4*4096:])
	bad("with zeros", zeros)
	for _, entry := range [][3]string{{"meta", "consistent_index", "short"}, {"key", "zz", "x"}} {
		path := filepath.Join(t.TempDir(), "raw")
		writeRaw(t, path, entry)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad(entry[0], content)
	}
	if _, err := Check(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a file that is not there passes")
	}
}
