package transport

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/raft/wire"
)

func snapshotMessage(from, to uint64) wire.Message {
	return wire.Message{Type: wire.MsgSnap, From: from, To: to, Term: 3, Snapshot: &wire.Snapshot{
		Data: []byte("{}"), Meta: wire.SnapshotMeta{Index: 1000, Term: 2, ConfState: wire.ConfState{Voters: []uint64{1, 2}}},
	}}
}

// file returns a body of about size bytes and its digest, which is complete when the body is written.
func file(size int) (body func(io.Writer) error, digest hash.Hash) {
	digest = sha256.New()
	r := rand.New(rand.NewPCG(1, 2))
	return func(w io.Writer) error {
		part := make([]byte, 100_000)
		for range size / len(part) {
			for i := 0; i < len(part); i += 512 {
				part[i] = byte(r.Uint32())
			}
			digest.Write(part)
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	}, digest
}

// stored is what a member that stores snapshots has got.
type stored struct {
	digest []byte
	bytes  int64
	err    error
}

// store makes m store snapshots, and returns where it tells of them.
func (m *member) store() chan stored {
	c := make(chan stored, 10)
	m.local.snapshot = func(_ context.Context, _ wire.Message, body io.Reader) error {
		h := sha256.New()
		n, err := io.Copy(h, body)
		c <- stored{h.Sum(nil), n, err}
		return err
	}
	return c
}

// follow returns metrics of transfers that gather in x.
func follow(x *followed) TransferMetrics {
	return TransferMetrics{
		Started: func(uint64) { x.started.Add(1) },
		Bytes:   func(_ uint64, n int) { x.bytes.Add(int64(n)) },
		Ended: func(_ uint64, _ time.Duration, err error) {
			if err != nil {
				x.failed.Add(1)
			} else {
				x.done.Add(1)
			}
		},
	}
}

type followed struct{ started, bytes, done, failed atomic.Int64 }

func (x *followed) is(t *testing.T, started, done, failed int64) {
	t.Helper()
	if x.started.Load() != started || x.done.Load() != done || x.failed.Load() != failed {
		t.Errorf("transfers: started %d, done %d, failed %d, want %d, %d, %d", x.started.Load(), x.done.Load(), x.failed.Load(), started, done, failed)
	}
}

// letServersEnd gives servers the half second that they wait at the end of connections whose requests they did not read.
func letServersEnd(t *testing.T) { t.Cleanup(func() { time.Sleep(time.Second) }) }

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letServersEnd(t)
		n := newNetwork()
		var sent, received followed
		a := n.start(t, 1, func(c *Config) { c.Metrics.SnapshotSend = follow(&sent) })
		b := n.start(t, 2, func(c *Config) { c.Metrics.SnapshotReceive = follow(&received) })
		a.SetPeers(peersOf(1, 2))
		b.SetPeers(peersOf(1, 2))
		files := b.store()
		const size = 20_000_000
		body, digest := file(size)
		if err := a.SendSnapshot(t.Context(), snapshotMessage(1, 2), body); err != nil {
			t.Fatal(err)
		}
		got := <-files
		if got.err != nil || got.bytes != size || !bytes.Equal(got.digest, digest.Sum(nil)) {
			t.Fatalf("stored %d bytes, %v", got.bytes, got.err)
		}
		sameMessage(t, b.expect(t), snapshotMessage(1, 2))
		sent.is(t, 1, 1, 0)
		received.is(t, 1, 1, 0)
		if sent.bytes.Load() != size || received.bytes.Load() != size {
			t.Fatalf("counted %d sent and %d received", sent.bytes.Load(), received.bytes.Load())
		}
	})
}

