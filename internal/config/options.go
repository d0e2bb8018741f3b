// Package config turns what an operator writes, flags and ETCD_* environment variables, into one checked Config.
//
// Every option stands once in the table that options returns: its name, default, meaning and the field it sets. The flag set, the
// environment, the help text and the documentation are all read off that table, so that they cannot disagree.
package config

import (
	"flag"
	"strings"
	"time"
)

// Config is everything a member is told at start; sizes are bytes. Default fills it with the values that hold when nothing is said;
// what is set by hand afterwards is checked by Complete.
type Config struct {
	// Member.
	Name                     string
	DataDir                  string // empty: "<name>.etcd" in the working directory
	WALDir                   string // empty: inside DataDir
	ListenPeerURLs           URLs
	ListenClientURLs         URLs
	ListenClientHTTPURLs     URLs   // empty: HTTP is served on ListenClientURLs together with gRPC
	ListenMetricsURLs        URLs   // more addresses for metrics and health alone
	SnapshotCount            uint64 // applied entries between two WAL snapshot marks
	SnapshotCatchup          uint64 // log entries kept in memory after a mark
	MaxWALs                  uint   // log files kept besides the needed ones; 0 keeps all
	MaxSnapshots             uint   // no effect
	HeartbeatMs              uint
	ElectionMs               uint
	QuotaBytes               int64 // 0: DefaultQuotaBytes; negative: no quota
	FreelistType             string
	BatchInterval            time.Duration // longest time that applied data stays out of the database file; 0: the default
	BatchLimit               int           // no effect
	MaxTxnOps                uint
	MaxRequestBytes          uint
	MaxConcurrentStreams     uint
	KeepAliveMinTime         time.Duration
	KeepAliveInterval        time.Duration
	KeepAliveTimeout         time.Duration
	EnableGateway            bool
	WatchProgress            time.Duration // 0: the default of 10 minutes
	WarningApply             time.Duration
	WarningUnary             time.Duration // a unary call that takes longer is logged
	CompactionBatchLimit     int
	CompactionSleep          time.Duration
	SocketReusePort          bool // see ListenConfig
	SocketReuseAddress       bool // see ListenConfig
	RaftReadTimeout          time.Duration
	RaftWriteTimeout         time.Duration
	MemoryMlock              bool
	BootstrapDefragMegabytes uint // free space in the database file, MiB, that has it rewritten at the start; 0 never

	// Maintenance.
	AutoCompactionMode      string // see AutoCompaction
	AutoCompactionRetention string
	CorruptCheckTime        time.Duration // 0: never
	CompactHashCheckTime    time.Duration
	DowngradeCheckTime      time.Duration // 0: never
	Features                Features

	// Quoin's own.
	KeepNoSpaceAlarm     bool  // the NOSPACE alarm stays until it is disarmed by hand
	AutoDefragPercent    uint  // share of the database file that is free which starts a rewrite; 0 never
	DiskReserveMegabytes uint  // MiB kept free on the disk
	RangeBudgetBytes     int64 // bytes of range answers under way at once; 0 none
	MaxConnections       uint  // client connections; 0 unlimited
	MaxRequestsPerSecond uint  // of all clients together; 0 unlimited

	// Clustering.
	AdvertisePeerURLs   URLs
	AdvertiseClientURLs URLs
	InitialCluster      string // empty if DiscoverySRV or Discovery tells it
	InitialClusterState string // "new" or "existing"
	InitialClusterToken string
	DiscoverySRV        string // DNS domain whose SRV records name the members
	DiscoverySRVName    string // suffix of the service's name there
	DiscoveryFallback   string // always "exit"
	Discovery           Discovery
	StrictReconfigCheck bool
	PreVote             bool
	MaxLearners         int
	ElectionTickAdvance bool // no effect

	// Security.
	ClientTLS       TLS
	PeerTLS         TLS
	CORS            Words  // origins whose pages may call; "*" is all
	HostWhitelist   Words  // names under which plain HTTP is answered; "*" is all
	SelfSignedYears uint   // how long certificates are valid that auto-tls makes
	TLSMinVersion   string // "TLS1.2" or "TLS1.3"
	TLSMaxVersion   string // as TLSMinVersion, or empty: no limit
	CipherSuites    Words  // names as in crypto/tls; empty: Go's choice

	// Authentication.
	AuthToken    string
	BcryptCost   uint
	AuthTokenTTL uint // seconds that a simple token lives after its last use

	// Logging.
	Logger          string
	LogLevel        string
	LogFormat       string
	LogOutputs      string
	LogRotation     bool
	LogRotationJSON string

	// Profiling, metrics and unsafe.
	EnablePprof   bool
	Metrics       string // "extensive" adds histograms of the times of gRPC calls
	Tracing       Tracing
	UnsafeNoFsync bool

	// ForceNewCluster makes a cluster of this member alone of the data it has.
	ForceNewCluster bool

	// set holds the names of the options given explicitly, by flag or environment.
	set map[string]bool
}

