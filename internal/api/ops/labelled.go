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

// RegisterState adds a gauge that is 1 for the label values that hold now, as read names them, and 0 for those that held at an earlier
// scrape. Values must come from a small set.
func (m *Metrics) RegisterState(name, help string, labels []string, read func(holds func(labels ...string))) {
	past := &states{held: map[string][]string{}}
	m.RegisterLabelled(name, help, labels, func(set func(float64, ...string)) { past.collect(set, read) })
}

// states remembers which label values have held.
type states struct {
	mu   sync.Mutex
	held map[string][]string
}

func (s *states) collect(set func(float64, ...string), read func(holds func(labels ...string))) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var now []string
	read(func(labels ...string) {
		key := strings.Join(labels, "\xff")
		if !slices.Contains(now, key) {
			now = append(now, key)
			s.held[key] = labels
		}
	})
	for key, labels := range s.held {
		value := 0.0
		if slices.Contains(now, key) {
			value = 1
		}
		set(value, labels...)
	}
}
