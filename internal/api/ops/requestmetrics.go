package ops

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// lookups remembers what a histogram has for two labels, the second of which says whether a request succeeded: finding it by its labels costs more
// than everything else. There are few first labels, and what was never asked for is not made.
type lookups struct {
	of    *prometheus.HistogramVec
	known [2]sync.Map // by success: first label to prometheus.Observer
}

func (l *lookups) observe(label string, ok bool, took time.Duration) {
	known := &l.known[0]
	if ok {
		known = &l.known[1]
	}
	one, found := known.Load(label)
	if !found {
		one, _ = known.LoadOrStore(label, l.of.WithLabelValues(label, strconv.FormatBool(ok)))
	}
	one.(prometheus.Observer).Observe(took.Seconds())
}
