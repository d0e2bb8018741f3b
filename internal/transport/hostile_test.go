package transport

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/raft/wire"
)

// rawStream opens a stream of a member by hand, in the name of another, and returns what comes behind the head of the answer.
func (n *network) rawStream(t *testing.T, from, to uint64, kind streamKind) (net.Conn, io.Reader) {
	t.Helper()
	conn, err := n.dial(t.Context(), "tcp", address(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET /raft/stream/%s/%x HTTP/1.1\r\nHost: x\r\nX-Server-Version: 3.7.3\r\nX-Min-Cluster-Version: 3.0.0\r\n"+
		"X-Etcd-Cluster-ID: %x\r\nX-Server-From: %x\r\nX-Raft-To: %x\r\n\r\n", kind, from, cluster, from, to)
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("the stream is refused: %v, %v", resp, err)
	}
	if v := resp.Header.Get("X-Server-Version"); v != "3.7.3" || resp.Header.Get("X-Etcd-Cluster-ID") != hexID(cluster) {
		t.Fatalf("the head of the answer is %v", resp.Header)
	}
	return conn, resp.Body
}

// alone starts member 1 and makes 2 and 3, which nobody runs, its peers.
func (n *network) alone(t *testing.T, change func(*Config)) *member {
	a := n.start(t, 1, change)
	a.SetPeers(peersOf(1, 2, 3))
	return a
}

func TestStreamsByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := n.alone(t, nil)
		_, messages := n.rawStream(t, 2, 1, messageStream)
		_, appends := n.rawStream(t, 2, 1, msgAppStream)
		synctest.Wait()
		a.Send([]wire.Message{heartbeat(1, 2), appendMessage(1, 2, 4, "a"), appendMessage(1, 2, 5, "b")})
		hb := heartbeat(1, 2)
		m1, m2 := appendMessage(1, 2, 4, "a"), appendMessage(1, 2, 5, "b")
		enc := newEncoder(msgAppStream)
		wants := [][]byte{
			newEncoder(messageStream).encode(nil, &hb),
			enc.encode(enc.encode(nil, &m1), &m2),
		}
		for i, r := range []io.Reader{messages, appends} {
			got := make([]byte, len(wants[i]))
			if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, wants[i]) {
				t.Fatalf("got %x, want %x: %v", got, wants[i], err)
			}
		}
		start := time.Now()
		beats := make(chan error, 2)
		for r, want := range map[io.Reader]string{messages: "\x00\x00\x00\x00\x00\x00\x00\x02\x08\x08", appends: "\x00"} {
			go func() {
				got := make([]byte, len(want))
				_, err := io.ReadFull(r, got)
				if d := time.Since(start).Round(time.Millisecond); err != nil || string(got) != want || d != 1667*time.Millisecond {
					err = fmt.Errorf("sign of life %x after %v, want %x: %w", got, d, want, err)
				}
				beats <- err
			}()
		}
		for range 2 {
			if err := <-beats; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestAppendsWithoutTheirStream go by the other one.
func TestAppendsWithoutTheirStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := n.alone(t, nil)
		_, messages := n.rawStream(t, 2, 1, messageStream)
		synctest.Wait()
		a.Send([]wire.Message{appendMessage(1, 2, 4, "a")})
		m, err := newDecoder(messageStream, newFrames(messages), 1, 2).decode()
		if err != nil {
			t.Fatal(err)
		}
		sameMessage(t, m, appendMessage(1, 2, 4, "a"))
	})
}

