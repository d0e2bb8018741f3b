package ops

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
)

// Metrics is every measurement of one member, registered with a registry of its own. What other rooms count is a field or a method for
// their hooks; what can be read at any time is read when somebody scrapes (see Register).
type Metrics struct {
	registry *prometheus.Registry

	DiskMetrics
	ServerMetrics
	KeyMetrics
	OwnMetrics
	Peers PeerMetrics

	sentBytes, receivedBytes prometheus.Counter
	streamFailures           *prometheus.CounterVec // Type, API

	requests lookups        // of RequestDuration
	clients  counterLookups // of ClientRequests

	healthOK, healthFailed prometheus.Counter
	check                  *prometheus.GaugeVec   // type, name
	checks                 *prometheus.CounterVec // type, name, status
}

// Gauge is a value that is read when somebody scrapes.
type Gauge struct {
	Name, Help string
	Labels     prometheus.Labels
	Counts     bool // it never goes down: a counter
	Read       func() float64
}

// NewMetrics makes the metrics of one member.
func NewMetrics() *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	f := factory{registry}
	m := &Metrics{
		registry: registry, DiskMetrics: newDiskMetrics(f), ServerMetrics: newServerMetrics(f), KeyMetrics: newKeyMetrics(f),
		OwnMetrics: newOwnMetrics(f), Peers: newPeerMetrics(f),
	}
	m.requests.of, m.clients.of = m.RequestDuration, m.ClientRequests
	m.sentBytes = f.counter("etcd_network_client_grpc_sent_bytes_total", "Bytes sent to gRPC clients.")
	m.receivedBytes = f.counter("etcd_network_client_grpc_received_bytes_total", "Bytes received from gRPC clients.")
	m.streamFailures = f.counters("etcd_network_server_stream_failures_total", "Streams that broke on this side.", "Type", "API")
	m.healthOK = f.counter("etcd_server_health_success", "Health checks passed.")
	m.healthFailed = f.counter("etcd_server_health_failures", "Health checks failed.")
	m.check = f.gauges("etcd_server_healthcheck", "Last result of a check.", "type", "name")
	m.checks = f.counters("etcd_server_healthchecks_total", "Results of checks.", "type", "name", "status")
	m.Register(
		Gauge{Name: "os_fd_limit", Help: "Files that the process may have open.", Read: func() float64 { return float64(fdLimit()) }},
		Gauge{Name: "os_fd_used", Help: "Files that the process has open.", Read: func() float64 { return float64(fdUsed()) }},
	)
	registerUnused(f)
	return m
}

// Register adds gauges and counters that are read when somebody scrapes. A Read must be quick and may run at the same time as others.
func (m *Metrics) Register(gauges ...Gauge) {
	for _, g := range gauges {
		m.registry.MustRegister(g.collector())
	}
}

func (g *Gauge) collector() prometheus.Collector {
	opts := prometheus.Opts{Name: g.Name, Help: g.Help, ConstLabels: g.Labels}
	if g.Counts {
		return prometheus.NewCounterFunc(prometheus.CounterOpts(opts), g.Read)
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts), g.Read)
}

// GRPC counts calls by service, method and code, and if extensive also measures their times. What catalog names is there from the start,
// at zero. It may be called once.
func (m *Metrics) GRPC(extensive bool, catalog map[string]grpc.ServiceInfo) *Calls {
	calls := newCalls(factory{m.registry}, extensive)
	calls.add(catalog)
	return calls
}

// Sent counts bytes sent to gRPC clients.
func (m *Metrics) Sent(bytes int) { m.sentBytes.Add(float64(bytes)) }

// Received counts bytes received from gRPC clients.
func (m *Metrics) Received(bytes int) { m.receivedBytes.Add(float64(bytes)) }

// StreamFailed counts a stream of an API ("watch", "lease-keepalive") that broke while the server did something ("receive", "send").
func (m *Metrics) StreamFailed(doing, api string) { m.streamFailures.WithLabelValues(doing, api).Inc() }

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
		Read: func(took time.Duration, err error) {
			m.Range(took, err)
			m.Request("Range", took, err)
		},
	}
}

// Request measures a client's request.
func (m *Metrics) Request(kind string, took time.Duration, err error) {
	m.requests.observe(kind, err == nil, took)
}

// ClientRequest counts a call by its kind and the API version that its client says it speaks.
func (m *Metrics) ClientRequest(kind, version string) { m.clients.inc(kind, version) }

// Range measures a range.
func (m *Metrics) Range(took time.Duration, err error) {
	m.Ranges.Inc()
	m.RangeDuration.WithLabelValues(strconv.FormatBool(err == nil)).Observe(took.Seconds())
}

// Promoted counts a try to give a learner a vote.
func (m *Metrics) Promoted(err error) {
	if err != nil {
		m.promoteFailures.WithLabelValues(err.Error()).Inc()
		return
	}
	m.promoteSuccesses.Inc()
}
