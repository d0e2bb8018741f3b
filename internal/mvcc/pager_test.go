package mvcc

import (
	"fmt"
	"testing"
)

// TestPagerClone goes on with a pager and its clone in turns: each sees everything that was left, and neither disturbs the other's place.
func TestPagerClone(t *testing.T) {
	s, m := newStore(t)
	for i := range 20 {
		put(s, fmt.Sprintf("k%02d", i), "old", 0)
	}
	p, err := view(t, s, m).Pager(Query{Key: []byte("k"), End: []byte("l")})
	if err != nil {
		t.Fatal(err)
	}
	if n := takePage(t, p, 3); n != 3 {
		t.Fatalf("%d records", n)
	}
	c := p.Clone()
	var seen [2][]string
	for i, one := range []*Pager{p, c, c, p, c, p, p, c} {
		records, err := one.Next(1 + i%5)
		if err != nil {
			t.Fatal(err)
		}
		side := 0
		if one == c {
			side = 1
		}
		for _, r := range records {
			seen[side] = append(seen[side], showRecord(r))
		}
	}
	shorter := min(len(seen[0]), len(seen[1]))
	for i := range shorter {
		if seen[0][i] != seen[1][i] {
			t.Errorf("record %d is %s for the pager and %s for its clone", i, seen[0][i], seen[1][i])
		}
	}
	if shorter < 8 {
		t.Errorf("only %d records", shorter)
	}
}
