package config

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestAdvertiseDefaultHost(t *testing.T) {
	found := func() (netip.Addr, error) { return netip.MustParseAddr("192.0.2.2"), nil }
	for _, tc := range []struct {
		args          string
		find          func() (netip.Addr, error)
		peer, clients string
		notices       int
	}{
		{"", found, "http://localhost:2380", "http://localhost:2379", 0},
		{"--listen-peer-urls=http://0.0.0.0:5", found, "http://192.0.2.2:5", "http://localhost:2379", 1},
		{"--listen-peer-urls=http://[::]:5", found, "http://192.0.2.2:5", "http://localhost:2379", 1},
		{"--listen-peer-urls=http://127.0.0.1:5", found, "http://localhost:2380", "http://localhost:2379", 0},
		{"--listen-peer-urls=http://0.0.0.0:5 --initial-advertise-peer-urls=http://a:1", found, "http://a:1", "http://localhost:2379", 0},
		{"--listen-client-urls=http://:6 --advertise-client-urls=http://localhost:2379", found, "http://localhost:2380", "http://192.0.2.2:6", 1},
		{"--listen-client-urls=http://:6 --advertise-client-urls=http://localhost:2379", func() (netip.Addr, error) { return netip.Addr{}, errors.New("none") }, "http://localhost:2380", "http://localhost:2379", 1},
	} {
		c := Default()
		if err := c.applyFlags(c.options(), strings.Fields(tc.args)); err != nil {
			t.Fatal(err)
		}
		notices := c.advertiseDefaultHost(tc.find)
		if got := c.AdvertisePeerURLs.String(); got != tc.peer || len(notices) != tc.notices {
			t.Errorf("%s: peers %s, %v", tc.args, got, notices)
		}
		if got := c.AdvertiseClientURLs.String(); got != tc.clients {
			t.Errorf("%s: clients %s", tc.args, got)
		}
	}
}

func TestDefaultInterface(t *testing.T) {
	const head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	for table, want := range map[string]string{
		"":   "",
		head: "",
		head + "eth1\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\neth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n": "eth0",
		"eth0\t00000000": "",
	} {
		if got := defaultInterface([]byte(table)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
