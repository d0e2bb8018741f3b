package ctl

import (
	"bufio"
	"slices"
	"strings"
	"testing"
)

func TestParseTxn(t *testing.T) {
	for _, c := range []struct {
		name, input string
		want        string // of the failure
		counts      [3]int
	}{
		{"all", "mod(\"k\") > \"0\"\nval(\"a b\") = \"x\"\n\nput k \"new value\"\nget k --prefix\n\ndel k --prev-kv\n\n", "", [3]int{2, 2, 1}},
		{"nothing", "\n\n\n", "", [3]int{}},
		{"every target", "ver(\"k\") != \"1\"\ncreate(\"k\") < \"3\"\nlease(\"k\") = \"1f\"\nversion(\"k\") = \"1\"\nc(\"k\") = \"1\"\nm(\"k\") = \"1\"\nvalue(\"k\") = \"\"\n\n\n\n", "", [3]int{7, 0, 0}},
		{"ends early", "\nput a 1\n", "EOF", [3]int{}},
		{"no comparison", "hello\n\n\n\n", "malformed comparison: hello", [3]int{}},
		{"unknown target", "size(\"k\") = \"1\"\n", "unknown target size", [3]int{}},
		{"unknown operator", "ver(\"k\") ~ \"1\"\n", "unknown operator ~", [3]int{}},
		{"no number", "ver(\"k\") = \"x\"\n", "invalid txn compare request", [3]int{}},
		{"unknown command", "\nwatch a\n", "invalid txn request: watch a", [3]int{}},
		{"bad flag", "\nget a --colour\n", "unknown flag", [3]int{}},
		{"bad quotes", "\nput a \"b\n", "quotes do not match", [3]int{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := blocks{in: bufio.NewReader(strings.NewReader(c.input))}
			got, err := b.txn()
			if c.want != "" {
				if err == nil || ExitCode(err) != ExitInvalidInput || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				return
			}
			if counts := [3]int{len(got.conditions), len(got.then), len(got.otherwise)}; err != nil || counts != c.counts {
				t.Errorf("%v, %v, want %v", counts, err, c.counts)
			}
		})
	}
}

func TestSplitLine(t *testing.T) {
	got, err := splitLine(`put  "a\n b" 'c "d"' e`)
	if want := []string{"put", "a\n b", `c "d"`, "e"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

// FuzzParseTxn: no input is worse than a failure.
func FuzzParseTxn(f *testing.F) {
	f.Add("mod(\"k\") > \"0\"\n\nput k \"new value\"\n\ndel k\n\n")
	f.Fuzz(func(_ *testing.T, input string) {
		b := blocks{in: bufio.NewReader(strings.NewReader(input))}
		_, _ = b.txn()
	})
}
