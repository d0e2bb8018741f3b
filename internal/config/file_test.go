package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// inFile parses a configuration file of that content.
func inFile(t *testing.T, content string) (*Config, []Notice, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "conf.yml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return Parse([]string{"--config-file=" + path}, nil)
}

func TestFile(t *testing.T) {
	for _, tc := range []struct {
		name, content string
		got           func(*Config) any
		want          any
	}{
		{"text", "name: a", func(c *Config) any { return c.Name }, "a"},
		{"JSON", `{"name": "a", "max-txn-ops": 5}`, func(c *Config) any { return c.Name + fmt.Sprint(c.MaxTxnOps) }, "a5"},
		{"nothing keeps the defaults", "", func(c *Config) any { return c.Name }, "default"},
		{"null keeps the default", "name: null\nsocket-options: null", func(c *Config) any { return c.Name }, "default"},
		{"boolean", "pre-vote: false", func(c *Config) any { return c.PreVote }, false},
		{"numbers keep all their digits", "quota-backend-bytes: 9007199254740993", func(c *Config) any { return c.QuotaBytes }, int64(9007199254740993)},
		{"negative", "quota-backend-bytes: -1", func(c *Config) any { return c.QuotaBytes }, int64(-1)},
		{"nanoseconds", "warning-apply-duration: 5000000000", func(c *Config) any { return c.WarningApply }, 5 * time.Second},
		{"duration with a unit", "warning-apply-duration: 5s", func(c *Config) any { return c.WarningApply }, 5 * time.Second},
		{"addresses with commas", "listen-client-urls: http://127.0.0.1:2,http://127.0.0.1:1", func(c *Config) any { return c.ListenClientURLs.String() }, "http://127.0.0.1:1,http://127.0.0.1:2"},
		{"listening alone is enough", "listen-client-urls: http://127.0.0.1:2", func(c *Config) any { return c.AdvertiseClientURLs.String() }, "http://localhost:2379"},
		{"list", "log-outputs: [stdout, stderr]", func(c *Config) any { return c.LogOutputs.String() }, "stdout,stderr"},
		{"list as text", "log-outputs: stdout,stderr", func(c *Config) any { return c.LogOutputs.String() }, "stdout,stderr"},
		{"map", "client-transport-security: {cert-file: a, key-file: b, auto-tls: true, allowed-hostname: [c, d]}", func(c *Config) any {
			return c.ClientTLS.CertFile + c.ClientTLS.KeyFile + c.ClientTLS.AllowedHostnames.String()
		}, "abc,d"},
		{"other map", "peer-transport-security: {allowed-cn: [a], skip-client-san-verification: true}", func(c *Config) any {
			return c.PeerTLS.AllowedCNs.String() + strconv.FormatBool(c.PeerTLS.SkipClientSANVerification)
		}, "atrue"},
		{"sockets", "socket-options: {reuse-port: true}", func(c *Config) any { return c.SocketReusePort }, true},
		{"discovery", "discovery-config: {token: t, client: {endpoints: ['a:1'], request-timeout: 1000, auth: {username: u}, secure: {cacert: f, insecure-transport: false}}}", func(c *Config) any {
			d := &c.Discovery
			return fmt.Sprint(d.Token, d.Endpoints, d.RequestTimeout, d.User, d.TrustedCAFile, d.Insecure)
		}, "t[a:1] 1µsuffalse"},
		{"gates", "feature-gates: CompactHashCheck=true,AllBeta=false", func(c *Config) any {
			return fmt.Sprint(c.Features.Enabled(CompactHashCheck), c.Features.Enabled(FastLeaseKeepAlive), c.Features.Enabled(LeaseCheckpoint))
		}, "true false false"},
		{"any phase", "v2-deprecation: not-yet", func(c *Config) any { return c.Name }, "default"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _, err := inFile(t, tc.content)
			if err != nil {
				t.Fatal(err)
			}
			if got := tc.got(c); got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

func TestFileRefusals(t *testing.T) {
	const decoding = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
	for content, want := range map[string]string{
		"{bad":                                  "error converting YAML to JSON: yaml: ",
		"[1]":                                   "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array",
		"max-txn-ops: x":                        decoding + "string into max-txn-ops of type uint",
		`max-txn-ops: "5"`:                      decoding + "string into max-txn-ops of type uint",
		"max-txn-ops: 5.5":                      decoding + "number 5.5 into max-txn-ops of type uint",
		"max-txn-ops: -5":                       decoding + "number -5 into max-txn-ops of type uint",
		"name: [a]":                             decoding + "array into name of type string",
		"name: 5":                               decoding + "number 5 into name of type string",
		"log-outputs: [5]":                      decoding + "array into log-outputs of type []string",
		"pre-vote: 'no'":                        decoding + "string into pre-vote of type bool",
		"pre-vote: 1":                           decoding + "number 1 into pre-vote of type bool",
		"name: true":                            decoding + "bool into name of type string",
		"feature-gates: {LeaseCheckpoint: 1}":   decoding + "object into feature-gates of type string",
		"socket-options: 5":                     decoding + "number 5 into socket-options of type object",
		"warning-apply-duration: soon":          decoding + "string into warning-apply-duration of type time.Duration",
		"warning-apply-duration: -5":            decoding + "number -5 into warning-apply-duration of type time.Duration",
		"listen-client-urls: foo":               "unexpected error setting up listen-client-urls: URL scheme must be http, https, unix, or unixs: foo",
		"cors: foo":                             "unexpected error setting up cors: URL scheme must be http, https, unix, or unixs: foo",
		"feature-gates: X=true":                 "unrecognized feature gate: X",
		"initial-cluster-state: foo":            `unexpected clusterState "foo"`,
		"discovery-fallback: proxy":             "v2 proxy is deprecated",
		"discovery-fallback: foo":               `unexpected discovery-fallback "foo"`,
		"log-level: loud":                       `unrecognized level: "loud"`,
		"heartbeat-interval: 0":                 "--heartbeat-interval must be >0 (set to 0ms)",
		"discovery-config: {token: x}":          "both --discovery-token and --discovery-endpoints must be set",
		"cipher-suites: [nope]":                 `unexpected TLS cipher suite "nope"`,
		"listen-client-urls: https://0.0.0.0:1": "TLS key/cert (--cert-file, --key-file) must be provided",
	} {
		if _, _, err := inFile(t, content); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", content, err, want)
		}
	}
}

// TestFileAlone: neither flags nor variables count beside a file, not even those that are wrong together.
func TestFileAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf.yml")
	if err := os.WriteFile(path, []byte("data-dir: d\nfoo: 1\nclient-transport-security: {bar: {x: 1}}\nsocket-options: {reuse-address: true}"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"loaded server configuration, other configuration command line flags and environment variables will be ignored if provided " + path,
		"unknown key in the configuration file client-transport-security.bar", "unknown key in the configuration file foo",
		"this option has no effect socket-reuse-address",
		"the name is left at its default; the members of a cluster need names of their own, see --name default",
	}
	for _, args := range [][]string{{"--name=a", "--config-file=" + path}, {"--name=a"}} {
		c, notices, err := Parse(args, []string{"ETCD_NAME=b", "ETCD_MAX_TXN_OPS=x", "ETCD_CONFIG_FILE=" + path})
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(notices); c.Name != "default" || c.DataDir != "d" || !slices.Equal(got, want) {
			t.Errorf("name %s, notices %q", c.Name, got)
		}
	}
}

// TestSampleReadsBack: the sample says what the defaults are, and knows every option that a file can set.
func TestSampleReadsBack(t *testing.T) {
	var sample strings.Builder
	writeSample(&sample)
	c, notices, err := inFile(t, sample.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range notices {
		if strings.Contains(n.Text, "unknown key") {
			t.Error(n)
		}
	}
	want := Default()
	if err := want.Complete(); err != nil {
		t.Fatal(err)
	}
	options := c.options()
	for i, o := range want.options() {
		if o.Key != "" && o.Idle == "" && !c.set[o.Name] {
			t.Errorf("%s is not in the sample", o.Name)
		}
		if got, want := options[i].Value.String(), o.Value.String(); got != want && o.Key != "" {
			t.Errorf("%s is %q, want %q", o.Name, got, want)
		}
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{"name: a", `{"name": 5}`, "a: {b: [c]}", "discovery-config: {client: {secure: {cert: x}}}", "warning-apply-duration: 9223372036854775808"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, content string) {
		c := Default()
		if _, err := c.applyFile(c.options(), []byte(content)); err == nil {
			_ = c.Complete()
		}
	})
}
