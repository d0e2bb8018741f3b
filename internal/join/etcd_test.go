package join

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/internal/config"
)

// service is a discovery service over gRPC: as much of a member as discovery needs, on a registry.
type service struct {
	etcdserverpb.UnimplementedKVServer
	etcdserverpb.UnimplementedWatchServer

	*registry
	err error // for every call, if not nil
}

func (s *service) Range(ctx context.Context, r *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	entries, revision, err := s.List(ctx, string(r.Key))
	if s.err != nil || err != nil {
		return nil, errors.Join(s.err, err)
	}
	reply := &etcdserverpb.RangeResponse{Header: &etcdserverpb.ResponseHeader{Revision: revision}}
	for _, e := range entries {
		if r.RangeEnd != nil || e.Key == string(r.Key) {
			reply.Kvs = append(reply.Kvs, &mvccpb.KeyValue{Key: []byte(e.Key), Value: []byte(e.Value)})
		}
	}
	if r.RangeEnd != nil && (r.SortTarget != etcdserverpb.RangeRequest_CREATE || r.SortOrder != etcdserverpb.RangeRequest_ASCEND) {
		return nil, fmt.Errorf("listed in the order of %s", r.SortTarget)
	}
	return reply, nil
}

func (s *service) Put(ctx context.Context, r *etcdserverpb.PutRequest) (*etcdserverpb.PutResponse, error) {
	if s.err != nil {
		return nil, s.err
	}
	return &etcdserverpb.PutResponse{}, s.registry.Put(ctx, string(r.Key), string(r.Value))
}

func (s *service) Watch(stream etcdserverpb.Watch_WatchServer) error {
	r, err := stream.Recv()
	if err != nil {
		return err
	}
	create := r.GetCreateRequest()
	if err := stream.Send(&etcdserverpb.WatchResponse{Header: &etcdserverpb.ResponseHeader{}, Created: true}); err != nil {
		return err
	}
	if err := s.Wait(stream.Context(), string(create.Key), create.StartRevision-1); err != nil {
		return err
	}
	event := &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: create.Key, ModRevision: create.StartRevision}}
	return stream.Send(&etcdserverpb.WatchResponse{Header: &etcdserverpb.ResponseHeader{}, Events: []*mvccpb.Event{event}})
}

// serve serves s until the test ends and returns its address.
func serve(t *testing.T, s *service) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	etcdserverpb.RegisterKVServer(server, s)
	etcdserverpb.RegisterWatchServer(server, s)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) }) // ends with Stop
	t.Cleanup(func() { server.Stop(); wg.Wait() })
	return "http://" + listener.Addr().String()
}

// parsed is what a command line says.
func parsed(t *testing.T, args ...string) *config.Config {
	t.Helper()
	c, _, err := config.Parse(args, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDiscoveryOverGRPC(t *testing.T) {
	r := newRegistry("tok", "3")
	address := serve(t, &service{registry: r})
	clusters := make([]Cluster, 3)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range clusters {
		wg.Go(func() {
			cfg := parsed(t, fmt.Sprintf("--name=n%d", i), fmt.Sprintf("--initial-advertise-peer-urls=http://127.0.0.1:%d", i+1),
				"--discovery-token=tok", "--discovery-endpoints="+address)
			var err error
			if clusters[i], err = Find(t.Context(), Options(cfg, "3.7.3", world{}, slog.New(slog.DiscardHandler))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begin); took > listInterval/2 {
		t.Errorf("took %s", took)
	}
	for i, c := range clusters {
		if c.ID != clusters[0].ID || len(c.Members) != 3 || c.Self.Name != fmt.Sprintf("n%d", i) {
			t.Errorf("member %d: %+v", i, c)
		}
	}
}

func TestRefusalsOverGRPC(t *testing.T) {
	for _, tc := range []struct {
		err   error
		final bool
	}{
		{rpctypes.ErrGRPCPermissionDenied, true},
		{rpctypes.ErrGRPCUserEmpty, true},
		{rpctypes.ErrGRPCNoLeader, false},
		{rpctypes.ErrGRPCTimeout, false},
	} {
		address := serve(t, &service{registry: newRegistry("", ""), err: tc.err})
		d := parsed(t, "--discovery-token=tok", "--discovery-endpoints="+address, "--discovery-request-timeout=300ms").Discovery
		r, err := openEtcd(t.Context(), &d)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Put(t.Context(), "k", "v"); err == nil || errors.Is(err, ErrRefused) != tc.final {
			t.Errorf("%v: put: %v", tc.err, err)
		}
		if _, _, err := r.Get(t.Context(), "k"); err == nil || tc.final != errors.Is(err, ErrRefused) {
			t.Errorf("%v: get: %v", tc.err, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestWaitingEnds: a watch that brings nothing ends with its context, and so does a service that does not answer.
func TestWaitingEnds(t *testing.T) {
	d := parsed(t, "--discovery-token=tok", "--discovery-endpoints="+serve(t, &service{registry: newRegistry("", "")})).Discovery
	r, err := openEtcd(t.Context(), &d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := r.Wait(ctx, "k", 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	d.Endpoints, d.RequestTimeout = config.Words{"http://127.0.0.1:1"}, 50*time.Millisecond
	if r, err = openEtcd(t.Context(), &d); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.List(t.Context(), "k"); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("nobody there: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestDiscoveryTLS(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args   string
		secure bool
		want   string
	}{
		{"", false, ""},
		{"--discovery-insecure-transport=false", true, ""},
		{"--discovery-insecure-skip-tls-verify", true, ""},
		{"--discovery-cert=" + empty + " --discovery-key=" + empty, false, "--discovery-cert and --discovery-key: "},
		{"--discovery-cert=missing", false, "--discovery-cert and --discovery-key: "},
		{"--discovery-cacert=missing", false, "--discovery-cacert: open missing"},
		{"--discovery-cacert=" + empty, false, "holds no certificate"},
	} {
		d := parsed(t, strings.Fields(tc.args)...).Discovery
		secure, err := discoveryTLS(&d)
		if (secure != nil) != tc.secure || tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%q: %v, %v", tc.args, secure, err)
		}
		if _, openErr := openEtcd(t.Context(), &d); err != nil && !errors.Is(openErr, ErrRefused) {
			t.Errorf("%q: opened: %v", tc.args, openErr)
		}
	}
}

func TestOptions(t *testing.T) {
	c := Options(parsed(t, "--name=a", "--initial-cluster=a=http://h:1", "--initial-advertise-peer-urls=http://h:1", "--initial-cluster-state=existing",
		"--initial-cluster-token=t", "--max-learners=3"), "3.7.3", world{}, slog.New(slog.DiscardHandler))
	if c.Name != "a" || c.InitialCluster != "a=http://h:1" || c.PeerURLs[0] != "http://h:1" || !c.Existing || c.Token != "t" || c.MaxLearners != 3 || c.Discovery.enabled() {
		t.Errorf("%+v", c)
	}
	c = Options(parsed(t, "--discovery-srv=example.com", "--discovery-srv-name=blue"), "3.7.3", world{}, slog.New(slog.DiscardHandler))
	if c.SRV != (SRV{"example.com", "blue"}) || c.InitialCluster != "" || c.Existing {
		t.Errorf("%+v", c)
	}
}