// Discovery is how to reach a v3 discovery service: another cluster, in whose key space new members find each other.
type Discovery struct {
	Endpoints                        Words // empty: there is no discovery service
	Token                            string
	DialTimeout, RequestTimeout      time.Duration
	KeepAliveTime, KeepAliveTimeout  time.Duration
	Insecure, SkipVerify             bool // plain text for endpoints without a scheme; TLS without checks
	CertFile, KeyFile, TrustedCAFile string
	User, Password                   string
}

// Enabled tells whether a discovery service is to be asked.
func (d *Discovery) Enabled() bool { return d.Token != "" || len(d.Endpoints) > 0 }

// TLS is how one kind of connection, with clients or with other members, is secured. File names; empty is none.
type TLS struct {
	CertFile, KeyFile             string // of this member as server, and as client if it has no others
	ClientCertFile, ClientKeyFile string
	ClientCertAuth                bool // certificates of others are checked; a trusted CA alone does so too
	TrustedCAFile, CRLFile        string
	AutoTLS                       bool // certificates that this member makes for itself
	AllowedCNs, AllowedHostnames  Words
	SkipClientSANVerification     bool
}

// Tracing is where spans of calls are sent, as OTLP over gRPC.
type Tracing struct {
	Enabled                          bool
	Address, ServiceName, InstanceID string
	SamplingRate                     int // spans kept of a million
}

// Limits that the contract fixes.
const (
	DefaultQuotaBytes    = 2 << 30 // when the quota option is 0
	GRPCOverheadBytes    = 512 << 10
	maxElectionMs        = 50000
	defaultRequestBytes  = 1536 << 10
	defaultMaxStreams    = 1<<32 - 1
	defaultWatchProgress = 10 * time.Minute
	minPeerTimeout       = 5 * time.Second
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
	c.discoveryOptions(add)
	c.securityOptions(add)
	c.clientSecurityOptions(add)
	c.maintenanceOptions(add)
	c.otherOptions(add)
	c.ownOptions(add)
	return table
}

type adder func(group, name string, v flag.Value, usage string)

