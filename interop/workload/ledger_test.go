package workload

import (
	"strings"
	"testing"
)

func TestLedgerJudges(t *testing.T) {
	one := func(value string, revision int64) Write {
		return Write{Keys: []string{"a"}, Value: value, Revision: revision}
	}
	pair := Write{Keys: []string{"a", "b"}, Value: "p"}
	tests := []struct {
		name   string
		record func(l *Ledger)
		store  map[string]Record
		want   string // part of the error; "" is none
	}{
		{"acknowledged is there", func(l *Ledger) { l.Acknowledged(one("1", 2)) }, map[string]Record{"a": {"1", 2}}, ""},
		{"acknowledged is lost", func(l *Ledger) { l.Acknowledged(one("1", 2)) }, nil, "key a: got"},
		{"acknowledged is older", func(l *Ledger) { l.Acknowledged(one("1", 2)); l.Acknowledged(one("2", 3)) }, map[string]Record{"a": {"1", 2}}, "want \"2\""},
		{"acknowledged at another revision", func(l *Ledger) { l.Acknowledged(one("1", 2)) }, map[string]Record{"a": {"1", 3}}, "acknowledged at 2"},
		{"unknown happened", func(l *Ledger) { l.Acknowledged(one("1", 2)); l.Unknown(one("2", 0)) }, map[string]Record{"a": {"2", 3}}, ""},
		{"unknown did not happen", func(l *Ledger) { l.Acknowledged(one("1", 2)); l.Unknown(one("2", 0)) }, map[string]Record{"a": {"1", 2}}, ""},
		{"refused appears", func(l *Ledger) { l.Refused(one("r", 0)) }, map[string]Record{"a": {"r", 2}}, "refused"},
		{"nobody wrote it", func(*Ledger) {}, map[string]Record{"a": {"x", 2}}, "nobody"},
		{"delete came back", func(l *Ledger) { l.Acknowledged(one("1", 2)); l.Acknowledged(one("", 3)) }, map[string]Record{"a": {"1", 2}}, "key a"},
		{"half of a pair", func(l *Ledger) { l.Unknown(pair) }, map[string]Record{"a": {"p", 2}}, "together"},
		{"pair at two revisions", func(l *Ledger) { l.Unknown(pair) }, map[string]Record{"a": {"p", 2}, "b": {"p", 3}}, "together"},
		{"whole pair", func(l *Ledger) { l.Unknown(pair) }, map[string]Record{"a": {"p", 2}, "b": {"p", 2}}, ""},
		{"revision went back", func(l *Ledger) { l.Seen(11) }, nil, "store revision"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := NewLedger()
			test.record(l)
			err := l.Check(test.store, 10)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
		})
	}
}
