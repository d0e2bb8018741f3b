package ctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
)

// TestWorkload: requests begin evenly, or as fast as they are answered, and none after the end.
func TestWorkload(t *testing.T) {
	for _, c := range []struct {
		name              string
		requests, workers int
		over, each        time.Duration
		sent              int
		length            time.Duration
	}{
		{"even", 100, 10, 10 * time.Second, 50 * time.Millisecond, 100, 9900*time.Millisecond + 50*time.Millisecond},
		{"too slow", 100, 2, 10 * time.Second, 800 * time.Millisecond, 26, 10*time.Second + 500*time.Millisecond},
		{"unlimited", 100, 10, 0, time.Second, 100, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := workload{
					requests: c.requests, workers: c.workers, over: c.over,
					send: func(context.Context, int, int) error { <-time.After(c.each); return nil },
				}.run(t.Context())
				t.Log(len(o.took), o.length)
				if len(o.took) != c.sent || o.slowest() != c.each.Seconds() || o.deviation() > 1e-9 || o.length > c.length+time.Second || o.length < c.length-time.Second {
					t.Errorf("%d requests in %v, slowest %f, deviation %f", len(o.took), o.length, o.slowest(), o.deviation())
				}
			})
		})
	}
}

// TestWorkloadEnds with its context.
func TestWorkloadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		o := workload{requests: 100, workers: 1, send: func(ctx context.Context, _, n int) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return fmt.Errorf("request %d: %w", n, ctx.Err())
			}
		}}.run(ctx)
		if len(o.took) != 2 || o.failed["request 2: context deadline exceeded"] != 1 {
			t.Errorf("%d requests, failures %v", len(o.took), o.failed)
		}
	})
}

func TestJudge(t *testing.T) {
	seconds := func(all ...float64) (d []time.Duration) {
		for _, s := range all {
			d = append(d, time.Duration(s*float64(time.Second)))
		}
		return d
	}
	for _, c := range []struct {
		o    *outcome
		want string
		good bool
	}{
		{
			&outcome{took: seconds(0.1, 0.1), length: 2 * time.Second},
			"PASS: Throughput is 1 writes/s\nPASS: Slowest request took 0.100000s\nPASS: Stddev is 0.000000s\n", true,
		},
		{
			&outcome{took: seconds(0.1, 0.7), length: 4 * time.Second, failed: map[string]int{"b": 2, "a": 1}},
			"FAIL: too many errors\nFAIL: ERROR(a) -> 1\nFAIL: ERROR(b) -> 2\nFAIL: Throughput too low: 1 writes/s\nSlowest request took too long: 0.700000s\nStddev too high: 0.300000s\n", false,
		},
		{
			&outcome{took: seconds(0.1, 0.1), length: 2 * time.Second, failed: map[string]int{"a": 1}},
			"FAIL: too many errors\nFAIL: ERROR(a) -> 1\nPASS: Throughput is 1 writes/s\nPASS: Slowest request took 0.100000s\nPASS: Stddev is 0.000000s\n", false,
		},
		{&outcome{}, "FAIL: Throughput too low: 0 writes/s\nPASS: Slowest request took 0.000000s\nPASS: Stddev is 0.000000s\n", false},
	} {
		if text, good := c.o.judge(1); text != c.want || good != c.good {
			t.Errorf("%v\n%swant %v\n%s", good, text, c.good, c.want)
		}
	}
}

func TestLoads(t *testing.T) {
	for load, want := range map[string]string{"s": "1 50 <nil>", "medium": "2 200 <nil>", "l": "3 500 <nil>", "xLarge": "4 1000 <nil>", "": "0 0 unknown load option ", "x": "0 0 unknown load option x"} {
		value, clients, err := (&check{load: load}).choose([4]int{1, 2, 3, 4})
		if got := fmt.Sprint(value, clients, err); got != want {
			t.Errorf("%q: %s, want %s", load, got, want)
		}
	}
}

func TestResidentMemory(t *testing.T) {
	got, err := residentMemory(strings.NewReader("# HELP x\nprocess_resident_memory_bytes_other 1\nprocess_resident_memory_bytes 3.5e+07\n"))
	if err != nil || got != 3.5e7 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := residentMemory(strings.NewReader("x 1\n")); err == nil {
		t.Error("no memory goes unnoticed")
	}
}

// TestCheckCleans: what was written is deleted, and the history of it, also if measuring failed.
func TestCheckCleans(t *testing.T) {
	f := startFake(t)
	g := newGlobals()
	c := &check{globals: g, prefix: "absent", compact: true, defrag: true}
	g.connection.endpoints = []string{f.address}
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	var out bytes.Buffer
	cmd.SetOut(&out)
	broken := errors.New("broken")
	if err := c.with(cmd, 2, func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	want := `RangeRequest {"key":"YWJzZW50","rangeEnd":"YWJzZW51","limit":"1","keysOnly":true}` + "\n" +
		`DeleteRangeRequest {"key":"YWJzZW50","rangeEnd":"YWJzZW51"}` + "\n" + `CompactionRequest {"revision":"7","physical":true}` + "\n" + `DefragmentRequest {}`
	if got := strings.Join(f.take(), "\n"); got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
	if want := fmt.Sprintf("Compacting with revision 7\nCompacted with revision 7\nDefragmenting %q\nDefragmented %[1]q\n", f.address); out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}
