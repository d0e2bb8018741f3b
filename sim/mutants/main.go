package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// run is the command.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	set := flag.NewFlagSet("mutants", flag.ContinueOnError)
	limit := set.Duration("for", 3*time.Minute, "how long to look for each mutant")
	sound := set.Duration("sound", 30*time.Second, "how long the simulator without a mutant has to run clean first; 0 is not at all")
	procs := set.Int("procs", runtime.GOMAXPROCS(0), "simulations at the same time")
	if err := set.Parse(args); err != nil {
		return err
	}
	root, err := findRoot()
	if err != nil {
		return err
	}
	all, err := readAll(filepath.Join(root, "sim", "mutants"), set.Args())
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	l := &laboratory{root: root, dir: dir, limit: *limit, procs: *procs}
	if err = l.control(ctx, *sound); err == nil {
		err = l.judge(ctx, all, stdout)
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// findRoot returns the folder with the go.mod above or at the working directory.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

// judge tries every mutant and prints the table. It fails if one was not found or could not be tried.
func (l *laboratory) judge(ctx context.Context, all []*mutant, stdout io.Writer) error {
	fmt.Fprintf(stdout, "%-36s %-18s %-24s %8s %8s\n", "mutant", "seed", "found by", "seeds", "seconds")
	missed, broken := 0, []error(nil)
	for _, m := range all {
		t, err := l.try(ctx, m)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		seed, check := "-", "NOTHING"
		switch {
		case err != nil:
			broken = append(broken, fmt.Errorf("%s: %w", m.name, err))
			check = "NOT TRIED"
		case t.found:
			seed, check = fmt.Sprint(t.seed), t.check
		default:
			missed++
		}
		fmt.Fprintf(stdout, "%-36s %-18s %-24s %8d %8.1f\n", m.name, seed, check, t.seeds, t.took.Seconds())
	}
	if missed > 0 {
		broken = append(broken, fmt.Errorf("%d of %d mutants were not found", missed, len(all)))
	}
	return errors.Join(broken...)
}

// try looks for a seed that finds a mutant, and does not fail without it, until the time is over.
func (l *laboratory) try(ctx context.Context, m *mutant) (t trial, err error) {
	program, err := l.build(ctx, "mutant", m)
	if err != nil {
		return t, err
	}
	for left := l.limit; left > 0 && !t.found && err == nil; left = l.limit - t.took {
		var more trial
		if more, err = l.run(ctx, program, m.flags, "-for", left.String()); err == nil && more.found {
			more.found, err = l.convicts(ctx, m, more)
		}
		more.seeds, more.took = more.seeds+t.seeds, more.took+t.took
		t = more
	}
	return t, err
}

// convicts reports whether it is the mutant that a seed found: without it nothing is wrong.
func (l *laboratory) convicts(ctx context.Context, m *mutant, t trial) (bool, error) {
	without, err := l.run(ctx, l.sound, m.flags, "-seed", fmt.Sprint(t.seed), "-seeds", "1")
	return err == nil && !without.found, err
}

// control builds the simulator without a mutant, and makes sure that it runs clean for a while.
func (l *laboratory) control(ctx context.Context, limit time.Duration) (err error) {
	if l.sound, err = l.build(ctx, "sound", nil); err != nil || limit <= 0 {
		return err
	}
	t, err := l.run(ctx, l.sound, nil, "-for", limit.String())
	if err == nil && t.found {
		err = fmt.Errorf("seed %d fails without any mutant: %s", t.seed, t.check)
	}
	return err
}
