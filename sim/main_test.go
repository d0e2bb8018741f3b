package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quoin-kv/quoin/sim/cluster"
	"github.com/quoin-kv/quoin/sim/plan"
)

// TestMain also sees to it that simulations leave no coroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a test run plays at most: so many new seeds, as long as it has not taken longer than this.
const (
	freshSeeds = 48
	freshTime  = 4 * time.Second
)

// TestFreshSeeds plays seeds that nobody has seen before.
func TestFreshSeeds(t *testing.T) {
	first, start := rand.Uint64()>>16, time.Now()
	played := uint64(0)
	for ; played < freshSeeds && time.Since(start) < freshTime; played++ {
		seed := first + played
		if r := cluster.Run(plan.Draw(seed), nil); r.Failure != nil {
			t.Errorf("seed %d: %v\nreproduce with: go run ./sim -seed %d", seed, r.Failure, seed)
		}
	}
	t.Logf("seeds from %d on, %d of them", first, played)
}

// TestSameSeedSameRun: a seed decides everything that happens.
func TestSameSeedSameRun(t *testing.T) {
	first := rand.Uint64() >> 16
	for i := range uint64(1) {
		seed := first + i
		a, b := cluster.Run(plan.Draw(seed), nil), cluster.Run(plan.Draw(seed), nil)
		if a.Hash != b.Hash || a.Steps != b.Steps || a.Operations != b.Operations {
			t.Errorf("seed %d: %d steps with hash %x, then %d with %x", seed, a.Steps, a.Hash, b.Steps, b.Hash)
		}
	}
}

// TestReduce: what does not matter for a failure is left out.
func TestReduce(t *testing.T) {
	p := plan.Draw(1)
	needed := p.Faults[len(p.Faults)/2].Kind
	fails := func(q *plan.Plan) bool {
		for _, f := range q.Faults {
			if f.Kind == needed {
				return true
			}
		}
		return false
	}
	q := fewer(p, fails, func(q *plan.Plan) *[]plan.Fault { return &q.Faults })
	if len(q.Faults) != 1 || q.Faults[0].Kind != needed {
		t.Errorf("reduced to %v, want one %s", q.Faults, needed)
	}
	if len(p.Faults) < 2 {
		t.Errorf("the plan that was reduced has changed: %v", p.Faults)
	}
}

// command runs the command and returns what it prints.
func command(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if got := run(args, &out); got != code {
		t.Errorf("sim %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, out.String())
	}
	return out.String()
}

// small is a plan that is soon over.
func small(t *testing.T, change func(*plan.Plan)) string {
	p := plan.Draw(5)
	p.Safety, p.Members = 10e9, 3
	change(p)
	name := filepath.Join(t.TempDir(), "plan.json")
	if err := p.Write(name); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestReplay: a plan that was written does the same each time.
func TestReplay(t *testing.T) {
	name := small(t, func(*plan.Plan) {})
	first := command(t, 0, "-plan", name)
	if second := command(t, 0, "-plan", name); first != second || !strings.Contains(first, "hash") {
		t.Errorf("first %q, second %q", first, second)
	}
	if trace := command(t, 0, "-plan", name, "-v"); !strings.Contains(trace, "leads [") || !strings.HasSuffix(trace, first) {
		t.Errorf("trace of %d bytes does not show the run that says %q", len(trace), first)
	}
}

// TestFailure: a failing plan is named, made smaller, and leaves its folder.
func TestFailure(t *testing.T) {
	name := small(t, func(p *plan.Plan) { p.Tuning.ElectionTicks = 0 }) // with which no member starts
	out := t.TempDir()
	text := command(t, 1, "-plan", name, "-reduce", "-out", out)
	if !strings.Contains(text, "FAIL seed 5: ") {
		t.Errorf("printed %q", text)
	}
	dir := filepath.Join(out, "5")
	for _, file := range []string{"plan.json", "trace.txt", "history.json"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Error(err)
		}
	}
	reduced, err := plan.Read(filepath.Join(dir, "plan.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(reduced.Faults) > 0 || len(reduced.Clients) > 0 || reduced.Safety > 5e9 {
		t.Errorf("reduced to %d faults, %d clients and %d ns", len(reduced.Faults), len(reduced.Clients), reduced.Safety)
	}
}

func TestCommand(t *testing.T) {
	if text := command(t, 0, "-seed", "77", "-print"); !strings.Contains(text, `"seed": 77`) {
		t.Errorf("printed %q", text)
	}
	text := command(t, 0, "-seed", "77", "-seeds", "2", "-procs", "2", "-out", t.TempDir())
	for _, want := range []string{"first seed 77", "2 seeds in", "per second", "operations", "0 failures", "faults: "} {
		if !strings.Contains(text, want) {
			t.Errorf("printed %q, without %q", text, want)
		}
	}
	command(t, 2, "-nothing")
	if text := command(t, 2, "-plan", filepath.Join(t.TempDir(), "none")); !strings.Contains(text, "no such file") {
		t.Errorf("printed %q", text)
	}
	profile := filepath.Join(t.TempDir(), "profile")
	command(t, 0, "-for", "1ns", "-cpuprofile", profile)
	if info, err := os.Stat(profile); err != nil || info.Size() == 0 {
		t.Errorf("profile: %v", fmt.Sprint(info, err))
	}
}
