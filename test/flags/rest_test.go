package flags

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// maintenanceScenarios are of what a member does by itself.
func maintenanceScenarios() []scenario {
	return []scenario{
		{name: "compaction by time", flags: "auto-compaction-retention auto-compaction-mode", options: fixed(options{"auto-compaction-mode": "periodic", "auto-compaction-retention": "200ms"}), see: func(t *testing.T, m *member) {
			c := m.client(t)
			m.eventually(t, "history is compacted", func() bool {
				put(t, c, 1, "x")
				rev, ok := m.metric(t, "etcd_debugging_mvcc_compact_revision")
				return ok && rev > 0
			})
		}},
		{
			name: "compaction by number", flags: "auto-compaction-mode auto-compaction-retention", options: fixed(options{"auto-compaction-mode": "revision", "auto-compaction-retention": "5"}),
			see: told("auto-compaction-mode", "revision", "auto-compaction-retention", "5"),
		}, // it acts every five minutes
		{name: "checks", flags: "downgrade-check-time", options: fixed(options{"downgrade-check-time": "100ms"}), see: told("downgrade-check-time", "100ms")}, // of a downgrade to another program, which interop/ tests
		{name: "feature gates", flags: "feature-gates", options: fixed(options{"feature-gates": "SetMemberLocalAddr=true,AllBeta=false"}), see: func(t *testing.T, m *member) {
			m.waitLog(t, "no peer URL that this member advertises names an address to connect from")
			for name, want := range map[string]float64{`name="SetMemberLocalAddr",stage="ALPHA"`: 1, `name="FastLeaseKeepAlive",stage="BETA"`: 0} {
				if got, ok := m.metric(t, "etcd_server_feature_enabled{"+name+"}"); !ok || got != want {
					t.Errorf("%s: %v", name, got)
				}
			}
		}},
	}
}

// logScenarios are of the log.
func logScenarios() []scenario {
	return []scenario{
		{name: "log in a file", flags: "log-outputs log-format log-level logger", options: func(_ *testing.T, dir string) options {
			return options{"log-outputs": filepath.Join(dir, "one.log") + ",stderr", "log-format": "json", "log-level": "debug", "logger": "zap"}
		}, see: func(t *testing.T, m *member) {
			content, err := os.ReadFile(filepath.Join(m.dir, "one.log"))
			if err != nil || !bytes.Contains(content, []byte(`"msg":"ready to serve client requests"`)) {
				t.Errorf("%s, %v", content, err)
			}
			if status, _, _ := m.get(t, "/debug/pprof/"); status != http.StatusOK {
				t.Errorf("profiles at level debug: %d", status)
			}
		}},
		{name: "few words", flags: "log-level log-format", play: func(t *testing.T, f form) {
			m := launch(t, f, t.TempDir(), options{"log-level": "warn", "log-format": "console"})
			m.eventually(t, "there is a warning in columns", func() bool { return strings.Contains(m.log.text(), "\twarn\t") })
			if strings.Contains(m.log.text(), "\tinfo\t") {
				t.Error("there is information")
			}
		}},
		{name: "rotation", flags: "enable-log-rotation log-rotation-config-json", play: func(t *testing.T, f form) {
			dir := t.TempDir()
			log := filepath.Join(dir, "one.log")
			if err := os.WriteFile(log, bytes.Repeat([]byte("x\n"), 1<<19), 0o600); err != nil {
				t.Fatal(err)
			}
			m := launch(t, f, dir, options{"log-outputs": log, "enable-log-rotation": true, "log-rotation-config-json": `{"maxsize": 1}`})
			m.eventually(t, "the full file is put aside", func() bool { return exists(t, dir, "one-*.log") })
		}},
		{
			name: "rotation of nothing", flags: "enable-log-rotation", options: fixed(options{"enable-log-rotation": true}),
			refuses: &refusal{1, "--log-outputs requires a single file path when --log-rotate-config-json is defined"},
		},
		{name: "no journal", flags: "log-outputs", options: fixed(options{"log-outputs": "systemd/journal", "logger": "zap"}), refuses: &refusal{1, "can't find journal"}},
		{name: "old logger", flags: "logger", options: fixed(options{"logger": "capnslog"}), refuses: &refusal{1, "--logger=capnslog is removed in v3.5"}},
		{name: "unknown level", flags: "log-level", options: fixed(options{"log-level": "loud"}), refuses: &refusal{2, `unrecognized level: "loud"`}},
	}
}

