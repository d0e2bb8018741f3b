package plan

import (
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"
)

// TestDraw: a seed gives one plan, and plans are within their bounds.
func TestDraw(t *testing.T) {
	first := rand.Uint64()
	t.Logf("first seed %d", first)
	kinds := map[FaultKind]int{}
	for i := range uint64(200) {
		p := Draw(first + i)
		if !reflect.DeepEqual(p, Draw(first+i)) {
			t.Fatalf("seed %d: not the same plan twice", first+i)
		}
		last := int64(0)
		for _, f := range p.Faults {
			kinds[f.Kind]++
			if f.At < last || f.At >= p.Safety {
				t.Fatalf("seed %d: fault at %d after one at %d, the end is at %d", first+i, f.At, last, p.Safety)
			}
			last = f.At
		}
		for _, c := range p.Clients {
			if c.Keys < 1 || c.Think < 1 {
				t.Fatalf("seed %d: client %+v", first+i, c)
			}
		}
	}
	for _, f := range []FaultKind{
		Crash, Pause, Isolate, CutLink, Split, SlowLink, StallDisk, FailSync, FailFile, FillDisk, FlipBits, Wipe, ClockRate, ClockJump,
		Transfer, AddMember, Promote, Remove,
	} {
		if kinds[f] == 0 {
			t.Errorf("%s was never drawn", f)
		}
	}
}

// TestFile: a plan that was written is read as it was.
func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "plan.json")
	p := Draw(3)
	if err := p.Write(name); err != nil {
		t.Fatal(err)
	}
	if q, err := Read(name); err != nil || !reflect.DeepEqual(p, q) {
		t.Errorf("read %+v, %v\nwrote %+v", q, err, p)
	}
}
