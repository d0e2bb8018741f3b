package freeport

import (
	"net"
	"testing"
)

// TestAddress: addresses are given out once, can be listened on, and come back when the test has ended.
func TestAddress(t *testing.T) {
	given := map[string]bool{}
	var port int
	t.Run("held", func(t *testing.T) {
		for range 100 {
			a := Address(t)
			l, err := net.Listen("tcp", a)
			if err != nil || given[a] {
				t.Fatalf("%s, which was given out before (%t): %v", a, given[a], err)
			}
			_ = l.Close()
			given[a] = true
			port = l.Addr().(*net.TCPAddr).Port
			if hold(t, port) {
				t.Fatalf("%s a second time", a)
			}
		}
	})
	if !hold(t, port) {
		t.Errorf("port %d is held although its test has ended", port)
	}
}

// TestTaken: a port that somebody listens on is not given out.
func TestTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if hold(t, l.Addr().(*net.TCPAddr).Port) {
		t.Error("held")
	}
}
