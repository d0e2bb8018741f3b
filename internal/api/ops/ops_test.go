package ops

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a member that answers as told.
type fake struct {
	leaderless bool
	learner    bool
	alarms     []string
	broken     map[bool]error // by linearizable
	silent     bool           // Probe waits for its context
	cluster    string
	storage    string
}

func (f *fake) HasLeader() bool                    { return !f.leaderless }
func (f *fake) ActiveAlarms() []string             { return f.alarms }
func (f *fake) IsLearner() bool                    { return f.learner }
func (f *fake) Versions() (string, string, string) { return "3.7.1", f.cluster, f.storage }
func (f *fake) Probe(ctx context.Context, l bool) error {
	if f.silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.broken[l]
}

func pages(f *fake, obs HealthObserver) http.Handler {
	mux := http.NewServeMux()
	RegisterHealth(mux, f, obs)
	RegisterVersion(mux, f)
	RegisterVars(mux, func() any { return map[string]any{"id": "1"} })
	return mux
}

func ask(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestPages(t *testing.T) {
	bad := errors.New("etcdserver: request timed out")
	const healthy = `{"health":"true","reason":""}`
	for _, tc := range []struct {
		name   string
		member fake
		path   string
		status int
		body   string
	}{
		{"healthy", fake{}, "/health", 200, healthy},
		{"no leader", fake{leaderless: true}, "/health", 503, `{"health":"false","reason":"RAFT NO LEADER"}` + "\n"},
		{"no leader, local", fake{leaderless: true}, "/health?serializable=true", 200, healthy},
		{"serializable means exactly true", fake{leaderless: true}, "/health?serializable=1", 503, `{"health":"false","reason":"RAFT NO LEADER"}` + "\n"},
		{"read fails", fake{broken: map[bool]error{true: bad}}, "/health", 503, `{"health":"false","reason":"RANGE ERROR:etcdserver: request timed out"}` + "\n"},
		{"only the other read fails", fake{broken: map[bool]error{true: bad}}, "/health?serializable=true", 200, healthy},
		{"local read fails", fake{broken: map[bool]error{false: bad}}, "/health?serializable=true", 503, `{"health":"false","reason":"RANGE ERROR:etcdserver: request timed out"}` + "\n"},
		{"alarm first", fake{alarms: []string{"NOSPACE"}, leaderless: true}, "/health", 503, `{"health":"false","reason":"ALARM NOSPACE"}` + "\n"},
		{"alarm excluded", fake{alarms: []string{"NOSPACE"}}, "/health?exclude=NOSPACE", 200, healthy},
		{"exact case", fake{alarms: []string{"NOSPACE"}}, "/health?exclude=nospace", 503, `{"health":"false","reason":"ALARM NOSPACE"}` + "\n"},
		{"two alarms, one excluded", fake{alarms: []string{"NOSPACE", "CORRUPT"}}, "/health?exclude=NOSPACE", 503, `{"health":"false","reason":"ALARM CORRUPT"}` + "\n"},
		{"two alarms, both excluded", fake{alarms: []string{"NOSPACE", "CORRUPT"}}, "/health?exclude=NOSPACE&exclude=CORRUPT", 200, healthy},

		{"alive", fake{}, "/livez", 200, "ok\n"},
		{"alive without a leader", fake{leaderless: true, broken: map[bool]error{true: bad}}, "/livez", 200, "ok\n"},
		{"not alive", fake{broken: map[bool]error{false: bad}}, "/livez", 503, "[-]serializable_read failed: etcdserver: request timed out\n\n"},
		{"alive, verbose", fake{}, "/livez?verbose", 200, "[+]serializable_read ok\nok\n"},
		{"alive, one check", fake{}, "/livez/serializable_read", 200, "ok\n"},
		{"alive, unknown check", fake{}, "/livez/linearizable_read", 404, "404 page not found\n"},
		{"alive, nothing left to check", fake{broken: map[bool]error{false: bad}}, "/livez?exclude=serializable_read", 200, "ok\n"},
		{"no exclusion below the root", fake{broken: map[bool]error{false: bad}}, "/livez/serializable_read?exclude=serializable_read", 503, "[-]serializable_read failed: etcdserver: request timed out\n\n"},

		{"ready", fake{}, "/readyz", 200, "ok\n"},
		{"no space does not matter", fake{alarms: []string{"NOSPACE"}}, "/readyz", 200, "ok\n"},
		{"corrupt", fake{alarms: []string{"CORRUPT"}}, "/readyz/data_corruption", 503, "[-]data_corruption failed: alarm activated: CORRUPT\n\n"},
		{"learner", fake{learner: true}, "/readyz/non_learner", 503, "[-]non_learner failed: not supported for learner\n\n"},
		{"all lines when one fails", fake{broken: map[bool]error{true: bad}}, "/readyz", 503, "[+]data_corruption ok\n[+]serializable_read ok\n[-]linearizable_read failed: etcdserver: request timed out\n[+]non_learner ok\n\n"},
		{"failure excluded", fake{broken: map[bool]error{true: bad}}, "/readyz?exclude=linearizable_read&exclude=nothing", 200, "ok\n"},

		{"version", fake{cluster: "3.7.0", storage: "3.7.0"}, "/version", 200, `{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}`},
		{"version, undecided", fake{}, "/version", 200, `{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := ask(pages(&tc.member, HealthObserver{}), http.MethodGet, tc.path)
			if w.Code != tc.status || w.Body.String() != tc.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tc.status, tc.body)
			}
		})
	}
}

func TestMethodsAndHeaders(t *testing.T) {
	h := pages(&fake{}, HealthObserver{})
	for path, contentType := range map[string]string{
		"/health": "text/plain; charset=utf-8", "/livez": "text/plain; charset=utf-8", "/readyz": "text/plain; charset=utf-8",
		"/readyz/non_learner": "text/plain; charset=utf-8", "/version": "application/json", "/debug/vars": "application/json; charset=utf-8",
	} {
		w := ask(h, http.MethodGet, path)
		got := w.Header().Get("Content-Type")
		if got == "" {
			got = http.DetectContentType(w.Body.Bytes())
		}
		if w.Code != 200 || got != contentType {
			t.Errorf("%s: %d, %s", path, w.Code, got)
		}
		for _, method := range []string{http.MethodPost, http.MethodHead} {
			if w := ask(h, method, path); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodGet {
				t.Errorf("%s %s: %d, Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
		}
	}
	if got := ask(h, http.MethodGet, "/livez").Header().Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("X-Content-Type-Options %q", got)
	}
}

// TestSilentMember: a check that gets no answer fails in its time.
func TestSilentMember(t *testing.T) {
	for _, path := range []string{"/health", "/livez"} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := ask(pages(&fake{silent: true}, HealthObserver{}), http.MethodGet, path)
			if took := time.Since(start); w.Code != http.StatusServiceUnavailable || took != checkTimeout {
				t.Errorf("%s: %d after %v", path, w.Code, took)
			}
		})
	}
}

func TestVars(t *testing.T) {
	var vars map[string]any
	if err := json.Unmarshal(ask(pages(&fake{}, HealthObserver{}), http.MethodGet, "/debug/vars").Body.Bytes(), &vars); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(vars["raft.status"], map[string]any{"id": "1"}) {
		t.Errorf("raft.status %v", vars["raft.status"])
	}
	for _, name := range []string{"cmdline", "memstats", "file_descriptor_limit"} {
		if vars[name] == nil {
			t.Errorf("no %s", name)
		}
	}
}

// scrape returns the lines of /metrics.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := ask(m.Handler(), http.MethodGet, "/metrics")
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4; charset=utf-8") {
		t.Errorf("content type %s", got)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	m := NewMetrics()
	m.Register(Gauge{Name: "a_gauge", Read: func() float64 { return 7 }})
	version := ""
	m.RegisterVersion("a_version", "", "v", func() string { return version })
	if got := scrape(t, m); strings.Contains(got, "a_version") {
		t.Error("an undecided version is shown")
	}
	version = "3.6"
	scrape(t, m)
	version = "3.7"
	observer := m.Health()
	observer.Read = nil
	h := pages(&fake{leaderless: true}, observer)
	for _, path := range []string{"/health", "/health?serializable=true", "/livez", "/readyz"} {
		ask(h, http.MethodGet, path)
	}
	m.Sent(3)
	m.Received(4)
	m.Request("Put", 2*time.Millisecond, nil)
	m.Request("Put", time.Second, errors.New("x"))
	m.Range(300*time.Microsecond, nil)
	m.ClientRequests.WithLabelValues("unary", "3.7").Inc()
	got := scrape(t, m)
	for _, want := range []string{
		"a_gauge 7", `a_version{v="3.6"} 0`, `a_version{v="3.7"} 1`,
		"etcd_server_health_success 1", "etcd_server_health_failures 1",
		`etcd_server_healthcheck{name="serializable_read",type="livez"} 1`,
		`etcd_server_healthchecks_total{name="linearizable_read",status="success",type="readyz"} 1`,
		"etcd_network_client_grpc_sent_bytes_total 3", "etcd_network_client_grpc_received_bytes_total 4",
		`etcd_server_request_duration_seconds_bucket{success="true",type="Put",le="0.001"} 0`,
		`etcd_server_request_duration_seconds_bucket{success="true",type="Put",le="0.002"} 1`,
		`etcd_server_request_duration_seconds_bucket{success="true",type="Put",le="8.192"} 1`,
		`etcd_server_request_duration_seconds_count{success="false",type="Put"} 1`,
		`etcd_server_range_duration_seconds_bucket{success="true",le="0.0002"} 0`,
		`etcd_server_range_duration_seconds_bucket{success="true",le="52.4288"} 1`,
		"etcd_mvcc_range_total 1",
		`etcd_server_client_requests_total{client_api_version="3.7",type="unary"} 1`,
		`etcd_disk_wal_fsync_duration_seconds_bucket{le="8.192"} 0`,
		`etcd_debugging_lease_ttl_total_bucket{le="8.388608e+06"} 0`,
	} {
		if !strings.Contains(got, "\n"+want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	for _, name := range []string{"os_fd_limit", "os_fd_used"} {
		if strings.Contains(got, "\n"+name+" 0\n") || !strings.Contains(got, "\n"+name+" ") {
			t.Errorf("%s is not known", name)
		}
	}
}

// TestMembersDoNotShare: two members in one process count for themselves.
func TestMembersDoNotShare(t *testing.T) {
	a, b := NewMetrics(), NewMetrics()
	a.SlowApply.Inc()
	if got := scrape(t, b); !strings.Contains(got, "\netcd_server_slow_apply_total 0\n") {
		t.Error("one member's count shows at another's")
	}
}
