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
	problems, err := metrics.CheckMonitoring(seen, "../deploy")
	must(t, err)
	for _, p := range problems {
		t.Error(p)
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
