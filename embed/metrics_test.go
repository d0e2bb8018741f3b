package embed

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/test/metrics"
)

// scrape reads the member's metrics.
func scrape(t *testing.T, m *Member) metrics.Page {
	t.Helper()
	body, _ := page(t, m, "/metrics")
	p, err := metrics.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// agrees compares a page with the contract.
func agrees(t *testing.T, p metrics.Page, wanted ...metrics.Presence) {
	t.Helper()
	differences, err := metrics.Differences(p, "quoin_", wanted...)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
}

// has fails unless the sum of the series is what is wanted.
func has(t *testing.T, p metrics.Page, want float64, name string, labels ...string) {
	t.Helper()
	if got, ok := p.Value(name, labels...); !ok || got != want {
		t.Errorf("%s%v is %v (%v), want %v", name, labels, got, ok, want)
	}
}

// TestMetricsAtStart: a member that nobody has used yet shows what etcd shows, all calls at zero among it.
func TestMetricsAtStart(t *testing.T) {
	m := start(t, testConfig(t, t.TempDir()))
	p := scrape(t, m)
	agrees(t, p, metrics.Always)
	if _, ok := p["grpc_server_handling_seconds"]; ok {
		t.Error("histogram of calls without --metrics=extensive")
	}
	const calls = 45
	if got := len(p["grpc_server_handled_total"].Series); got != calls*17 {
		t.Errorf("%d series of handled calls, want %d", got, calls*17)
	}
	for _, name := range []string{"started", "msg_received", "msg_sent"} {
		if got := len(p["grpc_server_"+name+"_total"].Series); got != calls {
			t.Errorf("%d series of %s, want %d", got, name, calls)
		}
	}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		has(t, p, 0, "grpc_server_handled_total", "grpc_service", "etcdserverpb.Auth", "grpc_method", "UserAdd", "grpc_type", "unary", "grpc_code", code.String())
	}
	for _, stream := range [][3]string{
		{"etcdserverpb.KV", "RangeStream", "server_stream"},
		{"etcdserverpb.Watch", "Watch", "bidi_stream"},
		{"etcdserverpb.Lease", "LeaseKeepAlive", "bidi_stream"},
		{"etcdserverpb.Maintenance", "Snapshot", "server_stream"},
		{"grpc.health.v1.Health", "Watch", "server_stream"},
	} {
		has(t, p, 0, "grpc_server_started_total", "grpc_service", stream[0], "grpc_method", stream[1], "grpc_type", stream[2])
	}
	has(t, p, 1, "etcd_server_has_leader")
	has(t, p, 1, "etcd_server_is_leader")
	has(t, p, 0, "etcd_server_is_learner")
	has(t, p, 1, "etcd_server_leader_changes_seen_total")
	has(t, p, 2<<30, "etcd_server_quota_backend_bytes")
	has(t, p, 1, "etcd_debugging_mvcc_current_revision")
	has(t, p, -1, "etcd_debugging_mvcc_compact_revision")
	has(t, p, 1, "etcd_debugging_auth_revision")
	has(t, p, 1, "etcd_network_known_peers")
	has(t, p, 1, "etcd_server_feature_enabled", "name", "FastLeaseKeepAlive", "stage", "BETA")
	has(t, p, 0, "etcd_server_feature_enabled", "name", "AllAlpha", "stage", "ALPHA")
	if got := len(p["etcd_server_feature_enabled"].Series); got != 11 {
		t.Errorf("%d feature gates", got)
	}
}

// TestOpenReadTransactions: one stays open, and another only while the file is flushed.
func TestOpenReadTransactions(t *testing.T) {
	m := start(t, testConfig(t, t.TempDir()))
	until(t, func() error {
		if n, _ := scrape(t, m).Value("etcd_mvcc_db_open_read_transactions"); n != 1 {
			return fmt.Errorf("%v are open", n)
		}
		return nil
	})
}

// usedMetrics are those of presence U that the use of one member brings up.
var usedMetrics = strings.Fields(`
	etcd_server_learner_promote_failures etcd_server_apply_duration_seconds etcd_server_range_duration_seconds
	etcd_server_request_duration_seconds etcd_server_healthcheck etcd_server_healthchecks_total etcd_server_client_requests_total
	etcd_debugging_server_alarms`)

