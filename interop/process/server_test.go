package process

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServerKeepsItsDataOverKillAndRestart(t *testing.T) {
	s := Start(t, Config{Program: Etcd(), Builder: NewBuilder("..", t.TempDir()), Volatile: true})
	conn := s.Dial(t)
	defer conn.Close()
	kv := pb.NewKVClient(conn)
	if _, err := kv.Put(t.Context(), &pb.PutRequest{Key: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if s.Running() {
		t.Fatal("running after Kill: got true, want false")
	}
	s.Restart()
	again := s.Dial(t)
	defer again.Close()
	resp, err := pb.NewKVClient(again).Range(t.Context(), &pb.RangeRequest{Key: []byte("a")})
	if err != nil || resp.Count != 1 {
		t.Fatalf("read after a restart: got %v and %v, want one key", resp, err)
	}
}
