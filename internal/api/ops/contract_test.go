package ops

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/test/metrics"
)

// read parses a page of metrics.
func read(t *testing.T, m *Metrics) metrics.Page {
	t.Helper()
	page, err := metrics.Parse(scrape(t, m))
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// elsewhere are metrics that whoever runs a member registers.
var elsewhere = map[string]bool{
	"etcd_server_has_leader": true, "etcd_server_is_leader": true, "etcd_server_is_learner": true, "etcd_server_id": true,
	"etcd_server_version": true, "etcd_server_go_version": true, "etcd_server_proposals_committed_total": true,
	"etcd_server_proposals_applied_total": true, "etcd_server_proposals_pending": true, "etcd_server_quota_backend_bytes": true,
	"etcd_server_feature_enabled": true, "etcd_disk_defrag_inflight": true, "etcd_mvcc_db_total_size_in_bytes": true,
	"etcd_mvcc_db_total_size_in_use_in_bytes": true, "etcd_mvcc_db_open_read_transactions": true, "etcd_cluster_version": true,
	"etcd_debugging_mvcc_keys_total": true, "etcd_debugging_mvcc_watch_stream_total": true, "etcd_debugging_mvcc_watcher_total": true,
	"etcd_debugging_mvcc_slow_watcher_total": true, "etcd_debugging_mvcc_pending_events_total": true,
	"etcd_debugging_mvcc_current_revision": true, "etcd_debugging_mvcc_compact_revision": true, "etcd_debugging_mvcc_events_total": true,
	"etcd_debugging_auth_revision": true,
}

// TestEverythingOfTheContract: once everything was used, everything that the contract names is there as the contract has it, what only
// clusters bring about included.
func TestEverythingOfTheContract(t *testing.T) {
	m := NewMetrics()
	calls := m.GRPC(true, map[string]grpc.ServiceInfo{"s": {Methods: []grpc.MethodInfo{{Name: "M"}}}})
	_, err := calls.UnaryServerInterceptor()(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/s/M"}, noCall)
	if err != nil {
		t.Fatal(err)
	}
	useEverything(m)
	ask(pages(&fake{}, m.Health()), http.MethodGet, "/livez")
	page := read(t, m)
	differences, err := metrics.Differences(page, "quoin_")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
	rows, err := metrics.Contract()
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range rows {
		if got := page[name] != nil; got == (elsewhere[name] || row.Presence == metrics.Never) {
			t.Errorf("%s is there: %v", name, got)
		}
	}
}

func noCall(context.Context, any) (any, error) { return nil, nil }

// useEverything gives every metric a first value.
func useEverything(m *Metrics) {
	for _, v := range []interface{ Inc() }{
		m.ClientRequests.WithLabelValues("unary", "3.7"), m.Peers.Disconnected.WithLabelValues("1", "2"),
		m.Peers.Sent.WithLabelValues("2"), m.Peers.Received.WithLabelValues("2"), m.Peers.SendFailed.WithLabelValues("2"), m.Peers.ReceiveFailed.WithLabelValues("2"),
		m.Peers.Known.WithLabelValues("1", "2"), m.Peers.Active.WithLabelValues("1", "2"),
	} {
		v.Inc()
	}
	for _, transfer := range []TransferMetrics{m.Peers.SnapshotSend, m.Peers.SnapshotGotten} {
		transfer.Success.WithLabelValues("2").Inc()
		transfer.Failures.WithLabelValues("2").Inc()
		transfer.InFlight.WithLabelValues("2").Inc()
		transfer.Duration.WithLabelValues("2").Observe(1)
	}
	m.Peers.RoundTrip.WithLabelValues("2").Observe(1)
	m.ApplyDuration.WithLabelValues("v3", "Put", "true").Observe(1)
	m.Request("Put", time.Second, nil)
	m.Range(time.Second, nil)
	m.Promoted(nil)
	m.Promoted(errors.New("not ready"))
	m.Alarms.Set([][]string{{"1", "NOSPACE"}})
	m.StreamFailed("receive", "watch")
}

// TestHooks: what other rooms report is counted where it belongs.
func TestHooks(t *testing.T) {
	m := NewMetrics()
	m.Promoted(nil)
	m.Promoted(errors.New("not ready"))
	m.HashedFile(time.Second)
	m.HashedRevision(time.Second)
	m.CompactionStep(3*time.Millisecond, true, 0)
	m.CompactionStep(5*time.Millisecond, true, 7)
	m.CompactionStep(9*time.Millisecond, false, 0)
	m.Compacted(200 * time.Millisecond)
	m.WatchSent(4, 8*time.Second)
	m.WatchAnswered(time.Second)
	m.WatchProgressed(time.Second)
	m.StreamFailed("send", "watch")
	m.Flushed(2*time.Second, 100, 5)
	m.Alarms.Set([][]string{{"1", "NOSPACE"}, {"2", "CORRUPT"}})
	m.Alarms.Set([][]string{{"2", "CORRUPT"}})
	page := read(t, m)
	for _, tc := range []struct {
		want float64
		name string
		by   []string
	}{
		{1, "etcd_server_learner_promote_successes", nil},
		{1, "etcd_server_learner_promote_failures", []string{"Reason", "not ready"}},
		{1, "etcd_mvcc_hash_duration_seconds_sum", nil},
		{1, "etcd_mvcc_hash_rev_duration_seconds_sum", nil},
		{8, "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds_sum", nil},
		{5, "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds_sum", nil},
		{200, "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_sum", nil},
		{7, "etcd_debugging_mvcc_db_compaction_keys_total", nil},
		{8, "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds_sum", nil},
		{2, "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds_sum", nil},
		{1, "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds_sum", nil},
		{1, "etcd_debugging_server_watch_send_loop_progress_duration_seconds_sum", nil},
		{1, "etcd_network_server_stream_failures_total", []string{"Type", "send", "API", "watch"}},
		{2, "quoin_backend_flush_duration_seconds_sum", nil},
		{100, "quoin_backend_flush_bytes_total", nil},
		{5, "quoin_backend_flush_records_total", nil},
		{0, "etcd_debugging_server_alarms", []string{"server_id", "1", "alarm_type", "NOSPACE"}},
		{1, "etcd_debugging_server_alarms", []string{"server_id", "2", "alarm_type", "CORRUPT"}},
	} {
		if got, ok := page.Value(tc.name, tc.by...); !ok || got != tc.want {
			t.Errorf("%s%v is %v, want %v", tc.name, tc.by, got, tc.want)
		}
	}
}
