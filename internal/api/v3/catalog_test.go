package v3

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

func TestCatalog(t *testing.T) {
	all := Catalog()
	n := 0
	for _, info := range all {
		n += len(info.Methods)
	}
	if len(all) != 7 || n != 45 {
		t.Errorf("%d services with %d methods", len(all), n)
	}
	server := NewServer(nil, Options{})
	defer server.Stop()
	for name, info := range server.GetServiceInfo() {
		if name == lockService || name == electionService {
			continue
		}
		for _, m := range info.Methods {
			if !slices.Contains(all[name].Methods, m) {
				t.Errorf("%s/%s is served but not in the catalog", name, m.Name)
			}
		}
	}
}

// brokenStream fails in both directions.
type brokenStream struct {
	grpc.ServerStream
	ctx context.Context
	err error
}

func (s *brokenStream) Context() context.Context { return s.ctx }
func (s *brokenStream) RecvMsg(any) error        { return s.err }
func (s *brokenStream) SendMsg(any) error        { return s.err }

func TestStreamFailures(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("broken")
	for _, tc := range []struct {
		method string
		stream brokenStream
		want   []string
	}{
		{pb.Watch_Watch_FullMethodName, brokenStream{ctx: t.Context(), err: broken}, []string{"receive watch", "send watch"}},
		{pb.Lease_LeaseKeepAlive_FullMethodName, brokenStream{ctx: t.Context(), err: broken}, []string{"receive lease-keepalive", "send lease-keepalive"}},
		{pb.Watch_Watch_FullMethodName, brokenStream{ctx: gone, err: broken}, nil},
		{pb.Watch_Watch_FullMethodName, brokenStream{ctx: t.Context(), err: io.EOF}, nil},
		{pb.Watch_Watch_FullMethodName, brokenStream{ctx: t.Context()}, nil},
		{pb.Maintenance_Snapshot_FullMethodName, brokenStream{ctx: t.Context(), err: broken}, nil},
	} {
		var got []string
		opts := Options{StreamFailed: func(doing, api string) { got = append(got, doing+" "+api) }}
		err := opts.countStreams(nil, &tc.stream, &grpc.StreamServerInfo{FullMethod: tc.method}, func(_ any, stream grpc.ServerStream) error {
			return errors.Join(stream.RecvMsg(nil), stream.SendMsg(nil))
		})
		if !errors.Is(err, tc.stream.err) || !slices.Equal(got, tc.want) {
			t.Errorf("%s with %v: counted %v, want %v", tc.method, tc.stream.err, got, tc.want)
		}
	}
}
