package ops

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCollector takes spans and keeps them.
type fakeCollector struct {
	collector.UnimplementedTraceServiceServer
	mu       sync.Mutex
	spans    []*tracev1.Span
	resource map[string]string
}

func (c *fakeCollector) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range r.ResourceSpans {
		c.resource = texts(rs.Resource.Attributes)
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func texts(attributes []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range attributes {
		all[a.Key] = a.Value.GetStringValue()
	}
	return all
}

// listen serves until the end of the test and returns the address.
func listen(t *testing.T, server *grpc.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return l.Addr().String()
}

// traced runs calls against a server with tracing and returns what the collector got.
func traced(t *testing.T, rate int, instance string, calls func(healthpb.HealthClient)) *fakeCollector {
	t.Helper()
	fake := &fakeCollector{}
	collecting := grpc.NewServer()
	collector.RegisterTraceServiceServer(collecting, fake)
	tracing, err := StartTracing(t.Context(), TracingConfig{
		Logger: slog.New(slog.DiscardHandler), Address: listen(t, collecting), ServiceName: "cluster 7", InstanceID: instance, SamplingRate: rate,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.StatsHandler(tracing.Stats()))
	healthpb.RegisterHealthServer(server, grpchealth.NewServer())
	conn, err := grpc.NewClient(listen(t, server), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	calls(healthpb.NewHealthClient(conn))
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	server.GracefulStop()
	tracing.Close()
	fake.mu.Lock()
	defer fake.mu.Unlock()
	return fake
}

// Contexts of clients that trace their call, and that do not want it traced.
const (
	sampledParent   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	unsampledParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

func TestTracing(t *testing.T) {
	check := func(parent string) func(healthpb.HealthClient) {
		return func(c healthpb.HealthClient) {
			ctx := t.Context()
			if parent != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", parent)
			}
			if _, err := c.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
				t.Error(err)
			}
		}
	}
	for _, tc := range []struct {
		name   string
		rate   int
		parent string
		want   int
	}{
		{"no call", 0, "", 0},
		{"every call", millionth, "", 1},
		{"the client traces", 0, sampledParent, 1},
		{"the client does not want it", millionth, unsampledParent, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fake := traced(t, tc.rate, "m1", check(tc.parent))
			if len(fake.spans) != tc.want {
				t.Fatalf("%d spans, want %d", len(fake.spans), tc.want)
			}
			if tc.want == 0 {
				return
			}
			span := fake.spans[0]
			if span.Name != "grpc.health.v1.Health/Check" || span.Kind != tracev1.Span_SPAN_KIND_SERVER {
				t.Errorf("span %s of kind %v", span.Name, span.Kind)
			}
			if fake.resource["service.name"] != "cluster 7" || fake.resource["service.instance.id"] != "m1" {
				t.Errorf("resource %v", fake.resource)
			}
			if got := len(span.ParentSpanId) > 0; got != (tc.parent != "") {
				t.Errorf("has a parent: %v", got)
			}
		})
	}
	fake := traced(t, millionth, "", check(""))
	if id, ok := fake.resource["service.instance.id"]; ok {
		t.Errorf("instance %q is told", id)
	}
}

// TestTracingWithoutCollector: nobody waits for a collector that is not there, and the log says so once.
func TestTracingWithoutCollector(t *testing.T) {
	var out bytes.Buffer
	tracing, err := StartTracing(t.Context(), TracingConfig{
		Logger: slog.New(slog.NewTextHandler(&out, nil)), Address: "127.0.0.1:1", ServiceName: "s", SamplingRate: millionth,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, span := tracing.provider.Tracer("t").Start(t.Context(), "s")
		span.End()
		if err := tracing.provider.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	start := time.Now()
	tracing.Close()
	if took := time.Since(start); took > closeTimeout+time.Second {
		t.Errorf("closing took %v", took)
	}
	if n := strings.Count(out.String(), "spans are not sent"); n != 1 {
		t.Errorf("%d warnings in %s", n, &out)
	}
}

// TestNoTracing: without tracing there is nothing.
func TestNoTracing(t *testing.T) {
	var none *Tracing
	if none.Stats() != nil {
		t.Error("calls are traced")
	}
	none.Close()
}

// TestNotedCalls: calls that were noted are shown to who asks from this machine.
func TestNotedCalls(t *testing.T) {
	info := &grpc.UnaryServerInfo{FullMethod: "/service/Noted"}
	refused := status.Error(codes.NotFound, "nothing there")
	_, err := NoteUnary(t.Context(), nil, info, func(context.Context, any) (any, error) { return nil, refused })
	if status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	err = NoteStream(nil, nil, &grpc.StreamServerInfo{FullMethod: "/service/Stream"}, func(any, grpc.ServerStream) error { return nil })
	if err != nil {
		t.Error(err)
	}
	mux := http.NewServeMux()
	RegisterCalls(mux)
	RegisterPprof(mux)
	for path, want := range map[string]string{
		"/debug/requests": "grpc.Recv./service/Noted", "/debug/requests?fam=grpc.Recv./service/Noted&b=-1": "", "/debug/events": "events", "/debug/pprof/": "goroutine",
	} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.RemoteAddr = "127.0.0.1:1234"
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %.300s", path, w.Code, w.Body)
		}
	}
}
