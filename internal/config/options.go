// Package config turns what an operator writes, flags and ETCD_* environment variables or a file, into one checked Config.
//
// Every option stands once in the table that options returns: its name, default, meaning and the field it sets. The flag set, the
// environment, the configuration file, the help text and the documentation are all read off that table, so that they cannot disagree.
package config

import "time"

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
	MaxSnapshots             uint   // files with the members at marks that are kept; 0 keeps all
	HeartbeatMs              uint
	ElectionMs               uint
	QuotaBytes               int64 // 0: DefaultQuotaBytes; negative: no quota
	FreelistType             string
	BatchInterval            time.Duration // longest time that applied data stays out of the database file; 0: the default
	BatchLimit               int           // log entries not in the database file that have it written; 0: any number
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
	KeepNoSpaceAlarm     bool   // the NOSPACE alarm stays until it is disarmed by hand
	AutoDefragPercent    uint   // share of the database file that is free which starts a rewrite; 0 never
	DiskReserveMegabytes uint   // MiB kept free on the disk
	RangeBudgetBytes     int64  // bytes of range answers under way at once; 0 none
	MaxConnections       uint   // client connections; 0 unlimited
	MaxRequestsPerSecond uint   // of all clients together; 0 unlimited
	GRPCServer           string // who serves gRPC: "quoin" or GRPCGo
	EnableV2             bool   // the old API of keys
	V2Prefix             string // of the keys that it shows; ends with a slash

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
	ElectionTickAdvance bool // shorten the wait for the first leader

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
	LogOutputs      Words // "default" and "stderr", "stdout", "systemd/journal", or paths of files
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
	// file is the path of the configuration file, which takes the place of flags and environment.
	file string
	// ignored and v2Phase take what is said by options without any effect.
	ignored, v2Phase string
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

// The server sides of gRPC: ours, and the one that is there to compare with.
const (
	ownGRPC = "quoin"
	GRPCGo  = "grpc-go"
)

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
		AutoDefragPercent: 50, DiskReserveMegabytes: 64, RangeBudgetBytes: 256 << 20, V2Prefix: "/v2/", GRPCServer: ownGRPC,
		LogRotationJSON: `{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}`,
		Tracing:         Tracing{Address: "localhost:4317", ServiceName: "etcd"},
		Logger:          "zap", LogLevel: "info", LogFormat: "json", LogOutputs: Words{"default"}, Metrics: "basic",
		v2Phase: "write-only",
		set:     map[string]bool{},
	}
}
