package main

import (
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	cases := []struct {
		name, events string
		ok           bool
		want         []string
		hidden       string
	}{
		{
			name: "all pass",
			events: `{"Action":"output","Package":"p","Test":"A","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"skip","Package":"p","Test":"B"}
{"Action":"pass","Package":"p","Elapsed":1.25}
{"Action":"skip","Package":"q"}
`,
			ok:     true,
			want:   []string{"ok   p 1.2s", "1 passed, 0 failed, 1 skipped", "1 passed, 0 failed, 1 without tests"},
			hidden: "noise",
		},
		{
			name: "a failure shows its output",
			events: `{"Action":"output","Package":"p","Test":"A","Output":"got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"fail","Package":"p"}
`,
			want: []string{"got 1, want 2", "FAIL p", "0 passed, 1 failed"},
		},
		{
			name: "a panic leaves its test without an end",
			events: `{"Action":"output","Package":"p","Test":"A","Output":"panic: no\n"}
{"Action":"fail","Package":"p"}
`,
			want: []string{"panic: no", "packages: 0 passed, 1 failed"},
		},
		{
			name:   "a build that fails",
			events: `{"ImportPath":"p","Action":"build-output","Output":"p/a.go:1: syntax error\n"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n",
			want:   []string{"syntax error", "packages: 0 passed, 1 failed"},
		},
		{name: "nothing ran", events: "go: no such module\n", want: []string{"no such module"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			ok, err := run(strings.NewReader(c.events), &out)
			if err != nil || ok != c.ok {
				t.Errorf("ok %v, error %v", ok, err)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in\n%s", want, out.String())
				}
			}
			if c.hidden != "" && strings.Contains(out.String(), c.hidden) {
				t.Errorf("%q is in\n%s", c.hidden, out.String())
			}
		})
	}
}
