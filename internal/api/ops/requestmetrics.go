package ops

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counterLookups is lookups for counters with two labels.
type counterLookups struct {
	of    *prometheus.CounterVec
	known sync.Map // [2]string to prometheus.Counter
	last  atomic.Pointer[lastCounter]
}

// lastCounter is what was counted last, which is mostly what is counted next.
type lastCounter struct {
	labels  [2]string
	counter prometheus.Counter
}

func (l *counterLookups) inc(one, other string) {
	last := l.last.Load()
	if last == nil || last.labels[0] != one || last.labels[1] != other {
		labels := [2]string{one, other}
		counter, found := l.known.Load(labels)
		if !found {
			counter, _ = l.known.LoadOrStore(labels, l.of.WithLabelValues(one, other))
		}
		last = &lastCounter{labels, counter.(prometheus.Counter)}
		l.last.Store(last)
	}
	last.counter.Inc()
}

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