func (c *Config) memberOptions(add adder) {
	const g = "Member"
	add(g, "name", text(&c.Name), "human-readable name of this member")
	add(g, "data-dir", text(&c.DataDir), "path of the data directory (if empty: the name followed by .etcd)")
	add(g, "wal-dir", text(&c.WALDir), "path of a dedicated directory for the write-ahead log")
	add(g, "listen-peer-urls", &c.ListenPeerURLs, "URLs to listen on for other members")
	add(g, "listen-client-urls", &c.ListenClientURLs, "URLs to listen on for clients, gRPC and HTTP")
	add(g, "listen-client-http-urls", &c.ListenClientHTTPURLs, "URLs to listen on for HTTP alone; listen-client-urls then serves gRPC alone")
	add(g, "listen-metrics-urls", &c.ListenMetricsURLs, "further URLs to listen on for metrics and health")
	add(g, "snapshot-count", unsigned64(&c.SnapshotCount), "applied entries between two snapshot marks in the log")
	add(g, "snapshot-catchup-entries", unsigned64(&c.SnapshotCatchup), "log entries kept in memory for slow followers after a mark")
	add(g, "max-wals", unsigned(&c.MaxWALs), "log files kept (0 is unlimited)")
	add(g, "max-snapshots", unsigned(&c.MaxSnapshots), "accepted and without effect: a snapshot that was received is kept as the database itself")
	add(g, "heartbeat-interval", unsigned(&c.HeartbeatMs), "milliseconds between two heartbeats")
	add(g, "election-timeout", unsigned(&c.ElectionMs), "milliseconds without a leader before an election")
	add(g, "backend-bbolt-freelist-type", text(&c.FreelistType), "how the database file keeps its free pages: map or array")
	add(g, "backend-batch-interval", span(&c.BatchInterval), "longest time before applied data reaches the database file (0: 1s)")
	add(g, "backend-batch-limit", integer(&c.BatchLimit), "accepted and without effect: data is written to the database file by time and size")
	add(g, "compaction-batch-limit", integer(&c.CompactionBatchLimit), "revisions visited in one step of a compaction (0: 1000)")
	add(g, "compaction-sleep-interval", span(&c.CompactionSleep), "pause between two steps of a compaction (0: 10ms)")
	add(g, "socket-reuse-port", boolean(&c.SocketReusePort), "let other processes listen on the same ports")
	add(g, "socket-reuse-address", boolean(&c.SocketReuseAddress), "listen on addresses that closed connections still hold, which is always so")
	add(g, "raft-read-timeout", span(&c.RaftReadTimeout), "time without a byte from another member that ends a connection with it, at least 5s")
	add(g, "raft-write-timeout", span(&c.RaftWriteTimeout), "time without progress to another member that ends a connection with it, at least 5s")
	add(g, "memory-mlock", boolean(&c.MemoryMlock), "keep the database file in memory, never swapped out")
	add(g, "bootstrap-defrag-threshold-megabytes", unsigned(&c.BootstrapDefragMegabytes), "rewrite the database file at the start if that frees so many megabytes (0: never)")
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
	add(g, "warning-unary-request-duration", span(&c.WarningUnary), "a unary call that takes longer is logged")
}

func (c *Config) clusterOptions(add adder) {
	const g = "Clustering"
	add(g, "initial-advertise-peer-urls", &c.AdvertisePeerURLs, "peer URLs of this member, as others reach it")
	add(g, "advertise-client-urls", &c.AdvertiseClientURLs, "client URLs of this member, as clients reach it")
	add(g, "initial-cluster", text(&c.InitialCluster), "members of the cluster, this one among them, as name=url,name=url (if empty: this member alone)")
	add(g, "initial-cluster-state", choice(&c.InitialClusterState, "new", "existing"), "new: found a cluster together with the other initial members; existing: join one that has this member on its list")
	add(g, "initial-cluster-token", text(&c.InitialClusterToken), "word that sets clusters with equal URLs apart")
	add(g, "strict-reconfig-check", boolean(&c.StrictReconfigCheck), "refuse membership changes that would put the quorum at risk")
	add(g, "pre-vote", boolean(&c.PreVote), "ask before disturbing a leader with an election")
	add(g, "max-learners", integer(&c.MaxLearners), "learners that the cluster may have, equal on all members")
	add(g, "initial-election-tick-advance", boolean(&c.ElectionTickAdvance), "accepted and without effect: a start does not shorten the first election timeout")
}