// TestReplacedStream: a newer stream of a kind ends the older, and gets what comes next, in order.
func TestReplacedStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := n.alone(t, nil)
		conn, _ := n.rawStream(t, 2, 1, messageStream)
		for i := range uint64(5) {
			synctest.Wait()
			ended := make(chan error, 1)
			go func() { _, err := io.Copy(io.Discard, conn); ended <- err }()
			newer, body := n.rawStream(t, 2, 1, messageStream)
			synctest.Wait()
			if err := <-ended; err != nil {
				t.Fatalf("the older stream ended with %v", err)
			}
			for j := range uint64(3) {
				a.Send([]wire.Message{{Type: wire.MsgAppResp, From: 1, To: 2, Index: i*10 + j}})
			}
			dec := newDecoder(messageStream, newFrames(body), 1, 2)
			for j := range uint64(3) {
				if m, err := dec.decode(); err != nil || m.Index != i*10+j {
					t.Fatalf("round %d, message %d: %+v, %v", i, j, m, err)
				}
			}
			conn = newer
		}
	})
}

// TestPeerThatNeverReads: it fills its own queue, then its stream is cut. Others do not notice, and Send never waits.
func TestPeerThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := n.alone(t, nil)
		n.rawStream(t, 2, 1, messageStream)
		_, other := n.rawStream(t, 3, 1, messageStream)
		synctest.Wait()
		dec := newDecoder(messageStream, newFrames(other), 1, 3)
		start := time.Now()
		const extra = 100
		for i := range uint64(1 + maxStreamQueue + extra) {
			a.Send([]wire.Message{heartbeat(1, 2), {Type: wire.MsgAppResp, From: 1, To: 3, Index: i}})
			if i == 0 {
				synctest.Wait() // the first is being written
			}
			if m, err := dec.decode(); err != nil || m.Index != i {
				t.Fatalf("the other peer got %+v, %v", m, err)
			}
		}
		if time.Since(start) != 0 {
			t.Fatalf("it took %v", time.Since(start))
		}
		if n := len(a.local.lost); n != extra {
			t.Fatalf("%d messages were dropped, want %d", n, extra)
		}
		if at := a.peer(2).queued.Load(); at > 1<<21 {
			t.Fatalf("%d bytes are queued", at)
		}
		go func() { _, _ = io.Copy(io.Discard, other) }()
		time.Sleep(4 * time.Second)
		if !a.attached(2) {
			t.Fatal("cut before its time")
		}
		time.Sleep(2 * time.Second)
		if a.attached(2) || a.peer(2).queued.Load() != 0 {
			t.Fatalf("not cut, or %d bytes still counted", a.peer(2).queued.Load())
		}
		if !a.attached(3) {
			t.Fatal("the other peer was cut, too")
		}
		_, again := n.rawStream(t, 2, 1, messageStream)
		synctest.Wait()
		want := wire.Message{Type: wire.MsgAppResp, From: 1, To: 2, Index: 77}
		a.Send([]wire.Message{want})
		got, err := newDecoder(messageStream, newFrames(again), 1, 2).decode()
		if err != nil {
			t.Fatal(err)
		}
		sameMessage(t, got, want) // not what was queued for the stream that was cut
	})
}

// TestAttachWaits: the newer stream begins when the older has ended, and finds what the older left, whether that had noticed it or not.
func TestAttachWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o outgoing
		o.init(messageStream)
		newStream := func() *stream {
			ctx, cancel := context.WithCancelCause(t.Context())
			return &stream{ctx: ctx, cancel: cancel, done: make(chan struct{})}
		}
		older, newer := newStream(), newStream()
		o.attach(older)
		o.push(&wire.Message{Index: 1})
		<-o.ready
		attached := make(chan struct{})
		go func() { o.attach(newer); close(attached) }()
		synctest.Wait()
		select {
		case <-attached:
			t.Fatal("attached beside the older stream")
		default:
		}
		if context.Cause(older.ctx) != errReplaced {
			t.Fatalf("the older stream ends with %v", context.Cause(older.ctx))
		}
		if left := o.detach(older); len(left) != 0 {
			t.Fatalf("the older took %d messages along", len(left))
		}
		<-attached
		select {
		case <-o.ready:
		default:
			t.Fatal("nothing says that messages wait")
		}
		if left := o.detach(newer); len(left) != 1 {
			t.Fatalf("%d messages were left", len(left))
		}
	})
}

// attached reports whether a peer has a message stream open.
func (m *member) attached(id uint64) bool {
	o := &m.peer(id).message
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.stream != nil
}

