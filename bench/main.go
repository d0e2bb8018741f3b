// Command bench measures Quoin beside a real etcd.
//
// It starts both with the same flags on empty directories, prepares the same
// keys, and runs each work in alternating rounds. Of each server it reports
// throughput, latency, CPU time per operation, peak memory and bytes written;
// CPU time per operation is the figure that holds on a shared machine. With two
// or more processors the servers run on the first and the load generator on the
// second.
//
// The generator speaks HTTP/2 frames with requests encoded beforehand and does
// not decode answers, so that it costs far less than what it measures.
//
//	go run .                      # everything, five rounds
//	go run . -short               # a look whether all of it works
//	go run . -works 'put|get'     # some rows
//	go run . -long                # counts and pages of a million keys too
//	go run . -keys 10             # with ten times the keys (-clients: the calls under way)
//	go run . -profile             # CPU profiles too
//	go run . -a "path/to/etcd"    # etcd beside itself: the noise of the machine
//	go run . -b none              # the first server alone
//	go run . -print raw.json      # the table of an earlier run
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// options are the program's flags.
type options struct {
	a, b, aName, bName string
	works, out, print  string
	rounds             int
	length             time.Duration
	megabytes          int64
	seed               uint64
	keys, clients      int
	short, long        bool
	pin, list          bool
	profile, open      bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.a, "a", "", "command of the first server (default: built from ..)")
	f.StringVar(&o.b, "b", "", "command of the second server (default: the etcd built from ../interop), or none")
	f.StringVar(&o.aName, "a-name", "quoin", "name of the first server in the table")
	f.StringVar(&o.bName, "b-name", "etcd", "name of the second server in the table")
	f.StringVar(&o.works, "works", "", "only the works whose names this regular expression matches")
	f.StringVar(&o.out, "out", filepath.Join("..", "out", "bench"), "directory for the results, the built programs and the servers' data")
	f.StringVar(&o.print, "print", "", "print the table of this file of raw results and end")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of each work")
	f.DurationVar(&o.length, "length", 5*time.Second, "length of a round on one server")
	f.Int64Var(&o.megabytes, "size", 2048, "megabytes of the database of defrag and compact")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the random choices")
	f.BoolVar(&o.short, "short", false, "small works, one short round: shows that everything runs, measures nothing")
	f.BoolVar(&o.long, "long", false, "counts and pages of a million keys too")
	f.IntVar(&o.keys, "keys", 1, "times the keys and leases")
	f.IntVar(&o.clients, "clients", 1, "times the connections and calls under way")
	f.BoolVar(&o.profile, "profile", false, "a further round of each work, of which the servers' CPU profiles are kept under profiles/")
	f.BoolVar(&o.pin, "pin", true, "give servers and generator a processor each")
	f.BoolVar(&o.open, "open", false, "the first server of a work of users has none: with the same build on both sides this shows what authentication costs")
	f.BoolVar(&o.list, "list", false, "list the works and end")
	err := f.Parse(args)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if err == nil && (o.keys < 1 || o.clients < 1) {
		err = fmt.Errorf("-keys %d, -clients %d: at least 1", o.keys, o.clients)
	}
	if o.short {
		o.rounds, o.length = 1, 300*time.Millisecond
	}
	if o.b == nobody {
		o.bName = nobody
	}
	return o, err
}

// nobody takes the place of the second server: the first is looked at alone.
const nobody = "none"

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.print != "" {
		return printTable(o.print)
	}
	chosen, err := o.choose()
	if err != nil {
		return err
	}
	if o.list {
		for _, w := range chosen {
			fmt.Printf("%-18s %s\n", w.name, w.about)
		}
		return nil
	}
	return o.compare(ctx, args, chosen)
}

// choose returns the works that the flags ask for.
func (o options) choose() ([]work, error) {
	pattern, err := regexp.Compile("^(?:" + o.works + ")$")
	if o.works == "" {
		pattern, err = regexp.Compile("")
	}
	if err != nil {
		return nil, fmt.Errorf("-works: %w", err)
	}
	size := fullScale()
	if o.short {
		size = shortScale()
	} else if o.megabytes > 0 {
		size.upkeepBytes = o.megabytes << 20
	}
	size = size.grown(o.keys, o.clients)
	if o.long {
		size.large = append(size.large, longKeys)
	}
	var chosen []work
	for _, w := range works(size) {
		if pattern.MatchString(w.name) {
			chosen = append(chosen, w)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-works %q matches none; -list shows them", o.works)
	}
	return chosen, nil
}

// compare builds what has to be built, measures, and writes the results.
func (o options) compare(ctx context.Context, args []string, chosen []work) error {
	out, err := filepath.Abs(o.out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	a, err := o.command(ctx, o.a, filepath.Join(out, "quoin"), "..", "./cmd/quoin", "server")
	if err != nil {
		return err
	}
	b, err := o.second(ctx, out)
	if err != nil {
		return err
	}
	split, err := splitCores(o.pin)
	if err != nil {
		return err
	}
	r := report{
		Command: append([]string{"go", "run", "."}, args...),
		Date:    time.Now().Format(time.DateOnly),
		Machine: describeMachine(split.pinned),
		A:       party{Name: o.aName, Command: portable(a), Version: version(ctx, a)},
	}
	if b != nil {
		r.B = party{Name: o.bName, Command: portable(b), Version: version(ctx, b)}
	}
	if err := split.pinGenerator(); err != nil {
		return err
	}
	data, err := os.MkdirTemp(out, "data-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	p := plan{
		a: a, b: b, cores: split, dir: data, works: chosen, rounds: o.rounds, length: o.length, seed: o.seed,
		open: o.open, profile: o.profile, out: out,
		observe: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
	}
	if r.Works, err = p.run(ctx); err != nil {
		return err
	}
	return r.save(out)
}

// command returns the words of a given command, or builds a program and returns
// how it is called.
func (o options) command(ctx context.Context, given, program, module, pkg string, words ...string) ([]string, error) {
	if given != "" {
		return strings.Fields(given), nil
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", program, pkg)
	build.Dir = module
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("build %s in %s: %w", pkg, module, err)
	}
	return append([]string{program}, words...), nil
}

// second is how the second server is called, nil without one.
func (o options) second(ctx context.Context, out string) ([]string, error) {
	if o.b == nobody {
		return nil, nil
	}
	return o.command(ctx, o.b, filepath.Join(out, "etcd"), filepath.Join("..", "interop"), "./cmd/etcd")
}

// portable is a command without the directory of its program, which says
// nothing to readers on other machines.
func portable(command []string) []string {
	return append([]string{filepath.Base(command[0])}, command[1:]...)
}

// version returns the first line that a server says of itself.
func version(ctx context.Context, command []string) string {
	words := append(append([]string{}, command[1:]...), "--version")
	text, err := exec.CommandContext(ctx, command[0], words...).Output()
	if err != nil {
		return "unknown: " + err.Error()
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return first
}

func describeMachine(pinned bool) machine {
	m := machine{CPU: "unknown CPU", Cores: runtime.NumCPU(), Go: runtime.Version(), Pinned: pinned}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	return m
}

// save writes raw.json and table.md and prints the table.
func (r report) save(dir string) error {
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "raw.json"), append(raw, '\n'), 0o644); err != nil {
		return err
	}
	table := r.markdown()
	fmt.Print(table)
	return os.WriteFile(filepath.Join(dir, "table.md"), []byte(table), 0o644)
}

func printTable(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var r report
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	fmt.Print(r.markdown())
	return nil
}
