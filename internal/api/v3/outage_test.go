package v3

import (
	"testing"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// TestOutage: the health service says that the member does not serve until the last of the works has ended, and only if that is wanted.
func TestOutage(t *testing.T) {
	const serving, not = healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING
	for _, wanted := range []bool{true, false} {
		o := outage{health: health.NewServer(), wanted: wanted}
		for i, step := range []struct {
			do   func()
			want healthpb.HealthCheckResponse_ServingStatus
		}{{o.begin, not}, {o.begin, not}, {o.end, not}, {o.end, serving}, {o.begin, not}, {o.end, serving}} {
			step.do()
			want := serving
			if wanted {
				want = step.want
			}
			got, err := o.health.Check(t.Context(), &healthpb.HealthCheckRequest{})
			if err != nil || got.Status != want {
				t.Errorf("wanted %v, step %d: %v, %v, want %v", wanted, i, got, err, want)
			}
		}
	}
}

// TestDefragmentIsAnOutage: a call counts as such also when it fails.
func TestDefragmentIsAnOutage(t *testing.T) {
	e := startEdge(t, 1)
	defer e.stop()
	s := &maintenanceServer{svc: e.Service, outage: outage{health: health.NewServer(), wanted: true}}
	s.outage.begin()
	for range 2 {
		_, err := s.Defragment(t.Context(), nil)
		check(t, err)
	}
	if s.outage.mu.works != 1 {
		t.Errorf("%d works are under way, want the one", s.outage.mu.works)
	}
}