// TestByteBound: few large messages are as many as many small ones.
func TestByteBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := n.alone(t, nil)
		n.rawStream(t, 2, 1, messageStream)
		synctest.Wait()
		large := wire.Message{Type: wire.MsgProp, From: 1, To: 2, Entries: []wire.Entry{{Data: make([]byte, maxQueuedBytes)}}}
		a.Send([]wire.Message{large})
		if len(a.local.lost) != 0 {
			t.Fatal("a message that is alone was dropped")
		}
		a.Send([]wire.Message{heartbeat(1, 2), heartbeat(1, 2)})
		if len(a.local.lost) != 2 {
			t.Fatalf("%d messages were dropped above the bound, want 2", len(a.local.lost))
		}
		time.Sleep(10 * time.Second)
		if at := a.peer(2).queued.Load(); at != 0 {
			t.Fatalf("%d bytes are still counted", at)
		}
	})
}

// TestSlowReader: a stream on which every write makes some progress in time goes on, however long a message takes.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := n.alone(t, nil)
		_, body := n.rawStream(t, 2, 1, messageStream)
		synctest.Wait()
		large := wire.Message{Type: wire.MsgProp, From: 1, To: 2, Entries: []wire.Entry{{Data: make([]byte, 8*writeBytes)}}}
		a.Send([]wire.Message{large})
		start := time.Now()
		m, err := newDecoder(messageStream, newFrames(&slow{body, writeBytes / 2}), 1, 2).decode()
		if err != nil || !equal(&m, &large) {
			t.Fatalf("the message did not come: %v", err)
		}
		if d := time.Since(start); d < 15*time.Second {
			t.Fatalf("it took %v, which tests nothing", d)
		}
	})
}

// slow reads at most size bytes each second.
type slow struct {
	r    io.Reader
	size int
}

func (s *slow) Read(b []byte) (int, error) {
	time.Sleep(time.Second)
	return io.ReadFull(s.r, b[:min(len(b), s.size)])
}

// fakePeer answers streams of member 1 with what serve writes.
func (n *network) fakePeer(t *testing.T, id uint64, serve func(w http.ResponseWriter, r *http.Request)) {
	l := n.listen(address(id))
	s := &http.Server{Handler: http.HandlerFunc(serve)}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
}

// TestCutMidMessage: the whole messages before the cut arrive, the broken one does not, and the stream is opened again, not more often
// than the pause allows.
func TestCutMidMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		dials := make(chan *http.Request, 1000)
		n.fakePeer(t, 2, func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/raft/stream/message/") {
				http.NotFound(w, r)
				return
			}
			dials <- r.Clone(t.Context())
			w.Header().Set("X-Server-Version", "3.7.1")
			m := heartbeat(2, 1)
			b := messageEncoder{}.encode(nil, &m)
			_, _ = w.Write(append(b, b[:len(b)-1]...))
		})
		a := n.alone(t, nil)
		time.Sleep(time.Second + time.Millisecond)
		if len(dials) != 11 || len(a.local.steps) != 11 {
			t.Fatalf("%d dials and %d messages in a second, want 11", len(dials), len(a.local.steps))
		}
		r := <-dials
		for name, want := range map[string]string{
			"X-Server-From": "1", "X-Server-Version": "3.7.3", "X-Min-Cluster-Version": "3.0.0", "X-Etcd-Cluster-ID": hexID(cluster),
			"X-Raft-To": "2", "X-PeerURLs": "http://" + address(1),
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if r.URL.Path != "/raft/stream/message/1" || r.ProtoMajor != 1 {
			t.Errorf("asked for %s by %s", r.URL.Path, r.Proto)
		}
	})
}

