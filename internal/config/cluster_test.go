package config

import (
	"crypto/tls"
	"reflect"
	"testing"
)

func TestTLSBounds(t *testing.T) {
	c, _, err := Parse([]string{"--tls-max-version=TLS1.3", "--cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	least, most, suites := c.TLSBounds()
	if least != tls.VersionTLS12 || most != tls.VersionTLS13 || !reflect.DeepEqual(suites, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}) {
		t.Errorf("bounds %x, %x, %v", least, most, suites)
	}
	if least, most, suites = Default().TLSBounds(); least != tls.VersionTLS12 || most != 0 || suites != nil {
		t.Errorf("default bounds %x, %x, %v", least, most, suites)
	}
}

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
