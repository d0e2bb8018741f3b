package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// trial is what the simulator made of a mutant.
type trial struct {
	found bool
	seed  uint64 // that found it
	check string // the judge who spoke
	seeds uint64 // tried
	took  time.Duration
}

// laboratory is where mutants are made and tried.
type laboratory struct {
	root  string        // of the project
	dir   string        // for what is made here
	limit time.Duration // for each mutant
	procs int
	sound string // the simulator without a mutant
}

// build makes the simulator under a name, with a mutant in it, or as it is if m is nil, and returns the program.
func (l *laboratory) build(ctx context.Context, name string, m *mutant) (string, error) {
	program := filepath.Join(l.dir, name)
	args := []string{"build", "-o", program}
	if m != nil {
		overlay, err := l.overlay(m)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./sim")...)
	cmd.Dir = l.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
}

// overlay writes the changed copies, and the file that tells the compiler of them.
func (l *laboratory) overlay(m *mutant) (string, error) {
	changed, err := m.apply(l.root)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for file, text := range changed {
		copied := filepath.Join(l.dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
			return "", err
		}
		replace[filepath.Join(l.root, filepath.FromSlash(file))] = copied
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(l.dir, "overlay.json")
	return name, os.WriteFile(name, text, 0o644)
}

// grace is how long a seed may go on after the time is over. Then the simulator hangs, which it must not.
const grace = 3 * time.Minute

// run lets a built simulator run up to its first failure. Which seeds it tries the arguments say; without -seed they are fresh ones.
func (l *laboratory) run(ctx context.Context, program string, flags []string, args ...string) (trial, error) {
	ctx, cancel := context.WithTimeout(ctx, l.limit+grace)
	defer cancel()
	args = append(args, "-procs", fmt.Sprint(l.procs), "-out", filepath.Join(l.dir, "failures"))
	cmd := exec.CommandContext(ctx, program, append(args, flags...)...)
	cmd.Dir, cmd.Stderr = l.root, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return trial{}, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return trial{}, err
	}
	t := watch(out)
	t.took = time.Since(start)
	if t.found {
		cancel() // one is enough
	}
	if err := cmd.Wait(); err != nil && !t.found {
		return t, fmt.Errorf("the simulator ended without naming a seed: %w", err)
	}
	if t.seeds == 0 {
		return t, errors.New("the simulator tried no seed")
	}
	return t, nil
}

// watch reads what a simulator prints up to the first failure.
func watch(out io.Reader) (t trial) {
	begin, failure, totals := regexp.MustCompile(`^first seed (\d+)`), regexp.MustCompile(`^FAIL seed (\d+): ([\w-]+)`), regexp.MustCompile(`^(\d+) seeds in `)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	first := uint64(0)
	for lines.Scan() {
		if m := begin.FindStringSubmatch(lines.Text()); m != nil {
			first = number(m[1])
		}
		if m := failure.FindStringSubmatch(lines.Text()); m != nil {
			t.found, t.seed, t.check = true, number(m[1]), m[2]
			t.seeds = t.seed - first + 1
			return t
		}
		if m := totals.FindStringSubmatch(lines.Text()); m != nil {
			t.seeds = number(m[1])
		}
	}
	return t
}

// number reads digits.
func number(digits string) uint64 {
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("expected digits, found %q", digits))
	}
	return n
}
