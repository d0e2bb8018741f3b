package ops

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/stats"
)

// TracingConfig says where spans go and which calls have some.
type TracingConfig struct {
	Logger      *slog.Logger
	Address     string // host:port of a collector that takes OTLP over gRPC in plain text
	ServiceName string
	InstanceID  string // empty: none is told
	// SamplingRate is how many of a million calls are traced whose client does not trace them.
	SamplingRate int
}

// Tracing sends a span for each traced call to a collector. A nil Tracing does nothing and costs nothing.
//
// Spans wait in a bounded queue; more are dropped. A collector that is away is tried again for each batch, and a call never waits for it.
type Tracing struct {
	provider *trace.TracerProvider
}

const (
	millionth = 1_000_000

	exportTimeout = 10 * time.Second // for a batch
	closeTimeout  = 2 * time.Second  // for what waits at the end
)

// StartTracing starts sending. Close must be called. The collector need not be there.
func StartTracing(ctx context.Context, cfg TracingConfig) (*Tracing, error) {
	client, err := otlptracegrpc.New(
		ctx, otlptracegrpc.WithEndpoint(cfg.Address), otlptracegrpc.WithInsecure(), otlptracegrpc.WithTimeout(exportTimeout),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}),
	)
	if err != nil {
		return nil, fmt.Errorf("tracing to %s: %w", cfg.Address, err)
	}
	attributes := []attribute.KeyValue{attribute.String("service.name", cfg.ServiceName)}
	if cfg.InstanceID != "" {
		attributes = append(attributes, attribute.String("service.instance.id", cfg.InstanceID))
	}
	return &Tracing{trace.NewTracerProvider(
		trace.WithBatcher(&exporter{SpanExporter: client, logger: cfg.Logger, address: cfg.Address}),
		trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(float64(cfg.SamplingRate)/millionth))),
		trace.WithResource(resource.NewSchemaless(attributes...)),
	)}, nil
}

// Stats is what has a gRPC server trace its calls. nil: it does not.
func (t *Tracing) Stats() stats.Handler {
	if t == nil {
		return nil
	}
	return otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(t.provider), otelgrpc.WithMeterProvider(noop.NewMeterProvider()),
		otelgrpc.WithPropagators(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})),
	)
}

// Close sends what waits, for a short time, and stops.
func (t *Tracing) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what could not be sent is lost, and was warned of
}

// exporter says in the member's log when spans are lost: once when it begins, and when it is over.
type exporter struct {
	trace.SpanExporter
	logger  *slog.Logger
	address string
	failing atomic.Bool
}

// ExportSpans sends spans. A failure is no error to the caller, who would print it elsewhere.
func (e *exporter) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch was := e.failing.Swap(err != nil); {
	case err != nil && !was:
		e.logger.Warn("spans are not sent", "collector", e.address, "spans", len(spans), "error", err)
	case err == nil && was:
		e.logger.Info("spans are sent again", "collector", e.address)
	}
	return nil
}
