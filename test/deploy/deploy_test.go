package deploy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
)

const (
	startTimeout = 30 * time.Second
	retryPause   = 50 * time.Millisecond
)

// TestStaticPod: the pod of a control plane, with the certificates that kubeadm makes.
func TestStaticPod(t *testing.T) {
	for name, path := range map[string]string{"ours": "../../deploy/kubernetes/quoin.yaml", "etcd": "testdata/etcd-pod.yaml"} {
		t.Run(name, func(t *testing.T) {
			p, probes := readPod(t, path)
			c := newContainers(t, map[string]string{"node": "192.0.2.10"})["node"]
			ca := certstest.New(t, "etcd-ca")
			const pki = "/etc/kubernetes/pki/etcd/"
			c.write(t, pki+"ca.crt", ca.Cert)
			for _, who := range []string{"server", "peer"} {
				id := ca.Issue(who, certstest.Hosts("192.0.2.10", "127.0.0.1"))
				c.write(t, pki+who+".crt", id.Cert)
				c.write(t, pki+who+".key", id.Key)
			}
			c.start(t, p)
			for _, probe := range probes {
				ask(t, c, fmt.Sprintf("%s://%s:%d%s", strings.ToLower(probe.Scheme), probe.Host, probe.Port, probe.Path))
			}
			roundTrip(t, c, ca.Client(ca.Issue("apiserver")), "https://192.0.2.10:2379", "https://127.0.0.1:2379")
			if !c.has("/var/lib/etcd/member/snap/db") {
				t.Error("the data is not where the pod wants it")
			}
		})
	}
}

// TestUnit: the unit of systemd, which waits until it is told that the service is ready.
func TestUnit(t *testing.T) {
	for name, tc := range map[string]struct{ path, dir, endpoint, data string }{
		"ours": {"../../deploy/systemd/quoin.service", "../../deploy/systemd", "http://127.0.0.1:2379", "/var/lib/quoin"},
		"etcd": {"testdata/etcd.service", "testdata", "http://192.0.2.10:2379", "/var/lib/etcd"},
	} {
		t.Run(name, func(t *testing.T) {
			p := readUnit(t, tc.path, tc.dir)
			c := newContainers(t, map[string]string{"node": "192.0.2.10"})["node"]
			socket := filepath.Join(t.TempDir(), "notify")
			init, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
			must(t, err)
			defer init.Close()
			p.env = append(p.env, "NOTIFY_SOCKET="+socket)
			c.start(t, p)
			must(t, init.SetReadDeadline(time.Now().Add(startTimeout)))
			message := make([]byte, 4096)
			n, err := init.Read(message)
			if err != nil || !strings.Contains(string(message[:n]), "READY=1") {
				t.Fatalf("init was told %q, %v", message[:n], err)
			}
			roundTrip(t, c, nil, tc.endpoint)
			if !c.has(tc.data + "/member/snap/db") {
				t.Error("the data is not where the unit wants it")
			}
		})
	}
}

// TestCompose: three services that know each other by name.
func TestCompose(t *testing.T) {
	for name, path := range map[string]string{"ours": "../../deploy/compose/docker-compose.yml", "etcd": "testdata/etcd-compose.yml"} {
		t.Run(name, func(t *testing.T) {
			programs := readCompose(t, path, "quoin")
			addresses := map[string]string{}
			for service := range programs {
				addresses[service] = fmt.Sprintf("192.0.2.%d", 20+len(addresses))
			}
			containers := newContainers(t, addresses)
			for service, c := range containers {
				c.start(t, programs[service])
			}
			for _, c := range containers {
				ask(t, c, "http://127.0.0.1:2379/readyz")
				members := roundTrip(t, c, nil, "http://127.0.0.1:2379")
				if members != 3 {
					t.Errorf("%s sees %d members", c.name, members)
				}
			}
		})
	}
}

// ask gets a page from within the container until it is answered with 200.
func ask(t *testing.T, c *container, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	hc := &http.Client{Transport: &http.Transport{DialContext: c.dial, DisableKeepAlives: true}}
	for {
		status, err := get(ctx, hc, url)
		if status == http.StatusOK {
			return
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			t.Fatalf("%s: %d, %v", url, status, err)
		}
	}
}

func get(ctx context.Context, hc *http.Client, url string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	answer, err := hc.Do(r)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return answer.StatusCode, err
}

// roundTrip writes through each endpoint, from within the container, reads it back, and returns the number of members.
func roundTrip(t *testing.T, c *container, security *tls.Config, endpoints ...string) (members int) {
	t.Helper()
	for _, endpoint := range endpoints {
		client, err := clientv3.New(clientv3.Config{
			Endpoints: []string{endpoint}, TLS: security, Logger: zap.NewNop(),
			DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return c.dial(ctx, "tcp", address) })},
		})
		must(t, err)
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
		defer cancel()
		_, err = client.Put(ctx, "through", endpoint)
		must(t, err)
		got, err := client.Get(ctx, "through")
		must(t, err)
		if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != endpoint {
			t.Errorf("read back %v", got.Kvs)
		}
		list, err := client.MemberList(ctx)
		must(t, err)
		members = len(list.Members)
	}
	return members
}

// TestFilesAreThere: what the README of deploy/ names exists.
func TestFilesAreThere(t *testing.T) {
	text, err := os.ReadFile("../../deploy/README.md")
	must(t, err)
	for _, name := range []string{"systemd/quoin.service", "systemd/quoin.env", "compose/docker-compose.yml", "compose/Dockerfile", "kubernetes/quoin.yaml"} {
		if _, err := os.Stat(filepath.Join("../../deploy", name)); err != nil || !strings.Contains(string(text), name) {
			t.Errorf("%s is missing, or not mentioned: %v", name, err)
		}
	}
}
