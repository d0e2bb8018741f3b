package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/api/ops"
	"github.com/quoin-kv/quoin/internal/certs"
)

const (
	healthTimeout  = time.Second     // for the read that judges health, as long as etcd's proxy gives it
	metricsTimeout = 5 * time.Second // for the metrics of one member
)

// pages returns what is served besides calls.
func (r *Relay) pages(pprof bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/health", ops.GetOnly(healthPage(r.readable)))
	mux.Handle("/proxy/health", ops.GetOnly(healthPage(r.reaches)))
	mux.Handle("/metrics", ops.GetOnly(http.HandlerFunc(r.memberMetrics)))
	mux.Handle("/proxy/metrics", ops.GetOnly(r.counts.handler()))
	if pprof {
		ops.RegisterPprof(mux)
	}
	return mux
}

// healthPage serves whether all is well, and why not.
func healthPage(check func(context.Context) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		reason := ""
		if err := check(r.Context()); err != nil {
			reason = err.Error()
		}
		ops.WriteHealth(w, reason)
	}
}

// readable reports whether the cluster can be read through its leader. Who is told that he may not read has got that far.
func (r *Relay) readable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	_, err := pb.NewKVClient(r.conn).Range(ctx, &pb.RangeRequest{Key: []byte("health"), KeysOnly: true})
	switch status.Code(err) {
	case codes.OK, codes.PermissionDenied, codes.InvalidArgument: // the latter: nobody without a name may read
		return nil
	}
	return fmt.Errorf("GET ERROR:%s", status.Convert(err).Message())
}

// reaches reports whether there is a connection to a member.
func (r *Relay) reaches(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	for {
		now := r.conn.GetState()
		if now == connectivity.Ready {
			return nil
		}
		if now == connectivity.TransientFailure || !r.conn.WaitForStateChange(ctx, now) {
			return fmt.Errorf("no member can be reached")
		}
	}
}

// memberMetrics passes on the metrics of the first member that has any.
func (r *Relay) memberMetrics(w http.ResponseWriter, req *http.Request) {
	for _, t := range r.targets.all() {
		if err := passMetrics(req.Context(), w, t, r.dialer); err == nil {
			return
		} else if req.Context().Err() != nil {
			return
		} else {
			r.logger.Warn("no metrics of a member", "endpoint", t.String(), "error", err)
		}
	}
	http.Error(w, "Internal server error", http.StatusInternalServerError)
}

// passMetrics writes a member's metrics. After an error nothing was written.
func passMetrics(ctx context.Context, w http.ResponseWriter, t target, dialer *certs.Dialer) error {
	ctx, cancel := context.WithTimeout(ctx, metricsTimeout)
	defer cancel()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx) }
	transport := &http.Transport{DialContext: dial, DialTLSContext: dialer.Over(dial), DisableKeepAlives: true}
	scheme := map[bool]string{false: "http", true: "https"}[t.secure]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+t.authority()+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	_, _ = io.Copy(w, resp.Body) // too late to say that it broke off
	return nil
}
