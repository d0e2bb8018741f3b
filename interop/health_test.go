package interop

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/interop/process"
)

// answer is what a page says, with the lines of a text in one order.
type answer struct {
	status            int
	kind, allow, body string
	options           string
}

// healthPaths are asked of both servers in every state.
var healthPaths = []string{
	"/health", "/health?serializable=true", "/health?serializable=1", "/health?exclude=NOSPACE", "/health?exclude=CORRUPT",
	"/health?exclude=NOSPACE&exclude=CORRUPT", "/health?exclude=nospace", "/health/x",
	"/livez", "/livez?verbose", "/livez?verbose=false", "/livez/serializable_read", "/livez/serializable_read?verbose", "/livez/linearizable_read",
	"/livez?exclude=serializable_read", "/livez?exclude=nothing", "/livez/serializable_read?exclude=serializable_read", "/livez/",
	"/readyz", "/readyz?verbose", "/readyz/data_corruption", "/readyz/serializable_read", "/readyz/linearizable_read", "/readyz/non_learner",
	"/readyz/non_learner?verbose", "/readyz?exclude=data_corruption&verbose", "/readyz?exclude=data_corruption&exclude=non_learner&verbose", "/readyz/nothing",
	"/", "/config", "/debug/pprof/", "/debug/requests", "/v2/keys",
}

// TestHealth: the pages for health are answered as by a real etcd: as long as all is well, with each alarm, and with both.
func TestHealth(t *testing.T) {
	t.Parallel()
	cfg := process.Config{Builder: builder, Volatile: true}
	cfg.Program = process.Etcd()
	etcd := process.Start(t, cfg)
	cfg.Program = process.Quoin()
	quoin := process.Start(t, cfg)
	compare := func(state, method string, paths ...string) {
		for _, path := range paths {
			want, got := askPage(t, etcd, method, path), askPage(t, quoin, method, path)
			if got != want {
				t.Errorf("%s: %s %s\n got %+v\nwant %+v", state, method, path, got, want)
			}
		}
	}
	compare("at rest", http.MethodGet, healthPaths...)
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		compare("at rest", method, "/health", "/livez", "/livez/serializable_read", "/readyz", "/version", "/debug/vars")
	}
	// With one alarm, then with two.
	for _, alarm := range []pb.AlarmType{pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT} {
		for _, s := range []*process.Server{etcd, quoin} {
			setAlarm(t, s, pb.AlarmRequest_ACTIVATE, alarm)
		}
		compare(alarm.String(), http.MethodGet, slices.DeleteFunc(slices.Clone(healthPaths), func(path string) bool {
			// Of two alarms etcd names any one.
			return strings.HasPrefix(path, "/health") && !strings.Contains(path, "exclude=NOSPACE") && !strings.Contains(path, "exclude=CORRUPT")
		})...)
	}
	for _, s := range []*process.Server{etcd, quoin} {
		setAlarm(t, s, pb.AlarmRequest_DEACTIVATE, pb.AlarmType_NOSPACE)
	}
	compare("CORRUPT alone", http.MethodGet, healthPaths...)
	sameKeys(t, etcd, quoin)
}

// TestHealthWithoutQuorum: what is left of a cluster says so as etcd does, in the same time.
func TestHealthWithoutQuorum(t *testing.T) {
	t.Parallel()
	cfg := process.Config{Builder: builder, Volatile: true}
	var left []*process.Server
	for _, p := range []process.Program{process.Etcd(), process.Quoin()} {
		members := process.StartCluster(t, cfg, p, p, p)
		members[1].Kill()
		members[2].Kill()
		left = append(left, members[0])
	}
	for _, s := range left {
		for askPage(t, s, http.MethodGet, "/health").body != `{"health":"false","reason":"RAFT NO LEADER"}`+"\n" {
			if t.Context().Err() != nil {
				t.Fatal(t.Context().Err())
			}
		}
	}
	for _, path := range []string{"/health", "/health?serializable=true", "/livez", "/livez?verbose", "/readyz", "/readyz?exclude=linearizable_read", "/readyz/linearizable_read"} {
		var answers [2]answer
		var both sync.WaitGroup
		for i, s := range left {
			both.Go(func() { answers[i] = askPage(t, s, http.MethodGet, path) })
		}
		both.Wait()
		if answers[0] != answers[1] {
			t.Errorf("%s\n got %+v\nwant %+v", path, answers[1], answers[0])
		}
	}
}

func setAlarm(t *testing.T, s *process.Server, action pb.AlarmRequest_AlarmAction, alarm pb.AlarmType) {
	t.Helper()
	conn := s.Dial(t)
	defer conn.Close()
	m := pb.NewMaintenanceClient(conn)
	status, err := m.Status(t.Context(), &pb.StatusRequest{})
	check(t, err)
	_, err = m.Alarm(t.Context(), &pb.AlarmRequest{Action: action, MemberID: status.Header.MemberId, Alarm: alarm})
	check(t, err)
}

func askPage(t *testing.T, s *process.Server, method, path string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, nil)
	check(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	check(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(t, err)
	lines := strings.SplitAfter(string(body), "\n")
	slices.Sort(lines)
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), resp.Header.Get("Allow"), strings.Join(lines, ""), resp.Header.Get("X-Content-Type-Options")}
}

// sameKeys: pages in JSON have the same fields.
func sameKeys(t *testing.T, etcd, quoin *process.Server) {
	t.Helper()
	for _, path := range []string{"/version", "/debug/vars"} {
		fields := func(s *process.Server) (names []string, raft []string) {
			body, _ := fetch(t, s, path)
			var all map[string]any
			check(t, json.Unmarshal([]byte(body), &all))
			status, _ := all["raft.status"].(map[string]any)
			return slices.Sorted(maps.Keys(all)), slices.Sorted(maps.Keys(status))
		}
		theirs, theirRaft := fields(etcd)
		ours, ourRaft := fields(quoin)
		if !slices.Equal(ours, theirs) || !slices.Equal(ourRaft, theirRaft) {
			t.Errorf("%s has the fields %v %v, etcd's %v %v", path, ours, ourRaft, theirs, theirRaft)
		}
	}
}
