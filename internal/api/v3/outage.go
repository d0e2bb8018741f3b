package v3

import (
	"sync"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// outage is what the health service says while an operator's work goes on that a balancer should keep clients away from.
type outage struct {
	health *health.Server
	wanted bool // else it says nothing
	mu     struct {
		sync.Mutex
		works int // under way
	}
}

func (o *outage) begin() { o.change(1) }

func (o *outage) end() { o.change(-1) }

func (o *outage) change(by int) {
	if !o.wanted {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.works += by
	status := healthpb.HealthCheckResponse_SERVING
	if o.mu.works > 0 {
		status = healthpb.HealthCheckResponse_NOT_SERVING
	}
	o.health.SetServingStatus("", status)
}
