package ops

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// OwnMetrics are those that etcd has no counterpart for. More of them are registered as they are read.
type OwnMetrics struct {
	flushBytes, flushRecords prometheus.Counter
	flushTime                prometheus.Histogram
	MessagesDropped          prometheus.Counter
	SlowRequests             *prometheus.CounterVec // step
}

func newOwnMetrics(f factory) OwnMetrics {
	return OwnMetrics{
		flushBytes:      f.counter("quoin_backend_flush_bytes_total", "Bytes of memory that flushes to the database file have freed."),
		flushRecords:    f.counter("quoin_backend_flush_records_total", "Records that flushes have added to the database file."),
		flushTime:       f.histogram("quoin_backend_flush_duration_seconds", "Time of a flush, the wait for a rewrite included.", diskBuckets()),
		MessagesDropped: f.counter("quoin_raft_messages_dropped_total", "Messages of other members that found no room."),
		SlowRequests:    f.counters("quoin_slow_requests_total", "Requests that were warned of, by the step that took most of their time.", "step"),
	}
}

// Flushed measures a flush.
func (m *OwnMetrics) Flushed(took time.Duration, bytes int64, records int) {
	m.flushTime.Observe(took.Seconds())
	m.flushBytes.Add(float64(bytes))
	m.flushRecords.Add(float64(records))
}
