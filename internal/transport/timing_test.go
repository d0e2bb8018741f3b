package transport

import (
	"net"
	"testing"
	"time"
)

// TestTiming: reads and writes have times of their own if asked for, else that of all.
func TestTiming(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tc := range []struct {
		timing      Timing
		read, write time.Duration
	}{
		{Timing{}, 5 * time.Second, 5 * time.Second},
		{Timing{IO: time.Second}, time.Second, time.Second},
		{Timing{Read: 6 * time.Second, Write: 7 * time.Second}, 6 * time.Second, 7 * time.Second},
	} {
		cfg := Config{Timing: tc.timing}.withDefaults()
		conn, err := newHTTPTransport(cfg, cfg.Timing.Read).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if timed := conn.(*timedConn); timed.read != tc.read || timed.write != tc.write {
			t.Errorf("%+v: %v, %v", tc.timing, timed.read, timed.write)
		}
		_ = conn.Close()
	}
}
