package metrics

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// Question is an expression and where it stands.
type Question struct {
	Where, Expr string
}

// Dashboard reads the expressions of a Grafana dashboard.
func Dashboard(path string) ([]Question, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var d struct {
		Title  string
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var all []Question
	for _, p := range d.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			return nil, fmt.Errorf("%s: panel %q asks for nothing", path, p.Title)
		}
		for _, t := range p.Targets {
			all = append(all, Question{p.Title, t.Expr})
		}
	}
	return all, nil
}

// Rules reads the expressions of a file of Prometheus rules, and the names that its recording rules make.
func Rules(path string) (questions []Question, records []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct{ Record, Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if (r.Record == "") == (r.Alert == "") {
				return nil, nil, fmt.Errorf("%s: a rule of %s neither records nor alerts, or both", path, g.Name)
			}
			questions = append(questions, Question{r.Record + r.Alert, r.Expr})
			if r.Record != "" {
				records = append(records, r.Record)
			}
		}
	}
	return questions, records, nil
}

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

// CheckMonitoring says which questions of the dashboards and rules under a deploy folder, and of etcd's public ones, a member with this page
// does not answer.
func CheckMonitoring(page Page, deploy string) ([]string, error) {
	page, err := Expected(page)
	if err != nil {
		return nil, err
	}
	questions, err := Dashboard(filepath.Join(deploy, "grafana", "quoin.json"))
	if err != nil {
		return nil, err
	}
	records := map[string]bool{}
	for _, file := range []string{"rules.yml", "alerts.yml"} {
		more, made, err := Rules(filepath.Join(deploy, "prometheus", file))
		if err != nil {
			return nil, err
		}
		questions = append(questions, more...)
		for _, name := range made {
			records[name] = true
		}
	}
	for expr := range strings.Lines(mixin) {
		if expr = strings.TrimSpace(expr); expr != "" {
			questions = append(questions, Question{Where: "etcd's monitoring", Expr: expr})
		}
	}
	var problems []string
	for _, q := range questions {
		e, err := ParseExpression(q.Expr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.Where, err)
		}
		for _, p := range e.Unanswered(page, records) {
			problems = append(problems, q.Where+": "+p)
		}
	}
	return problems, nil
}