// TestBadPeers: what is no stream is not taken for one.
func TestBadPeers(t *testing.T) {
	for name, serve := range map[string]func(w http.ResponseWriter, r *http.Request){
		"no version":  func(http.ResponseWriter, *http.Request) {},
		"old version": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Server-Version", "2.0.9") },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+address(1), http.StatusFound)
		},
		"never answers": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // a server looks for the connection's end behind the body
			<-r.Context().Done()
		},
		"server error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 500) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				n.fakePeer(t, 2, serve)
				a := n.start(t, 1, func(c *Config) { c.Metrics.Active = func(uint64, bool) { t.Error("became active") } })
				a.SetPeers(peersOf(1, 2))
				a.Send([]wire.Message{heartbeat(1, 2)})
				time.Sleep(10 * time.Second)
				if len(a.local.lost) != 1 || len(a.local.stopped) != 0 {
					t.Fatalf("%d lost, %d stopped", len(a.local.lost), len(a.local.stopped))
				}
			})
		})
	}
}

// TestSilentStream: a stream without signs of life is given up after five seconds.
func TestSilentStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fakePeer(t, 2, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Server-Version", "3.7.1")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		a := n.alone(t, nil)
		time.Sleep(4900 * time.Millisecond)
		if _, ok := a.Connected(2); !ok {
			t.Fatal("not connected")
		}
		time.Sleep(150 * time.Millisecond)
		if _, ok := a.Connected(2); ok {
			t.Fatal("still connected to a stream that says nothing")
		}
	})
}

// TestPipelineBounds: four requests are under way, 64 messages wait, the others are dropped; a peer that takes a request and never answers is
// given up after five seconds.
func TestPipelineBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		posts := make(chan struct{}, 1000)
		n.fakePeer(t, 2, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/raft" {
				http.NotFound(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			posts <- struct{}{}
			<-r.Context().Done()
		})
		a := n.alone(t, func(c *Config) { c.Timing.Redial = 10 * time.Second })
		for range 100 {
			a.Send([]wire.Message{heartbeat(1, 2)})
			synctest.Wait()
		}
		if len(posts) != maxPosts || len(a.local.lost) != 100-maxPosts-maxPipelineQueue {
			t.Fatalf("%d requests, %d dropped", len(posts), len(a.local.lost))
		}
		time.Sleep(6 * time.Second)
		if len(posts) != 2*maxPosts {
			t.Fatalf("%d requests after the first were given up", len(posts))
		}
		time.Sleep(2 * time.Minute)
		if len(a.local.lost) != 100 || a.peer(2).queued.Load() != 0 || a.peer(2).pipe.mu.workers != 0 {
			t.Fatalf("%d lost, %d bytes, %d workers", len(a.local.lost), a.peer(2).queued.Load(), a.peer(2).pipe.mu.workers)
		}
	})
}

// TestPostThatStalls: a peer that stops sending in the middle of one is cut off.
func TestPostThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.alone(t, nil)
		conn, err := n.dial(t.Context(), "tcp", address(1))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /raft HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nX-Server-Version: 3.7.3\r\nX-Min-Cluster-Version: 3.0.0\r\n"+
			"X-Etcd-Cluster-ID: %x\r\n\r\nbeginning", cluster)
		start := time.Now()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 400 || time.Since(start) != 5*time.Second {
			t.Fatalf("answer %v after %v: %v", resp, time.Since(start), err)
		}
		conn.Close()
	})
}

// TestCloseBreaksEverything: streams in both directions, posts and snapshots, whatever their peers do.
func TestCloseBreaksEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fakePeer(t, 3, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
		a, b := n.start(t, 1, nil), n.start(t, 2, nil)
		a.SetPeers(peersOf(1, 2, 3))
		b.SetPeers(peersOf(1, 2, 3))
		time.Sleep(time.Second)
		n.rawStream(t, 3, 1, msgAppStream) // is never read
		synctest.Wait()
		for i := range uint64(1000) {
			a.Send([]wire.Message{heartbeat(1, 3), appendMessage(1, 3, i, "x"), heartbeat(1, 2)})
		}
		synctest.Wait()
		start := time.Now()
		a.Close()
		if d := time.Since(start); d != 0 {
			t.Fatalf("Close took %v", d)
		}
		a.Close()
	})
}