func (c *Config) discoveryOptions(add adder) {
	const g = "Discovery"
	d := &c.Discovery
	add(g, "discovery-srv", text(&c.DiscoverySRV), "DNS domain whose SRV records name the initial members")
	add(g, "discovery-srv-name", text(&c.DiscoverySRVName), "suffix of the service that is looked up there: etcd-server-ssl-name, etcd-server-name")
	add(g, "discovery-fallback", choice(&c.DiscoveryFallback, "exit", "proxy"), "what follows when discovery fails; only exit is possible")
	add(g, "discovery-endpoints", &d.Endpoints, "client URLs of the discovery service, a cluster in which the initial members find each other")
	add(g, "discovery-token", text(&d.Token), "word under which they do so there; it also takes the place of the initial cluster token")
	add(g, "discovery-dial-timeout", span(&d.DialTimeout), "time to connect to the discovery service")
	add(g, "discovery-request-timeout", span(&d.RequestTimeout), "time for one request to the discovery service")
	add(g, "discovery-keepalive-time", span(&d.KeepAliveTime), "idle time before the discovery service is pinged")
	add(g, "discovery-keepalive-timeout", span(&d.KeepAliveTimeout), "time that it has to answer a ping")
	add(g, "discovery-insecure-transport", boolean(&d.Insecure), "speak to the discovery service without TLS unless certificates are given")
	add(g, "discovery-insecure-skip-tls-verify", boolean(&d.SkipVerify), "accept any certificate of the discovery service (for tests)")
	add(g, "discovery-cert", text(&d.CertFile), "client certificate file for the discovery service")
	add(g, "discovery-key", text(&d.KeyFile), "its key file")
	add(g, "discovery-cacert", text(&d.TrustedCAFile), "file of the authorities that the discovery service's certificate is checked against")
	add(g, "discovery-user", text(&d.User), "user at the discovery service, as name:password or with discovery-password")
	add(g, "discovery-password", text(&d.Password), "that user's password")
}

func (c *Config) securityOptions(add adder) {
	const g = "Security"
	p := &c.PeerTLS
	add(g, "peer-cert-file", text(&p.CertFile), "certificate file for https peer URLs")
	add(g, "peer-key-file", text(&p.KeyFile), "its key file")
	add(g, "peer-client-cert-file", text(&p.ClientCertFile), "certificate file for connections to other members (if empty: peer-cert-file)")
	add(g, "peer-client-key-file", text(&p.ClientKeyFile), "its key file")
	add(g, "peer-client-cert-auth", boolean(&p.ClientCertAuth), "demand certificates from other members; a trusted CA alone does so too")
	add(g, "peer-trusted-ca-file", text(&p.TrustedCAFile), "file of the authorities that other members' certificates are checked against")
	add(g, "peer-crl-file", text(&p.CRLFile), "file of revoked certificates")
	add(g, "peer-auto-tls", boolean(&p.AutoTLS), "make certificates for https peer URLs and trust those of others unchecked")
	add(g, "peer-cert-allowed-cn", &p.AllowedCNs, "common names that a member's certificate may have, comma separated")
	add(g, "peer-cert-allowed-hostname", &p.AllowedHostnames, "host names of which a member's certificate must have one, comma separated")
	add(g, "peer-skip-client-san-verification", boolean(&p.SkipClientSANVerification), "do not compare the names in a member's certificate with its address")
	add(g, "self-signed-cert-validity", unsigned(&c.SelfSignedYears), "years for which certificates are valid that a member makes for itself")
	add(g, "tls-min-version", text(&c.TLSMinVersion), "oldest TLS version: TLS1.2 or TLS1.3")
	add(g, "tls-max-version", text(&c.TLSMaxVersion), "newest TLS version (if empty: no limit)")
	add(g, "cipher-suites", &c.CipherSuites, "cipher suites for TLS1.2, comma separated (if empty: Go's choice)")
}

