package replica

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/raft/wire"
)

// TestSettled: entries stand for a letter each, changes for a capital one.
func TestSettled(t *testing.T) {
	index := uint64(0)
	entries := func(letters string) (list []wire.Entry) {
		for _, r := range letters {
			index++
			e := wire.Entry{Index: index, Data: []byte(string(r))}
			if strings.ToUpper(string(r)) == string(r) {
				e.Type = wire.EntryConfChange
			}
			list = append(list, e)
		}
		return list
	}
	text := func(list []wire.Entry) string {
		var b strings.Builder
		for _, e := range list {
			b.Write(e.Data)
		}
		return b.String()
	}
	var s settled
	for i, step := range []struct {
		seq  uint64 // of an Output, or with committed "-" the one that became durable
		with string
		now  string
		sync bool
	}{
		{1, "abc", "abc", false},
		{2, "dEf", "d", true},
		{3, "gh", "", false},
		{1, "-", "", false},
		{4, "iJKl", "", true},
		{2, "-", "Efghi", false},
		{5, "m", "", false},
		{3, "-", "", false},
		{5, "-", "JKlm", false},
		{6, "n", "n", false},
		{7, "O", "", true},
		{9, "-", "O", false},
	} {
		var got []wire.Entry
		sync := false
		if step.with == "-" {
			got = s.take(step.seq)
		} else {
			got, sync = s.add(step.seq, entries(step.with))
		}
		if text(got) != step.now || sync != step.sync {
			t.Errorf("step %d, %s: %q, sync %v; expected %q, %v", i, fmt.Sprint(step), text(got), sync, step.now, step.sync)
		}
	}
}
