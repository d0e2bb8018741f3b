package ops

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// labelled is a gauge whose label values are asked for when somebody scrapes.
type labelled struct {
	desc *prometheus.Desc
	read func(set func(value float64, labels ...string))
}

// RegisterLabelled adds a gauge of which read sets the series, each once, when somebody scrapes. It is absent while read sets none.
func (m *Metrics) RegisterLabelled(name, help string, labels []string, read func(set func(value float64, labels ...string))) {
	m.registry.MustRegister(&labelled{prometheus.NewDesc(name, help, labels, nil), read})
}

// Describe implements prometheus.Collector.
func (g *labelled) Describe(descs chan<- *prometheus.Desc) { descs <- g.desc }

// Collect implements prometheus.Collector.
func (g *labelled) Collect(metrics chan<- prometheus.Metric) {
	g.read(func(value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, value, labels...)
	})
}

// States is a gauge that is 1 for the label values that hold now, and 0 for those that held before. Values must come from a small set.
type States struct {
	gauge *prometheus.GaugeVec
	mu    sync.Mutex
	held  map[string][]string
}

func newStates(gauge *prometheus.GaugeVec) *States {
	return &States{gauge: gauge, held: map[string][]string{}}
}

// Set says which label values hold now.
func (s *States) Set(now [][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, labels := range now {
		s.held[strings.Join(labels, "\xff")] = labels
	}
	for _, labels := range s.held {
		holds := slices.ContainsFunc(now, func(one []string) bool { return slices.Equal(one, labels) })
		value := 0.0
		if holds {
			value = 1
		}
		s.gauge.WithLabelValues(labels...).Set(value)
	}
}

// RegisterVersion adds a gauge that is 1 for the version that read gives when somebody scrapes, and 0 for those that it gave before. It is
// absent until read gives one that is not empty.
func (m *Metrics) RegisterVersion(name, help, label string, read func() string) {
	states := newStates(prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{label}))
	m.registry.MustRegister(&asked{states, func() [][]string {
		if v := read(); v != "" {
			return [][]string{{v}}
		}
		return nil
	}})
}

// asked are states that are asked for when somebody scrapes.
type asked struct {
	states *States
	read   func() [][]string
}

// Describe implements prometheus.Collector.
func (a *asked) Describe(descs chan<- *prometheus.Desc) { a.states.gauge.Describe(descs) }

// Collect implements prometheus.Collector.
func (a *asked) Collect(metrics chan<- prometheus.Metric) {
	a.states.Set(a.read())
	a.states.gauge.Collect(metrics)
}
