package flags

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestRefusals: what cannot be is refused at once, in each form, with etcd's exit code and words. A value that does not parse is an error of
// usage on the command line, and has other words elsewhere.
func TestRefusals(t *testing.T) {
	const decoding = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
	for _, tc := range []struct {
		name  string
		value any
		// flag and file are the words; without those for a file the value is wrong in itself, and all forms have the same.
		flag, file string
	}{
		{"max-txn-ops", "x", `invalid value "x" for flag -max-txn-ops: parse error`, decoding + "string into max-txn-ops of type uint"},
		{"max-txn-ops", -1, `invalid value "-1" for flag -max-txn-ops: parse error`, decoding + "number -1 into max-txn-ops of type uint"},
		{"max-learners", "x", `invalid value "x" for flag -max-learners: parse error`, decoding + "string into max-learners of type int"},
		{"quota-backend-bytes", "x", `invalid value "x" for flag -quota-backend-bytes: parse error`, decoding + "string into quota-backend-bytes of type int64"},
		{"snapshot-count", "x", `invalid value "x" for flag -snapshot-count: parse error`, decoding + "string into snapshot-count of type uint64"},
		{"warning-apply-duration", "x", `invalid value "x" for flag -warning-apply-duration: parse error`, decoding + "string into warning-apply-duration of type time.Duration"},
		{"pre-vote", "x", `invalid boolean value "x" for -pre-vote: parse error`, decoding + "string into pre-vote of type bool"},
		{"listen-client-urls", "foo", `invalid value "foo" for flag -listen-client-urls: URL scheme must be http, https, unix, or unixs: foo`, "unexpected error setting up listen-client-urls: URL scheme must be http, https, unix, or unixs: foo"},
		{"listen-peer-urls", "http://127.0.0.1", `URL address does not have the form "host:port": http://127.0.0.1`, `URL address does not have the form \"host:port\": http://127.0.0.1`},
		{"initial-cluster-state", "foo", `invalid value "foo" for flag -initial-cluster-state: invalid value`, `unexpected clusterState \"foo\"`},
		{"cors", "foo", `invalid value "foo" for flag -cors: URL scheme must be http, https, unix, or unixs: foo`, "unexpected error setting up cors: URL scheme"},
		{"feature-gates", "X=true", `invalid value "X=true" for flag -feature-gates: unrecognized feature gate: X`, "unrecognized feature gate: X"},
		{"feature-gates", "LeaseCheckpoint", "missing bool value for LeaseCheckpoint", "missing bool value for LeaseCheckpoint"},
		{"feature-gates", "LeaseCheckpointPersist=true", "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint", ""},
		{"listen-client-urls", "http://example.com:1", "expected IP in URL for binding (http://example.com:1)", ""},
		{"listen-client-urls", "https://127.0.0.1:1", "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme", ""},
		{"listen-metrics-urls", "https://127.0.0.1:1", "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url https://127.0.0.1:1", ""},
		{"listen-peer-urls", "https://127.0.0.1:1", "KeyFile and CertFile are not presented", ""},
		{"heartbeat-interval", 0, "--heartbeat-interval must be >0 (set to 0ms)", ""},
		{"election-timeout", 0, "--election-timeout must be >0 (set to 0ms)", ""},
		{"election-timeout", 49, "--election-timeout[49ms] should be at least as 5 times as --heartbeat-interval[10ms]", ""},
		{"election-timeout", 50001, "--election-timeout[50001ms] is too long, and should be set less than 50000ms", ""},
		{"auto-compaction-mode", "x", `unknown auto-compaction-mode \"x\"`, ""},
		{"auto-compaction-retention", "x", `error parsing CompactionRetention: time: invalid duration \"x\"`, ""},
		{"compact-hash-check-time", "0s", "--compact-hash-check-time must be >0 (set to 0s)", ""},
		{"tls-min-version", "TLS1.1", `unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)`, ""},
		{"cipher-suites", "nope", `unexpected TLS cipher suite \"nope\"`, ""},
		{"discovery-token", "t", "both --discovery-token and --discovery-endpoints must be set", ""},
		{"log-format", "xml", "unknown log format: xml, supported values json, console", ""},
		{"log-outputs", "default,stdout", `multi logoutput for \"default\" is not supported yet`, ""},
		{"initial-advertise-peer-urls", "http://:1", `--initial-advertise-peer-urls \"http://:1\" must be \"host:port\"`, ""},
		{"advertise-client-urls", "http://:1", `--advertise-client-urls \"http://:1\" must be in the format \"host:port\", \"unix:/path/to/socket\" or \"unixs:/path/to/socket\"`, ""},
	} {
		for _, f := range forms() {
			t.Run(fmt.Sprint(tc.name, "=", tc.value, "/", f), func(t *testing.T) {
				t.Parallel()
				code, want := 1, tc.flag
				switch {
				case tc.file == "":
				case f == flags:
					code = 2
				case f == variables:
					want = fmt.Sprintf(`invalid value \"%v\" for ETCD_%s: `, tc.value, strings.ToUpper(strings.ReplaceAll(tc.name, "-", "_")))
				case f == file:
					want = tc.file
				}
				m := launch(t, f, t.TempDir(), options{tc.name: tc.value})
				if got := m.ended(t); got != code || !strings.Contains(m.log.text(), want) {
					t.Errorf("exit code %d, want %d with %s", got, code, want)
				}
			})
		}
	}
}

