package tlstest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"

	"github.com/quoin-kv/quoin/embed"
	"github.com/quoin-kv/quoin/internal/certs/certstest"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/test/freeport"
)

// TestSeparateListeners: with listeners for HTTP alone, those for clients speak gRPC alone; those for metrics show little.
func TestSeparateListeners(t *testing.T) {
	ours := certstest.New(t, "ours")
	f := newFolder(t)
	f.show(ours.Issue("server", certstest.Hosts("127.0.0.1")))
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			cfg := newConfig(t, scheme+"://127.0.0.1:0")
			setURLs(t, &cfg.ListenClientHTTPURLs, scheme+"://"+freeport.Address(t))
			setURLs(t, &cfg.ListenMetricsURLs, scheme+"://127.0.0.1:0")
			cfg.ClientTLS = config.TLS{CertFile: f.path("cert"), KeyFile: f.path("key")}
			m := start(t, cfg)
			grpcOnly, httpOnly, metrics := m.ClientAddrs()[0].String(), m.ClientAddrs()[1].String(), m.MetricsAddrs()[0].String()
			var c *tls.Config
			if scheme == "https" {
				c = ours.Client()
			}
			ask := func(what string, err error, ok bool) {
				t.Helper()
				if (err == nil) != ok {
					t.Errorf("%s: %v", what, err)
				}
			}
			ctx := t.Context()
			ask("gRPC to gRPC", askGRPC(ctx, grpcOnly, c), true)
			ask("HTTP to gRPC", askHTTP1(ctx, grpcOnly, c), false)
			ask("gRPC to HTTP", askGRPC(ctx, httpOnly, c), false)
			ask("HTTP to HTTP", askHTTP1(ctx, httpOnly, c), true)
			ask("metrics to HTTP", askMetrics(ctx, httpOnly, c), true)
			ask("metrics", askMetrics(ctx, metrics, c), true)
			ask("gRPC to metrics", askGRPC(ctx, metrics, c), false)
			for path, want := range map[string]string{
				"/health": "", "/livez": "", "/readyz": "", "/metrics": "", "/version": "404", "/v3/kv/range": "404", "/debug/vars": "404",
			} {
				_, err := fetch(ctx, metrics, c, "HTTP/1.1", "GET", path, "")
				expect(t, path, err, want)
			}
		})
	}
}

// TestBothOnOneAddress: an http and an https URL of the same address.
func TestBothOnOneAddress(t *testing.T) {
	ours := certstest.New(t, "ours")
	f := newFolder(t)
	f.show(ours.Issue("server", certstest.Hosts("127.0.0.1")))
	cfg := newConfig(t, "http://127.0.0.1:0,https://127.0.0.1:0")
	cfg.ClientTLS = config.TLS{CertFile: f.path("cert"), KeyFile: f.path("key")}
	m := start(t, cfg)
	if n := len(m.ClientAddrs()); n != 1 {
		t.Fatalf("%d addresses", n)
	}
	for _, c := range []*tls.Config{nil, ours.Client()} {
		expect(t, "gRPC", askGRPC(t.Context(), m.ClientAddrs()[0].String(), c), "")
		expect(t, "HTTP/1.1", askHTTP1(t.Context(), m.ClientAddrs()[0].String(), c), "")
	}
}

// TestSockets: sockets of the file system, with TLS and without. A certificate's addresses do not matter there.
func TestSockets(t *testing.T) {
	ours := certstest.New(t, "ours")
	f := newFolder(t)
	f.show(ours.Issue("server", certstest.Hosts("localhost")))
	f.put("ca", ours.Cert)
	f.put("crl", ours.Revoke())
	cfg := secureConfig(t, f)
	plain, secure := f.path("plain"), f.path("secure")
	setURLs(t, &cfg.ListenClientURLs, "unix://"+plain+",unixs://"+secure)
	start(t, cfg)
	expect(t, "plain", askGRPC(t.Context(), "unix://"+plain, nil), "")
	for _, tc := range []struct {
		name  string
		shown []certstest.Identity
		want  string
	}{
		{"right", []certstest.Identity{ours.Issue("client", certstest.Hosts("192.0.2.1"))}, ""},
		{"none", nil, "certificate required"},
	} {
		c := ours.Client(tc.shown...)
		c.ServerName = "localhost"
		refused(t, tc.name, askGRPC(t.Context(), "unix://"+secure, c), tc.want)
	}
}

