package flags

import (
	"bytes"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/test/freeport"
)

const registry = "/_etcd/registry/word/"

// discover starts a member that finds its cluster, of itself alone, in another one, and looks at what it left there.
func discover(t *testing.T, f form, service *clientv3.Client, o options) {
	t.Helper()
	if _, err := service.Put(soon(t), registry+"_config/size", "1"); err != nil {
		t.Fatal(err)
	}
	start(t, f, t.TempDir(), options{"discovery-token": "word"}.with(o))
	found, err := service.Get(soon(t), registry+"members/", clientv3.WithPrefix())
	if err != nil || len(found.Kvs) != 1 || string(found.Kvs[0].Value) != "a=http://localhost:2380" {
		t.Errorf("registered %v, %v", found, err)
	}
}

func seeDiscovery(t *testing.T, f form) {
	service := start(t, f, t.TempDir(), nil)
	discover(t, f, service.client(t), options{
		"discovery-endpoints":      service.url,
		"discovery-keepalive-time": "10s", "discovery-keepalive-timeout": "10s",
	})
}

// seeDiscoveryUser plays a service that is asked to let somebody in.
func seeDiscoveryUser(t *testing.T, f form) {
	asked := make(chan []byte, 1)
	address := serve(t, grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.Method(stream.Context())
		var message []byte
		if err := stream.RecvMsg(&message); err == nil && method == "/etcdserverpb.Auth/Authenticate" {
			offer(asked, message)
		}
		return status.Error(codes.Unavailable, "not now")
	})))
	launch(t, f, t.TempDir(), options{"discovery-endpoints": address, "discovery-token": "t", "discovery-user": "somebody", "discovery-password": "secret"})
	if message := expect(t, "question", asked); !bytes.Contains(message, []byte("somebody")) || !bytes.Contains(message, []byte("secret")) {
		t.Errorf("asked for %q", message)
	}
}

// secureService is a discovery service that only those with a certificate may use.
func secureService(t *testing.T, f form) (*member, *authority, *clientv3.Client) {
	t.Helper()
	a := newAuthority(t)
	cert, key := a.issue("service", "127.0.0.1")
	m := start(t, f, t.TempDir(), options{
		"listen-client-urls": "https://" + freeport.Address(t), "advertise-client-urls": "https://127.0.0.1:1", "cert-file": cert, "key-file": key, "trusted-ca-file": a.file,
	})
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"https://" + m.url}, Logger: zap.NewNop(), TLS: a.Client(a.Issue("client"))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return m, a, client
}

func seeSecureDiscovery(t *testing.T, f form) {
	m, a, client := secureService(t, f)
	cert, key := a.issue("member")
	discover(t, f, client, options{
		"discovery-endpoints": m.url, "discovery-cacert": a.file, "discovery-cert": cert, "discovery-key": key, "discovery-insecure-transport": false,
	})
}

// seeUncheckedDiscovery: the service's certificate is of an authority that the member does not know.
func seeUncheckedDiscovery(t *testing.T, f form) {
	m, a, client := secureService(t, f)
	cert, key := a.issue("member")
	discover(t, f, client, options{
		"discovery-endpoints": m.url, "discovery-insecure-skip-tls-verify": true, "discovery-cert": cert, "discovery-key": key, "discovery-insecure-transport": false,
	})
}
