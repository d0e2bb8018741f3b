// Package freeport gives tests the addresses of servers that they start, stop
// and start again.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports that are given out are below those from which Linux numbers
// outgoing connections (32768 on): no client can take the port of a server that is down.
const (
	firstPort = 10000
	ports     = 22000
)

// Address returns an address of this machine, as host:port, that nobody listens
// on. Until the end of the test nobody else is given it, in other processes
// either: the port is held by a socket of its name.
func Address(tb testing.TB) string {
	tb.Helper()
	for range 1000 {
		if port := firstPort + rand.IntN(ports); hold(tb, port) {
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	tb.Fatal("no free port")
	return ""
}

// hold takes a port unless somebody holds it or listens on it.
func hold(tb testing.TB, port int) bool {
	held, err := net.Listen("unix", fmt.Sprintf("@quoin-test-port-%d", port))
	if err != nil {
		return false
	}
	probe, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		_ = held.Close()
		return false
	}
	_ = probe.Close()
	tb.Cleanup(func() { _ = held.Close() })
	return true
}
