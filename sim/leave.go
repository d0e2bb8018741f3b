package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/quoin-kv/quoin/sim/cluster"
	"github.com/quoin-kv/quoin/sim/plan"
)

// leave writes what is worth knowing about a failure into the folder of its seed, and returns the folder: the plan, a trace of the run, what
// clients saw, and what was found.
func leave(out string, p *plan.Plan) (string, error) {
	dir := filepath.Join(out, fmt.Sprint(p.Seed))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return dir, err
	}
	if err := p.Write(filepath.Join(dir, "plan.json")); err != nil {
		return dir, err
	}
	trace, err := os.Create(filepath.Join(dir, "trace.txt"))
	if err != nil {
		return dir, err
	}
	buffered := bufio.NewWriter(trace)
	r := cluster.Run(p, buffered)
	if r.Failure != nil {
		fmt.Fprintf(buffered, "FAIL seed %d: %s\n", p.Seed, r.Failure)
	}
	history, err := json.MarshalIndent(r.History, "", " ")
	return dir, errors.Join(err, buffered.Flush(), trace.Close(), os.WriteFile(filepath.Join(dir, "history.json"), history, 0o644))
}
