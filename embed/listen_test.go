package embed

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/config"
)

// TestLogOfListeners: what is served where, in the words that programs wait for, and which URLs go without the TLS that there is.
func TestLogOfListeners(t *testing.T) {
	out := new(lines)
	cfg := testConfig(t, filepath.Join(t.TempDir(), "data"))
	socket := filepath.Join(t.TempDir(), "socket")
	for urls, text := range map[*config.URLs]string{
		&cfg.ListenClientURLs: "https://127.0.0.1:0", &cfg.ListenClientHTTPURLs: "unix://" + socket, &cfg.ListenMetricsURLs: "https://127.0.0.1:0",
	} {
		if err := urls.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	cfg.ClientTLS.AutoTLS, cfg.ClientTLS.ClientCertAuth = true, true
	m, err := Start(t.Context(), cfg, config.NewLogger(out, cfg))
	if err != nil {
		t.Fatal(err)
	}
	<-m.Ready()
	stop(t, m)
	secure := m.ClientAddrs()[0].String()
	for _, want := range []string{
		`"msg":"scheme is HTTP while --client-cert-auth is enabled; ignoring client cert auth for this URL","client-url":"unix://` + socket,
		`"msg":"serving metrics","address":"https://127.0.0.1:0"`,
		`"msg":"ready to serve client requests","address":"` + secure + `"`,
		`"msg":"serving client traffic securely","traffic":"grpc","address":"` + secure + `"`,
		`"msg":"serving client traffic insecurely; this is strongly discouraged!","traffic":"http","address":"` + socket + `"`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
}

// TestAddress: URLs that differ in nothing but TLS have one address.
func TestAddress(t *testing.T) {
	for text, want := range map[string]string{
		"http://127.0.0.1:1": "http://127.0.0.1:1", "https://127.0.0.1:1": "http://127.0.0.1:1",
		"unix://a/b": "unix://a/b", "unixs://a/b": "unix://a/b", "unixs:///a/b": "unix:///a/b",
	} {
		var urls config.URLs
		if err := urls.Set(text); err != nil {
			t.Fatal(err)
		}
		if got := address(&urls[0]); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
