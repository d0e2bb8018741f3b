package metrics

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Page is one reading of /metrics, by the name of the metric.
type Page map[string]*Family

// Family is one metric with all its series.
type Family struct {
	Name, Type string
	Series     []Series
}

// Series is one value. Of a histogram or a summary Name is that of the metric with _bucket, _sum or _count behind it.
type Series struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// Parse reads a page in Prometheus's text format.
func Parse(text string) (Page, error) {
	page := Page{}
	var current *Family
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, typ, ok := parseType(line); ok {
			current = &Family{Name: name, Type: typ}
			page[name] = current
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseSeries(line)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		if current == nil || !current.owns(s.Name) {
			return nil, fmt.Errorf("line %q has no TYPE before it", line)
		}
		current.Series = append(current.Series, s)
	}
	return page, nil
}

func parseType(line string) (name, typ string, ok bool) {
	rest, ok := strings.CutPrefix(line, "# TYPE ")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, " ")
}

// owns reports whether a series belongs to the metric.
func (f *Family) owns(series string) bool {
	suffix, ok := strings.CutPrefix(series, f.Name)
	return ok && slices.Contains([]string{"", "_bucket", "_sum", "_count"}, suffix)
}

func parseSeries(line string) (s Series, err error) {
	s.Labels = map[string]string{}
	at := strings.IndexAny(line, "{ ")
	if at < 0 {
		return s, fmt.Errorf("no value")
	}
	s.Name = line[:at]
	rest := line[at:]
	if rest[0] == '{' {
		if rest, err = parseLabels(rest[1:], s.Labels); err != nil {
			return s, err
		}
	}
	s.Value, err = strconv.ParseFloat(strings.TrimSpace(rest), 64)
	return s, err
}

// parseLabels reads labels up to the closing brace and returns what follows it.
func parseLabels(rest string, into map[string]string) (string, error) {
	for {
		if after, ok := strings.CutPrefix(rest, "}"); ok {
			return after, nil
		}
		name, value, ok := strings.Cut(rest, "=")
		quoted, err := strconv.QuotedPrefix(value)
		if !ok || err != nil {
			return "", fmt.Errorf("bad label in %q", rest)
		}
		if into[name], err = strconv.Unquote(quoted); err != nil {
			return "", err
		}
		rest = strings.TrimPrefix(value[len(quoted):], ",")
	}
}

// Labels are the names of the labels, sorted, without those that make up histograms.
func (f *Family) Labels() []string {
	names := map[string]bool{}
	for _, s := range f.Series {
		for name := range s.Labels {
			if name != "le" || f.Type != "histogram" {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Bounds are the bounds of the buckets of a histogram's first series, the infinite one left out.
func (f *Family) Bounds() []float64 {
	var bounds []float64
	for _, s := range f.Series {
		le, ok := s.Labels["le"]
		if !ok || le == "+Inf" {
			if ok {
				break
			}
			continue
		}
		if bound, err := strconv.ParseFloat(le, 64); err == nil {
			bounds = append(bounds, bound)
		}
	}
	return bounds
}

// Value is the sum of the values of the series of a name that have these labels, given as name and value in turns; false if there is none.
func (p Page) Value(name string, labels ...string) (sum float64, ok bool) {
	for _, f := range p {
		if !f.owns(name) {
			continue
		}
		for _, s := range f.Series {
			if s.Name == name && s.matches(labels) {
				sum, ok = sum+s.Value, true
			}
		}
	}
	return sum, ok
}

func (s *Series) matches(labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if s.Labels[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// Names are the names of all metrics, sorted.
func (p Page) Names() []string { return slices.Sorted(maps.Keys(p)) }
