package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// TestUnaryLoad: every call arrives once and whole, and is counted once.
func TestUnaryLoad(t *testing.T) {
	f, address := startFake(t)
	const calls = 503
	u := unary{path: pathPut, connections: 3, inFlight: 16, limit: calls, body: randomPuts(10, 128)}
	got, err := u.run(t.Context(), []string{address}, 1, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if got.ops != calls || len(got.latencies) != calls || got.elapsed <= 0 {
		t.Errorf("ops %d, latencies %d, elapsed %v", got.ops, len(got.latencies), got.elapsed)
	}
	if len(f.mu.puts) != calls {
		t.Fatalf("the server got %d puts", len(f.mu.puts))
	}
	for _, put := range f.mu.puts {
		if !strings.HasPrefix(string(put.Key), keyPrefix) || len(put.Value) != 128 {
			t.Fatalf("put %v", put)
		}
	}
}

// TestLoadEndsInTime: without a limit the length ends the loop.
func TestLoadEndsInTime(t *testing.T) {
	_, address := startFake(t)
	u := unary{path: pathRange, connections: 2, inFlight: 2, body: randomGets(3, true)}
	got, err := u.run(t.Context(), []string{address}, 1, 50*time.Millisecond)
	if err != nil || got.ops == 0 || got.elapsed < 50*time.Millisecond {
		t.Errorf("%d operations in %v, error %v", got.ops, got.elapsed, err)
	}
}

// TestRefusalEndsLoad: a number that holds failed calls would be worth nothing.
func TestRefusalEndsLoad(t *testing.T) {
	_, address := startFake(t)
	u := unary{path: pathPut, connections: 1, inFlight: 4, body: always(&etcdserverpb.PutRequest{Key: []byte("refused")})}
	_, err := u.run(t.Context(), []string{address}, 1, time.Minute)
	if err == nil || !strings.Contains(err.Error(), "grpc-status 8: no space") {
		t.Errorf("error %v", err)
	}
	u.path = "/etcdserverpb.KV/Nonsense"
	if _, err = u.run(t.Context(), []string{address}, 1, time.Minute); err == nil || !strings.Contains(err.Error(), "grpc-status 12") {
		t.Errorf("error %v", err)
	}
}

// TestFlowControl: requests that together exceed the server's windows, each
// longer than a frame, and answers of many frames.
func TestFlowControl(t *testing.T) {
	f, address := startFake(t)
	f.answer.Kvs = []*mvccpb.KeyValue{{Key: []byte("k"), Value: payload(5, 3_000_000)}}
	var answer etcdserverpb.RangeResponse
	if err := call(t.Context(), address, pathRange, everything(), &answer); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(&answer, f.answer) {
		t.Error("the answer is not what was sent")
	}
	const calls = 100
	u := unary{path: pathPut, connections: 1, inFlight: 50, limit: calls, body: randomPuts(10, 30_000)}
	if _, err := u.run(t.Context(), []string{address}, 1, time.Minute); err != nil {
		t.Fatal(err)
	}
	if len(f.mu.puts) != calls {
		t.Fatalf("the server got %d puts", len(f.mu.puts))
	}
	want := payload(1, 30_000)
	for _, put := range f.mu.puts {
		if !bytes.Equal(put.Value, want) {
			t.Fatal("a value arrived changed")
		}
	}
}

// TestWindow: no more is sent than the server gave room for, and reading its
// updates makes room again.
func TestWindow(t *testing.T) {
	_, address := startFake(t)
	c, err := dial(address, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	request := appendPut(nil, keyAt(1), payload(1, 10_000))
	started := 0
	for started < 100 {
		id, err := c.start(pathPut, request)
		if err != nil {
			t.Fatal(err)
		}
		if id == 0 {
			break
		}
		started++
	}
	if want := defaultWindow / (prefixBytes + len(request)); started != want {
		t.Errorf("%d calls fit into the first window, want %d", started, want)
	}
	ended := 0
	c.onEnd = func(_ uint32, err error) {
		if err != nil {
			t.Error(err)
		}
		ended++
	}
	for ended < started {
		if err := c.read(); err != nil {
			t.Fatal(err)
		}
	}
	if id, err := c.start(pathPut, request); id == 0 || err != nil {
		t.Errorf("no room after all answers: stream %d, error %v", id, err)
	}
}

// TestFillKeys: each key once, in order, whatever the number and size.
func TestFillKeys(t *testing.T) {
	for _, c := range []struct{ keys, bytes int }{{0, 10}, {1, 10}, {128, 10}, {300, 10}, {100, 1024}, {3, 50_000}} {
		f, address := startFake(t)
		if err := fillKeys(t.Context(), address, c.keys, c.bytes); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, put := range f.mu.txnPuts {
			seen[string(put.Key)] = true
			if len(put.Value) != c.bytes {
				t.Fatalf("%+v: value of %d bytes", c, len(put.Value))
			}
		}
		if len(f.mu.txnPuts) != c.keys || len(seen) != c.keys || c.keys > 0 && !seen[string(keyAt(c.keys-1))] {
			t.Errorf("%+v: %d puts of %d keys", c, len(f.mu.txnPuts), len(seen))
		}
	}
}

// TestFanOut: every watcher's event of every put is counted, and timed.
func TestFanOut(t *testing.T) {
	f, address := startFake(t)
	fan, err := newFanOut(address, 25)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		before := len(f.mu.puts)
		got, err := fan.run(t.Context(), 30*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		puts := len(f.mu.puts) - before
		if puts == 0 || got.ops != int64(puts)*25 || int64(len(got.latencies)) != got.ops {
			t.Errorf("%d puts, %d events, %d latencies", puts, got.ops, len(got.latencies))
		}
		if p := got.percentile(0.5); p <= 0 || p > time.Minute {
			t.Errorf("median latency %v", p)
		}
	}
}

// TestKeepAlive: every renewal is counted, and all leases get some.
func TestKeepAlive(t *testing.T) {
	f, address := startFake(t)
	k, err := grantLeases(address, 10, 3, 6)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.run(t.Context(), address, 30*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	renewals := 0
	for _, n := range f.mu.renewals {
		renewals += n
	}
	if got.ops == 0 || int(got.ops) != renewals || len(f.mu.renewals) != 10 {
		t.Errorf("%d operations, %d renewals of %d leases", got.ops, renewals, len(f.mu.renewals))
	}
}

// TestMessagesInPieces cuts a run of messages at random places.
func TestMessagesInPieces(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var wire []byte
		var want []string
		for range r.IntN(10) {
			message := payload(r.Uint64(), r.IntN(50))
			want = append(want, string(message))
			wire = append(wire, 0)
			wire = binary.BigEndian.AppendUint32(wire, uint32(len(message)))
			wire = append(wire, message...)
		}
		var m messages
		var got []string
		for len(wire) > 0 {
			n := 1 + r.IntN(len(wire))
			m.feed(wire[:n], func(message []byte) { got = append(got, string(message)) })
			wire = wire[n:]
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestShare(t *testing.T) {
	for n := range 20 {
		for parts := 1; parts < 7; parts++ {
			sum := 0
			for i := range parts {
				got := share(n, parts, i)
				if got < n/parts || got > n/parts+1 {
					t.Errorf("share %d of %d/%d is %d", i, n, parts, got)
				}
				sum += got
			}
			if sum != n {
				t.Errorf("%d in %d parts: %d", n, parts, sum)
			}
		}
	}
}
