// Command testsum reads the events of go test -json and prints what a person
// wants of them: one line for each package, the whole output of whatever
// failed, and the totals. It ends with 1 if anything failed or nothing ran.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// An event is one line of go test -json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// A summary adds up the events. Output is kept per test until its fate is known.
type summary struct {
	out                            io.Writer
	output                         map[string][]string
	passed, failed, skipped        int
	packagesPassed, packagesFailed int
	packagesWithoutTests           int
}

func main() {
	ok, err := run(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run reads all events and reports whether every test passed.
func run(in io.Reader, out io.Writer) (bool, error) {
	started := time.Now()
	s := &summary{out: out, output: map[string][]string{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			s.line(line)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	fmt.Fprintf(out, "tests: %d passed, %d failed, %d skipped; packages: %d passed, %d failed, %d without tests; %.0fs\n",
		s.passed, s.failed, s.skipped, s.packagesPassed, s.packagesFailed, s.packagesWithoutTests, time.Since(started).Seconds())
	return s.failed == 0 && s.packagesFailed == 0 && s.packagesPassed > 0, nil
}

// line takes in one line; what is not an event is passed through.
func (s *summary) line(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Action == "" {
		fmt.Fprint(s.out, line)
		return
	}
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.packageEnd(e, key)
		} else {
			s.testEnd(e, key)
		}
	}
}

func (s *summary) testEnd(e event, key string) {
	switch e.Action {
	case "pass":
		s.passed++
	case "skip":
		s.skipped++
	case "fail":
		s.failed++
		s.show(key)
	}
	delete(s.output, key)
}

func (s *summary) packageEnd(e event, key string) {
	switch e.Action {
	case "pass":
		s.packagesPassed++
		fmt.Fprintf(s.out, "ok   %s %.1fs\n", e.Package, e.Elapsed)
	case "skip":
		s.packagesWithoutTests++
	case "fail":
		s.packagesFailed++
		s.showAll(e.Package)
		fmt.Fprintf(s.out, "FAIL %s %.1fs\n", e.Package, e.Elapsed)
	}
	delete(s.output, key)
}

// showAll prints what is left of a failed package: its own output and that of
// tests which a panic or time-out cut short.
func (s *summary) showAll(name string) {
	var keys []string
	for key := range s.output {
		if strings.HasPrefix(key, name+" ") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		s.show(key)
		delete(s.output, key)
	}
}

func (s *summary) show(key string) {
	for _, text := range s.output[key] {
		fmt.Fprint(s.out, text)
	}
}
