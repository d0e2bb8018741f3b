package tlstest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/quoin-kv/quoin/embed"
	"github.com/quoin-kv/quoin/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setURLs sets a list of addresses.
func setURLs(t *testing.T, to *config.URLs, urls string) {
	t.Helper()
	check(t, to.Set(urls))
}

// newConfig is that of a member on its own, on any free ports.
func newConfig(t *testing.T, clientURLs string) *embed.Config {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.DataDir, cfg.UnsafeNoFsync = t.TempDir(), true
	setURLs(t, &cfg.ListenClientURLs, clientURLs)
	setURLs(t, &cfg.ListenPeerURLs, "http://127.0.0.1:0")
	return cfg
}

// secureConfig reads everything from f: a certificate for this machine, who may come, and who may not any more.
func secureConfig(t *testing.T, f folder) *embed.Config {
	t.Helper()
	cfg := newConfig(t, "https://127.0.0.1:0")
	setURLs(t, &cfg.ListenMetricsURLs, "https://127.0.0.1:0")
	cfg.ClientTLS = config.TLS{CertFile: f.path("cert"), KeyFile: f.path("key"), TrustedCAFile: f.path("ca"), CRLFile: f.path("crl")}
	return cfg
}

// start runs a member until the end of the test.
func start(t *testing.T, cfg *embed.Config) *embed.Member {
	t.Helper()
	m := launch(t, cfg)
	awaitReady(t, m)
	return m
}

func launch(t *testing.T, cfg *embed.Config) *embed.Member {
	t.Helper()
	m, err := embed.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	check(t, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return m
}

func awaitReady(t *testing.T, m *embed.Member) {
	t.Helper()
	select {
	case <-m.Ready():
	case <-m.Done():
		t.Fatalf("ended before it was ready: %v", m.Close())
	case <-time.After(30 * time.Second):
		t.Fatal("not ready")
	}
}

// callTimeout bounds one call.
const callTimeout = 10 * time.Second

// A way is how a client asks something of an address; c is nil for no TLS.
type way struct {
	name string
	ask  func(ctx context.Context, address string, c *tls.Config) error
}

func ways() []way {
	return []way{{"gRPC", askGRPC}, {"HTTP/1.1", askHTTP1}, {"HTTP/2", askHTTP2}}
}

// askGRPC reads a key.
func askGRPC(ctx context.Context, address string, c *tls.Config) error {
	conn, err := dialGRPC(address, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	return get(ctx, conn)
}

func dialGRPC(address string, c *tls.Config) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if c != nil {
		creds = credentials.NewTLS(c)
	}
	if !strings.HasPrefix(address, "unix:") {
		address = "passthrough:///" + address
	}
	return grpc.NewClient(address, grpc.WithTransportCredentials(creds))
}

func get(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte("a")})
	return err
}

// askHTTP1 reads a key through the gateway.
func askHTTP1(ctx context.Context, address string, c *tls.Config) error {
	return askGateway(ctx, address, c, "HTTP/1.1")
}

func askHTTP2(ctx context.Context, address string, c *tls.Config) error {
	return askGateway(ctx, address, c, "HTTP/2.0")
}

// protocols is HTTP/1.1 or HTTP/2 and nothing else.
func protocols(proto string) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(proto == "HTTP/1.1")
	p.SetHTTP2(proto == "HTTP/2.0")
	return p
}

func askGateway(ctx context.Context, address string, c *tls.Config, proto string) error {
	body, err := fetch(ctx, address, c, proto, "POST", "/v3/kv/range", `{"key":"YQ=="}`)
	if err == nil && !strings.Contains(body, `"member_id"`) {
		err = errors.New(body)
	}
	return err
}

// fetch does one request on a connection of its own.
func fetch(ctx context.Context, address string, c *tls.Config, proto, method, path, body string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	scheme := "https://"
	if c == nil {
		scheme = "http://"
	}
	r, err := http.NewRequestWithContext(ctx, method, scheme+address+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	transport := &http.Transport{TLSClientConfig: c, Protocols: protocols(proto)}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err == nil && resp.Proto != proto {
		err = fmt.Errorf("answered in %s", resp.Proto)
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, all)
	}
	return string(all), err
}

// askMetrics looks at a page of a metrics listener.
func askMetrics(ctx context.Context, address string, c *tls.Config) error {
	body, err := fetch(ctx, address, c, "HTTP/1.1", "GET", "/metrics", "")
	if err == nil && !strings.Contains(body, "etcd_server_has_leader 1") {
		err = errors.New("no metrics")
	}
	return err
}

// expect checks an error against a part of its text; empty: there is none.
func expect(t *testing.T, what string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

// refused checks that a client was not let in. In TLS 1.3 a client learns only after its first bytes why it is refused, and may find the connection
// closed before it reads that.
func refused(t *testing.T, what string, err error, want string) {
	t.Helper()
	if want != "" && err != nil {
		for _, closed := range []string{"broken pipe", "connection reset", "conn could not be established"} {
			if strings.Contains(err.Error(), closed) {
				return
			}
		}
	}
	expect(t, what, err, want)
}

// until tries until it succeeds.
func until(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for err := try(); err != nil; err = try() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// startError starts a member that should not start.
func startError(t *testing.T, cfg *embed.Config) (*embed.Member, error) {
	t.Helper()
	m, err := embed.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		check(t, m.Close())
	}
	return m, err
}
