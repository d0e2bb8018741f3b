package metrics

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/test/freeport"
)

// runBinary builds the binary and runs a member that shows all it can, and returns the URL for clients.
func runBinary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "quoin")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/quoin").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	client, peer := "https://"+freeport.Address(t), "https://"+freeport.Address(t)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(
		ctx, binary, "server", "--data-dir", filepath.Join(dir, "data"), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--auto-tls", "--peer-auto-tls",
		"--metrics", "extensive", "--warning-unary-request-duration", "1ns", "--unsafe-no-fsync",
	)
	out := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out)
		}
	})
	return client
}

// ask does a request until it is answered with 200, for some time.
func ask(t *testing.T, method, url, body string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	tick, late := time.NewTicker(20*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for {
		text, err := once(t, client, method, url, body)
		if err == nil {
			return text
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal(err)
		}
	}
}

func once(t *testing.T, client *http.Client, method, url, body string) (string, error) {
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}

// TestRunningBinary: the binary answers every question of the dashboard, the rules and etcd's monitoring, and shows every metric of the
// contract that is there from the start.
func TestRunningBinary(t *testing.T) {
	url := runBinary(t)
	ask(t, http.MethodPost, url+"/v3/kv/put", `{"key":"YQ==","value":"YQ=="}`)
	page := parse(t, ask(t, http.MethodGet, url+"/metrics", ""))
	// Only a leader with followers has it.
	page["quoin_raft_peer_lag_entries"] = &Family{Type: "gauge", Series: []Series{{Labels: map[string]string{"To": "1"}}}}
	problems, err := CheckMonitoring(page, "../../deploy")
	if err != nil {
		t.Fatal(err)
	}
	differences, err := Differences(page, "quoin_", Always, Extensive)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(problems, differences...) {
		t.Error(p)
	}
}