// TestSnapshotInterrupted: a connection that breaks in the middle fails on both sides, nothing is stepped, and the next try succeeds.
func TestSnapshotInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letServersEnd(t)
		n := newNetwork()
		var sent, received followed
		a := n.start(t, 1, func(c *Config) { c.Metrics.SnapshotSend = follow(&sent) })
		b := n.start(t, 2, func(c *Config) { c.Metrics.SnapshotReceive = follow(&received) })
		a.SetPeers(peersOf(1, 2))
		b.SetPeers(peersOf(1, 2))
		files := b.store()
		time.Sleep(time.Second)
		n.mu.Lock()
		n.mu.wrap = func(_ string, c net.Conn) net.Conn { return &fragile{Conn: c, left: 3_000_000} }
		n.mu.Unlock()
		a.clients.close()
		body, _ := file(5_000_000)
		if err := a.SendSnapshot(t.Context(), snapshotMessage(1, 2), body); err == nil {
			t.Fatal("sent over a connection that broke")
		}
		if got := <-files; got.err == nil {
			t.Fatal("received from a connection that broke")
		}
		b.quiet(t)
		sent.is(t, 1, 0, 1)
		received.is(t, 1, 0, 1)
		n.mu.Lock()
		n.mu.wrap = nil
		n.mu.Unlock()
		body, digest := file(5_000_000)
		if err := a.SendSnapshot(t.Context(), snapshotMessage(1, 2), body); err != nil {
			t.Fatal(err)
		}
		if got := <-files; got.err != nil || !bytes.Equal(got.digest, digest.Sum(nil)) {
			t.Fatalf("the second try stored %d bytes, %v", got.bytes, got.err)
		}
	})
}

// fragile breaks when so many bytes are written.
type fragile struct {
	net.Conn
	left int
}

func (f *fragile) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		f.Close()
		return 0, errors.New("broken")
	}
	return f.Conn.Write(b)
}

// TestSnapshotFails: every way to fail is told to the sender, and the body's writer has ended.
func TestSnapshotFails(t *testing.T) {
	errBody := errors.New("no more disk")
	for _, tc := range []struct {
		name    string
		prepare func(ctx context.CancelFunc, a, b *member)
		body    error // after the first part
		took    time.Duration
	}{
		{"cannot be stored", func(_ context.CancelFunc, _, b *member) {
			b.local.snapshot = func(context.Context, wire.Message, io.Reader) error { return errors.New("disk full") }
		}, nil, 0},
		{"body fails", func(_ context.CancelFunc, _, b *member) { b.store() }, errBody, 0},
		{"receiver takes too long to store", func(_ context.CancelFunc, _, b *member) {
			b.local.snapshot = func(ctx context.Context, _ wire.Message, body io.Reader) error {
				_, err := io.Copy(io.Discard, body)
				<-ctx.Done() // not after its time for reading, but when the sender has hung up
				return errors.Join(err, ctx.Err())
			}
		}, nil, 5 * time.Second},
		{"receiver does not read", func(_ context.CancelFunc, _, b *member) {
			b.local.snapshot = func(ctx context.Context, _ wire.Message, _ io.Reader) error {
				time.Sleep(time.Minute)
				return ctx.Err()
			}
		}, nil, 5 * time.Second},
		{"given up by the caller", func(cancel context.CancelFunc, _, b *member) {
			b.local.snapshot = func(ctx context.Context, _ wire.Message, body io.Reader) error {
				time.Sleep(time.Second)
				cancel()
				_, err := io.Copy(io.Discard, body)
				return err
			}
		}, nil, time.Second},
		{"receiver left the cluster", func(_ context.CancelFunc, a, b *member) {
			b.local.snapshot = func(ctx context.Context, _ wire.Message, body io.Reader) error {
				a.SetPeers(nil)
				_, err := io.Copy(io.Discard, &slow{body, 1000})
				return err
			}
		}, nil, time.Second},
		{"sender closes", func(_ context.CancelFunc, a, b *member) {
			b.local.snapshot = func(ctx context.Context, _ wire.Message, body io.Reader) error {
				a.Close()
				_, err := io.Copy(io.Discard, body)
				return err
			}
		}, nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				letServersEnd(t)
				n := newNetwork()
				a, b := n.start(t, 1, nil), n.start(t, 2, nil)
				a.SetPeers(peersOf(1, 2))
				b.SetPeers(peersOf(1, 2))
				ctx, cancel := context.WithCancel(t.Context())
				tc.prepare(cancel, a, b)
				ended := false
				body, _ := file(2_000_000)
				start := time.Now()
				err := a.SendSnapshot(ctx, snapshotMessage(1, 2), func(w io.Writer) error {
					defer func() { ended = true }()
					if tc.body != nil {
						_, _ = w.Write([]byte("beginning"))
						return tc.body
					}
					return body(w)
				})
				if err == nil || !ended || !errors.Is(err, tc.body) && tc.body != nil {
					t.Fatalf("ended %v with %v", ended, err)
				}
				if d := time.Since(start); d != tc.took {
					t.Errorf("it took %v, want %v", d, tc.took)
				}
				b.quiet(t)
			})
		})
	}
}

