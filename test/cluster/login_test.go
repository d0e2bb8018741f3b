package cluster

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	rootName     = "root"
	rootPassword = "secret"
)

// A login is who a connection's calls come from: nobody, until a member wants to know, and again when it does not know any more.
type login struct {
	mu    sync.Mutex
	token string
}

// options make a connection that logs in.
func (l *login) options() []grpc.DialOption {
	if l == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(l.unary), grpc.WithChainStreamInterceptor(l.stream)}
}

func (l *login) with(ctx context.Context) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "token", l.token)
}

// unary makes a call once: what is refused for want of a login stays refused, and the next call has one.
func (l *login) unary(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(l.with(ctx), method, request, reply, conn, opts...)
	if err != nil && notLoggedIn(status.Convert(err).Message()) && !strings.HasSuffix(method, "/Authenticate") {
		l.renew(ctx, conn)
	}
	return err
}

func (l *login) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return open(l.with(ctx), desc, conn, method, opts...)
}

func (l *login) renew(ctx context.Context, conn *grpc.ClientConn) {
	r, err := etcdserverpb.NewAuthClient(conn).Authenticate(ctx, &etcdserverpb.AuthenticateRequest{Name: rootName, Password: rootPassword})
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token = r.Token
}

// notLoggedIn says whether a member's words mean that it does not know who asks.
func notLoggedIn(words string) bool {
	for _, one := range []string{"user name is empty", "invalid auth token", "permission denied", "auth store is old"} {
		if strings.Contains(words, one) {
			return true
		}
	}
	return false
}

// addRoot makes the user as whom connections log in.
func (c *cluster) addRoot(t *testing.T) {
	t.Helper()
	auth := etcdserverpb.NewAuthClient(c.members[0].conn)
	for _, make := range []func(ctx context.Context) error{
		func(ctx context.Context) error {
			_, err := auth.RoleAdd(ctx, &etcdserverpb.AuthRoleAddRequest{Name: rootName})
			return err
		},
		func(ctx context.Context) error {
			_, err := auth.UserAdd(ctx, &etcdserverpb.AuthUserAddRequest{Name: rootName, Password: rootPassword})
			return err
		},
		func(ctx context.Context) error {
			_, err := auth.UserGrantRole(ctx, &etcdserverpb.AuthUserGrantRoleRequest{User: rootName, Role: rootName})
			return err
		},
	} {
		eventually(t, "making a user", func(ctx context.Context) error {
			if err := make(ctx); err != nil && !strings.Contains(err.Error(), "already") {
				return err
			}
			return nil
		})
	}
}

// A toggle turns authentication on and off.
type toggle struct {
	cluster *cluster
	stop    context.CancelFunc
	running sync.WaitGroup
	enabled int // how often it was turned on
}

// toggle begins to turn authentication on and off, through one member after the other.
func (c *cluster) toggle(ctx context.Context, every time.Duration) *toggle {
	ctx, cancel := context.WithCancel(ctx)
	g := &toggle{cluster: c, stop: cancel}
	g.running.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if g.change(context.WithoutCancel(ctx), n) == nil && n%2 == 0 {
				g.enabled++
			}
			pause(ctx, every)
		}
	})
	return g
}

// change turns it on for even numbers, and off for odd ones.
func (g *toggle) change(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	members := g.cluster.members
	auth := etcdserverpb.NewAuthClient(members[(n+1)/2%len(members)].conn)
	if n%2 == 0 {
		_, err := auth.AuthEnable(ctx, &etcdserverpb.AuthEnableRequest{})
		return err
	}
	_, err := auth.AuthDisable(ctx, &etcdserverpb.AuthDisableRequest{})
	return err
}

// end leaves authentication off.
func (g *toggle) end(t *testing.T) {
	t.Helper()
	g.stop()
	g.running.Wait()
	if g.enabled == 0 {
		t.Error("authentication was never on")
	}
	eventually(t, "turning authentication off", func(ctx context.Context) error { return g.change(ctx, 1) })
}
