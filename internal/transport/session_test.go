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
