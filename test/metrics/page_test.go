package metrics

import (
	"slices"
	"strings"
	"testing"
)

const sample = `# HELP a What a is.
# TYPE a counter
a{x="1",y="a \"quoted\" one, with = and }"} 3
a{x="2",y=""} 4
# TYPE h histogram
h_bucket{op="p",le="0.5"} 1
h_bucket{op="p",le="1"} 2
h_bucket{op="p",le="+Inf"} 2
h_sum{op="p"} 1.5
h_count{op="p"} 2
# TYPE plain gauge
plain 1e+06
`

func parse(t *testing.T, text string) Page {
	t.Helper()
	page, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestParse(t *testing.T) {
	page := parse(t, sample)
	if got := page.Names(); !slices.Equal(got, []string{"a", "h", "plain"}) {
		t.Errorf("names %v", got)
	}
	if got := page["a"].Labels(); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("labels %v", got)
	}
	if got := page["h"].Labels(); !slices.Equal(got, []string{"op"}) {
		t.Errorf("labels of a histogram %v", got)
	}
	if got := page["h"].Bounds(); !slices.Equal(got, []float64{0.5, 1}) {
		t.Errorf("bounds %v", got)
	}
	for _, tc := range []struct {
		name   string
		labels []string
		want   float64
		ok     bool
	}{
		{"a", nil, 7, true},
		{"a", []string{"x", "1", "y", `a "quoted" one, with = and }`}, 3, true},
		{"a", []string{"x", "3"}, 0, false},
		{"h_count", nil, 2, true},
		{"plain", nil, 1e6, true},
		{"other", nil, 0, false},
	} {
		if got, ok := page.Value(tc.name, tc.labels...); got != tc.want || ok != tc.ok {
			t.Errorf("%s%v: %v, %v", tc.name, tc.labels, got, ok)
		}
	}
	for _, bad := range []string{"a 1\n", "# TYPE a gauge\nb 1\n", "# TYPE a gauge\na{x=1} 1\n", "# TYPE a gauge\na{x=\"1\" 1\n", "# TYPE a gauge\na x\n", "# TYPE a gauge\na\n"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q parses", bad)
		}
	}
}

func TestDifferences(t *testing.T) {
	all, err := Differences(parse(t, `# TYPE etcd_server_has_leader counter
etcd_server_has_leader{x="1"} 1
# TYPE etcd_disk_wal_fsync_duration_seconds histogram
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 0
etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 0
etcd_disk_wal_fsync_duration_seconds_sum 0
etcd_disk_wal_fsync_duration_seconds_count 0
# TYPE quoin_x gauge
quoin_x 1
# TYPE etcd_x gauge
etcd_x 1
`), "quoin_", Extensive)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(all, "\n")
	want := `etcd_disk_wal_fsync_duration_seconds has buckets [0.001], want [0.001 0.002 0.004 0.008 0.016 0.032 0.064 0.128 0.256 0.512 1.024 2.048 4.096 8.192]
etcd_server_has_leader has labels [x], want []
etcd_server_has_leader is a counter, want a gauge
etcd_x is unknown
grpc_server_handling_seconds is missing`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}
