package v3

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // one client asks for it
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/api/port"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// largeKeys is more than what a member collects before it answers.
const largeKeys = 10_500

// startLarge runs an edge with that many keys.
func startLarge(t *testing.T, change ...func(*servicetest.Options)) *edge {
	t.Helper()
	m := servicetest.Start(t, servicetest.NewDisks(t, 1), change...)
	check(t, m.Probe(t.Context(), true))
	e := serve(t, m)
	value := bytes.Repeat([]byte{'v'}, 200)
	for i := 0; i < largeKeys; {
		var txn pb.TxnRequest
		for ; i < largeKeys && len(txn.Success) < 128; i++ {
			put := &pb.PutRequest{Key: fmt.Appendf(nil, "k%06d", i), Value: value}
			txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})
		}
		_, err := e.kv.Txn(t.Context(), &txn)
		check(t, err)
	}
	return e
}

var list = &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}

// wantNothingHeld waits until no answer is under way.
func wantNothingHeld(t *testing.T, e *edge) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); e.RangeBudget().Answers > 0; {
		if time.Now().After(end) {
			t.Fatalf("still under way: %+v", e.RangeBudget())
		}
		time.Sleep(time.Millisecond)
	}
	if used := e.RangeBudget().UsedBytes; used != 0 {
		t.Errorf("%d bytes under way", used)
	}
}

func TestLargeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := startLarge(t)
		for name, opts := range map[string][]grpc.CallOption{"plain": nil, "compressed": {grpc.UseCompressor("gzip")}} {
			got, err := e.kv.Range(t.Context(), list, opts...)
			check(t, err)
			if len(got.Kvs) != largeKeys || got.Count != largeKeys {
				t.Errorf("%s: %d keys of %d", name, len(got.Kvs), got.Count)
			}
			for i, kv := range got.Kvs {
				if string(kv.Key) != fmt.Sprintf("k%06d", i) || len(kv.Value) != 200 {
					t.Fatalf("%s: key %d is %q with %d bytes", name, i, kv.Key, len(kv.Value))
				}
			}
		}
		wantNothingHeld(t, e)
		e.stop()
	})
}

// TestLargeAnswerTooLargeForTheClient: the client breaks off, and nothing stays.
func TestLargeAnswerTooLargeForTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := startLarge(t)
		_, err := e.kv.Range(t.Context(), list, grpc.MaxCallRecvMsgSize(100_000))
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("Range: %v", err)
		}
		wantNothingHeld(t, e)
		e.stop()
	})
}

// stalling is a client connection that does not read between stall and resume, but for what a member says beside an answer: a pipe has no room
// for that, and a member that cannot write does not read either.
type stalling struct {
	net.Conn
	stall, resume, gone chan struct{}
	taken               int // bytes since stall
}

// stallingTakes is less than the beginning of a large answer.
const stallingTakes = 1 << 10

func (s *stalling) Read(p []byte) (int, error) {
	select {
	case <-s.stall:
	default:
		return s.Conn.Read(p)
	}
	if s.taken >= stallingTakes {
		select {
		case <-s.resume:
		case <-s.gone:
			return 0, net.ErrClosed
		}
	}
	n, err := s.Conn.Read(p)
	s.taken += n
	return n, err
}

func (s *stalling) Close() error {
	select {
	case <-s.gone:
	default:
		close(s.gone)
	}
	return s.Conn.Close()
}

// startStalling connects a client of its own.
func startStalling(t *testing.T, e *edge) (pb.KVClient, *stalling) {
	t.Helper()
	listener, dial := port.NewPipe()
	go func() { _ = e.server.Serve(listener) }()
	s := &stalling{stall: make(chan struct{}), resume: make(chan struct{}), gone: make(chan struct{})}
	conn, err := grpc.NewClient("passthrough:///member", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := dial(ctx)
			s.Conn = c
			return s, err
		}), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)))
	check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	kv := pb.NewKVClient(conn)
	_, err = kv.Range(t.Context(), &pb.RangeRequest{Key: []byte("x")})
	check(t, err)
	return kv, s
}

// TestLargeAnswerOfAStalledClient: a client that does not read holds its answer for stallTimeout and not longer; one whose connection
// breaks likewise.
func TestLargeAnswerOfAStalledClient(t *testing.T) {
	for _, breaks := range []bool{false, true} {
		t.Run(fmt.Sprintf("connection breaks %v", breaks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := startLarge(t)
				kv, s := startStalling(t, e)
				failed := make(chan error, 1)
				ctx, cancel := context.WithCancel(t.Context())
				close(s.stall)
				go func() {
					_, err := kv.Range(ctx, list)
					failed <- err
				}()
				synctest.Wait()
				if e.RangeBudget().Answers != 1 {
					t.Fatalf("nothing under way: %+v", e.RangeBudget())
				}
				if breaks {
					check(t, s.Close())
					synctest.Wait()
				}
				time.Sleep(stallTimeout + time.Second)
				synctest.Wait()
				wantNothingHeld(t, e)
				cancel()
				if err := <-failed; err == nil {
					t.Error("the client has an answer that it did not read")
				}
				_ = s.Close()
				e.stop()
			})
		})
	}
}

// TestLargeAnswerNeverIncomplete: a client that goes on after its answer was given up gets an error, not a short answer.
func TestLargeAnswerNeverIncomplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := startLarge(t)
		kv, s := startStalling(t, e)
		close(s.stall)
		failed := make(chan error, 1)
		go func() {
			_, err := kv.Range(t.Context(), list)
			failed <- err
		}()
		synctest.Wait()
		e.DropAnswers()
		close(s.resume)
		if err := <-failed; status.Code(err) != codes.Unavailable {
			t.Errorf("the call ended with %v", err)
		}
		check(t, s.Close())
		e.stop()
	})
}
