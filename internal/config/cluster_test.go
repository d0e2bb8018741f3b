package config

import "testing"

// TestListenConfig: a port that is in use can be listened on again only if both sides say so.
func TestListenConfig(t *testing.T) {
	for _, reuse := range []bool{false, true} {
		c := Default()
		c.SocketReusePort = reuse
		lc := c.ListenConfig()
		first, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		second, err := lc.Listen(t.Context(), "tcp", first.Addr().String())
		if (err == nil) != reuse {
			t.Errorf("reuse %t: listening twice: %v", reuse, err)
		}
		if err == nil {
			_ = second.Close()
		}
		_ = first.Close()
	}
}
