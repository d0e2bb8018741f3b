// Command sim runs whole clusters on one thread each, in a time of their own, with everything going wrong that a plan drawn from a seed
// says, and judges what came of it. See docs/simulator.md.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/quoin-kv/quoin/sim/cluster"
	"github.com/quoin-kv/quoin/sim/plan"
)

// options are the command line.
type options struct {
	seed     uint64
	seeds    int
	duration time.Duration
	procs    int
	reduce   bool
	plan     string
	out      string
	trace    bool
	print    bool
	profile  string
}

func main() { os.Exit(run(os.Args[1:], os.Stdout)) }

// garbagePercent lets garbage gather: a simulation is small and soon over.
const garbagePercent = 400

// run is the command; it returns its exit code.
func run(args []string, stdout io.Writer) int {
	o, code := parse(args, stdout)
	if o == nil {
		return code
	}
	debug.SetGCPercent(garbagePercent)
	if o.profile != "" {
		defer profile(o.profile, stdout)()
	}
	switch {
	case o.print:
		return printPlan(o, stdout)
	case o.plan != "" || o.trace:
		return replay(o, stdout)
	}
	return campaign(o, stdout)
}

func parse(args []string, stdout io.Writer) (*options, int) {
	o := &options{}
	set := flag.NewFlagSet("sim", flag.ContinueOnError)
	set.SetOutput(stdout)
	set.Uint64Var(&o.seed, "seed", 0, "first seed; 0 draws one")
	set.IntVar(&o.seeds, "seeds", 0, "how many seeds to run; without it and -for: 1 if -seed is given, else 100")
	set.DurationVar(&o.duration, "for", 0, "run fresh seeds for so long")
	set.IntVar(&o.procs, "procs", runtime.GOMAXPROCS(0), "simulations at the same time")
	set.BoolVar(&o.reduce, "reduce", false, "make the plan of a failing seed as small as it gets")
	set.StringVar(&o.plan, "plan", "", "replay the plan in this file")
	set.StringVar(&o.out, "out", "out/sim", "folder for what failing seeds leave")
	set.BoolVar(&o.trace, "v", false, "print the trace of one seed")
	set.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of the run to this file")
	set.BoolVar(&o.print, "print", false, "print the plan of the seed, without running it")
	if err := set.Parse(args); err != nil {
		return nil, 2
	}
	given := o.seed != 0
	if !given {
		o.seed = rand.Uint64() >> 16
	}
	if o.seeds == 0 && o.duration == 0 {
		o.seeds = 100
		if given {
			o.seeds = 1
		}
	}
	return o, 0
}

// chosen is the plan that the options name.
func (o *options) chosen() (*plan.Plan, error) {
	if o.plan != "" {
		return plan.Read(o.plan)
	}
	return plan.Draw(o.seed), nil
}

func printPlan(o *options, stdout io.Writer) int {
	p, err := o.chosen()
	if err != nil {
		fmt.Fprintln(stdout, err)
		return 2
	}
	text, err := p.Text()
	if err == nil {
		_, err = stdout.Write(text)
	}
	if err != nil {
		return 1
	}
	return 0
}

// replay runs one plan, with its trace if that is wanted.
func replay(o *options, stdout io.Writer) int {
	p, err := o.chosen()
	if err != nil {
		fmt.Fprintln(stdout, err)
		return 2
	}
	r := runTraced(p, o.trace, stdout)
	if r.Failure != nil {
		fmt.Fprintf(stdout, "FAIL seed %d: %s\n", p.Seed, r.Failure)
		if o.reduce {
			o.follow(p, r.Failure, stdout)
		}
		return 1
	}
	fmt.Fprintf(stdout, "seed %d: %d steps, %v simulated, %d operations, hash %016x\n", p.Seed, r.Steps, r.Simulated, r.Operations, r.Hash)
	return 0
}

// runTraced plays a plan and prints its trace before anything else, if that is wanted.
func runTraced(p *plan.Plan, traced bool, stdout io.Writer) *cluster.Result {
	if !traced {
		return cluster.Run(p, nil)
	}
	trace := bufio.NewWriter(stdout)
	defer func() { _ = trace.Flush() }() // to a terminal or a pipe: nobody is left to tell
	return cluster.Run(p, trace)
}

// profile begins a CPU profile and returns what ends it.
func profile(name string, stdout io.Writer) (end func()) {
	f, err := os.Create(name)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(stdout, err)
		return func() {}
	}
	return func() {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			fmt.Fprintln(stdout, err)
		}
	}
}