func (c *Config) clientSecurityOptions(add adder) {
	const g = "Security"
	p := &c.ClientTLS
	add(g, "cert-file", text(&p.CertFile), "certificate file for https client URLs")
	add(g, "key-file", text(&p.KeyFile), "its key file")
	add(g, "client-cert-file", text(&p.ClientCertFile), "certificate file for this member's connections to itself (if empty: cert-file)")
	add(g, "client-key-file", text(&p.ClientKeyFile), "its key file")
	add(g, "client-cert-auth", boolean(&p.ClientCertAuth), "demand certificates from clients; a trusted CA alone does so too")
	add(g, "trusted-ca-file", text(&p.TrustedCAFile), "file of the authorities that clients' certificates are checked against")
	add(g, "client-crl-file", text(&p.CRLFile), "file of revoked client certificates")
	add(g, "client-cert-allowed-hostname", &p.AllowedHostnames, "host names of which a client's certificate must have one, comma separated")
	add(g, "auto-tls", boolean(&p.AutoTLS), "make certificates for https client URLs")
	add(g, "cors", &c.CORS, "origins whose pages may call this member, comma separated (*: all)")
	add(g, "host-whitelist", &c.HostWhitelist, "host names under which HTTP without TLS is answered, comma separated (*: all)")
	add(g, "auth-token", text(&c.AuthToken), "kind of token and its options: simple, or jwt,pub-key=file,priv-key=file,sign-method=RS256,ttl=10m")
	add(g, "bcrypt-cost", unsigned(&c.BcryptCost), "cost of hashing passwords, 4 to 31")
	add(g, "auth-token-ttl", unsigned(&c.AuthTokenTTL), "seconds that a simple token lives after its last use")
}

func (c *Config) maintenanceOptions(add adder) {
	const g = "Maintenance"
	add(g, "auto-compaction-mode", text(&c.AutoCompactionMode), "periodic or revision: what auto-compaction-retention counts")
	add(g, "auto-compaction-retention", text(&c.AutoCompactionRetention), "history kept by automatic compaction: a duration or hours, or revisions (0: no automatic compaction)")
	add(g, "corrupt-check-time", span(&c.CorruptCheckTime), "time between two comparisons of the members' data (0: never)")
	add(g, "compact-hash-check-time", span(&c.CompactHashCheckTime), "time between two comparisons of the hashes of compactions, with the feature gate CompactHashCheck")
	add(g, "downgrade-check-time", span(&c.DowngradeCheckTime), "time between two looks whether a downgrade is complete (0: never)")
	add(g, "feature-gates", &c.Features, "features switched on or off, as name=true,name=false: "+gateNames())
}

func (c *Config) ownOptions(add adder) {
	const g = "Quoin"
	add(g, "keep-nospace-alarm", boolean(&c.KeepNoSpaceAlarm), "keep the NOSPACE alarm until it is disarmed by hand, also when there is space again")
	add(g, "auto-defrag-percent", unsigned(&c.AutoDefragPercent), "share of the database file that is free, of at least 64 MiB, which has it rewritten while it serves (0: never)")
	add(g, "disk-reserve-megabytes", unsigned(&c.DiskReserveMegabytes), "megabytes to leave free on the disk: writes are refused before")
	add(g, "range-budget-bytes", signed64(&c.RangeBudgetBytes), "bytes of answers to range requests under way at once (0: no bound)")
	add(g, "max-connections", unsigned(&c.MaxConnections), "client connections at once (0: no bound)")
	add(g, "max-requests-per-second", unsigned(&c.MaxRequestsPerSecond), "requests that this member takes in a second (0: no bound)")
}

