package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// counted lists what a registry has, one line for each series, without help and times.
func counted(t *testing.T, r *prometheus.Registry) string {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range families {
		for _, m := range f.Metric {
			labels := fmt.Sprint(slices.SortedFunc(slices.Values(m.Label), func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) }))
			lines = append(lines, fmt.Sprintf("%s %s %v %d %d", f.GetName(), labels, m.GetCounter().GetValue(), m.GetHistogram().GetSampleCount(), len(m.GetHistogram().GetBucket())))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// scripted is a stream whose client sends some messages.
type scripted struct {
	grpc.ServerStream
	left int
	fail error
}

func (s *scripted) Context() context.Context { return context.Background() }

func (s *scripted) RecvMsg(any) error {
	if s.left--; s.left >= 0 {
		return nil
	}
	return s.fail
}

func (s *scripted) SendMsg(any) error { return s.fail }

// interceptors is what counts calls.
type interceptors struct {
	unary  grpc.UnaryServerInterceptor
	stream grpc.StreamServerInterceptor
}

// exercise makes calls of all kinds that end in all ways.
func (i interceptors) exercise() {
	endings := []error{
		nil, status.Error(codes.Unavailable, "x"), errors.New("x"), context.Canceled, context.DeadlineExceeded,
		fmt.Errorf("wrapped: %w", context.Canceled), fmt.Errorf("wrapped: %w", status.Error(codes.NotFound, "x")),
	}
	for _, err := range endings {
		_, _ = i.unary(context.Background(), 1, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, func(context.Context, any) (any, error) { return 2, err })
	}
	for n, fail := range []error{io.EOF, io.ErrUnexpectedEOF, status.Error(codes.Canceled, "x")} {
		info := &grpc.StreamServerInfo{FullMethod: fmt.Sprintf("/a.B/S%d", n), IsClientStream: n != 1, IsServerStream: n > 0}
		_ = i.stream(nil, &scripted{left: 2, fail: fail}, info, func(_ any, s grpc.ServerStream) error {
			for s.RecvMsg(nil) == nil {
			}
			_ = s.SendMsg(nil)
			return fail
		})
	}
}

// TestCallsAreCountedAsEverywhere: dashboards are made for the counts of a widely used library.
func TestCallsAreCountedAsEverywhere(t *testing.T) {
	catalog := map[string]grpc.ServiceInfo{"a.B": {Methods: []grpc.MethodInfo{{Name: "C"}, {Name: "Never", IsServerStream: true}}}}
	for _, extensive := range []bool{false, true} {
		ours, theirs := prometheus.NewRegistry(), prometheus.NewRegistry()
		calls := newCalls(factory{ours}, extensive)
		calls.add(catalog)
		interceptors{calls.UnaryServerInterceptor(), calls.StreamServerInterceptor()}.exercise()
		var opts []grpcprom.ServerMetricsOption
		if extensive {
			opts = append(opts, grpcprom.WithServerHandlingTimeHistogram())
		}
		library := grpcprom.NewServerMetrics(opts...)
		theirs.MustRegister(library)
		library.InitializeMetrics(known(catalog))
		interceptors{library.UnaryServerInterceptor(), library.StreamServerInterceptor()}.exercise()
		a, b := strings.Split(counted(t, ours), "\n"), strings.Split(counted(t, theirs), "\n")
		for _, line := range a {
			if !slices.Contains(b, line) && !strings.HasSuffix(line, " 0 0 0") { // of a method that nobody knew before it was called
				t.Errorf("only here: %s", line)
			}
		}
		for _, line := range b {
			if !slices.Contains(a, line) {
				t.Errorf("only there: %s", line)
			}
		}
	}
}

// known makes a list of services look like a server.
type known map[string]grpc.ServiceInfo

func (k known) GetServiceInfo() map[string]grpc.ServiceInfo { return k }

// BenchmarkCalls measures what counting costs a unary call.
func BenchmarkCalls(b *testing.B) {
	m := newCalls(factory{prometheus.NewRegistry()}, false).Unary("/etcdserverpb.KV/Put")
	b.ReportAllocs()
	for b.Loop() {
		m.Began()
		m.Ended(nil, time.Millisecond)
	}
}

// BenchmarkRequest measures what a request pays for being measured.
func BenchmarkRequest(b *testing.B) {
	m := NewMetrics()
	b.ReportAllocs()
	for b.Loop() {
		m.Request("Put", time.Millisecond, nil)
	}
}

// TestClientRequests: calls are counted for the version of their own client, whoever called before.
func TestClientRequests(t *testing.T) {
	m := NewMetrics()
	want := map[[2]string]float64{}
	for i := range 20 {
		labels := [2]string{[]string{"unary", "stream"}[i%2], []string{"3.5", "3.6", "unknown"}[i%3]}
		m.ClientRequest(labels[0], labels[1])
		m.ClientRequest(labels[0], labels[1])
		want[labels] += 2
	}
	for labels, n := range want {
		var out dto.Metric
		if err := m.ClientRequests.WithLabelValues(labels[:]...).Write(&out); err != nil || out.GetCounter().GetValue() != n {
			t.Errorf("%v: counted %v, want %v (%v)", labels, out.GetCounter().GetValue(), n, err)
		}
	}
}

// BenchmarkClientRequest measures what counting a client's version costs a call.
func BenchmarkClientRequest(b *testing.B) {
	m := NewMetrics()
	b.ReportAllocs()
	for b.Loop() {
		m.ClientRequest("unary", "3.7")
	}
}
