package certs

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// checkAddress says why a client's certificate does not fit the address it comes from. One that names no address fits all, and a
// client on a socket of this machine's file system has none. Names are
// looked up in both directions, and an address that is a match for one suffices.
func (f Files) checkAddress(ctx context.Context, c *x509.Certificate, remote net.Addr) error {
	if len(c.IPAddresses) == 0 && len(c.DNSNames) == 0 || remote != nil && remote.Network() == "unix" {
		return nil
	}
	ip, err := addressOf(remote)
	if err != nil {
		return fmt.Errorf("client certificate of %q: %w", c.Subject.CommonName, err)
	}
	for _, named := range c.IPAddresses {
		if a, ok := netip.AddrFromSlice(named); ok && a.Unmap() == ip {
			return nil
		}
	}
	if f.namesAddress(ctx, c, ip) {
		return nil
	}
	return fmt.Errorf("client certificate of %q: its address belongs to none of the names %v: %w",
		c.Subject.CommonName, c.DNSNames, c.VerifyHostname(ip.String()))
}

// namesAddress reports whether one of the certificate's names belongs to ip.
func (f Files) namesAddress(ctx context.Context, c *x509.Certificate, ip netip.Addr) bool {
	if len(c.DNSNames) == 0 {
		return false
	}
	var resolver Resolver = net.DefaultResolver
	if f.Resolver != nil {
		resolver = f.Resolver
	}
	for _, name := range c.DNSNames {
		if strings.HasPrefix(name, "*.") {
			continue // has no address of its own
		}
		addrs, err := resolver.LookupHost(ctx, name)
		if err == nil && slices.ContainsFunc(addrs, func(a string) bool { return sameAddress(a, ip) }) {
			return true
		}
	}
	names, err := resolver.LookupAddr(ctx, ip.String())
	if err != nil {
		return false
	}
	return slices.ContainsFunc(names, func(n string) bool {
		return matchesName(c, strings.TrimSuffix(n, "."))
	})
}

// matchesName reports whether a name, not an address, is one of the certificate's.
func matchesName(c *x509.Certificate, name string) bool {
	_, err := netip.ParseAddr(name)
	return err != nil && c.VerifyHostname(name) == nil
}

func sameAddress(s string, ip netip.Addr) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Unmap().WithZone("") == ip
}

// addressOf returns the address in what a connection calls its other end.
func addressOf(remote net.Addr) (netip.Addr, error) {
	if remote == nil {
		return netip.Addr{}, fmt.Errorf("the connection has no remote address")
	}
	ap, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("the remote address %q is not one of the Internet", remote)
	}
	return ap.Addr().Unmap().WithZone(""), nil
}
