package port

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// guestOf lets a connection in and returns its client's end.
func guestOf(t *testing.T, l *Limit, owner any) (*guest, net.Conn, bool) {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	g, ok := l.admit(server, owner)
	if !ok {
		_ = server.Close()
	}
	return g, client, ok
}

// state checks what a limit counts.
func state(t *testing.T, l *Limit, want LimitState) {
	t.Helper()
	if got := l.State(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestMaxConnections: those with requests stay, those without make way once they have waited.
func TestMaxConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimit(2)
		busy, _, _ := guestOf(t, l, nil)
		busy.settle()
		_, silent, _ := guestOf(t, l, nil)
		if _, _, ok := guestOf(t, l, nil); ok {
			t.Error("a third was let in at once")
		}
		state(t, l, LimitState{Open: 2, Waiting: 1, Refused: 1})
		time.Sleep(patience)
		third, _, ok := guestOf(t, l, nil)
		if !ok {
			t.Error("the third was not let in in the place of one that waits")
		}
		gone(t, silent)
		third.settle()
		if _, _, ok := guestOf(t, l, nil); ok {
			t.Error("one was let in in the place of those that have made requests")
		}
		state(t, l, LimitState{Open: 2, Refused: 2})
		for range 2 {
			_ = busy.Close()
		}
		state(t, l, LimitState{Open: 1, Refused: 2})
		if _, _, ok := guestOf(t, l, nil); !ok {
			t.Error("a free place was refused")
		}
	})
}

// TestOwners: what one listener leaves does not touch another's.
func TestOwners(t *testing.T) {
	l := NewLimit(0)
	a, b := new(int), new(int)
	_, ofA, _ := guestOf(t, l, a)
	settled, _, _ := guestOf(t, l, a)
	settled.settle()
	guestOf(t, l, b)
	l.drop(a)
	gone(t, ofA)
	state(t, l, LimitState{Open: 2, Waiting: 1})
	if _, _, ok := guestOf(t, l, a); ok {
		t.Error("let in after the owner was dropped")
	}
	if _, _, ok := guestOf(t, l, b); !ok {
		t.Error("another owner's was refused")
	}
}

// TestRelieve: when the process is out of files, who has waited longest gives one back.
func TestRelieve(t *testing.T) {
	l := NewLimit(0)
	l.relieve()
	_, first, _ := guestOf(t, l, nil)
	guestOf(t, l, nil)
	l.relieve()
	gone(t, first)
	state(t, l, LimitState{Open: 1, Waiting: 1})
}
