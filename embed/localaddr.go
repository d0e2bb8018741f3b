package embed

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/transport"
)

// peerKeepAlive is the time between two signs of life on an idle connection to another member.
const peerKeepAlive = 30 * time.Second

// dialFromHere returns how to open connections to other members from the address that this one advertises, with the feature gate
// SetMemberLocalAddr: members that look at certificates compare them with it. Nil leaves the choice to the system.
func dialFromHere(cfg *config.Config, logger *slog.Logger) transport.DialFunc {
	if !cfg.Features.Enabled(config.SetMemberLocalAddr) {
		return nil
	}
	host := localAddress(cfg.AdvertisePeerURLs)
	if !host.IsValid() {
		logger.Warn("no peer URL that this member advertises names an address to connect from", "initial-advertise-peer-urls", cfg.AdvertisePeerURLs.String())
		return nil
	}
	return dialFrom(host, dialTimeout(cfg))
}

func dialFrom(host netip.Addr, timeout time.Duration) transport.DialFunc {
	dialer := net.Dialer{Timeout: timeout, KeepAlive: peerKeepAlive, LocalAddr: &net.TCPAddr{IP: host.AsSlice()}}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		own := dialer
		if network == "unix" {
			own.LocalAddr = nil // a socket has no address to connect from
		}
		return own.DialContext(ctx, network, address)
	}
}

// localAddress is the first address among the hosts that other machines can see connections come from.
func localAddress(urls config.URLs) netip.Addr {
	for i := range urls {
		host, err := netip.ParseAddr(urls[i].Hostname())
		if err == nil && !host.IsLoopback() && !host.IsUnspecified() {
			return host.Unmap()
		}
	}
	return netip.Addr{}
}
