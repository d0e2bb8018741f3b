package plan

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzRead reads any bytes as a plan; what is read can be written and read again.
func FuzzRead(f *testing.F) {
	for seed := range uint64(3) {
		text, err := Draw(seed).Text()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "plan")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Read(path)
		if err != nil {
			return
		}
		first, err := p.Text()
		if err != nil {
			t.Fatalf("a plan that was read cannot be written: %v", err)
		}
		if err := p.Write(path); err != nil {
			t.Fatal(err)
		}
		again, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := again.Text(); err != nil || !bytes.Equal(first, second) {
			t.Errorf("written twice: %s and %s, %v", first, second, err)
		}
	})
}
