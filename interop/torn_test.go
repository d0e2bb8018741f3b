package interop

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// tear leaves behind the end of a member's log what a crash leaves in the middle of a write: the begin of a record, and zeros.
func tear(t *testing.T, dataDir string, random *rand.Rand) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dataDir, "member", "wal", "*.wal"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no log in %s: %v", dataDir, err)
	}
	slices.Sort(segments)
	path := segments[len(segments)-1]
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := endOfLog(content)
	const whole = 4096 // of which so little comes that a sector stays empty
	torn := make([]byte, 8+random.IntN(2048))
	for i := range torn {
		torn[i] = byte(random.Uint32())
	}
	binary.LittleEndian.PutUint64(torn, whole)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(torn, int64(end)); err != nil {
		t.Fatal(err)
	}
}

// endOfLog is where the records of a segment end: its length field is zero there, or nothing is there.
func endOfLog(segment []byte) (at int) {
	for at+8 <= len(segment) {
		frame := binary.LittleEndian.Uint64(segment[at:])
		if frame == 0 {
			break
		}
		at += 8 + int(frame&(1<<56-1)) + int(frame>>56&7)
	}
	return at
}
