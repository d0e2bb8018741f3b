package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite docs/configuration.md and deploy/quoin.conf.yml")

func TestDefaults(t *testing.T) {
	c, _, err := Parse(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		got, want any
	}{
		{"data directory", c.DataDir, "default.etcd"},
		{"initial cluster", c.InitialCluster, "default=http://localhost:2380"},
		{"client URLs", c.ListenClientURLs.String(), "http://localhost:2379"},
		{"quota", c.QuotaBytes, int64(2 << 30)},
		{"request bytes", c.MaxRequestBytes, uint(1572864)},
		{"streams", c.MaxConcurrentStreams, uint(4294967295)},
		{"watch progress", c.WatchProgress, 10 * time.Minute},
		{"keep-alive", []time.Duration{c.KeepAliveMinTime, c.KeepAliveInterval, c.KeepAliveTimeout}, []time.Duration{5 * time.Second, 2 * time.Hour, 20 * time.Second}},
		{"gateway", c.EnableGateway, true},
		{"snapshot count", c.SnapshotCount, uint64(10000)},
		{"strict reconfiguration", c.StrictReconfigCheck, true},
		{"tick advance", c.ElectionTickAdvance, true},
		{"discovery", c.Discovery, Discovery{DialTimeout: 2 * time.Second, RequestTimeout: 5 * time.Second, KeepAliveTime: 2 * time.Second, KeepAliveTimeout: 6 * time.Second, Insecure: true}},
		{"peer TLS", c.PeerTLS, TLS{}},
		{"force", c.ForceNewCluster, false},
	} {
		if !reflect.DeepEqual(tc.got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, tc.got, tc.want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		env  []string
		got  func(*Config) any
		want any
	}{
		{"one dash", []string{"-name", "a"}, nil, func(c *Config) any { return c.Name }, "a"},
		{"equals sign", []string{"--name=a=b"}, nil, func(c *Config) any { return c.Name }, "a=b"},
		{"the last one wins", []string{"--name=a", "--name=b"}, nil, func(c *Config) any { return c.Name }, "b"},
		{"bare boolean", []string{"--unsafe-no-fsync"}, nil, func(c *Config) any { return c.UnsafeNoFsync }, true},
		{"boolean off", []string{"--pre-vote=false"}, nil, func(c *Config) any { return c.PreVote }, false},
		{"environment", nil, []string{"ETCD_NAME=e"}, func(c *Config) any { return c.Name }, "e"},
		{"environment, boolean", nil, []string{"ETCD_ENABLE_GRPC_GATEWAY=false"}, func(c *Config) any { return c.EnableGateway }, false},
		{"empty variable is not set", []string{"--name=a"}, []string{"ETCD_NAME="}, func(c *Config) any { return c.Name }, "a"},
		{"other variables", nil, []string{"HOME=/root", "ETCDCTL_API=3", "NAME=x", "odd"}, func(c *Config) any { return c.Name }, "default"},
		{"flag and environment of different options", []string{"--name=a"}, []string{"ETCD_DATA_DIR=/d"}, func(c *Config) any { return c.Name + c.DataDir }, "a/d"},
		{"data directory follows the name", []string{"--name=a"}, nil, func(c *Config) any { return c.DataDir }, "a.etcd"},
		{"initial cluster follows name and peer URLs", []string{"--name=a", "--initial-advertise-peer-urls=http://10.0.0.2:1,http://10.0.0.1:1"}, nil, func(c *Config) any { return c.InitialCluster }, "a=http://10.0.0.1:1,a=http://10.0.0.2:1"},
		{"no quota", []string{"--quota-backend-bytes=-1"}, nil, func(c *Config) any { return c.QuotaBytes }, int64(-1)},
		{"hexadecimal", []string{"--quota-backend-bytes=0x10"}, nil, func(c *Config) any { return c.QuotaBytes }, int64(16)},
		{"zero stands for the default", []string{"--snapshot-count=0", "--watch-progress-notify-interval=0"}, nil, func(c *Config) any { return time.Duration(c.SnapshotCount) + c.WatchProgress }, 10000 + 10*time.Minute},
		{"sockets", []string{"--listen-client-urls=unix:///tmp/s,unix://localhost:1", "--advertise-client-urls=unix://localhost:1"}, nil, func(c *Config) any { return c.ListenClientURLs.String() }, "unix:///tmp/s,unix://localhost:1"},
		{"no initial cluster besides SRV records", []string{"--discovery-srv=example.com", "--discovery-srv-name=a"}, nil, func(c *Config) any { return c.InitialCluster + c.DiscoverySRV + c.DiscoverySRVName }, "example.coma"},
		{"no initial cluster besides discovery", []string{"--discovery-endpoints=a:1,b:1", "--discovery-token=t"}, nil, func(c *Config) any { return c.InitialCluster + c.Discovery.Endpoints.String() }, "a:1,b:1"},
		{"joining", []string{"--initial-cluster-state=existing"}, nil, func(c *Config) any { return c.InitialClusterState }, "existing"},
		{"peers with TLS", []string{"--listen-peer-urls=https://127.0.0.1:1", "--peer-cert-file=c", "--peer-key-file=k"}, nil, func(c *Config) any { return c.PeerTLS.CertFile + c.PeerTLS.KeyFile }, "ck"},
		{"peers with their own certificates", []string{"--listen-peer-urls=https://127.0.0.1:1", "--peer-auto-tls"}, nil, func(c *Config) any { return c.PeerTLS.AutoTLS }, true},
		{"certificates without a use", []string{"--peer-cert-file=c", "--peer-cert-allowed-cn=a,b", "--peer-cert-allowed-hostname=c"}, nil, func(c *Config) any { return c.PeerTLS.AllowedCNs.String() }, "a,b"},
		{"cipher suites", []string{"--cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}, nil, func(c *Config) any { return len(c.CipherSuites) }, 2},
		{"an empty list", []string{"--cipher-suites="}, nil, func(c *Config) any { return len(c.CipherSuites) }, 0},
		{"all addresses, and version 6", []string{"--listen-client-urls=http://:1,http://[::1]:2,http://0.0.0.0:3", "--advertise-client-urls=http://a:1"}, nil, func(c *Config) any { return len(c.ListenClientURLs) }, 3},
		{"advertised addresses may be names with TLS", []string{"--advertise-client-urls=https://a.example:1"}, nil, func(c *Config) any { return c.AdvertiseClientURLs.String() }, "https://a.example:1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _, err := Parse(tc.args, tc.env)
			if err != nil {
				t.Fatal(err)
			}
			if got := tc.got(c); got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	client := "--listen-client-urls="
	for _, tc := range []struct {
		args, env string // separated by spaces
		want      string
		usage     bool
	}{
		{"--nonsense", "", "flag provided but not defined: -nonsense", true},
		{"--name", "", "flag needs an argument: -name", true},
		{"--max-txn-ops=x", "", `invalid value "x" for flag -max-txn-ops: parse error`, true},
		{"--max-txn-ops=-1", "", `invalid value "-1" for flag -max-txn-ops: parse error`, true},
		{"--max-request-bytes=4294967296", "", `invalid value "4294967296" for flag -max-request-bytes: value out of range`, true},
		{"--max-learners=99999999999999999999", "", `invalid value "99999999999999999999" for flag -max-learners: value out of range`, true},
		{"--pre-vote=maybe", "", `invalid boolean value "maybe" for -pre-vote: parse error`, true},
		{"--warning-apply-duration=5", "", `invalid value "5" for flag -warning-apply-duration: parse error`, true},
		{"--backend-batch-interval=-1s", "", `invalid value "-1s" for flag -backend-batch-interval: must not be negative`, true},
		{"--initial-cluster-state=foo", "", `invalid value "foo" for flag -initial-cluster-state: invalid value`, true},
		{"--log-level=loud", "", `unrecognized level: "loud"`, true},
		{client + "http://127.0.0.1", "", `URL address does not have the form "host:port": http://127.0.0.1`, true},
		{client + "http://127.0.0.1:", "", `URL address does not have the form "host:port": http://127.0.0.1:`, true},
		{client + "http://127.0.0.1:1/a", "", "URL must not contain a path: http://127.0.0.1:1/a", true},
		{client + "127.0.0.1:1", "", "first path segment in URL cannot contain colon", true},
		{client + "tcp://127.0.0.1:1", "", "URL scheme must be http, https, unix, or unixs: tcp://127.0.0.1:1", true},
		{client + "http://127.0.0.1:1,", "", "URL scheme must be http, https, unix, or unixs: ", true},
		{client + "unix://", "", "URL does not name a socket file: unix://", true},
		{"serve", "", `"serve" is not a valid flag`, false},
		{client + "http://example.com:1", "", "expected IP in URL for binding (http://example.com:1)", false},
		{"--listen-peer-urls=http://example.com:1", "", "expected IP in URL for binding (http://example.com:1)", false},
		{client + "https://127.0.0.1:1", "", "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme", false},
		{client + "unixs:///s --cert-file=a", "", "TLS key/cert (--cert-file, --key-file) must be provided for client url unixs:///s with HTTPS scheme", false},
		{"--listen-client-http-urls=https://127.0.0.1:1", "", "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme", false},
		{"--listen-metrics-urls=https://127.0.0.1:1", "", "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url https://127.0.0.1:1", false},
		{"--listen-client-http-urls=http://localhost:2379", "", "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url http://localhost:2379", false},
		{"--listen-metrics-urls=http://example.com:1", "", "expected IP in URL for binding (http://example.com:1)", false},
		{client + "https://127.0.0.1:1 --advertise-client-urls=https://a:1 --auto-tls --client-cert-file=a", "", "ClientKeyFile and ClientCertFile must both be present or both absent: key: , cert: a]", false},
		{client + "https://127.0.0.1:1 --advertise-client-urls=https://a:1 --auto-tls --self-signed-cert-validity=0", "", "--self-signed-cert-validity must be >0 (set to 0)", false},
		{"--cors=foo", "", `invalid value "foo" for flag -cors: URL scheme must be http, https, unix, or unixs: foo`, true},
		{"--cors=http://a/b", "", "URL must not contain a path: http://a/b", true},
		{"--auto-compaction-mode=x", "", `unknown auto-compaction-mode "x"`, false},
		{"--auto-compaction-mode=", "", "undefined auto-compaction-mode", false},
		{"--auto-compaction-retention=x", "", `error parsing CompactionRetention: time: invalid duration "x"`, false},
		{"--auto-compaction-retention=-1", "", `error parsing CompactionRetention: time: missing unit in duration "-1"`, false},
		{"--compact-hash-check-time=0", "", "--compact-hash-check-time must be >0 (set to 0s)", false},
		{"--feature-gates=X=true", "", `invalid value "X=true" for flag -feature-gates: unrecognized feature gate: X`, true},
		{"--feature-gates=LeaseCheckpoint", "", `invalid value "LeaseCheckpoint" for flag -feature-gates: missing bool value for LeaseCheckpoint`, true},
		{"--feature-gates=LeaseCheckpoint=x", "", `invalid value of LeaseCheckpoint=x, err: strconv.ParseBool: parsing "x": invalid syntax`, true},
		{"--feature-gates=LeaseCheckpointPersist=true", "", "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint", false},
		{"--auto-defrag-percent=101", "", "--auto-defrag-percent must be at most 100 (set to 101)", false},
		{"--range-budget-bytes=-1", "", "--range-budget-bytes must not be negative (set to -1)", false},
		{"--enable-distributed-tracing --distributed-tracing-sampling-rate=-1", "", "distributed tracing configurition is not valid: (tracing sampling rate must be positive)", false},
		{"--v2-deprecation=not-yet", "", `invalid value "not-yet" for flag -v2-deprecation: invalid value "not-yet"`, true},
		{"--cluster-active-size 3", "", `"3" is not a valid flag`, false},
		{"--enable-log-rotation", "", "--log-outputs requires a single file path when --log-rotate-config-json is defined", false},
		{"--enable-log-rotation --log-outputs=a,b", "", "--log-outputs requires a single file path when --log-rotate-config-json is defined", false},
		{"--enable-log-rotation --log-outputs=a --log-rotation-config-json=nope", "", "improperly formatted log rotation config: invalid character 'o' in literal null (expecting 'u')", false},
		{`--enable-log-rotation --log-outputs=a --log-rotation-config-json={"maxsize":"x"}`, "", "invalid log rotation config: json: cannot unmarshal string into Go struct field Logger.maxsize of type int", false},
		{`--enable-log-rotation --log-outputs=a --log-rotation-config-json={"maxsize":-1}`, "", "invalid log rotation config", false},
		{client + "http://127.0.0.1:1", "", "--advertise-client-urls is required when --listen-client-urls is set explicitly", false},
		{"", "ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:1", "--advertise-client-urls is required when --listen-client-urls is set explicitly", false},
		{"--name=a", "ETCD_NAME=a", "conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable or disable flag))", false},
		{"", "ETCD_MAX_TXN_OPS=x", `invalid value "x" for ETCD_MAX_TXN_OPS: parse error`, false},
		{"", "ETCD_CONFIG_FILE=/nowhere/etcd.yml", "open /nowhere/etcd.yml: no such file or directory", false},
		{"--config-file=/nowhere/etcd.yml", "", "open /nowhere/etcd.yml: no such file or directory", false},
		{"--heartbeat-interval=0", "", "--heartbeat-interval must be >0 (set to 0ms)", false},
		{"--election-timeout=0", "", "--election-timeout must be >0 (set to 0ms)", false},
		{"--heartbeat-interval=201", "", "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[201ms]", false},
		{"--election-timeout=50001", "", "--election-timeout[50001ms] is too long, and should be set less than 50000ms", false},
		{"--max-learners=-1", "", "--max-learners must be >=0 (set to -1)", false},
		{"--backend-batch-limit=-1", "", "--backend-batch-limit must be >=0 (set to -1)", false},
		{"--compaction-batch-limit=-1", "", "--compaction-batch-limit must be >=0 (set to -1)", false},
		{"--initial-advertise-peer-urls=http://:1", "", `--initial-advertise-peer-urls "http://:1" must be "host:port" (unexpected empty host (http://:1))`, false},
		{"--advertise-client-urls=http://:1", "", `--advertise-client-urls "http://:1" must be in the format "host:port", "unix:/path/to/socket" or "unixs:/path/to/socket" (unexpected empty host (http://:1))`, false},
		{"--discovery=http://a:1", "", "flag provided but not defined: -discovery", true},
		{"--discovery-proxy=http://a:1", "", "flag provided but not defined: -discovery-proxy", true},
		{"--discovery-fallback=foo", "", `invalid value "foo" for flag -discovery-fallback: invalid value`, true},
		{"--discovery-fallback=proxy", "", `v2 proxy is deprecated, and --discovery-fallback can't be configured as "proxy"`, false},
		{"--discovery-srv=a --initial-cluster=b=http://c:1", "", `multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery-endpoints" or "discovery-srv"`, false},
		{"--discovery-srv=a --discovery-token=t --discovery-endpoints=e", "", `multiple discovery or bootstrap flags are set.`, false},
		{"--discovery-token=t --discovery-endpoints=e --initial-cluster=b=http://c:1", "", `multiple discovery or bootstrap flags are set.`, false},
		{"--discovery-token=t", "ETCD_DISCOVERY_SRV=a", `multiple discovery or bootstrap flags are set.`, false},
		{"--discovery-token=t", "", "both --discovery-token and --discovery-endpoints must be set", false},
		{"--discovery-endpoints=e", "", "both --discovery-token and --discovery-endpoints must be set", false},
		{"--discovery-endpoints=e, --discovery-token=t", "", "--discovery-endpoints must not contain empty endpoints", false},
		{"--tls-min-version=TLS1.1", "", `unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)`, false},
		{"--tls-max-version=TLS1.1", "", `unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)`, false},
		{"--tls-min-version=TLS1.3 --tls-max-version=TLS1.2", "", "min version (TLS1.3) is greater than max version (TLS1.2)", false},
		{"--tls-min-version=TLS1.3 --cipher-suites=TLS_AES_128_GCM_SHA256", "", "cipher suites cannot be configured when only TLS1.3 is enabled", false},
		{"--cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA,nope", "", `unexpected TLS cipher suite "nope"`, false},
		{"--listen-peer-urls=https://127.0.0.1:1", "", "cannot listen on TLS for https://127.0.0.1:1: KeyFile and CertFile are not presented", false},
		{"--listen-peer-urls=https://127.0.0.1:1 --peer-cert-file=a", "", "KeyFile and CertFile must both be present[key: , cert: a]", false},
		{"--initial-advertise-peer-urls=https://127.0.0.1:1 --peer-key-file=a", "", "KeyFile and CertFile must both be present[key: a, cert: ]", false},
		{"--listen-peer-urls=https://127.0.0.1:1 --peer-auto-tls --peer-client-key-file=a", "", "ClientKeyFile and ClientCertFile must both be present or both absent: key: a, cert: ]", false},
		{"--listen-peer-urls=https://127.0.0.1:1 --peer-auto-tls --peer-cert-allowed-cn=a --peer-cert-allowed-hostname=b", "", `AllowedCNs and AllowedHostnames are mutually exclusive (cns=["a"], hostnames=["b"])`, false},
		{"--listen-peer-urls=https://127.0.0.1:1 --peer-auto-tls --self-signed-cert-validity=0", "", "--self-signed-cert-validity must be >0 (set to 0)", false},
		{"--log-format=xml", "", "unknown log format: xml, supported values json, console", false},
		{"--logger=capnslog", "", "--logger=capnslog is removed in v3.5", false},
		{"--logger=x", "", `unknown logger option "x"`, false},
		{"--log-outputs=default,stdout", "", `multi logoutput for "default" is not supported yet`, false},
		{"--log-outputs=stdout,", "", "--log-outputs must not contain empty names", false},
	} {
		t.Run(tc.args+tc.env, func(t *testing.T) {
			_, _, err := Parse(strings.Fields(tc.args), strings.Fields(tc.env))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if errors.Is(err, ErrUsage) != tc.usage {
				t.Errorf("error %v counts as usage: %t", err, !tc.usage)
			}
		})
	}
}

func TestInsteadOfAMember(t *testing.T) {
	for arg, want := range map[string]error{"--help": flag.ErrHelp, "-h": flag.ErrHelp, "--version": ErrVersion, "-version=true": ErrVersion} {
		if _, _, err := Parse([]string{arg}, []string{"ETCD_MAX_TXN_OPS=x"}); !errors.Is(err, want) {
			t.Errorf("%s: %v", arg, err)
		}
	}
	if c, _, err := Parse([]string{"--name", "--version"}, nil); err != nil || c.Name != "--version" {
		t.Errorf("a member named --version: %v", err)
	}
}

// texts are the notices' texts, each with the first field's value.
func texts(notices []Notice) (out []string) {
	for _, n := range notices {
		out = append(out, fmt.Sprint(n.Text, " ", n.Fields[1]))
	}
	return out
}

func TestNotices(t *testing.T) {
	for _, tc := range []struct {
		args, env string // separated by spaces
		want      []string
	}{
		{"", "ETCD_NONSENSE=1 ETCD_VERSION=3 ETCD_VERIFY=all ETCD_UNSUPPORTED_ARCH=386 ETCD_EMPTY=", []string{"unrecognized environment variable ETCD_NONSENSE", "cannot set special environment variable ETCD_VERSION"}},
		{"--quota-backend-bytes=8589934593", "", []string{"quota exceeds the maximum value 8589934593"}},
		{"--max-request-bytes=10485761", "", []string{"exceeded recommended request limit 10485761"}},
		{"--max-snapshots=10", "", []string{"--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8. max-snapshots"}},
		{"--bcrypt-cost=32", "", []string{"use default bcrypt cost instead of the invalid given cost 4"}},
		{"--snapshot --v=5 --v2-deprecation=gone", "", []string{
			"this option has no effect v2-deprecation", "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is enforced, ignoring user input. v2-deprecation", "this option has no effect snapshot", "this option has no effect v",
		}},
		{"", "ETCD_SOCKET_REUSE_ADDRESS=true ETCD_FORCE=x", []string{"this option has no effect socket-reuse-address", "this option has no effect force"}},
		{"--feature-gates=PriorityRequest=true", "", []string{"this feature gate has no effect PriorityRequest"}},
		{"--auto-compaction-mode=revision --auto-compaction-retention=1h", "", []string{"auto-compaction-retention is a duration, but counts revisions with auto-compaction-mode revision: so many are never reached 1h"}},
		{"--metrics=all", "", []string{"unknown --metrics counts as basic all"}},
	} {
		_, notices, err := Parse(append([]string{"--name=a", "--data-dir=a"}, strings.Fields(tc.args)...), strings.Fields(tc.env))
		if got := texts(notices); err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s %s: %q, %v; want %q", tc.args, tc.env, got, err, tc.want)
		}
	}
	_, notices, err := Parse(nil, nil)
	want := []string{"the name is left at its default; the members of a cluster need names of their own, see --name default", "'data-dir' was empty; using default default.etcd"}
	if got := texts(notices); err != nil || !slices.Equal(got, want) {
		t.Errorf("nothing said: %q, %v", got, err)
	}
}

func TestArchitecture(t *testing.T) {
	for _, tc := range []struct {
		arch, env string
		ok        bool
	}{{"amd64", "", true}, {"s390x", "", true}, {"riscv64", "", false}, {"riscv64", "ETCD_UNSUPPORTED_ARCH=riscv64", true}, {"riscv64", "ETCD_UNSUPPORTED_ARCH=386", false}} {
		if err := checkArchitecture(tc.arch, []string{tc.env}); (err == nil) != tc.ok {
			t.Errorf("%s, %s: %v", tc.arch, tc.env, err)
		}
	}
}

func TestCompleteChecksWhatIsSetByHand(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"no address": func(c *Config) { c.ListenClientURLs = nil },
		"negative":   func(c *Config) { c.BatchInterval = -1 },
		"scheme":     func(c *Config) { c.ListenClientURLs[0].Scheme = "https" },
		"state":      func(c *Config) { c.InitialClusterState = "old" },
		"sources":    func(c *Config) { c.InitialCluster, c.DiscoverySRV = "a=http://b:1", "c" },
	} {
		c := Default()
		spoil(c)
		if c.Complete() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c := Default()
	if err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	once := *c
	if err := c.Complete(); err != nil || !reflect.DeepEqual(once, *c) {
		t.Errorf("completing again changed something, or %v", err)
	}
}

// TestTable: every option has its own name and text, and its default reads back.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range Default().options() {
		if seen[o.Name] || o.Usage == "" || o.Group == "" || strings.HasSuffix(o.Usage, ".") || strings.Contains(o.Usage, "|") {
			t.Errorf("option %+v", o)
		}
		seen[o.Name] = true
		if o.Default == "" {
			continue
		}
		if err := o.Value.Set(o.Default); err != nil || o.Value.String() != o.Default {
			t.Errorf("default of %s reads back as %q, %v", o.Name, o.Value.String(), err)
		}
	}
}

func TestHelpListsEveryOption(t *testing.T) {
	var help bytes.Buffer
	WriteHelp(&help)
	for _, o := range Default().options() {
		if !strings.Contains(help.String(), "--"+o.Name+" '"+o.Default+"'\n") {
			t.Errorf("help lacks --%s", o.Name)
		}
	}
	for _, g := range Gates() {
		if !strings.Contains(help.String(), "  "+g.Name+"=true|false") {
			t.Errorf("help lacks gate %s", g.Name)
		}
	}
}

// TestDocument and TestSample: the files that come from the table are as it says.
func TestDocument(t *testing.T) {
	compareFile(t, filepath.Join("docs", "configuration.md"), writeDocument)
}

func TestSample(t *testing.T) {
	compareFile(t, filepath.Join("deploy", "quoin.conf.yml"), writeSample)
}

func compareFile(t *testing.T, path string, write func(io.Writer)) {
	t.Helper()
	path = filepath.Join("..", "..", path)
	var want bytes.Buffer
	write(&want)
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is stale: go test ./internal/config -run %s -update", path, t.Name())
	}
}

func logger(t *testing.T, args ...string) (*slog.Logger, *bytes.Buffer) {
	t.Helper()
	c, _, err := Parse(args, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	return NewLogger(out, c), out
}

// keys returns the keys of a JSON object in their order.
func keys(t *testing.T, line []byte) []string {
	t.Helper()
	var out []string
	d := json.NewDecoder(bytes.NewReader(line))
	depth := 0
	for isKey := false; ; {
		token, err := d.Token()
		if err != nil {
			return out
		}
		delim, isDelim := token.(json.Delim)
		switch {
		case isDelim && delim == '{':
			depth++
			isKey = true
		case isDelim && delim == '}':
			depth--
			isKey = true
		case depth == 1 && isKey:
			out = append(out, token.(string))
			isKey = false
		case depth == 1:
			isKey = true
		}
	}
}

func TestLogJSON(t *testing.T) {
	l, out := logger(t)
	l.With("a", 1).Warn("he said \"no\"\n\x01", "error", errors.New("disk"), "took", 2*time.Second, slog.Group("g", "level", 5), "msg", "dropped")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, want := strings.Join(keys(t, out.Bytes()), " "), "level ts caller msg a error took g"; got != want {
		t.Errorf("keys %s, want %s", got, want)
	}
	if line["level"] != "warn" || line["msg"] != "he said \"no\"\n\x01" || line["error"] != "disk" || line["took"] != "2s" || line["a"] != 1.0 {
		t.Errorf("line %s", out)
	}
	if _, err := time.Parse(timeLayout, line["ts"].(string)); err != nil {
		t.Error(err)
	}
	if caller := line["caller"].(string); !strings.HasPrefix(caller, "config/config_test.go:") {
		t.Errorf("caller %s", caller)
	}
	out.Reset()
	l.Info("bare")
	if s := out.String(); !strings.HasSuffix(s, `"msg":"bare"}`+"\n") {
		t.Errorf("line %s", s)
	}
}

func TestLogConsole(t *testing.T) {
	l, out := logger(t, "--log-format=console")
	l.WithGroup("g").Info("two\nlines", "a", "b")
	columns := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\t")
	if len(columns) != 5 || columns[1] != "info" || columns[3] != "two lines" || columns[4] != `{"g":{"a":"b"}}` {
		t.Errorf("line %q", out)
	}
}

func TestLogLevels(t *testing.T) {
	for i, least := range levels() {
		l, out := logger(t, "--log-level="+levelName(least))
		for _, level := range levels() {
			l.Log(t.Context(), level, "x")
		}
		if got, want := strings.Count(out.String(), "\n"), len(levels())-i; got != want {
			t.Errorf("%s: %d lines, want %d", levelName(least), got, want)
		}
		if !strings.Contains(out.String(), `{"level":"fatal",`) {
			t.Errorf("%s: %s", levelName(least), out)
		}
	}
}

func TestOpenLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	c := Default()
	c.LogOutputs = Words{path}
	for range 2 {
		w, closeLog, err := c.OpenLog()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("line\n")); err != nil {
			t.Error(err)
		}
		if err := closeLog(); err != nil {
			t.Error(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "line\nline\n" {
		t.Errorf("file %q, %v", got, err)
	}
	c.LogOutputs = Words{path, filepath.Join(dir, "missing", "log")}
	if _, _, err := c.OpenLog(); err == nil || !strings.Contains(err.Error(), "opening log output") {
		t.Errorf("error %v", err)
	}
}
