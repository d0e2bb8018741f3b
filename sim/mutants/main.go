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
	err = l.judge(ctx, all, *sound, stdout)
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

// judge tries every mutant and prints the table. It fails if one was not found.
func (l *laboratory) judge(ctx context.Context, all []*mutant, sound time.Duration, stdout io.Writer) error {
	if sound > 0 {
		if err := l.control(ctx, sound); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "%-36s %-18s %-24s %8s %8s\n", "mutant", "seed", "found by", "seeds", "seconds")
	missed := 0
	for _, m := range all {
		t, err := l.try(ctx, m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		seed, check := "-", "NOTHING"
		if t.found {
			seed, check = fmt.Sprint(t.seed), t.check
		} else {
			missed++
		}
		fmt.Fprintf(stdout, "%-36s %-18s %-24s %8d %8.1f\n", m.name, seed, check, t.seeds, t.took.Seconds())
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d mutants were not found", missed, len(all))
	}
	return nil
}

func (l *laboratory) try(ctx context.Context, m *mutant) (trial, error) {
	program, err := l.build(ctx, m)
	if err != nil {
		return trial{}, err
	}
	return l.run(ctx, program, m.flags)
}

// control makes sure that it is the mutants that are found.
func (l *laboratory) control(ctx context.Context, limit time.Duration) error {
	program, err := l.build(ctx, nil)
	if err != nil {
		return err
	}
	without := *l
	without.limit = limit
	t, err := without.run(ctx, program, nil)
	if err == nil && t.found {
		err = fmt.Errorf("seed %d fails without any mutant: %s", t.seed, t.check)
	}
	return err
}
