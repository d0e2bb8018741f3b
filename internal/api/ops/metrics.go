package ops

import (
	"net/http"
	"strconv"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is every measurement of one member, registered with a registry of its own. What other rooms count is a field or a method for
// their hooks; what can be read at any time is read when somebody scrapes (see Register).
type Metrics struct {
	registry *prometheus.Registry

	WALSync       prometheus.Histogram
	WALWrite      prometheus.Histogram
	WALBytes      prometheus.Gauge
	BackendCommit prometheus.Histogram

	// Parts of a commit.
	BackendRebalance, BackendSpill, BackendWrite prometheus.Histogram

	ApplyDuration   *prometheus.HistogramVec // version, op, success
	RangeDuration   *prometheus.HistogramVec // success
	RequestDuration *prometheus.HistogramVec // type, success
	SlowApply       prometheus.Counter
	ProposalsFailed prometheus.Counter
	ReadsFailed     prometheus.Counter
	LeaderChanges   prometheus.Counter
	ClientRequests  *prometheus.CounterVec // type, client_api_version
	LeaseGranted    prometheus.Counter
	LeaseRevoked    prometheus.Counter
	LeaseRenewed    prometheus.Counter
	LeaseExpired    prometheus.Counter
	LeaseTTL        prometheus.Histogram
	Puts            prometheus.Counter
	Deletes         prometheus.Counter
	Txns            prometheus.Counter
	Ranges          prometheus.Counter

	Peers PeerMetrics

	sentBytes, receivedBytes prometheus.Counter

	healthOK, healthFailed prometheus.Counter
	check                  *prometheus.GaugeVec   // type, name
	checks                 *prometheus.CounterVec // type, name, status
}

// Gauge is a value that is read when somebody scrapes.
type Gauge struct {
	Name, Help string
	Labels     prometheus.Labels
	Read       func() float64
}

// factory registers what it makes.
type factory struct{ r prometheus.Registerer }

func (f factory) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	f.r.MustRegister(c)
	return c
}

func (f factory) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	f.r.MustRegister(c)
	return c
}

func (f factory) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	f.r.MustRegister(h)
	return h
}

func (f factory) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	f.r.MustRegister(h)
	return h
}

func (f factory) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	f.r.MustRegister(g)
	return g
}

// Bucket layouts, in seconds.

func diskBuckets() []float64  { return prometheus.ExponentialBuckets(0.001, 2, 14) }
func applyBuckets() []float64 { return prometheus.ExponentialBuckets(0.0001, 2, 20) }
func ttlBuckets() []float64   { return prometheus.ExponentialBuckets(1, 2, 24) }

// NewMetrics makes the metrics of one member.
func NewMetrics() *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	f := factory{registry}
	m := &Metrics{registry: registry}
	m.disk(f)
	m.server(f)
	m.debugging(f)
	m.Peers = newPeerMetrics(f)
	m.Register(
		Gauge{Name: "os_fd_limit", Help: "Files that the process may have open.", Read: func() float64 { return float64(fdLimit()) }},
		Gauge{Name: "os_fd_used", Help: "Files that the process has open.", Read: func() float64 { return float64(fdUsed()) }},
	)
	return m
}

func (m *Metrics) disk(f factory) {
	m.WALSync = f.histogram("etcd_disk_wal_fsync_duration_seconds", "Time of a sync of the write-ahead log.", diskBuckets())
	m.WALWrite = f.histogram("etcd_disk_wal_write_duration_seconds", "Time of a write to the write-ahead log.", diskBuckets())
	m.WALBytes = f.gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the write-ahead log.")
	m.BackendCommit = f.histogram("etcd_disk_backend_commit_duration_seconds", "Time of a commit to the database file.", diskBuckets())
}

func (m *Metrics) server(f factory) {
	m.ApplyDuration = f.histograms("etcd_server_apply_duration_seconds", "Time of applying a request.", applyBuckets(), "version", "op", "success")
	m.RangeDuration = f.histograms("etcd_server_range_duration_seconds", "Time of a range.", applyBuckets(), "success")
	m.RequestDuration = f.histograms("etcd_server_request_duration_seconds", "Time of a client's request.", diskBuckets(), "type", "success")
	m.SlowApply = f.counter("etcd_server_slow_apply_total", "Applies that took longer than warned of.")
	m.ProposalsFailed = f.counter("etcd_server_proposals_failed_total", "Proposals that got no answer.")
	m.ReadsFailed = f.counter("etcd_server_read_indexes_failed_total", "Linearizable reads that got no read index.")
	m.LeaderChanges = f.counter("etcd_server_leader_changes_seen_total", "Leaders seen.")
	m.ClientRequests = f.counters("etcd_server_client_requests_total", "Calls by kind and client version.", "type", "client_api_version")
	m.healthOK = f.counter("etcd_server_health_success", "Health checks passed.")
	m.healthFailed = f.counter("etcd_server_health_failures", "Health checks failed.")
	m.check = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "etcd_server_healthcheck", Help: "Last result of a check."}, []string{"type", "name"})
	f.r.MustRegister(m.check)
	m.checks = f.counters("etcd_server_healthchecks_total", "Results of checks.", "type", "name", "status")
	m.sentBytes = f.counter("etcd_network_client_grpc_sent_bytes_total", "Bytes sent to gRPC clients.")
	m.receivedBytes = f.counter("etcd_network_client_grpc_received_bytes_total", "Bytes received from gRPC clients.")
	m.Puts = f.counter("etcd_mvcc_put_total", "Puts applied.")
	m.Deletes = f.counter("etcd_mvcc_delete_total", "Deletes applied.")
	m.Txns = f.counter("etcd_mvcc_txn_total", "Transactions applied.")
	m.Ranges = f.counter("etcd_mvcc_range_total", "Ranges answered.")
}