// observeScenarios are of what others can see of a member.
func observeScenarios() []scenario {
	return []scenario{
		{name: "profiles and times of calls", flags: "enable-pprof metrics", options: fixed(options{"enable-pprof": true, "metrics": "extensive"}), see: func(t *testing.T, m *member) {
			put(t, m.client(t), 1, "x")
			if status, _, _ := m.get(t, "/debug/pprof/cmdline"); status != http.StatusOK {
				t.Errorf("profiles: %d", status)
			}
			if n, ok := m.metric(t, `grpc_server_handling_seconds_count{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}`); !ok || n != 1 {
				t.Errorf("times of puts: %v", n)
			}
		}},
		{name: "spans", flags: "enable-distributed-tracing distributed-tracing-address distributed-tracing-service-name distributed-tracing-instance-id distributed-tracing-sampling-rate", play: seeSpans},
	}
}

// seeSpans plays the collector.
func seeSpans(t *testing.T, f form) {
	spans := make(chan []byte, 10)
	collector := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var message []byte
		if err := stream.RecvMsg(&message); err != nil {
			return err
		}
		offer(spans, message)
		return stream.SendMsg(&[]byte{})
	}))
	address := serve(t, collector)
	m := start(t, f, t.TempDir(), options{
		"enable-distributed-tracing": true, "distributed-tracing-address": address, "distributed-tracing-service-name": "here",
		"distributed-tracing-instance-id": "number-one", "distributed-tracing-sampling-rate": 1000000,
	})
	put(t, m.client(t), 1, "x")
	message := expect(t, "span", spans)
	for _, word := range []string{"here", "number-one"} {
		if !bytes.Contains(message, []byte(word)) {
			t.Errorf("spans do not name %s: %q", word, message)
		}
	}
}

// ownScenarios are of what etcd does not have.
func ownScenarios() []scenario {
	return []scenario{
		{name: "connections", flags: "max-connections", options: fixed(options{"max-connections": 3}), see: func(t *testing.T, m *member) {
			served := 0
			for range 6 {
				c := dial(t, m.url)
				if _, err := io.WriteString(c, "GET /version HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
					served++
				}
			}
			if served != 3 {
				t.Errorf("%d connections are served", served)
			}
		}},
		{name: "grpc", flags: "grpc-server", options: fixed(options{"grpc-server": "grpc-go"}), see: func(t *testing.T, m *member) {
			put(t, m.client(t), 1, "x")
			if len(m.logs("gRPC is served by the server that is there to compare with")) != 1 {
				t.Error("another server")
			}
		}},
		{name: "rate", flags: "max-requests-per-second", options: fixed(options{"max-requests-per-second": 5}), see: func(t *testing.T, m *member) {
			c := m.client(t)
			refused := false
			for range 100 {
				if _, err := c.Put(soon(t), "k", "x"); err != nil {
					refused = true
				}
			}
			if !refused {
				t.Error("a hundred requests at once were taken")
			}
		}},
		{name: "alarm", flags: "keep-nospace-alarm quota-backend-bytes", options: fixed(options{"keep-nospace-alarm": true, "quota-backend-bytes": 100 << 10, "backend-batch-interval": "20ms"}), see: seeAlarm},
		{name: "reserve", flags: "disk-reserve-megabytes", options: fixed(options{"disk-reserve-megabytes": 3}), see: func(t *testing.T, m *member) {
			m.eventually(t, "three megabytes are held", func() bool {
				info, err := os.Stat(filepath.Join(m.dir, "data", "member", "reserve"))
				return err == nil && info.Size() == 3<<20
			})
		}},
		{name: "v2 API", flags: "enable-v2 v2-prefix", options: fixed(options{"enable-v2": true, "v2-prefix": "/old/"}), see: func(t *testing.T, m *member) {
			if _, err := m.client(t).Put(soon(t), "/old/a", "x"); err != nil {
				t.Fatal(err)
			}
			if status, body, _ := m.get(t, "/v2/keys/a"); status != http.StatusOK || !strings.Contains(body, `"key":"/a","value":"x"`) {
				t.Errorf("%d %s", status, body)
			}
		}},
		{
			name: "v2 API without a directory", flags: "v2-prefix", options: fixed(options{"enable-v2": true, "v2-prefix": "old"}),
			refuses: &refusal{1, "--v2-prefix must end with a slash"},
		},
		{name: "automatic rewrite", flags: "auto-defrag-percent", options: fixed(options{"auto-defrag-percent": 20, "unsafe-no-fsync": true}), see: seeRewrite},
	}
}

