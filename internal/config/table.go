package config

import (
	"flag"
	"strings"
)

// Option is one row of the table.
type Option struct {
	Name    string // the flag, without dashes
	Group   string // the heading it stands under in help
	Key     string // where it stands in a configuration file: names of maps and the name in the last, with dots
	Default string // as text
	Usage   string
	Idle    string // why setting it changes nothing; empty if it does
	Parting string // what the log says when it is set, of an option that is about to go
	Value   flag.Value
}

// Env is the environment variable that sets the option.
func (o *Option) Env() string {
	return "ETCD_" + strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_"))
}

// in says that the option stands inside a map of the configuration file.
func (o *Option) in(key string) *Option {
	o.Key = key
	return o
}

// idle says that the option is accepted for the sake of command lines that have it.
func (o *Option) idle(why string) *Option {
	o.Idle = why
	return o
}

// parting says that the option is to go, in words that programs look for.
func (o *Option) parting(words string) *Option {
	o.Parting = words
	return o
}

// meaning is what help and documentation say.
func (o *Option) meaning() string {
	if o.Idle != "" {
		return o.Usage + " (no effect: " + o.Idle + ")"
	}
	return o.Usage
}

// options is the table, bound to the fields of c.
func (c *Config) options() []*Option {
	var table []*Option
	add := func(group, name string, v flag.Value, usage string) *Option {
		o := &Option{Name: name, Group: group, Key: name, Default: v.String(), Usage: usage, Value: v}
		table = append(table, o)
		return o
	}
	c.fileOptions(add)
	c.memberOptions(add)
	c.limitOptions(add)
	c.clusterOptions(add)
	c.discoveryOptions(add)
	c.clientSecurityOptions(add)
	c.peerSecurityOptions(add)
	c.securityOptions(add)
	c.maintenanceOptions(add)
	c.logOptions(add)
	c.observeOptions(add)
	c.unsafeOptions(add)
	c.ownOptions(add)
	c.ignoredOptions(add)
	return table
}

// adder puts a row into the table.
type adder func(group, name string, v flag.Value, usage string) *Option

func (c *Config) fileOptions(add adder) {
	add("Configuration file", "config-file", text(&c.file), "file in YAML or JSON that holds the options; all other flags and variables are ignored then").Key = ""
}

func (c *Config) memberOptions(add adder) {
	const g = "Member"
	add(g, "name", text(&c.Name), "human-readable name of this member")
	add(g, "data-dir", text(&c.DataDir), "path of the data directory (if empty: the name followed by .etcd)")
	add(g, "wal-dir", text(&c.WALDir), "path of a dedicated directory for the write-ahead log")
	add(g, "listen-peer-urls", &c.ListenPeerURLs, "URLs to listen on for other members")
	add(g, "listen-client-urls", &c.ListenClientURLs, "URLs to listen on for clients, gRPC and HTTP")
	add(g, "listen-client-http-urls", &c.ListenClientHTTPURLs, "URLs to listen on for HTTP alone; listen-client-urls then serves gRPC alone")
	add(g, "listen-metrics-urls", &c.ListenMetricsURLs, "further URLs to listen on for metrics and health")
	add(g, "snapshot-count", unsigned64(&c.SnapshotCount), "applied entries between two snapshot marks in the log (0: 10000)")
	add(g, "snapshot-catchup-entries", unsigned64(&c.SnapshotCatchup), "log entries kept in memory for slow followers after a mark (0: 5000)")
	add(g, "max-wals", unsigned(&c.MaxWALs), "log files kept (0 is unlimited)")
	add(g, "max-snapshots", unsigned(&c.MaxSnapshots), "files with the members at snapshot marks that are kept for older versions of etcd (0 is unlimited)").
		parting("--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.")
	add(g, "heartbeat-interval", unsigned(&c.HeartbeatMs), "milliseconds between two heartbeats")
	add(g, "election-timeout", unsigned(&c.ElectionMs), "milliseconds without a leader before an election")
	add(g, "backend-bbolt-freelist-type", text(&c.FreelistType), "how the database file keeps its free pages: map or array")
	add(g, "backend-batch-interval", span(&c.BatchInterval), "longest time before applied data reaches the database file (0: 1s)")
	add(g, "backend-batch-limit", integer(&c.BatchLimit), "log entries applied before data is written to the database file, whatever the time (0: no limit)")
	add(g, "compaction-batch-limit", integer(&c.CompactionBatchLimit), "revisions visited in one step of a compaction (0: 1000)")
	add(g, "compaction-sleep-interval", span(&c.CompactionSleep), "pause between two steps of a compaction (0: 10ms)")
	add(g, "socket-reuse-port", boolean(&c.SocketReusePort), "let other processes listen on the same ports").in("socket-options.reuse-port")
	add(g, "socket-reuse-address", boolean(&c.SocketReuseAddress), "listen on addresses that closed connections still hold").in("socket-options.reuse-address").idle("it is always so")
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
	add(g, "initial-election-tick-advance", boolean(&c.ElectionTickAdvance), "shorten the wait for the first leader once another member is reached")
}

func (c *Config) discoveryOptions(add adder) {
	const g = "Discovery"
	d := &c.Discovery
	add(g, "discovery-srv", text(&c.DiscoverySRV), "DNS domain whose SRV records name the initial members")
	add(g, "discovery-srv-name", text(&c.DiscoverySRVName), "suffix of the service that is looked up there: etcd-server-ssl-name, etcd-server-name")
	add(g, "discovery-fallback", choice(&c.DiscoveryFallback, "exit", "proxy"), "what follows when discovery fails; only exit is possible")
	add(g, "discovery-endpoints", &d.Endpoints, "client URLs of the discovery service, a cluster in which the initial members find each other").in("discovery-config.client.endpoints")
	add(g, "discovery-token", text(&d.Token), "word under which they do so there; it also takes the place of the initial cluster token").in("discovery-config.token")
	add(g, "discovery-dial-timeout", span(&d.DialTimeout), "time to connect to the discovery service").in("discovery-config.client.dial-timeout")
	add(g, "discovery-request-timeout", span(&d.RequestTimeout), "time for one request to the discovery service").in("discovery-config.client.request-timeout")
	add(g, "discovery-keepalive-time", span(&d.KeepAliveTime), "idle time before the discovery service is pinged").in("discovery-config.client.keepalive-time")
	add(g, "discovery-keepalive-timeout", span(&d.KeepAliveTimeout), "time that it has to answer a ping").in("discovery-config.client.keepalive-timeout")
	add(g, "discovery-insecure-transport", boolean(&d.Insecure), "speak to the discovery service without TLS unless certificates are given").in("discovery-config.client.secure.insecure-transport")
	add(g, "discovery-insecure-skip-tls-verify", boolean(&d.SkipVerify), "accept any certificate of the discovery service (for tests)").in("discovery-config.client.secure.insecure-skip-tls-verify")
	add(g, "discovery-cert", text(&d.CertFile), "client certificate file for the discovery service").in("discovery-config.client.secure.cert")
	add(g, "discovery-key", text(&d.KeyFile), "its key file").in("discovery-config.client.secure.key")
	add(g, "discovery-cacert", text(&d.TrustedCAFile), "file of the authorities that the discovery service's certificate is checked against").in("discovery-config.client.secure.cacert")
	add(g, "discovery-user", text(&d.User), "user at the discovery service, as name:password or with discovery-password").in("discovery-config.client.auth.username")
	add(g, "discovery-password", text(&d.Password), "that user's password").in("discovery-config.client.auth.password")
}