func (c *Config) otherOptions(add adder) {
	add("Logging", "logger", text(&c.Logger), "zap, which stands for structured logs; there is no other")
	add("Logging", "log-level", choice(&c.LogLevel, "debug", "info", "warn", "error", "panic", "fatal"), "least severe level that is logged: debug, info, warn, error, panic or fatal")
	add("Logging", "log-format", text(&c.LogFormat), "json or console")
	add("Logging", "log-outputs", text(&c.LogOutputs), "where logs go: default (stderr), stdout, stderr or file paths, comma separated")
	add("Logging", "enable-log-rotation", boolean(&c.LogRotation), "begin a new log file when the one file of log-outputs is full")
	add("Logging", "log-rotation-config-json", text(&c.LogRotationJSON), "when: maxsize (megabytes), maxage (days; 0 keeps all), maxbackups (0 keeps all), localtime, compress")
	add("Profiling and metrics", "enable-pprof", boolean(&c.EnablePprof), "serve profiles under /debug/pprof/ on the client URLs; log level debug does so too")
	add("Profiling and metrics", "metrics", text(&c.Metrics), "basic or extensive, which adds histograms of the times of gRPC calls")
	t := &c.Tracing
	add("Profiling and metrics", "enable-distributed-tracing", boolean(&t.Enabled), "send spans of calls to a collector")
	add("Profiling and metrics", "distributed-tracing-address", text(&t.Address), "address of the collector, host:port, for OTLP over gRPC")
	add("Profiling and metrics", "distributed-tracing-service-name", text(&t.ServiceName), "name of the service in spans, the same on all members")
	add("Profiling and metrics", "distributed-tracing-instance-id", text(&t.InstanceID), "name of this member in spans")
	add("Profiling and metrics", "distributed-tracing-sampling-rate", integer(&t.SamplingRate), "spans recorded of a million, besides those that a client asks for")
	add("Unsafe", "force-new-cluster", boolean(&c.ForceNewCluster), "start a cluster of this member alone with the data it has: all others are removed from it")
	add("Unsafe", "unsafe-no-fsync", boolean(&c.UnsafeNoFsync), "never sync files: a crash of the machine loses data")
}

// Default returns the values that hold when nothing is said.
func Default() *Config {
	return &Config{
		Name:             "default",
		ListenPeerURLs:   mustURLs("http://localhost:2380"),
		ListenClientURLs: mustURLs("http://localhost:2379"),
		SnapshotCount:    10000, SnapshotCatchup: 5000, MaxWALs: 5, MaxSnapshots: 5,
		HeartbeatMs: 100, ElectionMs: 1000,
		FreelistType: "map",
		MaxTxnOps:    128, MaxRequestBytes: defaultRequestBytes, MaxConcurrentStreams: defaultMaxStreams,
		KeepAliveMinTime: 5 * time.Second, KeepAliveInterval: 2 * time.Hour, KeepAliveTimeout: 20 * time.Second,
		EnableGateway: true, WarningApply: 100 * time.Millisecond, WarningUnary: 300 * time.Millisecond,
		AdvertisePeerURLs:   mustURLs("http://localhost:2380"),
		AdvertiseClientURLs: mustURLs("http://localhost:2379"),
		InitialClusterState: "new", InitialClusterToken: "etcd-cluster", DiscoveryFallback: "exit",
		Discovery: Discovery{
			DialTimeout: 2 * time.Second, RequestTimeout: 5 * time.Second, KeepAliveTime: 2 * time.Second, KeepAliveTimeout: 6 * time.Second,
			Insecure: true,
		},
		StrictReconfigCheck: true, PreVote: true, MaxLearners: 1, ElectionTickAdvance: true,
		SelfSignedYears: 1, TLSMinVersion: "TLS1.2", CORS: Words{"*"}, HostWhitelist: Words{"*"},
		AuthToken: "simple", BcryptCost: 10, AuthTokenTTL: 300,
		RaftReadTimeout: minPeerTimeout, RaftWriteTimeout: minPeerTimeout,
		AutoCompactionMode: compactPeriodic, AutoCompactionRetention: "0",
		CompactHashCheckTime: time.Minute, DowngradeCheckTime: 5 * time.Second,
		AutoDefragPercent: 50, DiskReserveMegabytes: 64, RangeBudgetBytes: 256 << 20,
		LogRotationJSON: `{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}`,
		Tracing:         Tracing{Address: "localhost:4317", ServiceName: "etcd"},
		Logger:          "zap", LogLevel: "info", LogFormat: "json", LogOutputs: "default", Metrics: "basic",
		set: map[string]bool{},
	}
}
