package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/embed"
)

// startMember runs a member until the end of the test and returns where it serves clients.
func startMember(t *testing.T) string {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.DataDir, cfg.UnsafeNoFsync, cfg.BcryptCost = t.TempDir(), true, 4
	for _, urls := range []interface{ Set(string) error }{&cfg.ListenClientURLs, &cfg.ListenPeerURLs} {
		if err := urls.Set("http://127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	m, err := embed.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-m.Ready():
	case <-m.Done():
		t.Fatal("the member has ended")
	}
	return m.ClientAddrs()[0].String()
}

func client(t *testing.T, address string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, Logger: zap.NewNop(), DialTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestRelayOfMember: what clients do with a member they can do with a proxy before it.
func TestRelayOfMember(t *testing.T) {
	member := startMember(t)
	t.Run("calls", func(t *testing.T) { testCalls(t, member) })
	t.Run("namespace", func(t *testing.T) { testNamespace(t, member) })
	t.Run("list of members", func(t *testing.T) { testRoll(t, member) })
	t.Run("pages", func(t *testing.T) { testPages(t, member) })
}

func testCalls(t *testing.T, member string) {
	r := runPlain(t, options(member))
	c, ctx := client(t, r.address), soon(t)
	watch := c.Watch(clientv3.WithRequireLeader(ctx), "w", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if created := <-watch; !created.Created {
		t.Fatalf("%+v", created)
	}
	lease, err := c.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, "w1", "x", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	if got := <-watch; len(got.Events) != 1 || string(got.Events[0].Kv.Key) != "w1" {
		t.Errorf("%+v", got)
	}
	large := strings.Repeat("x", 1<<20)
	if _, err := c.Put(ctx, "large", large); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(ctx, "large"); err != nil || string(got.Kvs[0].Value) != large {
		t.Errorf("a large value: %v", err)
	}
	if _, err := c.Delete(ctx, "large"); err != nil {
		t.Fatal(err)
	}
	alive, err := c.KeepAlive(ctx, lease.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got := <-alive; got == nil || got.TTL != 60 {
		t.Errorf("%+v", got)
	}
	snapshot, err := c.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, snapshot); err != nil || n < 4096 {
		t.Errorf("a snapshot of %d bytes, %v", n, err)
	}
	if _, err := c.Compact(ctx, 99); !errors.Is(err, rpctypes.ErrFutureRev) {
		t.Error(err)
	}
	if _, err := c.Revoke(ctx, 1); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Error(err)
	}
	list, err := c.MemberList(ctx)
	if err != nil || len(list.Members) != 1 || list.Members[0].ID == 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func testNamespace(t *testing.T, member string) {
	o := options(member)
	o.Namespace = "ns/"
	inside, outside, ctx := client(t, runPlain(t, o).address), client(t, member), soon(t)
	watch := inside.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithCreatedNotify(), clientv3.WithPrevKV())
	if created := <-watch; !created.Created {
		t.Fatalf("%+v", created)
	}
	for _, key := range []string{"a", "ns/a", "ns0"} {
		if _, err := outside.Put(ctx, key, "of all"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := inside.Txn(ctx).If(clientv3.Compare(clientv3.Value("a"), "=", "of all")).Then(clientv3.OpPut("b", "mine")).Commit(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for len(seen) < 2 {
		for _, e := range (<-watch).Events {
			seen = append(seen, string(e.Kv.Key))
		}
	}
	all, err := inside.Get(ctx, "", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, kv := range all.Kvs {
		got = append(got, string(kv.Key))
	}
	if want := []string{"a", "b"}; !slices.Equal(got, want) || !slices.Equal(seen, want) {
		t.Errorf("keys %q, watched %q, want %q", got, seen, want)
	}
	if _, err := inside.Delete(ctx, "", clientv3.WithFromKey()); err != nil {
		t.Fatal(err)
	}
	left, err := outside.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || left.Count != 3 { // a, ns0, and w1 of another test
		t.Errorf("%v, %v", left, err)
	}
}

// testRoll: proxies with a prefix know of each other for as long as they run.
func testRoll(t *testing.T, member string) {
	start := func(name string) *running {
		o := options(member)
		o.Advertise, o.ResolverPrefix, o.ResolverTTL, o.Namespace = name+":1", "proxies", 60, "of/"
		return runPlain(t, o)
	}
	first, second := start("first"), start("second")
	c := client(t, first.address)
	list := func() string {
		resp, err := c.MemberList(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		var urls []string
		for _, m := range resp.Members {
			if urls = append(urls, m.ClientURLs...); m.Name != hostName() {
				t.Errorf("name %q", m.Name)
			}
		}
		return strings.Join(urls, " ")
	}
	until(t, "both are listed", func() bool { return list() == "first:1 second:1" })
	value, err := client(t, member).Get(soon(t), "of/proxies/first:1")
	if err != nil || len(value.Kvs) != 1 || value.Kvs[0].Lease == 0 {
		t.Fatal(value, err)
	}
	var form map[string]any
	if err := json.Unmarshal(value.Kvs[0].Value, &form); err != nil {
		t.Fatal(err)
	}
	if len(form) != 3 || form["Op"] != 0.0 || form["Addr"] != "first:1" || form["Metadata"] != `{"name":"`+hostName()+`"}` {
		t.Errorf("%s", value.Kvs[0].Value)
	}
	second.stop()
	if got := list(); got != "first:1" {
		t.Errorf("listed: %s", got)
	}
	// A lease that is lost is replaced.
	if _, err := client(t, member).Revoke(soon(t), clientv3.LeaseID(value.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	if alive, err := first.roll.renewOnce(soon(t), value.Kvs[0].Lease); alive || err != nil {
		t.Errorf("a lease that is gone: %v, %v", alive, err)
	}
}

// get asks for a page and returns its status and body.
func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(soon(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func testPages(t *testing.T, member string) {
	o := options(member)
	o.Pprof = true
	clients, monitors := listen(t), listen(t)
	r := run(t, o, Door{Listener: clients}, Door{Listener: monitors})
	away := runPlain(t, options("127.0.0.1:1"))
	if _, err := client(t, r.address).Put(soon(t), "page", "x"); err != nil {
		t.Fatal(err)
	}
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, tc := range []struct {
		where, page string
		code        int
		body        string
	}{
		{r.address, "/health", 200, `{"health":"true","reason":""}`},
		{r.address, "/proxy/health", 200, `{"health":"true","reason":""}`},
		{r.address, "/metrics", 200, "etcd_server_has_leader 1"},
		{r.address, "/proxy/metrics", 200, `grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1`},
		{r.address, "/proxy/metrics", 200, `grpc_server_msg_received_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1`},
		{r.address, "/proxy/metrics", 200, `grpc_server_msg_sent_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1`},
		{r.address, "/debug/pprof/cmdline", 200, "proxy.test"},
		{r.address, "/version", 404, ""},
		{monitors.Addr().String(), "/health", 200, `{"health":"true","reason":""}`},
		{monitors.Addr().String(), "/metrics", 200, "etcd_server_has_leader 1"},
		{monitors.Addr().String(), "/debug/pprof/cmdline", 404, ""},
		{away.address, "/health", 503, `{"health":"false","reason":"GET ERROR:`},
		{away.address, "/proxy/health", 503, `{"health":"false","reason":"no member can be reached"}`},
		{away.address, "/metrics", 500, ""},
		{away.address, "/debug/pprof/", 404, ""},
	} {
		if code, body := get(t, h, "http://"+tc.where+tc.page); code != tc.code || !strings.Contains(body, tc.body) {
			t.Errorf("%s: %d %.200q", tc.page, code, body)
		}
	}
	resp, err := h.Post("http://"+r.address+"/health", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Error(resp.Status)
	}
}

// TestAuthPages: that nobody may read without a name does not make a cluster unhealthy.
func TestAuthPages(t *testing.T) {
	member := startMember(t)
	r := runPlain(t, options(member))
	c, ctx := client(t, r.address), soon(t)
	if _, err := c.UserAdd(ctx, "root", "r"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UserGrantRole(ctx, "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(ctx, "a"); !errors.Is(err, rpctypes.ErrUserEmpty) {
		t.Error(err)
	}
	if err := r.readable(ctx); err != nil {
		t.Error(err)
	}
	named, err := clientv3.New(clientv3.Config{Endpoints: []string{r.address}, Username: "root", Password: "r", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	if _, err := named.Put(ctx, "a", "b"); err != nil {
		t.Error(err)
	}
}

// registry is a cluster whose list of members can be set.
type registry struct {
	pb.UnimplementedClusterServer
	mu      sync.Mutex
	members []*pb.Member
}

func (g *registry) MemberList(context.Context, *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &pb.MemberListResponse{Members: g.members}, nil
}

func serveRegistry(t *testing.T, g *registry) string {
	t.Helper()
	server := grpc.NewServer()
	pb.RegisterClusterServer(server, g)
	l := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { server.Stop(); wg.Wait() })
	return l.Addr().String()
}

// TestSync: the endpoints become those of the members that have started and may be asked anything, and the log names them.
func TestSync(t *testing.T) {
	other, _ := play(t, echo)
	g := &registry{}
	member := serveRegistry(t, g)
	var log bytes.Buffer
	o := options(member)
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	r := runPlain(t, o)
	sync := func(want string, members ...*pb.Member) {
		t.Helper()
		g.mu.Lock()
		g.members = members
		g.mu.Unlock()
		err := r.sync(soon(t))
		if err != nil && want != "" || err == nil && want == "" {
			t.Errorf("%v", err)
		}
		var list []string
		for _, one := range r.targets.all() {
			list = append(list, one.String())
		}
		if slices.Sort(list); want != "" && strings.Join(list, " ") != want {
			t.Errorf("endpoints %v, want %s", list, want)
		}
	}
	first := &pb.Member{Name: "a", ClientURLs: []string{"http://" + member}}
	sync("http://"+member, first)
	if log.Len() > 0 {
		t.Errorf("nothing has changed: %s", log.String())
	}
	sync("")
	sync("", &pb.Member{Name: "a", ClientURLs: []string{"gopher://x"}})
	both := []string{"http://" + member, "http://" + other}
	slices.Sort(both)
	sync(strings.Join(both, " "), first, first, &pb.Member{Name: "b", ClientURLs: []string{"http://" + other}},
		&pb.Member{ClientURLs: []string{"http://new:1"}}, &pb.Member{Name: "c", IsLearner: true, ClientURLs: []string{"http://learner:1"}})
	if !strings.Contains(log.String(), other) {
		t.Errorf("log: %s", log.String())
	}
	conn := dialPlain(t, r.address)
	until(t, "a call comes to the other", func() bool {
		stream := call(soon(t), t, conn)
		header, err := stream.Header()
		return err == nil && len(header.Get("heard")) > 0
	})
}

// TestFollow: it looks again after the interval, which is never shorter than a second.
func TestFollow(t *testing.T) {
	g := &registry{members: []*pb.Member{{Name: "a", ClientURLs: []string{"http://elsewhere:1"}}}}
	o := options(serveRegistry(t, g))
	o.Sync = time.Millisecond
	r := runPlain(t, o)
	until(t, "the endpoint is another", func() bool { return r.targets.all()[0].String() == "http://elsewhere:1" })
}
