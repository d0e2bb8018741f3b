package transport

import (
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/quoin-kv/quoin/raft/wire"
)

// counter is a member that counts what it gets.
type counter struct {
	local
	steps chan struct{}
	lost  atomic.Int64
}

func (c *counter) Step(wire.Message)  { c.steps <- struct{}{} }
func (c *counter) Unreachable(uint64) { c.lost.Add(1) }
func (c *counter) Gone(uint64)        {}

// BenchmarkSend is what a message costs its sender: finding the peer, its queue, and taking it out again.
func BenchmarkSend(b *testing.B) {
	b.ReportAllocs()
	tr := New(Config{ID: 1, ClusterID: cluster, Version: "3.7.3", Local: newLocal()})
	defer tr.Close()
	p := newPeer(tr, Peer{ID: 2}, false)
	tr.peers.Store(&map[uint64]*peer{2: p})
	p.msgApp.attach(&stream{done: make(chan struct{})})
	m := appendMessage(1, 2, 10, make([]string, 16)...)
	ms := []wire.Message{m, m, m, m}
	var spare []wire.Message
	for b.Loop() {
		tr.Send(ms)
		spare = p.msgApp.take(spare)
		p.release(costs(spare))
	}
}

// BenchmarkStream is messages of 16 entries of 256 bytes going from a member to another over the loopback device, sender and
// receiver together.
func BenchmarkStream(b *testing.B) {
	b.ReportAllocs()
	var members [2]*Transport
	var peers [2]Peer
	counters := [2]*counter{{steps: make(chan struct{}, 1024)}, {steps: make(chan struct{}, 1024)}}
	for i := range members {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		peers[i] = Peer{ID: uint64(i + 1), URLs: []string{"http://" + l.Addr().String()}}
		members[i] = New(Config{ID: uint64(i + 1), ClusterID: cluster, Version: "3.7.3", Local: counters[i]})
		s := &http.Server{Handler: members[i].Handler()}
		go func() { _ = s.Serve(l) }()
		defer s.Close()
		defer members[i].Close()
	}
	for _, m := range members {
		m.SetPeers(peers[:])
	}
	for !members[0].peer(2).attachedAll() {
		runtime.Gosched()
	}
	m := appendMessage(1, 2, 10, make([]string, 16)...)
	for i := range m.Entries {
		m.Entries[i].Data = make([]byte, 256)
	}
	b.SetBytes(int64(m.Size()))
	ms := []wire.Message{m}
	under := 0
	for b.Loop() {
		if under == 512 {
			<-counters[1].steps
			under--
		}
		members[0].Send(ms)
		ms[0].Index += uint64(len(m.Entries))
		under++
	}
	for range under {
		<-counters[1].steps
	}
	if counters[0].lost.Load() > 0 {
		b.Fatal("messages were dropped")
	}
}

// attachedAll reports whether both streams to the peer stand.
func (p *peer) attachedAll() bool {
	for _, o := range []*outgoing{&p.message, &p.msgApp} {
		o.mu.Lock()
		attached := o.mu.stream != nil
		o.mu.Unlock()
		if !attached {
			return false
		}
	}
	return true
}
