package config

// The rows of security and of everything that is not about storing and agreeing.

func (c *Config) clientSecurityOptions(add adder) {
	const (
		g   = "Security towards clients"
		key = "client-transport-security."
	)
	p := &c.ClientTLS
	add(g, "cert-file", text(&p.CertFile), "certificate file for https client URLs").in(key + "cert-file")
	add(g, "key-file", text(&p.KeyFile), "its key file").in(key + "key-file")
	const direct = "the JSON gateway reaches the member without a connection"
	add(g, "client-cert-file", text(&p.ClientCertFile), "certificate file for this member's connections to itself").in(key + "client-cert-file").idle(direct)
	add(g, "client-key-file", text(&p.ClientKeyFile), "its key file").in(key + "client-key-file").idle(direct)
	add(g, "client-cert-auth", boolean(&p.ClientCertAuth), "demand certificates from clients; a trusted CA alone does so too").in(key + "client-cert-auth")
	add(g, "trusted-ca-file", text(&p.TrustedCAFile), "file of the authorities that clients' certificates are checked against").in(key + "trusted-ca-file")
	add(g, "client-crl-file", text(&p.CRLFile), "file of revoked client certificates")
	add(g, "client-cert-allowed-hostname", &p.AllowedHostnames, "host names of which a client's certificate must have one, comma separated").in(key + "allowed-hostname")
	add(g, "auto-tls", boolean(&p.AutoTLS), "make certificates for https client URLs").in(key + "auto-tls")
	add(g, "cors", origins(&c.CORS), "origins whose pages may call this member, comma separated (* or empty: all)")
	add(g, "host-whitelist", &c.HostWhitelist, "host names under which HTTP without TLS is answered, comma separated (* or empty: all)")
}

func (c *Config) peerSecurityOptions(add adder) {
	const (
		g   = "Security among members"
		key = "peer-transport-security."
	)
	p := &c.PeerTLS
	add(g, "peer-cert-file", text(&p.CertFile), "certificate file for https peer URLs").in(key + "cert-file")
	add(g, "peer-key-file", text(&p.KeyFile), "its key file").in(key + "key-file")
	add(g, "peer-client-cert-file", text(&p.ClientCertFile), "certificate file for connections to other members (if empty: peer-cert-file)").in(key + "client-cert-file")
	add(g, "peer-client-key-file", text(&p.ClientKeyFile), "its key file").in(key + "client-key-file")
	add(g, "peer-client-cert-auth", boolean(&p.ClientCertAuth), "demand certificates from other members; a trusted CA alone does so too").in(key + "client-cert-auth")
	add(g, "peer-trusted-ca-file", text(&p.TrustedCAFile), "file of the authorities that other members' certificates are checked against").in(key + "trusted-ca-file")
	add(g, "peer-crl-file", text(&p.CRLFile), "file of revoked certificates")
	add(g, "peer-auto-tls", boolean(&p.AutoTLS), "make certificates for https peer URLs and trust those of others unchecked").in(key + "auto-tls")
	add(g, "peer-cert-allowed-cn", &p.AllowedCNs, "common names that a member's certificate may have, comma separated").in(key + "allowed-cn")
	add(g, "peer-cert-allowed-hostname", &p.AllowedHostnames, "host names of which a member's certificate must have one, comma separated").in(key + "allowed-hostname")
	add(g, "peer-skip-client-san-verification", boolean(&p.SkipClientSANVerification), "do not compare the names in a member's certificate with its address").in(key + "skip-client-san-verification")
}

func (c *Config) securityOptions(add adder) {
	const g = "Security"
	add(g, "self-signed-cert-validity", unsigned(&c.SelfSignedYears), "years for which certificates are valid that a member makes for itself")
	add(g, "tls-min-version", text(&c.TLSMinVersion), "oldest TLS version: TLS1.2 or TLS1.3")
	add(g, "tls-max-version", text(&c.TLSMaxVersion), "newest TLS version (if empty: no limit)")
	add(g, "cipher-suites", &c.CipherSuites, "cipher suites for TLS1.2, comma separated (if empty: Go's choice)")
	add(g, "auth-token", text(&c.AuthToken), "kind of token and its options: simple, or jwt,pub-key=file,priv-key=file,sign-method=RS256,ttl=10m")
	add(g, "bcrypt-cost", unsigned(&c.BcryptCost), "cost of hashing passwords, 4 to 31 (any other: 10)")
	add(g, "auth-token-ttl", unsigned(&c.AuthTokenTTL), "seconds that a simple token lives after its last use")
}

