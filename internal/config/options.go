// Package config turns what an operator writes (flags, ETCD_* environment variables, a YAML file) into one checked Config.
//
// Every option stands once in the table that options returns: its name, default, meaning and the field it sets. The flag set, the
// environment, the help text and the documentation are all read off that table, so that they cannot disagree.
package config

import (
	"flag"
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Config is everything a member is told at start. Durations are time.Duration, sizes are bytes. Default fills it with the values
// that hold when nothing is said.
type Config struct {
	// Member.
	Name                 string
	DataDir              string // empty: "<name>.etcd" in the working directory
	WALDir               string // empty: inside DataDir
	ListenPeerURLs       URLs
	ListenClientURLs     URLs
	SnapshotCount        uint64 // applied entries between two WAL snapshot marks
	SnapshotCatchup      uint64 // log entries kept in memory after a mark
	MaxWALs              uint   // WAL segments kept besides the needed ones
	HeartbeatMs          uint
	ElectionMs           uint
	QuotaBytes           int64 // 0: DefaultQuotaBytes; negative: no quota
	FreelistType         string
	BatchInterval        time.Duration // longest time that applied data stays out of the database file; 0: the default
	BatchLimit           int           // changes after which a flush starts early; 0: the default
	MaxTxnOps            uint
	MaxRequestBytes      uint
	MaxConcurrentStreams uint
	KeepAliveMinTime     time.Duration
	KeepAliveInterval    time.Duration
	KeepAliveTimeout     time.Duration
	EnableGateway        bool
	WatchProgress        time.Duration // 0: the default of 10 minutes
	WarningApply         time.Duration
	CompactionBatchLimit int
	CompactionSleep      time.Duration

	// Clustering.
	AdvertisePeerURLs   URLs
	AdvertiseClientURLs URLs
	InitialCluster      string
	InitialClusterState string
	InitialClusterToken string
	StrictReconfigCheck bool
	PreVote             bool
	MaxLearners         int

	// Logging.
	LogLevel   string
	LogFormat  string
	LogOutputs string

	// Profiling and unsafe.
	EnablePprof   bool
	UnsafeNoFsync bool

	// set holds the names of the options given explicitly, by flag or environment.
	set map[string]bool
}

// Limits that the contract fixes.
const (
	DefaultQuotaBytes    = 2 << 30 // when the quota option is 0
	GRPCOverheadBytes    = 512 << 10
	maxElectionMs        = 50000
	defaultRequestBytes  = 1536 << 10
	defaultMaxStreams    = 1<<32 - 1
	defaultWatchProgress = 10 * time.Minute
)

// Option is one row of the table.
type Option struct {
	Name    string // the flag, without dashes
	Group   string // the heading it stands under in help
	Default string // as text
	Usage   string
	Value   flag.Value
}

// Env is the environment variable that sets the option.
func (o Option) Env() string {
	return "ETCD_" + strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_"))
}

// options is the table, bound to the fields of c.
func (c *Config) options() []Option {
	var table []Option
	add := func(group, name string, v flag.Value, usage string) {
		table = append(table, Option{Name: name, Group: group, Default: v.String(), Usage: usage, Value: v})
	}
	c.memberOptions(add)
	c.limitOptions(add)
	c.clusterOptions(add)
	c.otherOptions(add)
	return table
}

type adder func(group, name string, v flag.Value, usage string)

func (c *Config) memberOptions(add adder) {
	const g = "Member"
	add(g, "name", text(&c.Name), "human-readable name of this member")
	add(g, "data-dir", text(&c.DataDir), "path of the data directory (\"<name>.etcd\" if empty)")
	add(g, "wal-dir", text(&c.WALDir), "path of a dedicated directory for the write-ahead log")
	add(g, "listen-peer-urls", &c.ListenPeerURLs, "URLs to listen on for traffic of other members")
	add(g, "listen-client-urls", &c.ListenClientURLs, "URLs to listen on for clients, gRPC and HTTP")
	add(g, "snapshot-count", unsigned64(&c.SnapshotCount), "applied entries between two snapshot marks in the log")
	add(g, "snapshot-catchup-entries", unsigned64(&c.SnapshotCatchup), "log entries kept in memory for slow followers after a mark")
	add(g, "max-wals", unsigned(&c.MaxWALs), "log files kept (0 is unlimited)")
	add(g, "heartbeat-interval", unsigned(&c.HeartbeatMs), "milliseconds between two heartbeats")
	add(g, "election-timeout", unsigned(&c.ElectionMs), "milliseconds without a leader before an election")
	add(g, "backend-bbolt-freelist-type", text(&c.FreelistType), "how the database file keeps its free pages: map or array")
	add(g, "backend-batch-interval", span(&c.BatchInterval), "longest time before applied data reaches the database file (0: 1s)")
	add(g, "backend-batch-limit", integer(&c.BatchLimit), "changes after which data is written to the database file early (0: by size)")
	add(g, "compaction-batch-limit", integer(&c.CompactionBatchLimit), "revisions visited in one step of a compaction (0: 1000)")
	add(g, "compaction-sleep-interval", span(&c.CompactionSleep), "pause between two steps of a compaction (0: 10ms)")
}

func (c *Config) limitOptions(add adder) {
	const g = "Limits"
	add(g, "quota-backend-bytes", signed64(&c.QuotaBytes), "database size that raises the NOSPACE alarm (0: 2 GiB, negative: none)")
	add(g, "max-txn-ops", unsigned(&c.MaxTxnOps), "operations in one transaction")
	add(g, "max-request-bytes", unsigned(&c.MaxRequestBytes), "largest request, in bytes")
	add(g, "max-concurrent-streams", unsigned(&c.MaxConcurrentStreams), "HTTP/2 streams that a client connection may have open")
	add(g, "grpc-keepalive-min-time", span(&c.KeepAliveMinTime), "a client that pings more often is disconnected")
	add(g, "grpc-keepalive-interval", span(&c.KeepAliveInterval), "idle time before the server pings a client (0: never)")
	add(g, "grpc-keepalive-timeout", span(&c.KeepAliveTimeout), "time that a client has to answer a ping")
	add(g, "enable-grpc-gateway", boolean(&c.EnableGateway), "serve the JSON gateway under /v3/")
	add(g, "watch-progress-notify-interval", span(&c.WatchProgress), "time between two progress messages of an idle watch (0: 10m)")
	add(g, "warning-apply-duration", span(&c.WarningApply), "an apply that takes longer is logged")
}

func (c *Config) clusterOptions(add adder) {
	const g = "Clustering"
	add(g, "initial-advertise-peer-urls", &c.AdvertisePeerURLs, "peer URLs of this member, as others reach it")
	add(g, "advertise-client-urls", &c.AdvertiseClientURLs, "client URLs of this member, as clients reach it")
	add(g, "initial-cluster", text(&c.InitialCluster), "members of a new cluster as name=url,name=url (this member alone if empty)")
	add(g, "initial-cluster-state", choice(&c.InitialClusterState, "new", "existing"), "whether the cluster is new or existing")
	add(g, "initial-cluster-token", text(&c.InitialClusterToken), "word that sets clusters with equal URLs apart")
	add(g, "strict-reconfig-check", boolean(&c.StrictReconfigCheck), "refuse membership changes that would lose quorum")
	add(g, "pre-vote", boolean(&c.PreVote), "ask before disturbing a leader with an election")
	add(g, "max-learners", integer(&c.MaxLearners), "learners that the cluster may have")
}

func (c *Config) otherOptions(add adder) {
	add("Logging", "log-level", choice(&c.LogLevel, "debug", "info", "warn", "error"), "least severe level that is logged")
	add("Logging", "log-format", choice(&c.LogFormat, "json", "console"), "json or console")
	add("Logging", "log-outputs", text(&c.LogOutputs), "where logs go: default (stderr), stdout, stderr or file paths, comma separated")
	add("Profiling", "enable-pprof", boolean(&c.EnablePprof), "serve profiles under /debug/pprof/ on the client URLs")
	add("Unsafe", "unsafe-no-fsync", boolean(&c.UnsafeNoFsync), "never sync files: a crash of the machine loses data")
}

// Default returns the values that hold when nothing is said.
func Default() *Config {
	return &Config{
		Name:             "default",
		ListenPeerURLs:   mustURLs("http://localhost:2380"),
		ListenClientURLs: mustURLs("http://localhost:2379"),
		SnapshotCount:    10000, SnapshotCatchup: 5000, MaxWALs: 5,
		HeartbeatMs: 100, ElectionMs: 1000,
		FreelistType: "map",
		MaxTxnOps:    128, MaxRequestBytes: defaultRequestBytes, MaxConcurrentStreams: defaultMaxStreams,
		KeepAliveMinTime: 5 * time.Second, KeepAliveInterval: 2 * time.Hour, KeepAliveTimeout: 20 * time.Second,
		EnableGateway: true, WarningApply: 100 * time.Millisecond,
		AdvertisePeerURLs:   mustURLs("http://localhost:2380"),
		AdvertiseClientURLs: mustURLs("http://localhost:2379"),
		InitialClusterState: "new", InitialClusterToken: "etcd-cluster",
		StrictReconfigCheck: true, PreVote: true, MaxLearners: 1,
		LogLevel: "info", LogFormat: "json", LogOutputs: "default",
		set: map[string]bool{},
	}
}

// URLs is a comma-separated list of listen or advertise addresses.
type URLs []url.URL

// String joins the list with commas.
func (u *URLs) String() string { return strings.Join(u.Strings(), ",") }

// Strings returns each address as text, in the order given.
func (u *URLs) Strings() []string {
	out := make([]string, len(*u))
	for i := range *u {
		out[i] = (*u)[i].String()
	}
	return out
}

// Set parses a comma-separated list; the list is kept sorted, as the derivation of member ids needs it.
func (u *URLs) Set(s string) error {
	var out URLs
	for part := range strings.SplitSeq(s, ",") {
		one, err := parseURL(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		out = append(out, *one)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].String() < out[j].String() })
	*u = out
	return nil
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "http", "https":
		if u.Port() == "" {
			return nil, fmt.Errorf(`URL address does not have the form "host:port": %s`, s)
		}
		if u.Path != "" {
			return nil, fmt.Errorf("URL must not contain a path: %s", s)
		}
	case "unix", "unixs":
	default:
		return nil, fmt.Errorf("URL scheme must be http, https, unix, or unixs: %s", s)
	}
	return u, nil
}

