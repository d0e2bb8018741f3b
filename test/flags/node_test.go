package flags

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/quoin-kv/quoin/test/freeport"
)

// memberScenarios are of who a member is and where it listens.
// Ids that follow from the peer URLs and the token.
const (
	identityCluster = 0x171d7e792253ec39
	identityMember  = 0x54b32f924ca52d60
)

func memberScenarios() []scenario {
	return []scenario{
		{name: "identity", flags: "name data-dir wal-dir advertise-client-urls initial-advertise-peer-urls initial-cluster initial-cluster-token initial-cluster-state", options: func(_ *testing.T, dir string) options {
			return options{
				"name": "b", "data-dir": filepath.Join(dir, "elsewhere"), "wal-dir": filepath.Join(dir, "log"), "advertise-client-urls": "http://192.0.2.9:9",
				"initial-advertise-peer-urls": "http://192.0.2.9:7,http://192.0.2.9:8", "initial-cluster": "b=http://192.0.2.9:7,b=http://192.0.2.9:8",
				"initial-cluster-token": "word", "initial-cluster-state": "new",
			}
		}, see: seeIdentity},
		{
			name: "initial cluster without this member", flags: "initial-cluster", options: fixed(options{"initial-cluster": "x=http://127.0.0.1:1"}),
			refuses: &refusal{1, `couldn't find local name \"a\" in the initial cluster configuration`},
		},
		{name: "existing cluster", flags: "initial-cluster-state", options: fixed(options{
			"initial-cluster-state": "existing", "initial-cluster": "a=http://localhost:2380,x=http://127.0.0.1:1", "election-timeout": 100,
		}), refuses: &refusal{1, "could not retrieve cluster information"}},
		{name: "listeners", flags: "listen-client-urls listen-peer-urls listen-client-http-urls listen-metrics-urls", options: func(t *testing.T, _ string) options {
			return options{
				"listen-client-urls": "http://" + freeport.Address(t), "listen-peer-urls": "http://" + freeport.Address(t),
				"listen-client-http-urls": "http://" + freeport.Address(t), "listen-metrics-urls": "http://" + freeport.Address(t),
			}
		}, see: seeListeners},
		{name: "shared port", flags: "socket-reuse-port", options: func(t *testing.T, _ string) options {
			return options{"socket-reuse-port": true, "listen-client-urls": "http://" + freeport.Address(t)}
		}, see: seeSharedPort},
		{name: "timing", flags: "heartbeat-interval election-timeout", options: fixed(options{"heartbeat-interval": 560, "election-timeout": 2800}), see: func(t *testing.T, m *member) {
			// The least TTL is one and a half election timeouts in whole heartbeats; with another heartbeat it would be 5.
			g, err := m.client(t).Grant(soon(t), 1)
			if err != nil || g.TTL != 4 {
				t.Errorf("lease %v, %v; want one of 4 s", g, err)
			}
		}},
	}
}

func seeIdentity(t *testing.T, m *member) {
	c := m.client(t)
	var list *clientv3.MemberListResponse
	m.eventually(t, "the member is announced", func() (ok bool) {
		var err error
		list, err = c.MemberList(soon(t))
		return err == nil && len(list.Members[0].ClientURLs) > 0
	})
	one := list.Members[0]
	if one.Name != "b" || strings.Join(one.ClientURLs, " ") != "http://192.0.2.9:9" || strings.Join(one.PeerURLs, " ") != "http://192.0.2.9:7 http://192.0.2.9:8" {
		t.Errorf("member %v", one)
	}
	if list.Header.ClusterId != identityCluster || one.ID != identityMember { // which the token is part of
		t.Errorf("cluster %x, member %x", list.Header.ClusterId, one.ID)
	}
	if !exists(t, m.dir, "elsewhere", "member", "snap", "db") || !exists(t, m.dir, "log", "*.wal") || exists(t, m.dir, "data") {
		t.Error("files are not where they should be")
	}
}