// seeRewrite: somewhat less than half of a large file is free, which has it rewritten, but not by default. In the other forms the value arrives.
func seeRewrite(t *testing.T, m *member) {
	if m.form != flags {
		told("auto-defrag-percent", "20")(t, m)
		return
	}
	c := m.client(t)
	for i := range 150 {
		if _, err := c.Put(soon(t), "k"+fmtInt(100+i), strings.Repeat("x", 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := c.Delete(soon(t), "k100", clientv3.WithRange("k168"))
	if err == nil {
		_, err = c.Compact(soon(t), resp.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		t.Fatal(err)
	}
	m.eventually(t, "the file is rewritten", func() bool {
		return len(m.logs("defragmented")) > 0 && size(t, filepath.Join(m.dir, "data", "member", "snap", "db")) < 100<<20
	})
}

// seeAlarm: the alarm stays although there is space again.
func seeAlarm(t *testing.T, m *member) {
	c := m.client(t)
	m.eventually(t, "there is no space", func() bool {
		_, err := c.Put(soon(t), "k", strings.Repeat("x", 10<<10))
		return err != nil
	})
	resp, err := c.Delete(soon(t), "k")
	if err == nil {
		_, err = c.Compact(soon(t), resp.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		t.Fatal(err)
	}
	m.eventually(t, "there is space again", func() bool {
		used, _ := m.metric(t, "quoin_backend_used_bytes")
		return used < 60<<10
	})
	if alarms, err := c.AlarmList(soon(t)); err != nil || len(alarms.Alarms) != 1 {
		t.Errorf("alarms %v, %v", alarms, err)
	}
}

// ignoredScenarios are of options without any effect, which the log says once.
func ignoredScenarios() []scenario {
	o := options{"v2-deprecation": "gone", "socket-reuse-address": true, "client-cert-file": "x", "client-key-file": "y"}
	for _, name := range strings.Fields("cluster-active-size cluster-remove-delay cluster-sync-interval config force max-result-buffer max-retry-attempts peer-election-timeout peer-heartbeat-interval retry-interval snapshot test.coverprofile test.outputdir v vv") {
		o[name] = "5"
	}
	var names []string
	for name := range o {
		names = append(names, name)
	}
	return []scenario{{name: "no effect", flags: strings.Join(names, " "), options: fixed(o), see: func(t *testing.T, m *member) {
		told := map[any]bool{}
		for _, line := range m.logs("this option has no effect") {
			told[line["flag"]] = true
		}
		for name := range o {
			if !told[name] {
				t.Errorf("nothing is said of --%s", name)
			}
		}
	}}}
}