// TestMetricsInUse: what clients do is counted as etcd counts it.
func TestMetricsInUse(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.Metrics = "extensive"
	m := start(t, cfg)
	c := dial(t, m.ClientAddrs()[0].String())
	work(t, m, c)
	p := scrape(t, m)
	agrees(t, p, metrics.Always, metrics.Extensive)
	for _, name := range usedMetrics {
		if p[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
	has(t, p, 5, "etcd_mvcc_put_total") // a, b, c, and two of the transaction
	has(t, p, 1, "etcd_mvcc_delete_total")
	has(t, p, 11, "etcd_mvcc_range_total") // get, compacted get, compare, compare and three gets in transactions, four health checks
	has(t, p, 2, "etcd_mvcc_txn_total")
	has(t, p, 11, "etcd_debugging_mvcc_total_put_size_in_bytes")
	has(t, p, 2, "etcd_debugging_mvcc_keys_total")
	has(t, p, 5, "etcd_server_range_duration_seconds_count", "success", "true")
	has(t, p, 1, "etcd_server_range_duration_seconds_count", "success", "false")
	has(t, p, 3, "etcd_server_apply_duration_seconds_count", "op", "Put", "success", "true", "version", "v3")
	has(t, p, 3, "etcd_server_request_duration_seconds_count", "type", "Put", "success", "true")
	has(t, p, 1, "etcd_server_request_duration_seconds_count", "type", "ClusterVersionSet", "success", "true")
	has(t, p, 1, "etcd_server_request_duration_seconds_count", "type", "ClusterMemberAttrSet", "success", "true")
	has(t, p, 1, "etcd_server_request_duration_seconds_count", "type", "ReadonlyTxn", "success", "true")
	has(t, p, 3, "grpc_server_handled_total", "grpc_method", "Put", "grpc_code", "OK")
	has(t, p, 3, "grpc_server_handling_seconds_count", "grpc_method", "Put")
	has(t, p, 1, "etcd_mvcc_hash_rev_duration_seconds_count")
	has(t, p, 1, "etcd_mvcc_hash_duration_seconds_count")
	has(t, p, 1, "etcd_disk_backend_defrag_duration_seconds_count")
	has(t, p, 0, "etcd_disk_defrag_inflight")
	has(t, p, 1, "etcd_disk_backend_snapshot_duration_seconds_count")
	has(t, p, 1, "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count")
	has(t, p, 4, "etcd_debugging_mvcc_db_compaction_keys_total") // the first a and b, c and its end
	has(t, p, 1, "etcd_debugging_lease_granted_total")
	has(t, p, 1, "etcd_debugging_mvcc_events_total")
	has(t, p, 1, "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds_count")
	has(t, p, 1, "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds_count")
	has(t, p, 1, "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds_count")
	has(t, p, 0, "etcd_debugging_server_alarms", "alarm_type", "NOSPACE") // it was raised at an earlier scrape
	has(t, p, 1, "etcd_server_healthchecks_total", "type", "livez", "name", "serializable_read", "status", "success")
	has(t, p, 1, "etcd_server_health_success")
	has(t, p, 1, "etcd_server_learner_promote_failures", "Reason", "etcdserver: can only promote a learner member which is in sync with leader")
	has(t, p, 5, "quoin_watch_ring_revisions")
	if last, _ := p.Value("etcd_debugging_mvcc_db_compaction_last"); time.Since(time.Unix(int64(last), 0)).Abs() > time.Minute {
		t.Errorf("last compaction at %v", last)
	}
	for _, name := range []string{"etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds_count", "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds_count", "etcd_disk_wal_write_bytes_total", "quoin_backend_flush_bytes_total", "quoin_backend_flush_records_total"} {
		if got, _ := p.Value(name); got <= 0 {
			t.Errorf("%s is %v", name, got)
		}
	}
}

// work uses a member in many ways.
func work(t *testing.T, m *Member, c *clientv3.Client) {
	t.Helper()
	ctx := t.Context()
	for _, key := range []string{"a", "b", "c"} {
		put(t, c, key, "12")
	}
	get(t, c, "a")
	_, err := c.Delete(ctx, "c")
	must(t, err)
	_, err = c.Txn(ctx).If(clientv3.Compare(clientv3.Version("a"), ">", 0)).Then(clientv3.OpPut("a", ""), clientv3.OpPut("b", "")).Commit()
	must(t, err)
	_, err = c.Txn(ctx).If(clientv3.Compare(clientv3.Version("a"), ">", 0)).Then(clientv3.OpGet("a"), clientv3.OpGet("b"), clientv3.OpGet("c")).Commit()
	must(t, err)
	watched, cancel := context.WithCancel(ctx)
	<-c.Watch(watched, "a", clientv3.WithRev(6))
	cancel()
	_, err = c.Grant(ctx, 100)
	must(t, err)
	_, err = c.Compact(ctx, 6, clientv3.WithCompactPhysical())
	must(t, err)
	if _, err := c.Get(ctx, "a", clientv3.WithRev(2)); err == nil {
		t.Error("a compacted revision can be read")
	}
	maintain(t, m, c)
	for _, path := range []string{"/livez", "/readyz", "/health"} {
		page(t, m, path)
	}
	added, err := c.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:1"})
	must(t, err)
	if _, err := c.MemberPromote(ctx, added.Member.ID); err == nil {
		t.Error("a learner that does not run is promoted")
	}
}

// maintain does what operators do.
func maintain(t *testing.T, m *Member, c *clientv3.Client) {
	t.Helper()
	ctx, endpoint := t.Context(), m.ClientAddrs()[0].String()
	_, err := c.HashKV(ctx, endpoint, 0)
	must(t, err)
	_, err = m.svc.HashFile(ctx)
	must(t, err)
	_, err = c.Defragment(ctx, endpoint)
	must(t, err)
	body, err := c.Snapshot(ctx)
	must(t, err)
	_, err = io.Copy(io.Discard, body)
	must(t, err)
	must(t, body.Close())
	raise(t, m)
	has(t, scrape(t, m), 1, "etcd_debugging_server_alarms", "alarm_type", "NOSPACE")
	_, err = c.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// raise raises the alarm that there is no space.
func raise(t *testing.T, m *Member) {
	t.Helper()
	_, err := m.svc.Alarm(t.Context(), request.Alarm{Action: request.AlarmActivate, MemberID: m.data.meta.NodeID, Kind: request.AlarmNoSpace})
	must(t, err)
}
