package ops

import "github.com/prometheus/client_golang/prometheus"

// ServerMetrics are those of consensus and of requests.
type ServerMetrics struct {
	ApplyDuration   *prometheus.HistogramVec // version, op, success
	RangeDuration   *prometheus.HistogramVec // success
	RequestDuration *prometheus.HistogramVec // type, success
	ClientRequests  *prometheus.CounterVec   // type, client_api_version

	SlowApply       prometheus.Counter
	ProposalsFailed prometheus.Counter
	ReadsFailed     prometheus.Counter
	SlowReads       prometheus.Counter
	LeaderChanges   prometheus.Counter
	LateHeartbeats  prometheus.Counter
	Installing      prometheus.Gauge
	Alarms          *States // server_id, alarm_type

	promoteFailures  *prometheus.CounterVec // Reason
	promoteSuccesses prometheus.Counter
}

func newServerMetrics(f factory) ServerMetrics {
	return ServerMetrics{
		ApplyDuration:   f.histograms("etcd_server_apply_duration_seconds", "Time of applying a request.", applyBuckets(), "version", "op", "success"),
		RangeDuration:   f.histograms("etcd_server_range_duration_seconds", "Time of a range.", applyBuckets(), "success"),
		RequestDuration: f.histograms("etcd_server_request_duration_seconds", "Time of a client's request.", diskBuckets(), "type", "success"),
		ClientRequests:  f.counters("etcd_server_client_requests_total", "Calls by kind and client version.", "type", "client_api_version"),

		SlowApply:       f.counter("etcd_server_slow_apply_total", "Applies that took longer than warned of."),
		ProposalsFailed: f.counter("etcd_server_proposals_failed_total", "Proposals that got no answer."),
		ReadsFailed:     f.counter("etcd_server_read_indexes_failed_total", "Linearizable reads that got no read index."),
		SlowReads:       f.counter("etcd_server_slow_read_indexes_total", "Read indexes that had to be asked for again."),
		LeaderChanges:   f.counter("etcd_server_leader_changes_seen_total", "Leaders seen."),
		LateHeartbeats:  f.counter("etcd_server_heartbeat_send_failures_total", "Heartbeats of this leader that were late by more than an interval."),
		Installing:      f.gauge("etcd_server_snapshot_apply_in_progress_total", "Whether a received snapshot is being installed."),
		Alarms:          newStates(f.gauges("etcd_debugging_server_alarms", "Alarms that are raised.", "server_id", "alarm_type")),

		promoteFailures:  f.counters("etcd_server_learner_promote_failures", "Learners that this leader gave no vote.", "Reason"),
		promoteSuccesses: f.counter("etcd_server_learner_promote_successes", "Learners that this leader gave a vote."),
	}
}
