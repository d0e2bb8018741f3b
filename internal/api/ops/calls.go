package ops

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Calls counts the calls of gRPC, by their type, service and method. What counts the calls of a method is looked up once.
type Calls struct {
	started, handled, received, sent *prometheus.CounterVec
	times                            *prometheus.HistogramVec // nil unless they are measured
	methods                          sync.Map                 // full name to *Method
}

// Method counts the calls of one method.
type Method struct {
	started, received, sent prometheus.Counter
	handled                 [codes.Unauthenticated + 1]func() prometheus.Counter // by code
	times                   prometheus.Observer                                  // nil unless they are measured
}

// newCalls counts nothing so far. With extensive the times of calls are measured, too.
func newCalls(f factory, extensive bool) *Calls {
	labels := []string{"grpc_type", "grpc_service", "grpc_method"}
	c := &Calls{
		started:  f.counters("grpc_server_started_total", "Calls that have begun.", labels...),
		handled:  f.counters("grpc_server_handled_total", "Calls that have ended, by code.", append(labels, "grpc_code")...),
		received: f.counters("grpc_server_msg_received_total", "Messages received from clients.", labels...),
		sent:     f.counters("grpc_server_msg_sent_total", "Messages sent to clients.", labels...),
	}
	if extensive {
		c.times = f.histograms("grpc_server_handling_seconds", "Time of calls.", prometheus.DefBuckets, labels...)
	}
	return c
}

// add names all calls that clients may make.
func (c *Calls) add(catalog map[string]grpc.ServiceInfo) {
	for service, info := range catalog {
		for _, m := range info.Methods {
			for _, handled := range c.method("/"+service+"/"+m.Name, callType(m.IsClientStream, m.IsServerStream)).handled {
				handled()
			}
		}
	}
}

// callType is the type of a call as metrics name it.
func callType(clientStream, serverStream bool) string {
	switch {
	case clientStream && serverStream:
		return "bidi_stream"
	case clientStream:
		return "client_stream"
	case serverStream:
		return "server_stream"
	}
	return "unary"
}

// Unary is what counts the calls of a unary method, by its full name.
func (c *Calls) Unary(method string) *Method { return c.method(method, "unary") }

// Stream is what counts the messages of a method that streams both ways, by its full name.
func (c *Calls) Stream(method string) *Method { return c.method(method, callType(true, true)) }

// Received counts messages that were received together.
func (m *Method) Received(n int) { m.received.Add(float64(n)) }

// Sent counts messages that were sent together.
func (m *Method) Sent(n int) { m.sent.Add(float64(n)) }

func (c *Calls) method(name, kind string) *Method {
	if m, ok := c.methods.Load(name); ok {
		return m.(*Method)
	}
	service, call, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	labels := []string{kind, service, call}
	m := &Method{
		started: c.started.WithLabelValues(labels...), received: c.received.WithLabelValues(labels...), sent: c.sent.WithLabelValues(labels...),
	}
	for code := range m.handled {
		m.handled[code] = sync.OnceValue(func() prometheus.Counter {
			return c.handled.WithLabelValues(kind, service, call, codes.Code(code).String())
		})
	}
	if c.times != nil {
		m.times = c.times.WithLabelValues(labels...)
	}
	known, _ := c.methods.LoadOrStore(name, m)
	return known.(*Method)
}

// Began counts a unary call that was received.
func (m *Method) Began() {
	m.started.Inc()
	m.received.Inc()
}

// Ended counts a unary call that ended with an error or nil, and took so long.
func (m *Method) Ended(err error, took time.Duration) {
	if err == nil {
		m.sent.Inc()
	}
	m.end(err, took)
}

func (m *Method) end(err error, took time.Duration) {
	code := codeOf(err)
	if int(code) >= len(m.handled) {
		code = codes.Unknown
	}
	m.handled[code]().Inc()
	if m.times != nil {
		m.times.Observe(took.Seconds())
	}
}

// codeOf is the code that a client gets with an error.
func codeOf(err error) codes.Code {
	switch {
	case err == nil:
		return codes.OK
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	return status.Code(err)
}

// UnaryServerInterceptor counts unary calls.
func (c *Calls) UnaryServerInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		m, began := c.Unary(info.FullMethod), time.Now()
		m.Began()
		resp, err := handler(ctx, req)
		m.Ended(err, time.Since(began))
		return resp, err
	}
}

// StreamServerInterceptor counts streams and their messages.
func (c *Calls) StreamServerInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		m, began := c.method(info.FullMethod, callType(info.IsClientStream, info.IsServerStream)), time.Now()
		m.started.Inc()
		err := handler(srv, &countingStream{stream, m})
		m.end(err, time.Since(began))
		return err
	}
}

// countingStream counts the messages of a stream.
type countingStream struct {
	grpc.ServerStream
	method *Method
}

func (s *countingStream) RecvMsg(message any) error {
	err := s.ServerStream.RecvMsg(message)
	if err == nil {
		s.method.received.Inc()
	}
	return err
}

func (s *countingStream) SendMsg(message any) error {
	err := s.ServerStream.SendMsg(message)
	if err == nil {
		s.method.sent.Inc()
	}
	return err
}
