package transport

import (
	"bytes"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/raft/wire"
)

// expect takes the next message that m got, in the time of the protocol.
func (m *member) expect(t *testing.T) wire.Message {
	t.Helper()
	select {
	case got := <-m.local.steps:
		return got
	case <-time.After(time.Minute):
		t.Fatalf("member %x got no message", m.id)
		panic("unreachable")
	}
}

// quiet fails if m has got a message that nobody took.
func (m *member) quiet(t *testing.T) {
	t.Helper()
	synctest.Wait()
	select {
	case got := <-m.local.steps:
		t.Fatalf("member %x got %+v, want nothing", m.id, got)
	default:
	}
}

func sameMessage(t *testing.T, got, want wire.Message) {
	t.Helper()
	if !bytes.Equal(got.Append(nil), want.Append(nil)) || !reflect.DeepEqual(got.Entries, want.Entries) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func heartbeat(from, to uint64) wire.Message {
	return wire.Message{Type: wire.MsgHeartbeat, From: from, To: to, Term: 3, Context: []byte("c")}
}

func appendMessage(from, to, index uint64, data ...string) wire.Message {
	m := wire.Message{Type: wire.MsgApp, From: from, To: to, Term: 3, LogTerm: 3, Index: index, Commit: index}
	for i, d := range data {
		m.Entries = append(m.Entries, wire.Entry{Term: 3, Index: index + 1 + uint64(i), Data: []byte(d)})
	}
	return m
}

func TestThreeMembersTalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := newNetwork().cluster(t, 3)
		time.Sleep(time.Second)
		for _, from := range members {
			for _, to := range members {
				if from == to {
					continue
				}
				if _, ok := from.Connected(to.id); !ok {
					t.Fatalf("%x is not connected to %x", from.id, to.id)
				}
				for i := range uint64(5) {
					from.Send([]wire.Message{appendMessage(from.id, to.id, i*2, "a", "b"), heartbeat(from.id, to.id)})
					kinds := map[wire.MessageType]int{}
					for range 2 {
						got := to.expect(t)
						kinds[got.Type]++
						want := heartbeat(from.id, to.id)
						if got.Type == wire.MsgApp {
							want = appendMessage(from.id, to.id, i*2, "a", "b")
						}
						sameMessage(t, got, want)
					}
					if kinds[wire.MsgApp] != 1 || kinds[wire.MsgHeartbeat] != 1 {
						t.Fatalf("got %v", kinds)
					}
				}
			}
		}
	})
}

// TestIdleStreamsStay: signs of life keep connections without messages, in both directions, over any time limit of reading.
func TestIdleStreamsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := newNetwork().cluster(t, 2)
		time.Sleep(10 * time.Minute)
		for _, m := range members {
			if since, ok := m.Connected(3 - m.id); !ok || since < 10*time.Minute-time.Second {
				t.Fatalf("member %x: connected %v, %v", m.id, since, ok)
			}
		}
	})
}

// TestConnectionLost: who is cut off is not connected, and is again soon after the cut is healed.
func TestConnectionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		members := n.cluster(t, 2)
		a, b := members[0], members[1]
		time.Sleep(time.Second)
		n.sever(address(1))
		n.sever(address(2))
		synctest.Wait()
		if _, ok := a.Connected(2); ok {
			t.Fatal("connected over a cut")
		}
		time.Sleep(time.Minute)
		if _, ok := a.Connected(2); ok {
			t.Fatal("connected over a cut")
		}
		n.join(address(1))
		n.join(address(2))
		time.Sleep(110 * time.Millisecond)
		if since, ok := a.Connected(2); !ok || since > 110*time.Millisecond {
			t.Fatalf("connected %v, %v", since, ok)
		}
		a.Send([]wire.Message{heartbeat(1, 2)})
		sameMessage(t, b.expect(t), heartbeat(1, 2))
		if _, ok := a.Connected(7); ok {
			t.Fatal("connected to nobody")
		}
	})
}

