package ops

import "github.com/prometheus/client_golang/prometheus"

// factory registers what it makes.
type factory struct{ r prometheus.Registerer }

func (f factory) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	f.r.MustRegister(c)
	return c
}

func (f factory) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	f.r.MustRegister(c)
	return c
}

func (f factory) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	f.r.MustRegister(h)
	return h
}

func (f factory) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	f.r.MustRegister(h)
	return h
}

func (f factory) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	f.r.MustRegister(g)
	return g
}

func (f factory) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	f.r.MustRegister(g)
	return g
}

// Bucket layouts, in seconds unless the name says otherwise.

func diskBuckets() []float64      { return prometheus.ExponentialBuckets(0.001, 2, 14) }
func applyBuckets() []float64     { return prometheus.ExponentialBuckets(0.0001, 2, 20) }
func ttlBuckets() []float64       { return prometheus.ExponentialBuckets(1, 2, 24) }
func defragBuckets() []float64    { return prometheus.ExponentialBuckets(0.1, 2, 13) }
func snapshotBuckets() []float64  { return prometheus.ExponentialBuckets(0.01, 2, 17) }
func hashBuckets() []float64      { return prometheus.ExponentialBuckets(0.01, 2, 15) }
func transferBuckets() []float64  { return prometheus.ExponentialBuckets(0.1, 2, 10) }
func roundTripBuckets() []float64 { return prometheus.ExponentialBuckets(0.0001, 2, 16) }

func stepMillisBuckets() []float64       { return prometheus.ExponentialBuckets(1, 2, 13) }
func compactionMillisBuckets() []float64 { return prometheus.ExponentialBuckets(100, 2, 14) }
func indexMillisBuckets() []float64      { return prometheus.ExponentialBuckets(0.5, 2, 14) }
