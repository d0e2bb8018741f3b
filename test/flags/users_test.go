package flags

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

// userScenarios are of passwords and tokens.
func userScenarios() []scenario {
	return []scenario{
		{name: "unknown tokens", flags: "auth-token", options: fixed(options{"auth-token": "x"}), refuses: &refusal{1, "auth: invalid auth options"}},
		{name: "signed tokens", flags: "auth-token", play: func(t *testing.T, f form) {
			cert, key := newAuthority(t).issue("tokens")
			m := start(t, f, t.TempDir(), options{"auth-token": "jwt,sign-method=ES256,pub-key=" + cert + ",priv-key=" + key})
			if token := login(t, m.client(t)); strings.Count(token, ".") != 2 {
				t.Errorf("token %s", token)
			}
		}},
		{name: "cost of passwords", flags: "bcrypt-cost", options: fixed(options{"bcrypt-cost": 5, "backend-batch-interval": "20ms"}), see: func(t *testing.T, m *member) {
			login(t, m.client(t))
			m.hashesAt(t, "$2a$05$")
		}},
		{name: "impossible cost", flags: "bcrypt-cost", options: fixed(options{"bcrypt-cost": 99, "backend-batch-interval": "20ms"}), see: func(t *testing.T, m *member) {
			m.waitLog(t, "use default bcrypt cost instead of the invalid given cost")
			login(t, m.client(t))
			m.hashesAt(t, "$2a$10$")
		}},
		{name: "life of tokens", flags: "auth-token-ttl", options: fixed(options{"auth-token-ttl": 1}), see: func(t *testing.T, m *member) {
			c := m.client(t)
			ctx := metadata.AppendToOutgoingContext(soon(t), rpctypes.TokenFieldNameGRPC, login(t, c))
			kv := etcdserverpb.NewKVClient(c.ActiveConnection())
			if err := read(ctx, kv); err != nil {
				t.Errorf("with a new token: %v", err)
			}
			unused := time.NewTimer(1500 * time.Millisecond) // using it would make it last
			defer unused.Stop()
			<-unused.C
			if err := read(ctx, kv); !errors.Is(rpctypes.Error(err), rpctypes.ErrInvalidAuthToken) {
				t.Errorf("with an old token: %v", err)
			}
		}},
	}
}

// hashesAt waits until the database file holds a password that was hashed at a cost.
func (m *member) hashesAt(t *testing.T, mark string) {
	t.Helper()
	m.eventually(t, "the password is hashed at the cost "+mark, func() bool {
		file, err := os.ReadFile(filepath.Join(m.dir, "data", "member", "snap", "db"))
		return err == nil && bytes.Contains(file, []byte(mark))
	})
}

func read(ctx context.Context, kv etcdserverpb.KVClient) error {
	_, err := kv.Range(ctx, &etcdserverpb.RangeRequest{Key: []byte("k")})
	return err
}

// login has the member ask who calls, and returns the token of one who may do everything.
func login(t *testing.T, c *clientv3.Client) string {
	t.Helper()
	steps := []func() error{
		func() error { _, err := c.RoleAdd(soon(t), "root"); return err },
		func() error { _, err := c.UserAdd(soon(t), "root", "secret"); return err },
		func() error { _, err := c.UserGrantRole(soon(t), "root", "root"); return err },
		func() error { _, err := c.AuthEnable(soon(t)); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := etcdserverpb.NewAuthClient(c.ActiveConnection()).Authenticate(soon(t), &etcdserverpb.AuthenticateRequest{Name: "root", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Token
}
