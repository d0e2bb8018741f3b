package backend

import (
	"bytes"
	"io"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

func FuzzReadMemoryDisk(f *testing.F) {
	b, err := memoryPlace{NewMemoryDisk()}.open(Config{})
	if err != nil {
		f.Fatal(err)
	}
	fill(b, 2, 5)
	b.Put(schema.Auth, []byte("k"), nil)
	b.Commit(applied(5))
	_, _ = b.Flush(9)
	f.Add(snapshotOf(f, b))
	f.Add([]byte(memoryMagic))
	f.Add([]byte(memoryMagic + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	_ = b.Close()
	f.Fuzz(func(t *testing.T, data []byte) {
		disk, err := ReadMemoryDisk(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if _, err := disk.load().writeTo(&out); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("%x is written back as %x (%v)", data, out.Bytes(), err)
		}
	})
}

// Whatever two meta pages say, reading them neither panics nor misleads.
func FuzzNewestMeta(f *testing.F) {
	p := filePlace{f.TempDir()}
	b, err := p.open(Config{})
	if err != nil {
		f.Fatal(err)
	}
	fill(b, 2, 3)
	_, _ = b.Flush(9)
	var whole bytes.Buffer
	_, _ = b.WriteSnapshot(func(int64, schema.Applied) (io.Writer, error) { return &whole, nil })
	_ = b.Close()
	f.Add(whole.Bytes()[:8192])
	f.Add(whole.Bytes()[4096:8192])
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, ok := newestMeta(bytes.NewReader(data)); ok && m.pageSize < 1<<smallestPageBits {
			t.Fatalf("%+v", m)
		}
	})
}