// TestMetricsWithoutLeader: those for metrics are answered while clients still wait for a leader.
func TestMetricsWithoutLeader(t *testing.T) {
	cfg := newConfig(t, "http://127.0.0.1:0")
	setURLs(t, &cfg.ListenMetricsURLs, "http://127.0.0.1:0")
	peer, absent := freeport.Address(t), freeport.Address(t)
	setURLs(t, &cfg.ListenPeerURLs, "http://"+peer)
	setURLs(t, &cfg.AdvertisePeerURLs, "http://"+peer)
	cfg.InitialCluster = "default=http://" + peer + ",absent=http://" + absent
	address := launch(t, cfg).MetricsAddrs()[0].String()
	body, err := fetch(t.Context(), address, nil, "HTTP/1.1", "GET", "/metrics", "")
	if check(t, err); !strings.Contains(body, "etcd_server_has_leader 0") {
		t.Error("the metrics do not tell that there is no leader")
	}
	_, err = fetch(t.Context(), address, nil, "HTTP/1.1", "GET", "/health", "")
	expect(t, "health", err, "RAFT NO LEADER")
}

// TestConflicts: addresses that cannot be shared.
func TestConflicts(t *testing.T) {
	address := freeport.Address(t)
	for _, tc := range []struct {
		name   string
		change func(*embed.Config)
		want   string
	}{
		{"HTTP on a client URL", func(c *embed.Config) { setURLs(t, &c.ListenClientHTTPURLs, "http://"+address) }, "cannot bind both --listen-client-urls and --listen-client-http-urls"},
		{"metrics on a client URL", func(c *embed.Config) { setURLs(t, &c.ListenMetricsURLs, "http://"+address) }, "address already in use"},
		{"peers on a client URL", func(c *embed.Config) { setURLs(t, &c.ListenPeerURLs, "http://"+address) }, "address already in use"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := newConfig(t, "http://"+address)
			tc.change(cfg)
			_, err := startError(t, cfg)
			expect(t, "start", err, tc.want)
		})
	}
}

// TestReusePort: with the option two members can listen on one port.
func TestReusePort(t *testing.T) {
	address := freeport.Address(t)
	for range 2 {
		cfg := newConfig(t, "http://"+address)
		cfg.SocketReusePort = true
		start(t, cfg)
	}
	_, err := startError(t, newConfig(t, "http://"+address))
	expect(t, "without the option", err, "address already in use")
}

// TestHostsAndOrigins: the rules stand in front of the client URLs, not of those for metrics, and TLS makes up for a foreign name.
func TestHostsAndOrigins(t *testing.T) {
	ours := certstest.New(t, "ours")
	f := newFolder(t)
	f.show(ours.Issue("server", certstest.Hosts("127.0.0.1")))
	cfg := newConfig(t, "http://127.0.0.1:0,https://127.0.0.1:0")
	cfg.ClientTLS = config.TLS{CertFile: f.path("cert"), KeyFile: f.path("key")}
	setURLs(t, &cfg.ListenMetricsURLs, "http://127.0.0.1:0")
	cfg.HostWhitelist, cfg.CORS = config.Words{"localhost"}, config.Words{"http://page.example:80"}
	m := start(t, cfg)
	address := m.ClientAddrs()[0].String()
	expect(t, "plain", askHTTP1(t.Context(), address, nil), "421")
	expect(t, "gRPC", askGRPC(t.Context(), address, nil), "")
	for _, w := range ways() {
		expect(t, w.name, w.ask(t.Context(), address, ours.Client()), "")
	}
	expect(t, "metrics", askMetrics(t.Context(), m.MetricsAddrs()[0].String(), nil), "")
	_, err := fetch(t.Context(), m.MetricsAddrs()[0].String(), nil, "HTTP/1.1", "OPTIONS", "/health", "")
	expect(t, "metrics, options", err, "405")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, "http://"+address+"/v3/kv/put", nil)
	check(t, err)
	r.Host = "localhost"
	r.Header.Set("Origin", "http://page.example:80")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	check(t, err)
	defer resp.Body.Close()
	if got := resp.Header.Get("Access-Control-Allow-Origin"); resp.StatusCode != 200 || got != "http://page.example:80" {
		t.Errorf("%s, allows %q", resp.Status, got)
	}
}

