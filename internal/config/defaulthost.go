package config

import (
	"bufio"
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
)

// advertiseDefaultHost advertises this machine's address where the member listens on all addresses and nothing was said about what to advertise:
// nobody else could reach it at localhost.
func (c *Config) advertiseDefaultHost(find func() (netip.Addr, error)) []Notice {
	d := Default()
	peers := slices.Equal(c.AdvertisePeerURLs, d.AdvertisePeerURLs) && anyAddress(c.ListenPeerURLs)
	clients := slices.Equal(c.AdvertiseClientURLs, d.AdvertiseClientURLs) && anyAddress(c.ListenClientURLs)
	if !peers && !clients {
		return nil
	}
	host, err := find()
	if err != nil {
		return []Notice{{slog.LevelWarn, "no address of this machine was found to advertise", []any{"error", err}}}
	}
	if peers {
		c.AdvertisePeerURLs = URLs{at(host, &c.ListenPeerURLs[0])}
	}
	if clients {
		c.AdvertiseClientURLs = URLs{at(host, &c.ListenClientURLs[0])}
	}
	return []Notice{{slog.LevelInfo, "detected default host for advertise", []any{"host", host.String()}}}
}

// anyAddress tells whether the first of the URLs is of all addresses.
func anyAddress(urls URLs) bool {
	if len(urls) == 0 || urls[0].Scheme != "http" && urls[0].Scheme != "https" {
		return false
	}
	host := urls[0].Hostname()
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// at is u at another host.
func at(host netip.Addr, u *url.URL) url.URL {
	return url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(host.String(), u.Port())}
}

// defaultHost is the address of the interface that the default route of IPv4 goes through.
func defaultHost() (netip.Addr, error) {
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return netip.Addr{}, err
	}
	name := defaultInterface(table)
	if name == "" {
		return netip.Addr{}, errors.New("there is no default route")
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, err
	}
	addrs, err := i.Addrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, errors.New("interface " + name + " has no address of IPv4")
}

// defaultInterface finds the default route in Linux's table of routes: a line of interface, destination, gateway and more, in hexadecimal.
func defaultInterface(table []byte) string {
	lines := bufio.NewScanner(bytes.NewReader(table))
	for lines.Scan() {
		columns := strings.Fields(lines.Text())
		if len(columns) > 7 && columns[1] == "00000000" && columns[7] == "00000000" {
			return columns[0]
		}
	}
	return ""
}
