package ops

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// KeyMetrics are those of the key space, of leases and of watches.
type KeyMetrics struct {
	Puts, Deletes, Txns, Ranges prometheus.Counter // operations, those in transactions included
	PutBytes                    prometheus.Gauge   // keys and values put

	hashFile, hashRevision prometheus.Histogram

	LeaseGranted, LeaseRevoked, LeaseRenewed, LeaseExpired prometheus.Counter
	LeaseTTL                                               prometheus.Histogram

	compactedRecords               prometheus.Counter
	compactionStep, compactionTime prometheus.Histogram // milliseconds
	compactionIndexStep            prometheus.Histogram // milliseconds
	lastCompaction                 prometheus.Gauge     // Unix seconds

	watchEvents, watchPerEvent, watchControl, watchProgress prometheus.Histogram
}

func newKeyMetrics(f factory) KeyMetrics {
	m := KeyMetrics{
		Puts:     f.counter("etcd_mvcc_put_total", "Puts done."),
		Deletes:  f.counter("etcd_mvcc_delete_total", "Deletes done."),
		Txns:     f.counter("etcd_mvcc_txn_total", "Transactions of other than one operation."),
		Ranges:   f.counter("etcd_mvcc_range_total", "Ranges done, compares included."),
		PutBytes: f.gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of keys and values put."),

		hashFile:     f.histogram("etcd_mvcc_hash_duration_seconds", "Time of hashing the database file.", hashBuckets()),
		hashRevision: f.histogram("etcd_mvcc_hash_rev_duration_seconds", "Time of hashing the key space up to a revision.", hashBuckets()),

		LeaseGranted: f.counter("etcd_debugging_lease_granted_total", "Leases granted."),
		LeaseRevoked: f.counter("etcd_debugging_lease_revoked_total", "Leases revoked."),
		LeaseRenewed: f.counter("etcd_debugging_lease_renewed_total", "Leases renewed."),
		LeaseExpired: f.counter("etcd_debugging_server_lease_expired_total", "Leases that ended by time."),
		LeaseTTL:     f.histogram("etcd_debugging_lease_ttl_total", "Time to live of granted leases, in seconds.", ttlBuckets()),
	}
	m.compactions(f)
	m.watches(f)
	return m
}

func (m *KeyMetrics) compactions(f factory) {
	const prefix = "etcd_debugging_mvcc_"
	m.compactedRecords = f.counter(prefix+"db_compaction_keys_total", "Records removed by compactions.")
	m.compactionStep = f.histogram(prefix+"db_compaction_pause_duration_milliseconds", "Time of a step of a compaction that removes records.", stepMillisBuckets())
	m.compactionTime = f.histogram(prefix+"db_compaction_total_duration_milliseconds", "Time of a compaction, pauses included.", compactionMillisBuckets())
	m.compactionIndexStep = f.histogram(prefix+"index_compaction_pause_duration_milliseconds", "Time of a step of a compaction that prunes the index.", indexMillisBuckets())
	m.lastCompaction = f.gauge(prefix+"db_compaction_last", "When the last compaction ended, in seconds since 1970.")
}

func (m *KeyMetrics) watches(f factory) {
	loop := func(name, help string) prometheus.Histogram {
		return f.histogram("etcd_debugging_server_watch_send_loop_"+name+"_duration_seconds", help, diskBuckets())
	}
	m.watchEvents = loop("watch_stream", "Time of sending a response with events.")
	m.watchPerEvent = f.histogram("etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds", "Time of sending a response with events, for each event.", diskBuckets())
	m.watchControl = loop("control_stream", "Time of sending the answer to a request on a watch stream.")
	m.watchProgress = loop("progress", "Time of sending a progress response.")
}

// HashedFile measures a hash of the database file.
func (m *KeyMetrics) HashedFile(took time.Duration) { m.hashFile.Observe(took.Seconds()) }

// HashedRevision measures a hash of the key space.
func (m *KeyMetrics) HashedRevision(took time.Duration) { m.hashRevision.Observe(took.Seconds()) }

// CompactionStep measures the time for which a step of a compaction held the applier, and counts the records that it removed. A step may
// work on the index, on records, on both, or just read.
func (m *KeyMetrics) CompactionStep(took time.Duration, index bool, removed int64) {
	if index {
		m.compactionIndexStep.Observe(millis(took))
	}
	if removed > 0 {
		m.compactionStep.Observe(millis(took))
		m.compactedRecords.Add(float64(removed))
	}
}

// Compacted measures a whole compaction that ends now.
func (m *KeyMetrics) Compacted(took time.Duration) {
	m.compactionTime.Observe(millis(took))
	m.lastCompaction.SetToCurrentTime()
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// WatchSent measures the sending of a response with events.
func (m *KeyMetrics) WatchSent(events int, took time.Duration) {
	m.watchEvents.Observe(took.Seconds())
	m.watchPerEvent.Observe(took.Seconds() / float64(max(1, events)))
}

// WatchAnswered measures the sending of the answer to a request of a client.
func (m *KeyMetrics) WatchAnswered(took time.Duration) { m.watchControl.Observe(took.Seconds()) }

// WatchProgressed measures the sending of a progress response.
func (m *KeyMetrics) WatchProgressed(took time.Duration) { m.watchProgress.Observe(took.Seconds()) }
