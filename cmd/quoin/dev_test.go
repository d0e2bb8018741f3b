package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/quoin-kv/quoin/test/freeport"
)

// devPort finds a port behind which there is room for the ports of so many members.
func devPort(t *testing.T, members int) int {
	t.Helper()
	for {
		_, text, _ := net.SplitHostPort(freeport.Address(t))
		port, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		free := true
		for i := range members {
			for _, p := range []int{port + i*portStep, port + i*portStep + 1} {
				l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
				if free = free && err == nil; err == nil {
					_ = l.Close()
				}
			}
		}
		if free {
			return port
		}
	}
}

// TestDev starts three members with one command, interrupts them, and starts them again on their data.
func TestDev(t *testing.T) {
	const members = 3
	dir := filepath.Join(t.TempDir(), "cluster")
	args := []string{"dev", "--data-dir", dir, "--port", fmt.Sprint(devPort(t, members)), "--members", fmt.Sprint(members)}
	for round := range 2 {
		cmd := command(t, nil, "quoin", args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		endpoints := devEndpoints(t, bufio.NewScanner(out))
		if len(endpoints) != members {
			t.Fatalf("members at %v", endpoints)
		}
		for i, endpoint := range endpoints {
			checkDev(t, endpoint, fmt.Sprint(i), round > 0)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("interrupted: %v", err)
		}
	}
	_, stderr, code := runToEnd(t, command(t, nil, "quoin", "dev", "--data-dir", dir, "--members", "5"))
	if code == 0 || !strings.Contains(stderr, "start it with --members 3") {
		t.Errorf("another number of members: exit code %d, %s", code, stderr)
	}
}

// devEndpoints reads the table that dev prints, up to its last word.
func devEndpoints(t *testing.T, lines *bufio.Scanner) (endpoints []string) {
	t.Helper()
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 5 && strings.HasPrefix(fields[1], "http://") {
			endpoints = append(endpoints, fields[1])
		}
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			return endpoints
		}
	}
	t.Fatal("the cluster ended instead of serving")
	return nil
}

// checkDev looks for a key through a member, if it should be there, and writes it.
func checkDev(t *testing.T, endpoint, key string, there bool) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.Get(t.Context(), key)
	if err != nil || (got.Count == 1) != there {
		t.Errorf("%s through %s: %v, %v", key, endpoint, got, err)
	}
	if _, err := c.Put(t.Context(), key, "value"); err != nil {
		t.Errorf("put through %s: %v", endpoint, err)
	}
}

func TestDevErrors(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"--members 0", "expected 1 to 9"},
		{"--members 10", "expected 1 to 9"},
		{"--port 65530", "would go up to 65551"},
		{"--data-dir /dev/null/x", "not a directory"},
		{"--host 203.0.113.1", "listening on"},
		{"surplus", "unknown command"},
	} {
		_, stderr, code := runToEnd(t, command(t, nil, "quoin", append([]string{"dev"}, strings.Fields(tc.args)...)...))
		if code == 0 || !strings.Contains(stderr, tc.want) {
			t.Errorf("%s: exit code %d, %s", tc.args, code, stderr)
		}
	}
}