func (c *Config) maintenanceOptions(add adder) {
	const g = "Maintenance"
	add(g, "auto-compaction-mode", text(&c.AutoCompactionMode), "periodic or revision: what auto-compaction-retention counts")
	add(g, "auto-compaction-retention", text(&c.AutoCompactionRetention), "history kept by automatic compaction: a duration or hours, or revisions (0: no automatic compaction)")
	add(g, "corrupt-check-time", span(&c.CorruptCheckTime), "time between two comparisons of the members' data (0: never)")
	add(g, "compact-hash-check-time", span(&c.CompactHashCheckTime), "time between two comparisons of the hashes of compactions, with the feature gate CompactHashCheck")
	add(g, "downgrade-check-time", span(&c.DowngradeCheckTime), "time between two looks whether a downgrade is complete (0: never)")
	add(g, "feature-gates", &c.Features, "features switched on or off, as name=true,name=false: see the list of feature gates")
}

func (c *Config) logOptions(add adder) {
	const g = "Logging"
	add(g, "logger", text(&c.Logger), "zap, which stands for structured logs; there is no other")
	add(g, "log-level", text(&c.LogLevel), "least severe level that is logged: debug, info, warn, error, panic or fatal")
	add(g, "log-format", text(&c.LogFormat), "json or console")
	add(g, "log-outputs", &c.LogOutputs, "where logs go: default (stderr), stdout, stderr, systemd/journal or file paths, comma separated")
	add(g, "enable-log-rotation", boolean(&c.LogRotation), "begin a new log file when the one file of log-outputs is full")
	add(g, "log-rotation-config-json", text(&c.LogRotationJSON), "when: maxsize (megabytes), maxage (days; 0 keeps all), maxbackups (0 keeps all), localtime, compress")
}

func (c *Config) observeOptions(add adder) {
	const g = "Profiling, metrics and tracing"
	t := &c.Tracing
	add(g, "enable-pprof", boolean(&c.EnablePprof), "serve profiles under /debug/pprof/ on the client URLs; log level debug does so too")
	add(g, "metrics", text(&c.Metrics), "basic, or extensive, which adds histograms of the times of gRPC calls")
	add(g, "enable-distributed-tracing", boolean(&t.Enabled), "send spans of calls to a collector")
	add(g, "distributed-tracing-address", text(&t.Address), "address of the collector, host:port, for OTLP over gRPC")
	add(g, "distributed-tracing-service-name", text(&t.ServiceName), "name of the service in spans, the same on all members")
	add(g, "distributed-tracing-instance-id", text(&t.InstanceID), "name of this member in spans")
	add(g, "distributed-tracing-sampling-rate", integer(&t.SamplingRate), "spans recorded of a million, besides those that a client asks for")
}

func (c *Config) unsafeOptions(add adder) {
	const g = "Unsafe"
	add(g, "force-new-cluster", boolean(&c.ForceNewCluster), "start a cluster of this member alone with the data it has: all others are removed from it")
	add(g, "unsafe-no-fsync", boolean(&c.UnsafeNoFsync), "never sync files: a crash of the machine loses data")
}

func (c *Config) ownOptions(add adder) {
	const g = "Quoin"
	add(g, "keep-nospace-alarm", boolean(&c.KeepNoSpaceAlarm), "keep the NOSPACE alarm until it is disarmed by hand, also when there is space again")
	add(g, "auto-defrag-percent", unsigned(&c.AutoDefragPercent), "share of the database file that is free, of at least 64 MiB, which has it rewritten while it serves (0: never)")
	add(g, "disk-reserve-megabytes", unsigned(&c.DiskReserveMegabytes), "megabytes to leave free on the disk: writes are refused before")
	add(g, "range-budget-bytes", signed64(&c.RangeBudgetBytes), "bytes of answers to range requests under way at once (0: no bound)")
	add(g, "max-connections", unsigned(&c.MaxConnections), "client connections at once (0: no bound)")
	add(g, "max-requests-per-second", unsigned(&c.MaxRequestsPerSecond), "requests that this member takes in a second (0: no bound)")
	add(g, "grpc-server", choice(&c.GRPCServer, ownGRPC, GRPCGo), "server side of gRPC: quoin, or grpc-go to compare with")
	add(g, "enable-v2", boolean(&c.EnableV2), "serve the v2 API under /v2/, as a view of the same keys")
	add(g, "v2-prefix", text(&c.V2Prefix), "what the keys begin with that the v2 API shows; ends with a slash")
}

// ignoredOptions are those of long gone versions, and of test builds.
func (c *Config) ignoredOptions(add adder) {
	const g = "Accepted and ignored"
	add(g, "v2-deprecation", choice(&c.v2Phase, "write-only", "write-only-skip-check", "write-only-drop-data", "gone"), "phase of the removal of the old store").idle("the old store is gone").
		parting("--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is enforced, ignoring user input.")
	for _, name := range []string{
		"cluster-active-size", "cluster-remove-delay", "cluster-sync-interval", "config", "force", "max-result-buffer", "max-retry-attempts",
		"peer-election-timeout", "peer-heartbeat-interval", "retry-interval", "snapshot", "test.coverprofile", "test.outputdir", "v", "vv",
	} {
		add(g, name, anything(&c.ignored), "of an old version").idle("there is nothing left that it could set")
	}
}
