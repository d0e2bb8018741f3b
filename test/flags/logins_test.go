package flags

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// stormLogins is how many log in at once, by turns with the right password, with a wrong one, under a name that nobody has, and without waiting for
// the answer. They take a third of the processors, for as long as is enough to see what becomes of others meanwhile.
const stormLogins = 160

// TestLoginStorm: while many log in, those who have logged in go on being served, whoever knows the password gets in, nobody else does, and what the
// member keeps of it all is bounded.
func TestLoginStorm(t *testing.T) {
	t.Parallel()
	m := start(t, flags, t.TempDir(), options{"bcrypt-cost": 8})
	token := login(t, m.client(t))
	conn, err := grpc.NewClient("passthrough:///"+m.url, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := &storm{auth: etcdserverpb.NewAuthClient(conn), kv: etcdserverpb.NewKVClient(conn), token: token}
	if err := s.put(t); err != nil {
		t.Fatal(err)
	}
	before, _ := m.metric(t, "go_goroutines")
	logins := s.begin(t)
	puts, most := 0, 0.0
	for over := false; !over; puts++ {
		if err := s.put(t); err != nil {
			t.Errorf("put %d beside logins: %v", puts, err)
		}
		if puts%100 == 0 {
			now, _ := m.metric(t, "go_goroutines")
			most = max(most, now)
		}
		select {
		case <-logins:
			over = true
		default:
		}
	}
	t.Logf("%d puts, the slowest took %v; at most %.0f goroutines, %.0f before", puts, s.slowest, most, before)
	if puts < 20 {
		t.Errorf("only %d puts beside %d logins", puts, stormLogins)
	}
	if most > before+2*stormLogins {
		t.Errorf("%.0f goroutines, %.0f before", most, before)
	}
	s.logIn(t, 0) // nobody is left to wait for
	if memory, ok := m.metric(t, "process_resident_memory_bytes"); !ok || memory > 256<<20 {
		t.Errorf("%.0f bytes of memory", memory)
	}
}

// storm is many who log in beside one who writes.
type storm struct {
	auth    etcdserverpb.AuthClient
	kv      etcdserverpb.KVClient
	token   string
	slowest time.Duration
}

// put writes as somebody who has logged in before.
func (s *storm) put(t *testing.T) error {
	began := time.Now()
	err := s.write(t, s.token)
	s.slowest = max(s.slowest, time.Since(began))
	return err
}

func (s *storm) write(t *testing.T, token string) error {
	ctx := metadata.AppendToOutgoingContext(soon(t), rpctypes.TokenFieldNameGRPC, token)
	_, err := s.kv.Put(ctx, &etcdserverpb.PutRequest{Key: []byte("k")})
	return err
}

// begin has all log in; what it returns is closed when all have been answered.
func (s *storm) begin(t *testing.T) <-chan struct{} {
	var all sync.WaitGroup
	for i := range stormLogins {
		all.Go(func() { s.logIn(t, i) })
	}
	over := make(chan struct{})
	go func() {
		all.Wait()
		close(over)
	}()
	t.Cleanup(func() { <-over })
	return over
}

func (s *storm) logIn(t *testing.T, i int) {
	r := &etcdserverpb.AuthenticateRequest{Name: "root", Password: "secret"}
	ctx := soon(t)
	switch i % 4 {
	case 1:
		r.Password = "wrong"
	case 2:
		r.Name = "nobody"
	case 3:
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		ctx = short
	}
	out, err := s.auth.Authenticate(ctx, r)
	if r.Name != "root" || r.Password != "secret" {
		if code := status.Code(err); code != codes.InvalidArgument && !retryable(code) {
			t.Errorf("%s with %s: %v, %v", r.Name, r.Password, out, err)
		}
		return
	}
	if err == nil {
		err = s.write(t, out.Token)
	}
	if err != nil && !retryable(status.Code(err)) {
		t.Errorf("with the right password: %v", err)
	}
}

// retryable reports whether a refusal says to come again.
func retryable(code codes.Code) bool {
	return code == codes.Unavailable || code == codes.ResourceExhausted || code == codes.DeadlineExceeded
}
