package embed

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/config"
)

func TestLocalAddress(t *testing.T) {
	for urls, want := range map[string]string{
		"http://localhost:1":                    "invalid IP",
		"http://127.0.0.1:1,http://0.0.0.0:1":   "invalid IP",
		"http://a.example:1,http://192.0.2.1:1": "192.0.2.1",
		"http://[2001:db8::1]:1":                "2001:db8::1",
		"http://[::ffff:192.0.2.1]:1":           "192.0.2.1",
	} {
		var list config.URLs
		if err := list.Set(urls); err != nil {
			t.Fatal(err)
		}
		if got := localAddress(list).String(); got != want {
			t.Errorf("%s: %s, want %s", urls, got, want)
		}
	}
}

// TestDialFromHere: with the gate connections come from the advertised address, without it from where the system likes.
func TestDialFromHere(t *testing.T) {
	cfg := config.Default()
	if err := cfg.AdvertisePeerURLs.Set("http://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	if dialFromHere(cfg, logger) != nil {
		t.Error("without the gate")
	}
	if err := cfg.Features.Set("SetMemberLocalAddr=true"); err != nil {
		t.Fatal(err)
	}
	if dialFromHere(cfg, logger) != nil {
		t.Error("from a loopback address")
	}
	if err := cfg.AdvertisePeerURLs.Set("http://192.0.2.1:1"); err != nil {
		t.Fatal(err)
	}
	if dialFromHere(cfg, logger) == nil {
		t.Error("not from the address that is advertised")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := dialFrom(netip.MustParseAddr("127.0.0.2"), time.Minute)(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if host, _, _ := net.SplitHostPort(conn.LocalAddr().String()); host != "127.0.0.2" {
		t.Errorf("from %s", host)
	}
}
