package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

const (
	memberListMethod = pb.Cluster_MemberList_FullMethodName
	askTimeout       = 5 * time.Second // for a request of the proxy's own
	againAfter       = time.Second     // between two tries to register
)

// roll is the list of proxies that clients are told in the place of the members, so that those who connect to all of a list stay with proxies.
// Proxies register under a prefix, each with a key that a lease keeps; without a prefix there is but one.
type roll struct {
	kv      pb.KVClient
	lease   pb.LeaseClient
	logger  *slog.Logger
	prefix  string // of keys, with the namespace; empty: nobody registers
	ttl     int64  // seconds
	address string // of this proxy, as its clients know it
	host    string
}

// place is the value under a proxy's key: the form in which gRPC programs of etcd's list the addresses of a service.
type place struct {
	Op       int
	Addr     string
	Metadata json.RawMessage
}

// note is what a proxy says about itself in its place's metadata.
type note struct {
	Name string `json:"name"`
}

// answer answers a request for the list of members.
func (l *roll) answer(client grpc.ServerStream) error {
	var req frame
	if err := client.RecvMsg(&req); err != nil {
		return err
	}
	req.free()
	b, err := proto.Marshal(&pb.MemberListResponse{Members: l.proxies(client.Context())})
	if err != nil {
		return err
	}
	resp := frame{mem.BufferSlice{mem.SliceBuffer(b)}}
	defer resp.free()
	return client.SendMsg(&resp)
}

// proxies are those that are registered, or this one if that cannot be found out.
func (l *roll) proxies(ctx context.Context) (list []*pb.Member) {
	for _, p := range l.registered(ctx) {
		list = append(list, &pb.Member{Name: p.name(), ClientURLs: []string{p.Addr}})
	}
	if len(list) == 0 {
		list = append(list, &pb.Member{Name: l.host, ClientURLs: []string{l.address}})
	}
	return list
}

func (l *roll) registered(ctx context.Context) (list []place) {
	if l.prefix == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	under := namespace{[]byte(l.prefix + "/")}
	// What a member has at the moment will do: proxies stay in the list for as long as their leases in any case.
	resp, err := l.kv.Range(ctx, &pb.RangeRequest{Key: under.prefix, RangeEnd: under.end(), Serializable: true})
	if err != nil {
		l.logger.Warn("the list of proxies cannot be read", "prefix", l.prefix, "error", err)
		return nil
	}
	for _, kv := range resp.Kvs {
		var p place
		if err := json.Unmarshal(kv.Value, &p); err == nil && p.Addr != "" {
			list = append(list, p)
		}
	}
	return list
}

// name is that of a proxy's host, empty if it does not say it in the usual way.
func (p place) name() string {
	var text string
	var n note
	if json.Unmarshal(p.Metadata, &text) != nil || json.Unmarshal([]byte(text), &n) != nil {
		return ""
	}
	return n.Name
}

// keep registers this proxy until ctx ends, and again whenever its lease is lost; then it takes it off the list.
func (l *roll) keep(ctx context.Context) {
	for ctx.Err() == nil {
		id, err := l.register(ctx)
		if err == nil {
			l.logger.Info("registered this proxy", "prefix", l.prefix, "address", l.address, "ttl", l.ttl)
			err = l.renew(ctx, id)
		}
		if ctx.Err() == nil {
			l.logger.Warn("this proxy is not registered", "prefix", l.prefix, "error", err)
		}
		l.revoke(ctx, id)
		wait(ctx, againAfter)
	}
}

func (l *roll) register(ctx context.Context) (id int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	grant, err := l.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: l.ttl})
	if err != nil {
		return 0, err
	}
	value, err := l.place()
	if err != nil {
		return grant.ID, err
	}
	_, err = l.kv.Put(ctx, &pb.PutRequest{Key: []byte(l.prefix + "/" + l.address), Value: value, Lease: grant.ID})
	return grant.ID, err
}

// place returns the value under this proxy's key.
func (l *roll) place() ([]byte, error) {
	inner, err := json.Marshal(note{l.host})
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(string(inner))
	if err != nil {
		return nil, err
	}
	return json.Marshal(place{Addr: l.address, Metadata: text})
}

// renew keeps the lease alive until that fails for as long as the lease lives, or ctx ends.
func (l *roll) renew(ctx context.Context, id int64) (err error) {
	ttl := time.Duration(l.ttl) * time.Second
	for until := time.Now().Add(ttl); time.Now().Before(until); {
		wait(ctx, ttl/3)
		alive, failed := l.renewOnce(ctx, id)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case failed != nil:
			err = failed
		case !alive:
			return errors.New("the lease is gone")
		default:
			until = time.Now().Add(ttl)
		}
	}
	return err
}

func (l *roll) renewOnce(ctx context.Context, id int64) (alive bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	stream, err := l.lease.LeaseKeepAlive(ctx)
	if err != nil {
		return false, err
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
		return false, err
	}
	resp, err := stream.Recv()
	return err == nil && resp.TTL > 0, err
}

// revoke takes this proxy off the list, if a member can be reached; else the lease does it.
func (l *roll) revoke(ctx context.Context, id int64) {
	if id == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), againAfter)
	defer cancel()
	if _, err := l.lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: id}); err != nil {
		l.logger.Debug("the lease of this proxy's registration was not revoked", "error", err)
	}
}

// wait waits for a time, or the end of ctx.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// hostName is the name of this machine, empty if it has none.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
