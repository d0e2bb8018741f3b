package embed

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/raft"
)

var update = flag.Bool("update", false, "rewrite testdata")

// TestMetricNames compares the metrics of a member that nobody has used yet, without those of the Go runtime, with the golden list.
func TestMetricNames(t *testing.T) {
	m := start(t, testConfig(t, t.TempDir()))
	body, _ := page(t, m, "/metrics")
	var got []string
	value := regexp.MustCompile(` [^ ]*$`)
	variable := regexp.MustCompile(`server_go_version="[^"]*"`)
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "# TYPE go_"), strings.HasPrefix(line, "# TYPE process_"):
		case strings.HasPrefix(line, "# TYPE "):
			got = append(got, line[len("# TYPE "):])
		case strings.HasPrefix(line, "etcd_"), strings.HasPrefix(line, "quoin_"), strings.HasPrefix(line, `grpc_server_handled_total{grpc_code="OK"`):
			if !strings.HasSuffix(line[:strings.IndexAny(line, "{ ")], "_bucket") || strings.Contains(line, `le="+Inf"`) {
				got = append(got, variable.ReplaceAllString(value.ReplaceAllString(line, ""), `server_go_version="go"`))
			}
		}
	}
	// What the member tells its cluster after its start may come before or after the page is read.
	got = slices.DeleteFunc(got, func(s string) bool {
		return strings.HasPrefix(s, "etcd_server_apply_duration_seconds") || strings.HasPrefix(s, "etcd_cluster_version")
	})
	golden(t, "metrics.txt", strings.Join(got, "\n")+"\n")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got\n%s", path, got)
	}
}

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
