package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

// TestMarkdown renders a report of made-up numbers.
func TestMarkdown(t *testing.T) {
	quick := sample{Ops: 1000, Seconds: 1, P50Millis: 0.5, P99Millis: 2, CPUSeconds: 0.01, PeakBytes: 30e6, WrittenBytes: 250_000}
	slow := sample{Ops: 250, Seconds: 1, P50Millis: 2, P99Millis: 12.34, CPUSeconds: 0.01, PeakBytes: 123_456_789, WrittenBytes: 0}
	r := report{
		Command: []string{"go", "run", "."}, Date: "2026-01-02",
		Machine: machine{CPU: "a CPU", Cores: 2, Kernel: "6.1", Go: "go1.26", Pinned: true},
		A:       party{Name: "quoin", Version: "1"}, B: party{Name: "etcd", Version: "2"},
		Works: []workResult{
			{Name: "put", About: "put of 1 byte", Rounds: []round{{quick, slow}, {quick, slow}, {slow, quick}}},
			{Name: "count", About: "count of nothing", Rounds: []round{{quick, sample{Ops: 1, Seconds: 1}}}},
		},
	}
	file := filepath.Join("testdata", "table.md")
	if *update {
		if err := os.WriteFile(file, []byte(r.markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.markdown(); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 2}, 3}, {[]float64{9, 1, 5}, 5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v", c.values, got)
		}
	}
}

func TestPercentile(t *testing.T) {
	var y tally
	for i := range 100 {
		y.latencies = append(y.latencies, time.Duration(99-i))
	}
	for part, want := range map[float64]time.Duration{0: 0, 0.5: 50, 0.99: 99, 1: 99} {
		if got := y.percentile(part); got != want {
			t.Errorf("percentile %v is %v", part, got)
		}
	}
	if got := (&tally{}).percentile(0.5); got != 0 {
		t.Errorf("percentile of nothing is %v", got)
	}
}

func TestDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.456: "0.46", 9.99: "9.99", 9.996: "10.0", 99.9: "99.9", 99.96: "100", 12345.6: "12346"} {
		if got := digits(v); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
}
