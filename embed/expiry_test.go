package embed

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/certs"
)

// TestExpiryWarnings: the log warns once a day, more urgently the less time is left, and tells of files that cannot be read.
func TestExpiryWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := 24 * time.Hour
		at := time.Now().Add(32*day + time.Hour)
		var gone atomic.Bool
		own := ownCerts{"peer": func() (certs.Expiry, error) {
			if gone.Load() {
				return certs.Expiry{}, os.ErrNotExist
			}
			return certs.Expiry{File: "cert.pem", At: at}, nil
		}}
		out := new(lines)
		go own.watch(t.Context(), slog.New(slog.NewJSONHandler(out, nil)))
		var said []string
		for d := range 35 {
			synctest.Wait()
			for line := range strings.Lines(out.take()) {
				var l struct {
					Level, Msg, Use, File string
					Left                  int `json:"days-left"`
				}
				if err := json.Unmarshal([]byte(line), &l); err != nil || l.Use != "peer" || l.File != "cert.pem" {
					t.Fatalf("%q: %v", line, err)
				}
				if d < 32 && l.Left != 32-d {
					t.Errorf("day %d: %d left", d, l.Left)
				}
				said = append(said, l.Level+" "+l.Msg)
			}
			time.Sleep(day)
		}
		want := map[string]int{
			"WARN certificate expires in less than 30 days": 23, "ERROR certificate expires in less than 7 days": 7, "ERROR certificate has expired": 2,
		}
		got := map[string]int{}
		for _, s := range said {
			got[s]++
		}
		for text, n := range want {
			if got[text] != n {
				t.Errorf("%q was said %d times, want %d", text, got[text], n)
			}
		}
		gone.Store(true)
		time.Sleep(day)
		synctest.Wait()
		if text := out.String(); !strings.Contains(text, "certificate cannot be read") {
			t.Errorf("%q", text)
		}
	})
}

// take returns what was written since the last call.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// TestExpiryGauge: the metrics tell when the member's own certificates end.
func TestExpiryGauge(t *testing.T) {
	cfg := testConfig(t, filepath.Join(t.TempDir(), "data"))
	listenOn(t, cfg, "https://127.0.0.1:0")
	cfg.ClientTLS.AutoTLS, cfg.PeerTLS.AutoTLS = true, true
	if err := cfg.ListenPeerURLs.Set("https://127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := cfg.ListenMetricsURLs.Set("http://127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	m := start(t, cfg)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + m.MetricsAddrs()[0].String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := new(strings.Builder)
	if err := resp.Write(body); err != nil {
		t.Fatal(err)
	}
	for _, use := range []string{"client", "peer"} {
		pair, err := tls.LoadX509KeyPair(filepath.Join(cfg.DataDir, "fixtures", use, "cert.pem"), filepath.Join(cfg.DataDir, "fixtures", use, "key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(body.String(), `quoin_certificate_expiry_timestamp_seconds{use="`+use+`"} `)
		text, _, _ := strings.Cut(rest, "\n")
		if n, err := strconv.ParseFloat(text, 64); err != nil || int64(n) != leaf.NotAfter.Unix() {
			t.Errorf("%s: %q, want %d", use, text, leaf.NotAfter.Unix())
		}
	}
}

// TestRejections: one line a second at most, which counts those that it leaves out.
func TestRejections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(lines)
		r := &rejections{logger: slog.New(slog.NewJSONHandler(out, nil)), what: "rejected"}
		for range 5 {
			for range 10 {
				r.note(testAddr{}, os.ErrClosed)
			}
			time.Sleep(rejectionPause)
		}
		if text := out.String(); strings.Count(text, "\n") != 5 || strings.Count(text, `"others":9`) != 4 {
			t.Errorf("log: %s", text)
		}
	})
}

type testAddr struct{}

func (testAddr) Network() string { return "tcp" }
func (testAddr) String() string  { return "192.0.2.1:1" }
