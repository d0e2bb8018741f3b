package cluster

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// turnOver turns over bits of one byte of a file. The same call undoes it.
func turnOver(t *testing.T, path string, at int64, mask byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= mask
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// TestFlippedBitsInEachSegment: wherever in its log a bit is turned over, a member does not start and names the file, while the others go on;
// when the bit is as it was the member is as it was.
func TestFlippedBitsInEachSegment(t *testing.T) {
	c := newCluster(t, flags.network, 3, false)
	random := rand.New(rand.NewPCG(3, 4))
	load(t, c.leader(t), 600, 100, 256<<10) // more than two segments
	victim := c.others(c.leader(t))[0]
	eventually(t, "having everything", victim.serves)
	victim.signal(t, syscall.SIGTERM)
	<-victim.done
	segments, err := filepath.Glob(filepath.Join(victim.dataDir(), "member", "wal", "*.wal"))
	if err != nil || len(segments) < 3 {
		t.Fatal(err, segments)
	}
	for i, segment := range segments {
		end := int64(60 << 20)
		if i == len(segments)-1 {
			end = 4 << 20 // its records end somewhere
		}
		for range 2 {
			at, mask := 1<<10+random.Int64N(end-1<<10), byte(1)<<random.IntN(8)
			turnOver(t, segment, at, mask)
			victim.restart(t)
			hasEnded(t, c, nil, victim)
			named(t, victim, segment)
			turnOver(t, segment, at, mask)
			if err := c.others(victim)[0].serves(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	victim.restart(t)
	eventually(t, "serving again", victim.serves)
	c.sameHash(t, 0)
}
