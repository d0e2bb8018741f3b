package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A report is everything that a run measured, as it is kept in a file.
type report struct {
	Command []string     `json:"command"`
	Date    string       `json:"date"`
	Machine machine      `json:"machine"`
	A       party        `json:"a"`
	B       party        `json:"b"`
	Works   []workResult `json:"works"`
}

// A machine is where it was measured.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Pinned bool   `json:"pinned"` // servers on one core, generator on another
}

// A party is one of the two servers compared.
type party struct {
	Name    string   `json:"name"`
	Command []string `json:"command"`
	Version string   `json:"version"`
}

// A workResult is the rounds of one work.
type workResult struct {
	Name   string  `json:"name"`
	About  string  `json:"about"`
	Rounds []round `json:"rounds"`
}

// A row holds the medians of a work's rounds, A and B in that order.
type row struct {
	throughput   [2]float64 // operations per second
	p50, p99     [2]float64 // ms
	cpuMicros    [2]float64 // of the server, per operation
	peakMB       [2]float64 // 10^6 bytes
	writtenPerOp [2]float64 // bytes
	loadMicros   [2]float64 // CPU of the generator, per operation
}

func (w workResult) row() row {
	medians := func(value func(sample) float64) [2]float64 {
		var a, b []float64
		for _, r := range w.Rounds {
			a, b = append(a, value(r.A)), append(b, value(r.B))
		}
		return [2]float64{median(a), median(b)}
	}
	perOp := func(amount float64, s sample) float64 { return amount / float64(max(s.Ops, 1)) }
	return row{
		throughput:   medians(func(s sample) float64 { return float64(s.Ops) / max(s.Seconds, 1e-9) }),
		p50:          medians(func(s sample) float64 { return s.P50Millis }),
		p99:          medians(func(s sample) float64 { return s.P99Millis }),
		cpuMicros:    medians(func(s sample) float64 { return perOp(s.CPUSeconds*1e6, s) }),
		peakMB:       medians(func(s sample) float64 { return float64(s.PeakBytes) / 1e6 }),
		writtenPerOp: medians(func(s sample) float64 { return perOp(float64(s.WrittenBytes), s) }),
		loadMicros:   medians(func(s sample) float64 { return perOp(s.LoadSeconds*1e6, s) }),
	}
}

// commentary renders the column that matters most, and what the generator cost.
func (r row) commentary() string {
	return fmt.Sprintf("%s µs, %s; generator %s µs", pairOf(r.cpuMicros), times(r.cpuMicros[1], r.cpuMicros[0]), pairOf(r.loadMicros))
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.SortFunc(values, cmp.Compare[float64])
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// markdown renders the report as a page with one table.
func (r report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s beside %s\n\n", r.A.Name, r.B.Name)
	fmt.Fprintf(&b, "Measured %s on %s, %d cores, Linux %s, %s, with `%s`.\n", r.Date, r.Machine.CPU, r.Machine.Cores,
		r.Machine.Kernel, r.Machine.Go, strings.Join(r.Command, " "))
	if r.Machine.Pinned {
		b.WriteString("The servers were pinned to one core, the load generator to another.\n")
	} else {
		b.WriteString("Servers and load generator shared all cores.\n")
	}
	for _, p := range []party{r.A, r.B} {
		if p.Version == "" {
			continue
		}
		fmt.Fprintf(&b, "- %s: %s\n", p.Name, p.Version)
	}
	fmt.Fprintf(&b, "\nMedians of the rounds, %s / %s. A factor above 1 is to the advantage of %s.\n\n", r.A.Name, r.B.Name, r.A.Name)
	b.WriteString("| work | op/s | factor | p50 ms | p99 ms | server CPU µs/op | factor | peak memory MB | written B/op |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, w := range r.Works {
		if w.isUpkeep() || w.isMemory() {
			continue
		}
		v := w.row()
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", w.Name,
			pairOf(v.throughput), times(v.throughput[0], v.throughput[1]), pairOf(v.p50), pairOf(v.p99),
			pairOf(v.cpuMicros), times(v.cpuMicros[1], v.cpuMicros[0]), pairOf(v.peakMB), pairOf(v.writtenPerOp))
	}
	b.WriteString(r.upkeepTable() + r.memoryTable() + "\n")
	for _, w := range r.Works {
		fmt.Fprintf(&b, "- %s: %s; rounds: %d\n", w.Name, w.About, len(w.Rounds))
	}
	b.WriteString(r.deaths())
	return b.String()
}

// deaths says which servers ended under a load, and how large they were then.
func (r report) deaths() string {
	var b strings.Builder
	for _, w := range r.Works {
		for _, one := range w.Rounds {
			for i, s := range []sample{one.A, one.B} {
				if s.Died {
					fmt.Fprintf(&b, "- %s: %s ended under the load, at %d MB\n", w.Name, []party{r.A, r.B}[i].Name, s.PeakBytes/1e6)
				}
			}
		}
	}
	return b.String()
}

func pairOf(v [2]float64) string { return digits(v[0]) + " / " + digits(v[1]) }

// times renders how many times larger one number is than another; where one was
// too small to be seen there is no factor.
func times(large, small float64) string {
	if small == 0 || large == 0 {
		return "-"
	}
	return strconv.FormatFloat(large/small, 'f', 2, 64) + "x"
}

// digits renders a number with three significant digits, or as a whole number
// if that has more.
func digits(v float64) string {
	switch {
	case v >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v == 0:
		return "0"
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