// TestSnapshotRefusalIsTold: the reason is the receiver's, not that it did not read on.
func TestSnapshotRefusalIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letServersEnd(t)
		n := newNetwork()
		a, b := n.start(t, 1, nil), n.start(t, 2, nil)
		a.SetPeers(peersOf(1, 2))
		b.SetPeers(peersOf(1, 2))
		b.local.snapshot = func(context.Context, wire.Message, io.Reader) error { return errors.New("disk full") }
		body, _ := file(2_000_000)
		err := a.SendSnapshot(t.Context(), snapshotMessage(1, 2), body)
		if err == nil || !strings.Contains(err.Error(), "500: failed to receive the snapshot: disk full") {
			t.Fatalf("got %v", err)
		}
	})
}

// TestSnapshotTakesTime: a receiver that takes long behind the body's end is not disturbed, if the sender is patient.
func TestSnapshotTakesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letServersEnd(t)
		n := newNetwork()
		a := n.start(t, 1, func(c *Config) { c.Timing.Answer = time.Hour })
		b := n.start(t, 2, nil)
		a.SetPeers(peersOf(1, 2))
		b.SetPeers(peersOf(1, 2))
		b.local.snapshot = func(ctx context.Context, _ wire.Message, body io.Reader) error {
			for range 2 {
				if _, err := io.Copy(io.Discard, body); err != nil {
					return err
				}
			}
			time.Sleep(time.Minute)
			return ctx.Err()
		}
		body, _ := file(1_000_000)
		if err := a.SendSnapshot(t.Context(), snapshotMessage(1, 2), body); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSnapshotRemovedAndUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letServersEnd(t)
		n := newNetwork()
		a, b := n.start(t, 1, nil), n.start(t, 2, nil)
		a.SetPeers(peersOf(1, 2))
		body, _ := file(1_000_000)
		if err := a.SendSnapshot(t.Context(), snapshotMessage(1, 7), body); !errors.Is(err, ErrUnknownPeer) {
			t.Fatalf("to nobody: %v", err)
		}
		b.local.remove(1)
		if err := a.SendSnapshot(t.Context(), snapshotMessage(1, 2), body); err == nil || len(a.local.stopped) != 1 {
			t.Fatalf("from a removed member: %v, stopped %d", err, len(a.local.stopped))
		}
	})
}

// TestSnapshotBound: sixteen are under way, one more fails at once.
func TestSnapshotBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letServersEnd(t)
		n := newNetwork()
		n.fakePeer(t, 2, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/raft/snapshot" {
				http.NotFound(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusNoContent)
		})
		a := n.alone(t, nil)
		release, results := make(chan struct{}), make(chan error, maxSnapshots)
		for range maxSnapshots {
			go func() {
				results <- a.SendSnapshot(t.Context(), snapshotMessage(1, 2), func(io.Writer) error { <-release; return nil })
			}()
		}
		synctest.Wait()
		body, _ := file(1_000_000)
		if err := a.SendSnapshot(t.Context(), snapshotMessage(1, 2), body); !errors.Is(err, ErrBusy) {
			t.Fatalf("one too many: %v", err)
		}
		close(release)
		for range maxSnapshots {
			if err := <-results; err != nil {
				t.Fatal(err)
			}
		}
		if err := a.SendSnapshot(t.Context(), snapshotMessage(1, 2), body); err != nil {
			t.Fatalf("when the others are done: %v", err)
		}
	})
}
