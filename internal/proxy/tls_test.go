package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/certs"
	"github.com/quoin-kv/quoin/internal/certs/certstest"
)

// TestTLS: both sides of the proxy have TLS with certificates of clients; gRPC and the pages of both versions of HTTP share the port.
func TestTLS(t *testing.T) {
	dir, ca := t.TempDir(), certstest.New(t, "ca")
	server := ca.Issue("server", certstest.Hosts("127.0.0.1"))
	cert, key := server.Write(dir, "server")
	clientCert, clientKey := ca.Issue("").Write(dir, "client")
	trusted := certstest.Write(t, dir+"/ca.pem", ca.Cert)
	member, _ := play(t, echo, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{server.Pair()}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	})))
	config, err := certs.Files{Cert: cert, Key: key, TrustedCA: trusted}.Server("h2", "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	o := options(member)
	o.TLS, o.Members = true, certs.Files{ClientCert: clientCert, ClientKey: clientKey, TrustedCA: trusted}
	r := run(t, o, Door{listen(t), config})

	said := func(creds credentials.TransportCredentials) error {
		conn, err := grpc.NewClient("passthrough:///"+r.address, grpc.WithTransportCredentials(creds))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		stream, err := conn.NewStream(soon(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/a/b", grpc.ForceCodecV2(frameCodec{}))
		if err != nil {
			return err
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		return stream.RecvMsg(&frame{})
	}
	if err := said(credentials.NewTLS(ca.Client(ca.Issue("me")))); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("with a certificate: %v", err)
	}
	if err := said(credentials.NewTLS(ca.Client())); status.Code(err) != codes.Unavailable {
		t.Errorf("without a certificate: %v", err)
	}
	for _, second := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: ca.Client(ca.Issue("me")), ForceAttemptHTTP2: second}
		code, body := get(t, &http.Client{Transport: transport}, "https://"+r.address+"/proxy/health")
		if code != http.StatusOK || !strings.Contains(body, `"health":"true"`) {
			t.Errorf("HTTP/2 %v: %d %s", second, code, body)
		}
		transport.CloseIdleConnections()
	}

	strange := options("https://" + member)
	strange.Members.TrustedCA = certstest.Write(t, dir+"/other.pem", certstest.New(t, "other").Cert)
	stream := call(soon(t), t, dialPlain(t, runPlain(t, strange).address))
	if err := stream.RecvMsg(&frame{}); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a member of another authority: %v", err)
	}
}

func TestTargets(t *testing.T) {
	for _, tc := range []struct {
		endpoint string
		secure   bool
		want     string
	}{
		{"a:1", false, "http://a:1"},
		{"a:1", true, "https://a:1"},
		{"http://a:1/", true, "http://a:1"},
		{"https://[::1]:2", false, "https://[::1]:2"},
		{"unix://a:1", true, "unix://a:1"},
		{"unixs:///x/y", false, "unixs:///x/y"},
		{"a", false, `endpoint "a": expected host:port`},
		{"http://a:", false, `endpoint "http://a:": expected host:port`},
		{"ftp://a:1", false, `endpoint "ftp://a:1": scheme "ftp" is none of http, https, unix, unixs`},
	} {
		got, err := newTarget(tc.endpoint, tc.secure)
		if err != nil && err.Error() != tc.want || err == nil && got.String() != tc.want {
			t.Errorf("%s: %v, %v", tc.endpoint, got, err)
		}
	}
}

// TestRelayCommand: what is wrong on the command line, and a start with what is right.
func TestRelayCommand(t *testing.T) {
	dir, ca := t.TempDir(), certstest.New(t, "ca")
	named, _ := ca.Issue("somebody").Write(dir, "named")
	for _, tc := range []struct{ args, want string }{
		{"--resolver-ttl=5", `invalid resolver-prefix ""`},
		{"--resolver-prefix=x", "invalid resolver-ttl 0"},
		{"--resolver-prefix=x --resolver-ttl=-1", "invalid resolver-ttl -1"},
		{"--resolver-prefix=x --resolver-ttl=5 --advertise-client-url=", `invalid advertise-client-url ""`},
		{"--auto-tls --self-signed-cert-validity=0", "selfSignedCertValidity is invalid"},
		{"--tls-min-version=TLS1.1", `unexpected TLS version "TLS1.1"`},
		{"--tls-min-version=TLS1.3 --tls-max-version=TLS1.2", "min version (TLS1.3) is greater than max version (TLS1.2)"},
		{"--listen-cipher-suites=X", `unexpected TLS cipher suite "X"`},
		{"--cert-file=/nowhere", "a listener needs a certificate and its key"},
		{"--trusted-ca-file=/nowhere", "a listener needs a certificate and its key"},
		{"--cert-file=/nowhere --key-file=/nowhere", "/nowhere: no such file"},
		{"--cacert=/nowhere", "/nowhere: no such file"},
		{"--cert=" + named, "cert has non empty Common Name (somebody)"},
		{"--experimental-leasing-prefix=x", "experimental-leasing-prefix is not supported"},
		{"--endpoints=", "no endpoint"},
		{"--endpoints=a", `endpoint "a": expected host:port`},
		{"--max-send-bytes=-1", "must not be negative"},
		{"--listen-addr=nowhere", "missing port"},
		{"--metrics-addr=nowhere", "expected http://host:port"},
		{"--metrics-addr=https://127.0.0.1:0", "cannot listen on TLS for 127.0.0.1:0"},
		{"x", "unknown command"},
	} {
		if err := startRelay(t, "--listen-addr=127.0.0.1:0 "+tc.args, new(strings.Builder)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", tc.args, err, tc.want)
		}
	}
	var log strings.Builder
	args := "--listen-addr=127.0.0.1:0 --metrics-addr=http://127.0.0.1:0 --auto-tls --debug --endpoints-auto-sync-interval=1ms --data-dir=" + dir
	if err := startRelay(t, args, &log); err != nil || !strings.Contains(log.String(), "is too short") {
		t.Errorf("%v: %s", err, log.String())
	}
}

// startRelay runs the command until it says that it serves.
func startRelay(t *testing.T, args string, log *strings.Builder) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	root := RelayCommand(func(bool) *slog.Logger {
		return slog.New(slog.NewTextHandler(&stopAt{log, "started gRPC proxy", cancel}, nil))
	})
	root.SetArgs(append([]string{"start"}, strings.Fields(args)...))
	root.SetErr(io.Discard)
	root.SetOut(io.Discard)
	return root.ExecuteContext(ctx)
}