// TestMaxConnections: the bound counts all listeners for clients together. One connection too many is closed, and there is room again once another
// one is gone. Metrics stay in sight.
func TestMaxConnections(t *testing.T) {
	cfg := newConfig(t, "http://127.0.0.1:0")
	setURLs(t, &cfg.ListenClientHTTPURLs, "http://"+freeport.Address(t))
	setURLs(t, &cfg.ListenMetricsURLs, "http://127.0.0.1:0")
	cfg.MaxConnections = 2
	m := start(t, cfg)
	grpcOnly, httpOnly, metrics := m.ClientAddrs()[0].String(), m.ClientAddrs()[1].String(), m.MetricsAddrs()[0].String()
	held, err := dialGRPC(grpcOnly, nil)
	check(t, err)
	defer held.Close()
	check(t, get(t.Context(), held))
	kept := &http.Transport{}
	defer kept.CloseIdleConnections()
	resp, err := (&http.Client{Transport: kept}).Get("http://" + httpOnly + "/health")
	check(t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	for range 3 {
		if err := askGRPC(t.Context(), grpcOnly, nil); err == nil {
			t.Error("a third connection was served")
		}
	}
	check(t, get(t.Context(), held))
	body, err := fetch(t.Context(), metrics, nil, "HTTP/1.1", "GET", "/metrics", "")
	check(t, err)
	if !strings.Contains(body, "\nquoin_client_connections 2\n") || strings.Contains(body, "\nquoin_client_connections_refused_total 0\n") {
		t.Error("the metrics do not tell")
	}
	kept.CloseIdleConnections()
	until(t, "room again", func() error { return askGRPC(t.Context(), grpcOnly, nil) })
}

// TestMaxStreams: what is announced is enforced, with TLS and without, for gRPC and for HTTP.
func TestMaxStreams(t *testing.T) {
	ours := certstest.New(t, "ours")
	f := newFolder(t)
	f.show(ours.Issue("server", certstest.Hosts("127.0.0.1")))
	cfg := newConfig(t, "http://127.0.0.1:0,https://127.0.0.1:0")
	cfg.ClientTLS = config.TLS{CertFile: f.path("cert"), KeyFile: f.path("key")}
	cfg.MaxConcurrentStreams = 3
	address := start(t, cfg).ClientAddrs()[0].String()
	for _, tc := range []struct {
		name, contentType, path string
		secure                  bool
	}{
		{"gRPC", "application/grpc", pb.Watch_Watch_FullMethodName, false},
		{"gRPC, TLS", "application/grpc", pb.Watch_Watch_FullMethodName, true},
		{"HTTP, TLS", "application/json", "/v3/watch", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var c *tls.Config
			if tc.secure {
				c = ours.Client()
			}
			s := dialHTTP2(t, address, c)
			for i := range uint32(4) {
				s.open(t, 2*i+1, tc.contentType, tc.path)
			}
			announced := 0
			code, err := s.until(func(f http2.Frame) bool {
				if set, ok := f.(*http2.SettingsFrame); ok {
					if v, there := set.Value(http2.SettingMaxConcurrentStreams); there {
						if announced++; v != 3 {
							t.Errorf("%d streams were announced", v)
						}
					}
				}
				_, reset := f.(*http2.RSTStreamFrame)
				return reset
			})
			check(t, err)
			if reset := code.(*http2.RSTStreamFrame); reset.StreamID != 7 || reset.ErrCode != http2.ErrCodeRefusedStream {
				t.Errorf("stream %d was reset: %v", reset.StreamID, reset.ErrCode)
			}
			if announced == 0 {
				t.Error("no number of streams was announced")
			}
		})
	}
}

// TestLateCaller: a client that connects, waits and only then calls, as those do that are made long before they are needed.
func TestLateCaller(t *testing.T) {
	ours := certstest.New(t, "ours")
	f := newFolder(t)
	f.show(ours.Issue("server", certstest.Hosts("127.0.0.1")))
	cfg := newConfig(t, "https://127.0.0.1:0")
	cfg.ClientTLS = config.TLS{CertFile: f.path("cert"), KeyFile: f.path("key")}
	address := start(t, cfg).ClientAddrs()[0].String()
	conn, err := dialGRPC(address, ours.Client())
	check(t, err)
	defer conn.Close()
	conn.Connect()
	for s := conn.GetState(); s.String() != "READY"; s = conn.GetState() {
		ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
		if !conn.WaitForStateChange(ctx, s) {
			t.Fatal(errors.New("not ready before the first call"))
		}
		cancel()
	}
	for range 3 {
		check(t, get(t.Context(), conn))
	}
}