func seeListeners(t *testing.T, m *member) {
	o := options{}
	for _, name := range []string{"listen-client-urls", "listen-peer-urls", "listen-client-http-urls", "listen-metrics-urls"} {
		o[name] = given(t, m, name)
	}
	put(t, m.client(t), 1, "x")
	for _, tc := range []struct {
		url, path string
		status    int
	}{
		{"listen-client-http-urls", "/version", http.StatusOK},
		{"listen-metrics-urls", "/metrics", http.StatusOK},
		{"listen-metrics-urls", "/health", http.StatusOK},
		{"listen-metrics-urls", "/version", http.StatusNotFound},
		{"listen-peer-urls", "/members", http.StatusOK},
		{"listen-client-urls", "/version", 0}, // serves gRPC alone now
	} {
		if status, body, _ := get(t, o[tc.url].(string)+tc.path); status != tc.status {
			t.Errorf("%s of %s: %d %s", tc.path, tc.url, status, body)
		}
	}
}

// given returns the value of an option as the member's log has it.
func given(t *testing.T, m *member, name string) string {
	t.Helper()
	value, ok := m.waitLog(t, "options that are not at their defaults")[name].(string)
	if !ok {
		t.Fatalf("--%s is not in the log", name)
	}
	return value
}

func seeSharedPort(t *testing.T, m *member) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		_ = raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, 15, 1) })
		return err
	}}
	l, err := lc.Listen(soon(t), "tcp", m.url)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

