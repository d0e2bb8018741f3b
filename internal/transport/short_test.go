package transport

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestPeersSayThatTheyAreShort: whether room is short travels with probes.
func TestPeersSayThatTheyAreShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		var short atomic.Bool
		first := n.start(t, 1, nil)
		second := n.start(t, 2, func(c *Config) { c.Short = short.Load })
		first.SetPeers([]Peer{peerOf(1), peerOf(2)})
		second.SetPeers([]Peer{peerOf(1), peerOf(2)})
		for _, want := range []bool{false, true, false} {
			short.Store(want)
			time.Sleep(10 * time.Second) // fake time
			if first.Short(2) != want || second.Short(1) || first.Short(3) {
				t.Errorf("short is %v, want %v; %v, %v", first.Short(2), want, second.Short(1), first.Short(3))
			}
		}
	})
}
