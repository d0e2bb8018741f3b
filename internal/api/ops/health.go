// Package ops is the edge for those who run a member: health, version, metrics and profiles over plain HTTP.
package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Member is what health checks ask.
type Member interface {
	HasLeader() bool
	// ActiveAlarms names the kinds of alarm that are raised anywhere in the cluster: NOSPACE, CORRUPT.
	ActiveAlarms() []string
	// Probe does a one-key read, through the leader or from local state.
	Probe(ctx context.Context, linearizable bool) error
	IsLearner() bool
	// Versions returns server, cluster and storage version, the latter two empty while undecided.
	Versions() (server, cluster, storage string)
}

// checkTimeout bounds one health check.
const checkTimeout = 7 * time.Second

// HealthObserver counts results; fields may be nil.
type HealthObserver struct {
	Health func(ok bool)
	Check  func(endpoint, name string, ok bool)
	Read   func(took time.Duration, err error) // each read that a check does
}

// RegisterHealth adds /health, /livez and /readyz.
func RegisterHealth(mux *http.ServeMux, m Member, obs HealthObserver) {
	mux.Handle("/health", GetOnly(&health{m, obs}))
	read := func(linearizable bool) func(context.Context) error {
		return func(ctx context.Context) error { return probe(ctx, m, linearizable, obs) }
	}
	local := check{"serializable_read", read(false)}
	registerChecks(mux, "livez", obs, []check{local})
	registerChecks(mux, "readyz", obs, []check{
		{"data_corruption", func(context.Context) error { return notCorrupt(m) }},
		local,
		{"linearizable_read", read(true)},
		{"non_learner", func(context.Context) error { return notLearner(m) }},
	})
}

// probe reads, and counts the read.
func probe(ctx context.Context, m Member, linearizable bool, obs HealthObserver) error {
	start := time.Now()
	err := m.Probe(ctx, linearizable)
	if obs.Read != nil {
		obs.Read(time.Since(start), err)
	}
	return err
}

func notCorrupt(m Member) error {
	if slices.Contains(m.ActiveAlarms(), "CORRUPT") {
		return fmt.Errorf("alarm activated: CORRUPT")
	}
	return nil
}

func notLearner(m Member) error {
	if m.IsLearner() {
		return fmt.Errorf("not supported for learner")
	}
	return nil
}

// GetOnly refuses other methods.
func GetOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// health is the old single check: alarms, leader, one read; the first failure is the answer.
type health struct {
	member Member
	obs    HealthObserver
}

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	reason := h.reason(r.Context(), query["exclude"], query.Get("serializable") == "true")
	if h.obs.Health != nil {
		h.obs.Health(reason == "")
	}
	WriteHealth(w, reason)
}

// WriteHealth answers why something is unhealthy, or that it is well if there is no reason.
func WriteHealth(w http.ResponseWriter, reason string) {
	body, err := json.Marshal(struct {
		Health string `json:"health"`
		Reason string `json:"reason"`
	}{fmt.Sprint(reason == ""), reason})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if reason != "" {
		http.Error(w, string(body), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write(body) // a client that went away needs no answer
}

// reason is why the member is unhealthy, or empty.
func (h *health) reason(ctx context.Context, excluded []string, local bool) string {
	for _, a := range h.member.ActiveAlarms() {
		if !slices.Contains(excluded, a) {
			return "ALARM " + a
		}
	}
	if !local && !h.member.HasLeader() {
		return "RAFT NO LEADER"
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := probe(ctx, h.member, !local, h.obs); err != nil {
		return "RANGE ERROR:" + err.Error()
	}
	return ""
}

// check is one named question.
type check struct {
	name string
	run  func(context.Context) error
}

// registerChecks adds /endpoint, which asks all checks, and /endpoint/name for each.
func registerChecks(mux *http.ServeMux, endpoint string, obs HealthObserver, checks []check) {
	handler := func(some []check, root bool) http.Handler {
		return GetOnly(&checkHandler{endpoint, some, root, obs})
	}
	mux.Handle("/"+endpoint, handler(checks, true))
	for _, c := range checks {
		mux.Handle("/"+endpoint+"/"+c.name, handler([]check{c}, false))
	}
}

type checkHandler struct {
	endpoint string
	checks   []check
	root     bool
	obs      HealthObserver
}

func (h *checkHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var report strings.Builder
	healthy := true
	for _, c := range h.checks {
		if h.root && slices.Contains(query["exclude"], c.name) {
			continue
		}
		err := h.run(r.Context(), c)
		if err != nil {
			healthy = false
			fmt.Fprintf(&report, "[-]%s failed: %v\n", c.name, err)
			continue
		}
		fmt.Fprintf(&report, "[+]%s ok\n", c.name)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if !healthy || query.Has("verbose") {
		_, _ = io.WriteString(w, report.String())
	}
	last := "ok\n"
	if !healthy {
		last = "\n" // etcd ends an error with an empty line
	}
	_, _ = io.WriteString(w, last)
}

func (h *checkHandler) run(ctx context.Context, c check) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := c.run(ctx)
	if h.obs.Check != nil {
		h.obs.Check(h.endpoint, c.name, err == nil)
	}
	return err
}

// RegisterVersion adds /version.
func RegisterVersion(mux *http.ServeMux, m Member) {
	mux.Handle("/version", GetOnly(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		server, cluster, storage := m.Versions()
		body, err := json.Marshal(struct {
			Server  string `json:"etcdserver"`
			Cluster string `json:"etcdcluster"`
			Storage string `json:"storage"`
		}{server, orElse(cluster, "not_decided"), orElse(storage, "unknown")})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})))
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
