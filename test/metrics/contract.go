package metrics

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

//go:embed contract.txt
var contractText string

// Presence says when a metric shows.
type Presence string

// When a metric shows.
const (
	Always    Presence = "A" // from the start
	Used      Presence = "U" // once there is something to tell
	Extensive Presence = "X" // only with --metrics=extensive
	Never     Presence = "N" // known, but without a series
)

// Row is a metric as the contract has it.
type Row struct {
	Name, Type string
	Labels     []string // sorted
	Bounds     []float64
	Presence   Presence
}

// Contract is the table of the metrics that etcd has, by name.
func Contract() (map[string]Row, error) {
	rows := map[string]Row{}
	buckets := map[string][]float64{"-": nil, "Bgo": {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}
	for line := range strings.Lines(contractText) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] == "#":
		case len(fields) == 3:
			bounds, err := doubling(fields[1], fields[2])
			if err != nil {
				return nil, err
			}
			buckets[fields[0]] = bounds
		case len(fields) == 5:
			row := Row{Name: fields[0], Type: fields[1], Bounds: buckets[fields[3]], Presence: Presence(fields[4])}
			if fields[2] != "-" {
				row.Labels = strings.Split(fields[2], ",")
				slices.Sort(row.Labels)
			}
			rows[row.Name] = row
		default:
			return nil, fmt.Errorf("contract: line %q", line)
		}
	}
	return rows, nil
}

// doubling are n bounds, each twice the one before.
func doubling(first, n string) ([]float64, error) {
	bound, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return nil, err
	}
	count, err := strconv.Atoi(n)
	if err != nil {
		return nil, err
	}
	var bounds []float64
	for range count {
		bounds = append(bounds, bound)
		bound *= 2
	}
	return bounds, nil
}

// Differences says where a page does not follow the table. wanted lists when a metric must be there; what is there must be right in any case.
// Of what the table does not know only names that begin with own are allowed.
func Differences(page Page, own string, wanted ...Presence) ([]string, error) {
	rows, err := Contract()
	if err != nil {
		return nil, err
	}
	var all []string
	for name, row := range rows {
		if f := page[name]; f != nil {
			all = append(all, row.differences(f)...)
		} else if slices.Contains(wanted, row.Presence) {
			all = append(all, name+" is missing")
		}
	}
	for name := range page {
		if _, known := rows[name]; !known && (own == "" || !strings.HasPrefix(name, own)) {
			all = append(all, name+" is unknown")
		}
	}
	slices.Sort(all)
	return all, nil
}

func (r *Row) differences(f *Family) []string {
	var all []string
	if f.Type != r.Type {
		all = append(all, fmt.Sprintf("%s is a %s, want a %s", r.Name, f.Type, r.Type))
	}
	if labels := f.Labels(); !slices.Equal(labels, r.Labels) {
		all = append(all, fmt.Sprintf("%s has labels %v, want %v", r.Name, labels, r.Labels))
	}
	if bounds := f.Bounds(); r.Type == "histogram" && !slices.EqualFunc(bounds, r.Bounds, near) {
		all = append(all, fmt.Sprintf("%s has buckets %v, want %v", r.Name, bounds, r.Bounds))
	}
	return all
}

// near allows for how numbers are written.
func near(a, b float64) bool { return a == b || (a-b)/b < 1e-9 && (b-a)/b < 1e-9 }

// Expected adds to a page what the table knows and the page has not yet, because nothing of the kind has happened, with its labels. What
// never has a series stays away.
func Expected(page Page) (Page, error) {
	rows, err := Contract()
	if err != nil {
		return nil, err
	}
	all := maps.Clone(page)
	for name, row := range rows {
		if all[name] != nil || row.Presence == Never || row.Presence == Always {
			continue
		}
		s := Series{Name: name, Labels: map[string]string{}}
		for _, l := range row.Labels {
			s.Labels[l] = ""
		}
		all[name] = &Family{Name: name, Type: row.Type, Series: []Series{s}}
	}
	return all, nil
}