// TestGone: a peer is gone if its streams break and nobody listens at its address, which is said once for each stream and as soon as it is known;
// not if only the streams break, and not if it was never there.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := n.cluster(t, 2)[0]
		a.SetPeers(peersOf(1, 2, 3))
		time.Sleep(time.Second)
		n.sever("nobody")
		time.Sleep(time.Second)
		if len(a.local.gone) != 0 {
			t.Fatal("a peer that listens, or never did, is said to be gone")
		}
		for range 2 {
			n.sever(address(2))
			synctest.Wait()
			if len(a.local.gone) != 2 || <-a.local.gone != 2 || <-a.local.gone != 2 {
				t.Fatal("want peer 2 gone, told by both streams")
			}
			time.Sleep(time.Second)
			n.join(address(2))
			time.Sleep(time.Second)
			if _, ok := a.Connected(2); !ok || len(a.local.gone) != 0 {
				t.Fatal("want peer 2 back, and nothing said twice")
			}
		}
		n.sever(address(2))
		time.Sleep(time.Second)
		n.join(address(2))
		time.Sleep(110 * time.Millisecond)
		n.sever(address(2)) // streams that have hardly been opened
		time.Sleep(110 * time.Millisecond)
		if len(a.local.gone) != 4 {
			t.Fatalf("told %d times of a peer that went twice, want 4", len(a.local.gone))
		}
	})
}

// TestPipelineWithoutStreams: before a stream stands, messages go by POST; and to one that never opens a stream, always.
func TestPipelineWithoutStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a, b := n.start(t, 1, nil), n.start(t, 2, nil)
		a.SetPeers(peersOf(1, 2))
		time.Sleep(time.Second) // b knows a by its headers alone
		for i := range uint64(20) {
			a.Send([]wire.Message{appendMessage(1, 2, i, "x")})
			sameMessage(t, b.expect(t), appendMessage(1, 2, i, "x"))
		}
		b.Send([]wire.Message{{Type: wire.MsgAppResp, From: 2, To: 1, Term: 3}})
		if got := a.expect(t); got.Type != wire.MsgAppResp {
			t.Fatalf("got %+v", got)
		}
		if _, ok := a.Connected(2); ok {
			t.Fatal("connected to a member that refuses streams")
		}
	})
}

// TestIgnored: what a peer may not say is not passed on, and the stream goes on.
func TestIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := newNetwork().cluster(t, 3)
		a, b := members[0], members[1]
		time.Sleep(time.Second)
		p := a.peer(2)
		for _, m := range []wire.Message{
			heartbeat(3, 2),
			heartbeat(1, 3),
			{Type: wire.MsgSnap, From: 1, To: 2, Snapshot: &wire.Snapshot{}},
			{Type: 10, From: 1, To: 2},
			{Type: 12, From: 1, To: 2},
			{Type: 0, From: 1, To: 2},
			{Type: 19, From: 1, To: 2},
			{Type: wire.MsgProp, From: 9, To: 2},
			{Type: wire.MsgHeartbeat},
		} {
			p.send(&m)
		}
		b.quiet(t)
		passed := wire.Message{Type: wire.MsgReadIndex, From: 3, To: 2}
		a.Send([]wire.Message{passed})
		sameMessage(t, b.expect(t), passed)
	})
}

// TestRemovedMember: who is refused because it was removed learns it once, by a stream and by the pipeline.
func TestRemovedMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a, b := n.start(t, 1, nil), n.start(t, 2, nil)
		b.local.remove(1)
		a.SetPeers(peersOf(1, 2))
		time.Sleep(time.Second)
		if err := <-a.local.stopped; err == nil {
			t.Fatal("removed without a reason")
		}
		a.Send([]wire.Message{heartbeat(1, 2)})
		time.Sleep(time.Second)
		if len(a.local.stopped) != 0 {
			t.Fatal("told twice")
		}
		b.quiet(t)
	})
}

func TestForbidden(t *testing.T) {
	for _, removed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork()
			a, b := n.start(t, 1, nil), n.start(t, 2, nil)
			to := uint64(5) // another member's id at b's address
			if removed {
				to = 2
				b.local.remove(1)
			}
			a.SetPeers(nil)
			a.remember(to, peerOf(2).URLs)
			a.Send([]wire.Message{heartbeat(1, to)})
			time.Sleep(time.Second)
			if got := len(a.local.stopped) == 1; got != removed {
				t.Fatalf("stopped %v, want %v", got, removed)
			}
			if len(a.local.lost) != 1 {
				t.Fatalf("%d messages reported lost", len(a.local.lost))
			}
		})
	}
}

func TestWrongCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := n.start(t, 1, nil)
		b := n.start(t, 2, func(c *Config) { c.ClusterID = cluster + 1 })
		a.SetPeers(peersOf(1, 2))
		b.SetPeers(peersOf(1, 2))
		a.Send([]wire.Message{heartbeat(1, 2)})
		time.Sleep(10 * time.Second)
		b.quiet(t)
		if _, ok := a.Connected(2); ok || len(a.local.stopped) > 0 {
			t.Fatalf("connected %v, stopped %d", ok, len(a.local.stopped))
		}
		if len(a.local.lost) != 1 {
			t.Fatalf("%d messages reported lost", len(a.local.lost))
		}
	})
}

// TestOtherURL: a peer is tried at each of its URLs in turn, and new URLs are used.
func TestOtherURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a, b := n.start(t, 1, nil), n.start(t, 2, nil)
		b.SetPeers(peersOf(1))
		a.SetPeers([]Peer{{ID: 2, URLs: []string{"http://nowhere:1", ":bad", "http://" + address(2) + "/"}}})
		time.Sleep(time.Second)
		if _, ok := a.Connected(2); !ok {
			t.Fatal("not connected by the third URL")
		}
		a.SetPeers([]Peer{{ID: 2, URLs: []string{"http://nowhere:1"}}})
		n.sever("nowhere:1")
		time.Sleep(10 * time.Second)
		if _, ok := a.Connected(2); ok {
			t.Fatal("connected at a URL that is not the peer's any more")
		}
		a.SetPeers(peersOf(2))
		time.Sleep(time.Second)
		if _, ok := a.Connected(2); !ok {
			t.Fatal("not connected at the new URL")
		}
		a.SetPeers([]Peer{{ID: 2}})
		n.sever("nowhere:1")
		time.Sleep(10 * time.Second)
	})
}

// TestLinger: what is queued for a peer that leaves still goes; then nothing does.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := newNetwork().cluster(t, 2)
		a, b := members[0], members[1]
		time.Sleep(time.Second)
		a.Send([]wire.Message{appendMessage(1, 2, 5, "removed"), heartbeat(1, 2)})
		a.SetPeers(peersOf(1))
		for range 2 {
			b.expect(t)
		}
		a.Send([]wire.Message{heartbeat(1, 2)})
		b.quiet(t)
		if _, ok := b.Connected(1); !ok {
			t.Fatal("cut at once")
		}
		time.Sleep(2 * time.Second)
		if _, ok := b.Connected(1); ok {
			t.Fatal("still connected to a member that has forgotten this one")
		}
	})
}

// TestActiveIsCounted: each Active(true) has its Active(false).
func TestActiveIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		active, known := make(chan bool, 100), make(chan bool, 100)
		a := n.start(t, 1, func(c *Config) {
			c.Metrics.Active = func(_ uint64, yes bool) { active <- yes }
			c.Metrics.Known = func(_ uint64, yes bool) { known <- yes }
		})
		b := n.start(t, 2, nil)
		b.SetPeers(peersOf(1, 2))
		a.SetPeers(peersOf(1, 2))
		time.Sleep(time.Second)
		a.SetPeers(peersOf(1, 2))
		a.SetPeers(peersOf(1))
		time.Sleep(2 * time.Second)
		for name, c := range map[string]chan bool{"active": active, "known": known} {
			if len(c) != 2 || !<-c || <-c {
				t.Errorf("%s was not said once true, then once false", name)
			}
		}
	})
}

func TestClockDifference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		trips, ahead := make(chan time.Duration, 100), make(chan time.Duration, 100)
		a := n.start(t, 1, func(c *Config) {
			c.Metrics.RoundTrip = func(_ uint64, d time.Duration) { trips <- d }
			c.Metrics.ClockDifference = func(_ uint64, d time.Duration) { ahead <- d }
		})
		n.start(t, 2, nil)
		a.SetPeers(peersOf(2))
		time.Sleep(59 * time.Second)
		if len(trips) != 15 || len(ahead) != 15 || <-trips != 0 || <-ahead != 0 {
			t.Fatalf("%d probes in 59 s, want 15 that take no time", len(trips))
		}
	})
}
