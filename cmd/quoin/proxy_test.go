package main

import (
	"bufio"
	"strings"
	"syscall"
	"testing"
)

// TestProxyCommands: the proxies start under both names of the program, say what is wrong with their flags, and a signal ends them in order.
func TestProxyCommands(t *testing.T) {
	for _, name := range []string{"etcd", "quoin"} {
		for args, want := range map[string]string{
			"gateway start --endpoints=x":       `endpoint "x": expected host:port`,
			"grpc-proxy start --resolver-ttl=5": `invalid resolver-prefix ""`,
			"grpc-proxy start --no-such-flag":   "unknown flag: --no-such-flag",
		} {
			if _, stderr, code := runToEnd(t, command(t, nil, name, strings.Fields(args)...)); code != 1 || !strings.Contains(stderr, want) {
				t.Errorf("%s %s: %d %s", name, args, code, stderr)
			}
		}
		endInOrder(t, name, "gateway", "ready to proxy client requests")
		endInOrder(t, name, "grpc-proxy", "started gRPC proxy")
	}
}

// endInOrder starts a proxy, waits until it says that it is ready, and ends it.
func endInOrder(t *testing.T, name, proxy, ready string) {
	t.Helper()
	cmd := command(t, nil, name, proxy, "start", "--listen-addr=127.0.0.1:0")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := bufio.NewScanner(out)
	for log.Scan() && !strings.Contains(log.Text(), ready) {
		t.Log(log.Text())
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for log.Scan() {
		t.Errorf("%s %s: %s", name, proxy, log.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s %s: %v", name, proxy, err)
	}
}
