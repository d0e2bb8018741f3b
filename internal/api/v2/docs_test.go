package v2_test

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/embed"
)

// startMember runs a real one and returns the base of its addresses.
func startMember(t *testing.T, change func(*embed.Config)) string {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.DataDir, cfg.UnsafeNoFsync = t.TempDir(), true
	change(cfg)
	for _, set := range []func(string) error{cfg.ListenClientURLs.Set, cfg.ListenPeerURLs.Set} {
		if err := set("http://127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	m, err := embed.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	<-m.Ready()
	return "http://" + m.ClientAddrs()[0].String()
}

// curl does what the command of that name does with a URL, -X and -d.
func curl(t *testing.T, base, command string) (status int, body string) {
	t.Helper()
	words := strings.Fields(command)
	method, data, url := http.MethodGet, "", ""
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "-X":
			i++
			method = words[i]
		case "-d":
			i++
			data = words[i]
		default:
			url = strings.Replace(words[i], "http://127.0.0.1:2379", base, 1)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if data != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSuffix(string(all), "\n")
}

// TestExamples: the examples of the documentation are answered as it says.
func TestExamples(t *testing.T) {
	text, err := os.ReadFile("../../../docs/v2.md")
	if err != nil {
		t.Fatal(err)
	}
	base := startMember(t, func(cfg *embed.Config) { cfg.EnableV2 = true })
	lines, examples := strings.Split(string(text), "\n"), 0
	for i, line := range lines {
		command, ok := strings.CutPrefix(line, "$ curl ")
		if !ok {
			continue
		}
		examples++
		if _, got := curl(t, base, command); got != lines[i+1] {
			t.Errorf("%s\n got %s\nwant %s", line, got, lines[i+1])
		}
	}
	if examples < 8 {
		t.Errorf("%d examples", examples)
	}
}

// TestOff: without the option there is nothing.
func TestOff(t *testing.T) {
	base := startMember(t, func(*embed.Config) {})
	for _, path := range []string{"/v2/keys", "/v2/keys/a", "/v2/members", "/v2/machines", "/v2/stats/self", "/v2/auth/enable"} {
		if status, body := curl(t, base, base+path); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// TestLargeBody: a body of any length is not read to its end.
func TestLargeBody(t *testing.T) {
	base := startMember(t, func(cfg *embed.Config) { cfg.EnableV2, cfg.MaxRequestBytes = true, 10_000 })
	for size, want := range map[int]int{5_000: 201, 20_000: 500, 1 << 20: 400} {
		if status, body := curl(t, base, "-X PUT "+base+"/v2/keys/a?prevExist=false -d value="+strings.Repeat("x", size)); status != want {
			t.Errorf("%d bytes: %d %s", size, status, body)
		}
		_, _ = curl(t, base, "-X DELETE "+base+"/v2/keys/a")
	}
}
