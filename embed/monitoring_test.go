package embed

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/quoin-kv/quoin/test/metrics"
)

// mixin is what etcd's public alerts and dashboards ask for.
const mixin = `
	up
	sum by (To) (rate(etcd_network_peer_sent_failures_total{job="x",To="y"}[5m]))
	etcd_server_has_leader
	rate(etcd_server_leader_changes_seen_total[15m])
	sum by (grpc_service, grpc_method) (rate(grpc_server_handled_total{grpc_type="unary",grpc_code!="OK"}[5m]))
	sum by (grpc_service, grpc_method, le) (rate(grpc_server_handling_seconds_bucket{grpc_type="unary",grpc_method!="Defragment"}[5m]))
	sum by (instance, To, le) (rate(etcd_network_peer_round_trip_time_seconds_bucket[5m]))
	rate(etcd_server_proposals_failed_total[15m])
	sum by (instance, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m]))
	sum by (instance, le) (rate(etcd_disk_backend_commit_duration_seconds_bucket[5m]))
	etcd_mvcc_db_total_size_in_bytes / etcd_server_quota_backend_bytes
	etcd_mvcc_db_total_size_in_use_in_bytes / etcd_mvcc_db_total_size_in_bytes
	sum(grpc_server_started_total{grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"}) - sum(grpc_server_handled_total{grpc_service="etcdserverpb.Lease",grpc_type="bidi_stream"})
	process_resident_memory_bytes
	rate(etcd_network_client_grpc_received_bytes_total[5m])
	rate(etcd_network_client_grpc_sent_bytes_total[5m])
	sum by (From) (rate(etcd_network_peer_received_bytes_total[5m]))
	sum by (To) (rate(etcd_network_peer_sent_bytes_total[5m]))
	rate(etcd_server_proposals_committed_total[5m])
	rate(etcd_server_proposals_applied_total[5m])
	etcd_server_proposals_pending`

// observed are the metrics of a cluster that has been used, all members together.
func observed(t *testing.T) metrics.Page {
	t.Helper()
	c := newTestCluster(t, "https", 3)
	var members []*Member
	for i := range 3 {
		members = append(members, c.launch(i, func(cfg *Config) { cfg.Metrics, cfg.WarningUnary = "extensive", time.Nanosecond }))
	}
	for _, m := range members {
		<-m.Ready()
	}
	client := dial(t, members[0].ClientAddrs()[0].String())
	put(t, client, "a", "1")
	get(t, client, "a")
	_, err := client.Txn(t.Context()).Then(clientv3.OpPut("b", "1")).Commit()
	must(t, err)
	_, err = client.Compact(t.Context(), 3, clientv3.WithCompactPhysical())
	must(t, err)
	raise(t, members[0])
	all := metrics.Page{}
	for _, m := range members {
		page(t, m, "/readyz")
		for name, f := range scrape(t, m) {
			if all[name] == nil {
				all[name] = f
				continue
			}
			all[name].Series = append(all[name].Series, f.Series...)
		}
	}
	return all
}

// TestMonitoring: no dashboard, rule or alert asks for what nobody answers, and docs/metrics.md tells of everything that is Quoin's own.
func TestMonitoring(t *testing.T) {
	seen := observed(t)
	page, err := metrics.Expected(seen)
	must(t, err)
	var questions []metrics.Question
	records := map[string]bool{}
	for _, file := range []string{"rules.yml", "alerts.yml"} {
		more, made, err := metrics.Rules("../deploy/prometheus/" + file)
		must(t, err)
		questions = append(questions, more...)
		for _, name := range made {
			records[name] = true
		}
	}
	panels, err := metrics.Dashboard("../deploy/grafana/quoin.json")
	must(t, err)
	questions = append(questions, panels...)
	for expr := range strings.Lines(mixin) {
		if expr = strings.TrimSpace(expr); expr != "" {
			questions = append(questions, metrics.Question{Where: "etcd's monitoring", Expr: expr})
		}
	}
	if len(questions) < 100 {
		t.Errorf("only %d questions", len(questions))
	}
	for _, q := range questions {
		e, err := metrics.ParseExpression(q.Expr)
		if err != nil {
			t.Errorf("%s: %v", q.Where, err)
			continue
		}
		for _, problem := range e.Unanswered(page, records) {
			t.Errorf("%s: %s", q.Where, problem)
		}
	}
	documented(t, seen)
}

// documented compares docs/metrics.md with what there is.
func documented(t *testing.T, seen metrics.Page) {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
	must(t, err)
	row := regexp.MustCompile("(?m)^\\| `(quoin_[a-z_]+)`(?: \\{([a-zA-Z_, ]+)\\})? \\| (\\w+) \\|")
	told := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		told[m[1]] = fmt.Sprintf("%s {%s}", m[3], m[2])
	}
	for name, f := range seen {
		if !strings.HasPrefix(name, "quoin_") {
			continue
		}
		if want := fmt.Sprintf("%s {%s}", f.Type, strings.Join(f.Labels(), ", ")); told[name] != want {
			t.Errorf("docs/metrics.md says %q of %s, want %q", told[name], name, want)
		}
		delete(told, name)
	}
	for name := range told {
		t.Errorf("docs/metrics.md tells of %s, which there is not", name)
	}
	rows, err := metrics.Contract()
	must(t, err)
	group := regexp.MustCompile("`([a-z0-9_]+_)\\*`")
	var groups []string
	for _, m := range group.FindAllStringSubmatch(string(text), -1) {
		groups = append(groups, m[1])
	}
	for name := range rows {
		if !slices.ContainsFunc(groups, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			t.Errorf("docs/metrics.md names no group for %s", name)
		}
	}
}
