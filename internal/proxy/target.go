package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"

	"github.com/quoin-kv/quoin/internal/certs"
)

// target is where a member serves clients.
type target struct {
	network string // tcp or unix
	address string
	secure  bool
}

// newTarget reads an endpoint: host:port or a URL. One without a scheme has TLS if secure says so.
func newTarget(endpoint string, secure bool) (target, error) {
	scheme, rest, found := strings.Cut(endpoint, "://")
	if !found {
		scheme, rest = "", endpoint
	}
	t := target{"tcp", strings.TrimSuffix(rest, "/"), secure}
	switch scheme {
	case "":
	case "http", "https":
		t.secure = scheme == "https"
	case "unix", "unixs":
		t.network, t.secure = "unix", scheme == "unixs"
		return t, nil
	default:
		return t, fmt.Errorf("endpoint %q: scheme %q is none of http, https, unix, unixs", endpoint, scheme)
	}
	if _, port, err := net.SplitHostPort(t.address); err != nil || port == "" {
		return t, fmt.Errorf("endpoint %q: expected host:port", endpoint)
	}
	return t, nil
}

// newTargets reads a list of endpoints and leaves out what was there before.
func newTargets(endpoints []string, secure bool) (list []target, err error) {
	for _, e := range endpoints {
		t, err := newTarget(e, secure)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list, nil
}

// host is the name that the member's certificate must be valid for.
func (t target) host() string {
	host, _, err := net.SplitHostPort(t.address)
	if err != nil {
		return t.address
	}
	return host
}

// authority is what requests to the member name as their host.
func (t target) authority() string {
	if t.network == "unix" {
		return "localhost"
	}
	return t.address
}

// dial opens a connection to the member.
func (t target) dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, t.network, t.address)
}

// String is the target as a URL.
func (t target) String() string {
	scheme := map[bool]string{false: "http", true: "https"}
	if t.network == "unix" {
		scheme = map[bool]string{false: "unix", true: "unixs"}
	}
	return scheme[t.secure] + "://" + t.address
}

// targets tells gRPC which members there are: it is a resolver of names, and its own builder.
type targets struct {
	mu struct {
		sync.Mutex
		list []target
		conn resolver.ClientConn // nil before gRPC asks
		turn int
	}
}

// targetKey is where an address that gRPC is told keeps its target.
type targetKey struct{}

func (t *targets) Scheme() string                        { return "members" }
func (t *targets) ResolveNow(resolver.ResolveNowOptions) {}
func (t *targets) Close()                                {}

// Build is called by gRPC when it begins to connect.
func (t *targets) Build(_ resolver.Target, conn resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	t.mu.Lock()
	t.mu.conn = conn
	list := t.mu.list
	t.mu.Unlock()
	return t, conn.UpdateState(state(list))
}

// set puts a new list in the place of the old one, and reports whether they differ. One goroutine may call it.
func (t *targets) set(list []target) (changed bool, err error) {
	t.mu.Lock()
	changed = !slices.Equal(t.mu.list, list)
	t.mu.list = list
	conn := t.mu.conn
	t.mu.Unlock()
	if !changed || conn == nil {
		return changed, nil
	}
	return true, conn.UpdateState(state(list))
}

// all returns the list, each time beginning with the next.
func (t *targets) all() []target {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.turn++
	k := t.mu.turn % len(t.mu.list)
	return slices.Concat(t.mu.list[k:], t.mu.list[:k])
}

func state(list []target) resolver.State {
	var s resolver.State
	for _, one := range list {
		address := resolver.Address{Addr: one.String(), ServerName: one.authority(), Attributes: attributes.New(targetKey{}, one)}
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{address}})
	}
	return s
}

// security takes connections to members through TLS if their targets ask for it.
type security struct {
	dialer *certs.Dialer
	secure bool // there is a target that asks for it
}

// dialURL opens the connection to a member by its target's URL.
func dialURL(ctx context.Context, url string) (net.Conn, error) {
	t, err := newTarget(url, false)
	if err != nil {
		return nil, err
	}
	return t.dial(ctx)
}

// ClientHandshake implements credentials.TransportCredentials.
func (s security) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	t, ok := credentials.ClientHandshakeInfoFromContext(ctx).Attributes.Value(targetKey{}).(target)
	if !ok {
		return nil, nil, errors.New("a connection to nobody")
	}
	if !t.secure {
		return conn, authInfo{}, nil
	}
	config, err := s.dialer.Config(t.host())
	if err != nil {
		return nil, nil, err
	}
	config.NextProtos = []string{"h2"}
	session := tls.Client(conn, config)
	if err := session.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	return session, credentials.TLSInfo{State: session.ConnectionState()}, nil
}

// ServerHandshake refuses: these are the credentials of one who dials.
func (s security) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("credentials for dialing only")
}

// Info tells gRPC which scheme its requests have.
func (s security) Info() credentials.ProtocolInfo {
	if s.secure {
		return credentials.ProtocolInfo{SecurityProtocol: "tls"}
	}
	return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
}

// Clone implements credentials.TransportCredentials.
func (s security) Clone() credentials.TransportCredentials { return s }

// OverrideServerName implements credentials.TransportCredentials; the targets' names stay.
func (s security) OverrideServerName(string) error { return nil }

// authInfo says nothing about the other side.
type authInfo struct{ credentials.CommonAuthInfo }

// AuthType implements credentials.AuthInfo.
func (authInfo) AuthType() string { return "insecure" }
