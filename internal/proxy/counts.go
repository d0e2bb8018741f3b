package proxy

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// counts are the metrics of a proxy's own.
type counts struct {
	registry                         *prometheus.Registry
	started, handled, received, sent *prometheus.CounterVec
	methods                          map[string]method
	logger                           *slog.Logger // every call is logged; nil: none is
}

// callCounts are the metrics of one call.
type callCounts struct {
	received, sent prometheus.Counter // messages of the client, and to it
	done           func(error)        // at its end
}

// method is what is known of one of the API's.
type method struct {
	labels []string
	single bool // clients send one message
}

func newCounts(methods map[string]method, logger *slog.Logger) *counts {
	labels := []string{"grpc_type", "grpc_service", "grpc_method"}
	c := &counts{
		registry: prometheus.NewRegistry(),
		started: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grpc_server_started_total", Help: "Calls of clients that have begun.",
		}, labels),
		handled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grpc_server_handled_total", Help: "Calls of clients that have ended, by how.",
		}, append(labels, "grpc_code")),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grpc_server_msg_received_total", Help: "Messages of clients.",
		}, labels),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grpc_server_msg_sent_total", Help: "Messages to clients.",
		}, labels),
		methods: methods, logger: logger,
	}
	c.registry.MustRegister(c.started, c.handled, c.received, c.sent,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return c
}

// apiMethods are the methods that are counted each by itself. All others count as one, as clients can make up as many as they like.
func apiMethods() map[string]method {
	all := map[string]method{}
	for _, d := range []grpc.ServiceDesc{
		pb.KV_ServiceDesc, pb.Watch_ServiceDesc, pb.Lease_ServiceDesc, pb.Cluster_ServiceDesc, pb.Maintenance_ServiceDesc, pb.Auth_ServiceDesc,
	} {
		for _, m := range d.Methods {
			all["/"+d.ServiceName+"/"+m.MethodName] = method{[]string{"unary", d.ServiceName, m.MethodName}, true}
		}
		for _, s := range d.Streams {
			all["/"+d.ServiceName+"/"+s.StreamName] = method{[]string{kind(s), d.ServiceName, s.StreamName}, !s.ClientStreams}
		}
	}
	return all
}

func kind(s grpc.StreamDesc) string {
	switch {
	case s.ClientStreams && s.ServerStreams:
		return "bidi_stream"
	case s.ClientStreams:
		return "client_stream"
	}
	return "server_stream"
}

// start notes that a call begins.
func (c *counts) start(method string) callCounts {
	labels := c.methods[method].labels
	if labels == nil {
		labels = []string{"bidi_stream", "other", "other"}
	}
	c.started.WithLabelValues(labels...).Inc()
	began := time.Now()
	done := func(err error) {
		code := status.Code(err).String()
		c.handled.WithLabelValues(append(labels[:len(labels):len(labels)], code)...).Inc()
		if c.logger != nil {
			c.logger.Info("call", "method", strings.ToValidUTF8(method, "?"), "code", code, "took", time.Since(began))
		}
	}
	return callCounts{c.received.WithLabelValues(labels...), c.sent.WithLabelValues(labels...), done}
}

// counted is a client's side of a call, with its messages counted.
type counted struct {
	grpc.ServerStream
	counts callCounts
}

func (s counted) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		s.counts.received.Inc()
	}
	return err
}

func (s counted) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	if err == nil {
		s.counts.sent.Inc()
	}
	return err
}

func (c *counts) handler() http.Handler {
	return promhttp.HandlerFor(c.registry, promhttp.HandlerOpts{})
}