func mustURLs(s string) URLs {
	var u URLs
	if err := u.Set(s); err != nil {
		panic(fmt.Sprintf("config: built-in default %q: %v", s, err))
	}
	return u
}

// scalar is an option of one plain value.
type scalar[T any] struct {
	field *T
	parse func(string) (T, error)
}

func (v scalar[T]) String() string {
	if v.field == nil {
		return ""
	}
	return fmt.Sprint(*v.field)
}

func (v scalar[T]) Set(s string) error {
	parsed, err := v.parse(s)
	if err != nil {
		return err
	}
	*v.field = parsed
	return nil
}

// IsBoolFlag lets a boolean stand without a value, as the flag package asks.
func (v scalar[T]) IsBoolFlag() bool {
	_, ok := any(v.field).(*bool)
	return ok
}

func text(p *string) flag.Value {
	return scalar[string]{p, func(s string) (string, error) { return s, nil }}
}
func boolean(p *bool) flag.Value       { return scalar[bool]{p, strconv.ParseBool} }
func integer(p *int) flag.Value        { return scalar[int]{p, strconv.Atoi} }
func span(p *time.Duration) flag.Value { return scalar[time.Duration]{p, time.ParseDuration} }

func signed64(p *int64) flag.Value {
	return scalar[int64]{p, func(s string) (int64, error) { return strconv.ParseInt(s, 0, 64) }}
}

func unsigned64(p *uint64) flag.Value {
	return scalar[uint64]{p, func(s string) (uint64, error) { return strconv.ParseUint(s, 0, 64) }}
}

func unsigned(p *uint) flag.Value {
	return scalar[uint]{p, func(s string) (uint, error) {
		n, err := strconv.ParseUint(s, 0, 32)
		return uint(n), err
	}}
}

// choice is an option that takes one of a few words.
func choice(p *string, allowed ...string) flag.Value {
	return scalar[string]{p, func(s string) (string, error) {
		if !slices.Contains(allowed, s) {
			return "", fmt.Errorf("invalid value %q, want one of %s", s, strings.Join(allowed, ", "))
		}
		return s, nil
	}}
}
