package metrics

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseExpression(t *testing.T) {
	for _, tc := range []struct {
		expr    string
		metrics string // name{labels} in turns
		grouped string
	}{
		{`up`, "up", ""},
		{`a{job=~".*x{y}.*", z!="by (q)"} > 5e3`, "a{job,z}", ""},
		{`histogram_quantile(0.99, sum by (instance, le) (rate(a_bucket{job="x"}[5m])))`, "a_bucket{job}", "instance,le"},
		{`sum(rate(a[$__rate_interval])) by (b) / on (c) group_left (d) max(x:y:z offset 5m)`, "a x:y:z", "b,c,d"},
		{`count without (b) (a == bool 1) unless a{} or vector(0)`, "a a", "b"},
		{`predict_linear(a[4h], 4 * 3600) - time()`, "a", ""},
		{"rate(a[5m:1m]) and on() b{c='d\\'}'}", "a b{c}", ""},
		{`a / (b > 0)`, "a b", ""},
		{`label_replace(a, "x", "$1", "y", "(.*)")`, "a", ""},
	} {
		e, err := ParseExpression(tc.expr)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		var got []string
		for _, s := range e.Selectors {
			if len(s.Labels) > 0 {
				s.Metric += "{" + strings.Join(s.Labels, ",") + "}"
			}
			got = append(got, s.Metric)
		}
		if strings.Join(got, " ") != tc.metrics || strings.Join(e.Grouped, ",") != tc.grouped {
			t.Errorf("%s: %v by %v", tc.expr, got, e.Grouped)
		}
	}
	for _, bad := range []string{`a{b="c}`, `a{b="c"`, `sum by (a`, `rate(a[5m)`, `{job="x"}`, `1 + 2`, ``} {
		if _, err := ParseExpression(bad); err == nil {
			t.Errorf("%q parses", bad)
		}
	}
}

func TestUnanswered(t *testing.T) {
	page := parse(t, sample)
	for expr, want := range map[string][]string{
		`a{x="1", instance="i"} + h_count{op="p"}`: nil,
		`sum by (le, op) (h_bucket{le="1"})`:       nil,
		`sum by (anything) (r:e:c{what="ever"})`:   nil,
		`h`:                                        {"no metric h"},
		`a_bucket`:                                 {"no metric a_bucket"},
		`missing{x="1"}`:                           {"no metric missing"},
		`sum by (z) (a{z="1"})`:                    {"a has no label z", "nothing has the label z"},
		`plain{le="1"}`:                            {"plain has no label le"},
	} {
		e, err := ParseExpression(expr)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Unanswered(page, map[string]bool{"r:e:c": true}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q", expr, got)
		}
	}
}
