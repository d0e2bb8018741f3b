package embed

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/raft"
)

// TestGRPCBytesAreCounted: a put of many bytes is seen in the counters, by a gRPC client and through the gateway.
func TestGRPCBytesAreCounted(t *testing.T) {
	m := start(t, testConfig(t, t.TempDir()))
	c := dial(t, m.ClientAddrs()[0].String())
	put(t, c, "a", strings.Repeat("x", 100000))
	get(t, c, "a")
	body, _ := page(t, m, "/metrics")
	for _, name := range []string{"sent", "received"} {
		match := regexp.MustCompile(`(?m)^etcd_network_client_grpc_` + name + `_bytes_total (.*)$`).FindStringSubmatch(body)
		var n float64
		if match == nil || json.Unmarshal([]byte(match[1]), &n) != nil || n < 100000 || n > 200000 {
			t.Errorf("%s bytes: %v", name, match)
		}
	}
}

func TestPages(t *testing.T) {
	quiet := start(t, testConfig(t, t.TempDir()))
	cfg := testConfig(t, t.TempDir())
	cfg.EnableGateway, cfg.EnablePprof, cfg.Metrics = false, true, "extensive"
	open := start(t, cfg)
	loud := testConfig(t, t.TempDir())
	loud.LogLevel = "debug"
	talking := start(t, loud)
	put(t, dial(t, talking.ClientAddrs()[0].String()), "a", "1")
	for _, tc := range []struct {
		m      *Member
		path   string
		status int
		want   string
	}{
		{quiet, "/health", 200, `{"health":"true","reason":""}`},
		{quiet, "/readyz", 200, "ok\n"},
		{quiet, "/debug/vars", 200, `"raftState":"StateLeader"`},
		{quiet, "/debug/pprof/", 404, ""},
		{quiet, "/debug/requests", 404, ""},
		{quiet, "/debug/events", 404, ""},
		{open, "/debug/requests", 404, ""},
		{talking, "/debug/pprof/", 200, "goroutine"},
		{talking, "/debug/requests", 200, "grpc.Recv./etcdserverpb.KV/Put"},
		{talking, "/debug/events", 200, "/debug/events"},
		{quiet, "/", 404, "404 page not found\n"},
		{quiet, "/v3/kv/range", 501, `"message":"Method Not Allowed"`},
		{open, "/debug/pprof/", 200, "goroutine"},
		{open, "/v3/kv/range", 404, "404 page not found\n"},
		{open, "/metrics", 200, "grpc_server_handling_seconds"},
	} {
		body, status := page(t, tc.m, tc.path)
		if status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s: %d %.200s", tc.path, status, body)
		}
	}
	if body, _ := page(t, quiet, "/metrics"); strings.Contains(body, "grpc_server_handling_seconds") {
		t.Error("histogram of calls without --metrics=extensive")
	}
}

func TestRoleNames(t *testing.T) {
	for role, want := range map[raft.Role]string{
		raft.Follower: "StateFollower", raft.PreCandidate: "StatePreCandidate", raft.Candidate: "StateCandidate", raft.Leader: "StateLeader",
	} {
		if got := roleName(role); got != want {
			t.Errorf("%v: %s", role, got)
		}
	}
}
