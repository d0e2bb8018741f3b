package join

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// hosts compares URLs by the addresses that their hosts stand for.
//
// Invariants:
//  1. A host that is an address is never looked up.
//  2. All waiting for names that cannot be resolved yet takes resolveTimeout at most, for all of them together; after that each look-up
//     is one short try.
//  3. What was found once stays so.
type hosts struct {
	resolver Resolver
	logger   *slog.Logger
	known    map[string][]netip.Addr
	left     time.Duration // for waiting
}

// addresses are what a host stands for, or why that cannot be told.
type addresses struct {
	ips []netip.Addr
	err error
}

func newHosts(r Resolver, logger *slog.Logger) hosts {
	return hosts{resolver: r, logger: logger, known: map[string][]netip.Addr{}, left: resolveTimeout}
}

// resolved is a URL with its host's addresses.
type resolved struct {
	text         string
	scheme, port string
	path         string // of a socket
	addresses
}

// same tells whether two URLs lead to the same socket.
func (r resolved) same(o resolved) bool {
	if r.text == o.text {
		return true
	}
	return r.scheme == o.scheme && r.port == o.port && r.path == o.path && slices.ContainsFunc(r.ips, func(a netip.Addr) bool { return slices.Contains(o.ips, a) })
}

// sameURLs returns nil if each of a leads to the same as one of b and the other way round, and says what differs otherwise.
func (h *hosts) sameURLs(ctx context.Context, a, b []string) error {
	if len(a) != len(b) {
		return fmt.Errorf("len(%q) != len(%q)", a, b)
	}
	left, err := h.resolveAll(ctx, a)
	if err != nil {
		return err
	}
	right, err := h.resolveAll(ctx, b)
	if err != nil {
		return err
	}
	for _, u := range left {
		i := slices.IndexFunc(right, u.same)
		if i < 0 {
			return fmt.Errorf("resolved urls: %q != %q", u.text, right[0].text)
		}
		right = slices.Delete(right, i, i+1)
	}
	return nil
}

func (h *hosts) resolveAll(ctx context.Context, texts []string) ([]resolved, error) {
	out := make([]resolved, len(texts))
	for i, text := range slices.Sorted(slices.Values(texts)) {
		if out[i] = h.resolve(ctx, text); out[i].err != nil {
			return nil, fmt.Errorf("failed to resolve %q (%w)", text, out[i].err)
		}
	}
	return out, nil
}

// resolve looks the host of a URL up.
func (h *hosts) resolve(ctx context.Context, text string) resolved {
	r := resolved{text: text}
	u, err := url.Parse(text)
	if err != nil {
		r.err = err
		return r
	}
	r.scheme, r.port = u.Scheme, u.Port()
	if u.Scheme == "unix" || u.Scheme == "unixs" {
		r.path = u.Host + u.Path
		r.ips = []netip.Addr{{}} // where the path is all that counts
		return r
	}
	r.addresses = h.lookup(ctx, u.Hostname())
	return r
}

// lookup waits for a name that cannot be resolved yet: a cluster may be started together with the names of its members.
func (h *hosts) lookup(ctx context.Context, host string) addresses {
	if ips, ok := h.known[host]; ok {
		return addresses{ips: ips}
	}
	for {
		a := h.once(ctx, host)
		if a.err == nil {
			h.known[host] = a.ips
			return a
		}
		if h.left <= 0 || !h.pause(ctx) {
			return a
		}
		h.logger.Warn("failed to resolve URL Host", "host", host, "retry-interval", resolvePause.String(), "error", a.err)
	}
}

// once looks a host up a single time.
func (h *hosts) once(ctx context.Context, host string) addresses {
	if ip, err := netip.ParseAddr(host); err == nil {
		return addresses{ips: []netip.Addr{ip.Unmap()}}
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, max(h.left, resolvePause))
	defer cancel()
	ips, err := h.resolver.LookupNetIP(ctx, "ip", host)
	h.left -= time.Since(begin)
	if err == nil && len(ips) == 0 {
		err = fmt.Errorf("lookup %s: no address", host)
	}
	for i := range ips {
		ips[i] = ips[i].Unmap()
	}
	return addresses{ips, err}
}

// pause reports false if ctx ended meanwhile.
func (h *hosts) pause(ctx context.Context) bool {
	h.left -= resolvePause
	return wait(ctx, resolvePause) == nil
}

// wait lets d pass, unless ctx ends before.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resolveNow is resolve for a name that is worth a single try.
func (h *hosts) resolveNow(ctx context.Context, text string) resolved {
	patience := h.left
	h.left = 0
	r := h.resolve(ctx, text)
	h.left = patience
	return r
}