// storageScenarios are of log and database file.
func storageScenarios() []scenario {
	return []scenario{
		{name: "snapshots", flags: "snapshot-count max-snapshots", options: fixed(options{"snapshot-count": 5, "max-snapshots": 2, "backend-batch-limit": 1}), see: func(t *testing.T, m *member) {
			c := m.client(t)
			m.eventually(t, "there are two .snap files, of later and later entries", func() bool {
				put(t, c, 5, "x")
				found, err := filepath.Glob(filepath.Join(m.dir, "data", "member", "snap", "*.snap"))
				return err == nil && len(found) == 2 && !strings.HasSuffix(found[0], "-0000000000000005.snap") && found[0] > filepath.Join(m.dir, "data", "member", "snap", "0000000000000002-0000000000000020.snap")
			})
		}},
		{name: "log in memory", flags: "snapshot-catchup-entries", play: seeCatchup},
		{name: "log files", flags: "max-wals", options: fixed(options{"max-wals": 1, "unsafe-no-fsync": true, "snapshot-count": 10, "backend-batch-interval": "50ms", "quota-backend-bytes": -1}), see: func(t *testing.T, m *member) {
			c, value := m.client(t), strings.Repeat("x", 1<<20)
			m.eventually(t, "the first log file is gone, and only one is left beside the needed ones", func() bool {
				put(t, c, 5, value)
				found, err := filepath.Glob(filepath.Join(m.dir, "data", "member", "wal", "*.wal"))
				return err == nil && len(found) > 0 && !strings.HasSuffix(found[0], "0000000000000000-0000000000000000.wal") && len(found) <= 2
			})
		}},
		{name: "flush by time", flags: "backend-batch-interval", options: fixed(options{"backend-batch-interval": "20ms"}), see: func(t *testing.T, m *member) {
			c, begin := m.client(t), commits(t, m)
			first := time.Now()
			m.eventually(t, "five flushes", func() bool {
				put(t, c, 1, "x")
				return commits(t, m) >= begin+5
			})
			if took := time.Since(first); took > 4*time.Second { // one in a second is usual
				t.Errorf("five flushes took %v", took)
			}
		}},
		{name: "flush by number", flags: "backend-batch-limit", options: fixed(options{"backend-batch-limit": 2, "backend-batch-interval": "1h"}), see: func(t *testing.T, m *member) {
			c, begin := m.client(t), commits(t, m)
			m.eventually(t, "five flushes", func() bool {
				put(t, c, 2, "x")
				return commits(t, m) >= begin+5
			})
		}},
		{name: "pages in memory", flags: "memory-mlock", options: fixed(options{"memory-mlock": true}), see: func(t *testing.T, m *member) {
			status, err := os.ReadFile(filepath.Join("/proc", fmtInt(m.cmd.Process.Pid), "status"))
			if err != nil || strings.Contains(string(status), "VmLck:\t       0 kB") {
				t.Errorf("%v: %s", err, status)
			}
		}},
		{name: "free pages", flags: "backend-bbolt-freelist-type", options: fixed(options{"backend-bbolt-freelist-type": "array"}), see: told("backend-bbolt-freelist-type", "array")},
		{name: "rewrite at the start", flags: "bootstrap-defrag-threshold-megabytes", options: fixed(options{"bootstrap-defrag-threshold-megabytes": 1, "backend-batch-interval": "20ms"}), see: func(t *testing.T, m *member) {
			c := m.client(t)
			put(t, c, 10, strings.Repeat("x", 300<<10))
			resp, err := c.Delete(soon(t), "k", clientv3.WithPrefix())
			if err == nil {
				_, err = c.Compact(soon(t), resp.Header.Revision, clientv3.WithCompactPhysical())
			}
			if err != nil {
				t.Fatal(err)
			}
			m.eventually(t, "there is a megabyte free", func() bool {
				free, _ := m.metric(t, "quoin_backend_free_bytes")
				return free > 1<<20
			})
			m = m.again(t, options{"bootstrap-defrag-threshold-megabytes": 1})
			m.waitLog(t, "defragmented at the start")
			if free, ok := m.metric(t, "quoin_backend_free_bytes"); !ok || free > 1<<20 {
				t.Errorf("%v bytes of the file are free", free)
			}
		}},
		{name: "no sync", flags: "unsafe-no-fsync", options: fixed(options{"unsafe-no-fsync": true}), see: func(t *testing.T, m *member) {
			put(t, m.client(t), 5, "x")
			if n, ok := m.metric(t, "etcd_disk_wal_fsync_duration_seconds_count"); !ok || n > 0 {
				t.Errorf("%v syncs of the log", n)
			}
			m.waitLog(t, "files are never synced: a crash of the machine loses data")
		}},
		{name: "pauses of a compaction", flags: "compaction-batch-limit compaction-sleep-interval", options: fixed(options{"compaction-batch-limit": 2, "compaction-sleep-interval": "50ms"}), see: func(t *testing.T, m *member) {
			c := m.client(t)
			put(t, c, 20, "x")
			begin := time.Now()
			if _, err := c.Compact(soon(t), 20, clientv3.WithCompactPhysical()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took < 8*50*time.Millisecond { // ten steps
				t.Errorf("took %v", took)
			}
		}},
	}
}

// size is that of a file.
func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// seeCatchup: a leader with a learner keeps the last entries in memory and no more.
func seeCatchup(t *testing.T, f form) {
	one, two := "http://"+freeport.Address(t), "http://"+freeport.Address(t)
	of := func(name, url string) options {
		return options{
			"name": name, "listen-peer-urls": url, "initial-advertise-peer-urls": url, "initial-cluster": "a=" + one,
			"snapshot-count": 20, "snapshot-catchup-entries": 7, "backend-batch-interval": "20ms", "election-timeout": 500, "heartbeat-interval": 50,
		}
	}
	m := start(t, f, t.TempDir(), of("a", one))
	c := m.client(t)
	if _, err := c.MemberAddAsLearner(soon(t), []string{two}); err != nil {
		t.Fatal(err)
	}
	start(t, f, t.TempDir(), of("b", two).with(options{"initial-cluster": "a=" + one + ",b=" + two, "initial-cluster-state": "existing"}))
	put(t, c, 300, "x")
	m.eventually(t, "some entries are left in memory", func() bool {
		put(t, c, 1, "x")
		n, ok := m.metric(t, "quoin_raft_log_entries")
		return ok && n >= 7 && n < 100
	})
}

func commits(t *testing.T, m *member) float64 {
	t.Helper()
	n, ok := m.metric(t, "etcd_disk_backend_commit_duration_seconds_count")
	if !ok {
		t.Fatal("no metric of commits")
	}
	return n
}

// told is the check of options whose effect takes minutes, or cannot be seen from outside: they arrive.
func told(pairs ...string) func(*testing.T, *member) {
	return func(t *testing.T, m *member) {
		for i := 0; i < len(pairs); i += 2 {
			if got := given(t, m, pairs[i]); got != pairs[i+1] {
				t.Errorf("--%s is %s, want %s", pairs[i], got, pairs[i+1])
			}
		}
	}
}
