package embed

import (
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
)

// TestTracing: a member that is told to trace sends spans of its calls to the collector.
func TestTracing(t *testing.T) {
	exports := make(chan string, 100)
	collector := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		exports <- method
		return nil
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- collector.Serve(l) }()
	t.Cleanup(func() {
		collector.Stop()
		<-served
	})

	cfg := testConfig(t, t.TempDir())
	cfg.Tracing.Enabled, cfg.Tracing.Address, cfg.Tracing.SamplingRate = true, l.Addr().String(), 1_000_000
	m := start(t, cfg)
	c := dial(t, m.ClientAddrs()[0].String())
	put(t, c, "a", "1")
	must(t, c.Close())
	stop(t, m) // which sends what waits
	select {
	case method := <-exports:
		if want := "/opentelemetry.proto.collector.trace.v1.TraceService/Export"; method != want {
			t.Errorf("the collector was asked for %s", method)
		}
	case <-time.After(10 * time.Second):
		t.Error("the collector got nothing")
	}
}