// TestRefusalsOfMore than one option, or of none: exit codes and words.
func TestRefusalsOfMore(t *testing.T) {
	for _, tc := range []struct {
		name, args, env string // separated by spaces
		code            int
		want            string
	}{
		{"unknown flag", "--nonsense", "", 2, "flag provided but not defined: -nonsense"},
		{"words", "start", "", 1, `\"start\" is not a valid flag`},
		{"flag and variable", "--name=b", "ETCD_NAME=c", 1, `"level":"fatal"`},
		{"flag and variable", "--name=b", "ETCD_NAME=c", 1, `"msg":"conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable or disable flag))","environment-variable":"ETCD_NAME"`},
		{"no file", "--config-file=missing", "", 1, "open missing: no such file or directory"},
		{"no file", "", "ETCD_CONFIG_FILE=missing", 1, "open missing: no such file or directory"},
		{"no address to advertise", "--listen-client-urls=http://127.0.0.1:0", "", 1, "--advertise-client-urls is required when --listen-client-urls is set explicitly"},
		{"several sources", "--discovery-srv=a --initial-cluster=b=http://c:1", "", 1, `multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\"`},
		{"versions", "--tls-min-version=TLS1.3 --tls-max-version=TLS1.2", "", 1, "min version (TLS1.3) is greater than max version (TLS1.2)"},
		{"suites of the new version", "--tls-min-version=TLS1.3 --cipher-suites=TLS_AES_128_GCM_SHA256", "", 1, "cipher suites cannot be configured when only TLS1.3 is enabled"},
		{"one address twice", "--listen-client-http-urls=http://localhost:2379", "", 1, "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url http://localhost:2379"},
		{"names of two kinds", "--listen-peer-urls=https://127.0.0.1:1 --peer-auto-tls --peer-cert-allowed-cn=a --peer-cert-allowed-hostname=b", "", 1, "AllowedCNs and AllowedHostnames are mutually exclusive"},
		{"half a pair", "--listen-client-urls=https://127.0.0.1:1 --advertise-client-urls=https://a:1 --auto-tls --client-key-file=x", "", 1, "ClientKeyFile and ClientCertFile must both be present or both absent: key: x, cert: ]"},
		{"rates", "--enable-distributed-tracing --distributed-tracing-sampling-rate=-1", "", 1, "tracing sampling rate must be positive"},
		{"rotation", "--enable-log-rotation --log-outputs=x --log-rotation-config-json=nope", "", 1, "improperly formatted log rotation config: invalid character 'o' in literal null (expecting 'u')"},
		{"gone flags", "--discovery=http://a:1", "", 2, "flag provided but not defined: -discovery"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := command(t, t.TempDir(), strings.Fields(tc.args), strings.Fields(tc.env))
			m.run(t)
			if got := m.ended(t); got != tc.code || !strings.Contains(m.log.text(), tc.want) {
				t.Errorf("exit code %d, want %d with %s", got, tc.code, tc.want)
			}
		})
	}
}

// TestInsteadOfAMember: what the first lines of help and version are, and that they end well.
func TestInsteadOfAMember(t *testing.T) {
	for arg, want := range map[string]string{"--help": "Usage:", "-h": "Usage:", "--version": "etcd Version: 3."} {
		m := command(t, t.TempDir(), []string{arg}, nil)
		m.run(t)
		if code := m.ended(t); code != 0 || !strings.HasPrefix(m.out.text(), want) || m.log.text() != "" {
			t.Errorf("%s: exit code %d, %s", arg, code, m.out.text())
		}
	}
}

// TestConfigFile: a file named by a flag or a variable takes the place of all other options, and its unknown keys are told of.
func TestConfigFile(t *testing.T) {
	for _, byFlag := range []bool{true, false} {
		dir := t.TempDir()
		path := writeFile(t, base(dir).with(options{"max-txn-ops": 2}), filepath.Join(dir, "conf.yml"))
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(bytes.TrimSuffix(content, []byte("}")), `,"proxy":"off"}`...), 0o600); err != nil {
			t.Fatal(err)
		}
		args, env := []string{"--name=other"}, []string{"ETCD_MAX_TXN_OPS=nonsense", "ETCD_CONFIG_FILE=" + path}
		if byFlag {
			args, env = append(args, "--config-file="+path), env[:1]
		}
		m := command(t, dir, args, env)
		m.run(t)
		m.ready(t)
		if line := m.waitLog(t, "unknown key in the configuration file"); line["key"] != "proxy" {
			t.Errorf("%v", line)
		}
		m.waitLog(t, "loaded server configuration, other configuration command line flags and environment variables will be ignored if provided")
		if _, err := m.client(t).Txn(soon(t)).Then(clientv3.OpPut("a", ""), clientv3.OpPut("b", ""), clientv3.OpPut("c", "")).Commit(); err == nil {
			t.Error("the file's limit does not count")
		}
		if m.logged("starting an etcd server")["name"] != "a" {
			t.Error("the flag counts beside the file")
		}
	}
}