func (m *Metrics) debugging(f factory) {
	part := func(name, help string) prometheus.Histogram {
		return f.histogram("etcd_debugging_disk_backend_commit_"+name+"_duration_seconds", help, diskBuckets())
	}
	m.BackendRebalance = part("rebalance", "Time of a commit spent on joining small pages.")
	m.BackendSpill = part("spill", "Time of a commit spent on splitting large pages.")
	m.BackendWrite = part("write", "Time of a commit spent on writing.")
	m.LeaseGranted = f.counter("etcd_debugging_lease_granted_total", "Leases granted.")
	m.LeaseRevoked = f.counter("etcd_debugging_lease_revoked_total", "Leases revoked.")
	m.LeaseRenewed = f.counter("etcd_debugging_lease_renewed_total", "Leases renewed.")
	m.LeaseExpired = f.counter("etcd_debugging_server_lease_expired_total", "Leases that ended by time.")
	m.LeaseTTL = f.histogram("etcd_debugging_lease_ttl_total", "Time to live of granted leases, in seconds.", ttlBuckets())
}

// Register adds gauges.
func (m *Metrics) Register(gauges ...Gauge) {
	for _, g := range gauges {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.Name, Help: g.Help, ConstLabels: g.Labels}, g.Read))
	}
}

// RegisterVersion adds a gauge that is always 1 and has a label whose value is asked for when somebody scrapes. It is absent while read
// gives an empty text.
func (m *Metrics) RegisterVersion(name, help, label string, read func() string) {
	m.registry.MustRegister(&versionGauge{prometheus.NewDesc(name, help, []string{label}, nil), read})
}

type versionGauge struct {
	desc *prometheus.Desc
	read func() string
}

func (g *versionGauge) Describe(descs chan<- *prometheus.Desc) { descs <- g.desc }

func (g *versionGauge) Collect(metrics chan<- prometheus.Metric) {
	if v := g.read(); v != "" {
		metrics <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, 1, v)
	}
}

// GRPC counts calls by service, method and code, and if extensive also measures their times. It may be called once.
func (m *Metrics) GRPC(extensive bool) *grpcprom.ServerMetrics {
	var opts []grpcprom.ServerMetricsOption
	if extensive {
		opts = append(opts, grpcprom.WithServerHandlingTimeHistogram())
	}
	calls := grpcprom.NewServerMetrics(opts...)
	m.registry.MustRegister(calls)
	return calls
}

// Sent counts bytes sent to gRPC clients.
func (m *Metrics) Sent(bytes int) { m.sentBytes.Add(float64(bytes)) }

// Received counts bytes received from gRPC clients.
func (m *Metrics) Received(bytes int) { m.receivedBytes.Add(float64(bytes)) }

// Handler serves /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.InstrumentMetricHandler(m.registry, promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
}

// Health counts health checks.
func (m *Metrics) Health() HealthObserver {
	return HealthObserver{
		Health: func(ok bool) {
			if ok {
				m.healthOK.Inc()
			} else {
				m.healthFailed.Inc()
			}
		},
		Check: func(endpoint, name string, ok bool) {
			status, value := "error", 0.0
			if ok {
				status, value = "success", 1
			}
			m.check.WithLabelValues(endpoint, name).Set(value)
			m.checks.WithLabelValues(endpoint, name, status).Inc()
		},
	}
}

// Request measures a client's request.
func (m *Metrics) Request(kind string, took time.Duration, err error) {
	m.RequestDuration.WithLabelValues(kind, strconv.FormatBool(err == nil)).Observe(took.Seconds())
}

// Range measures a range.
func (m *Metrics) Range(took time.Duration, err error) {
	m.Ranges.Inc()
	m.RangeDuration.WithLabelValues(strconv.FormatBool(err == nil)).Observe(took.Seconds())
}
