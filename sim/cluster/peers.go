package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/quoin-kv/quoin/internal/service"
)

// peers lets a member's service ask other members over the simulated network.
type peers struct{ m *member }

var _ service.Peers = peers{}

// errUnreachable is what asking a member gives that cannot be reached.
var errUnreachable = errors.New("member is not reachable")

// ask runs serve on the member with one of the URLs and waits for what it returns. It is called by a coroutine.
func (p peers) ask(ctx context.Context, urls []string, serve func(context.Context, *service.Service) error) error {
	n, from, to := p.m.w.network, p.m.host, p.m.w.hostAt(urls)
	if to == nil {
		return errUnreachable
	}
	done, result := false, errUnreachable
	answer := func(err error) {
		n.w.engine.After(n.delay(), func() {
			if n.link(to.index, from.index).cuts == 0 {
				p.m.proc.Exec(func() { done, result = true, err })
			}
		})
	}
	n.w.engine.After(n.delay(), func() {
		other := to.member
		switch {
		case n.link(from.index, to.index).cuts > 0:
		case other == nil:
			answer(errUnreachable)
		default:
			other.proc.Exec(func() {
				other.proc.Go(func() { answer(serve(context.Background(), other.service)) })
			})
		}
	})
	if err := p.m.proc.Await(ctx, &done); err != nil {
		return err
	}
	return result
}

// hostAt finds a host by its member's URLs.
func (w *world) hostAt(urls []string) *host {
	for _, h := range w.hosts {
		for _, u := range urls {
			if h.url == u {
				return h
			}
		}
	}
	return nil
}

// LeaseKeepAlive implements service.Peers.
func (p peers) LeaseKeepAlive(ctx context.Context, urls []string, raw []byte) (reply []byte, err error) {
	err = p.ask(ctx, urls, func(ctx context.Context, s *service.Service) (err error) {
		reply, err = s.PrimaryKeepAlive(ctx, raw)
		return err
	})
	return reply, err
}

// LeaseTimeToLive implements service.Peers.
func (p peers) LeaseTimeToLive(ctx context.Context, urls []string, raw []byte) (reply []byte, err error) {
	err = p.ask(ctx, urls, func(ctx context.Context, s *service.Service) (err error) {
		reply, err = s.PrimaryTimeToLive(ctx, raw)
		return err
	})
	return reply, err
}

// Promote implements service.Peers.
func (p peers) Promote(ctx context.Context, urls []string, id uint64) error {
	return p.ask(ctx, urls, func(ctx context.Context, s *service.Service) error { return s.PromoteAsLeader(ctx, id) })
}

// Version implements service.Peers.
func (p peers) Version(ctx context.Context, urls []string) (server, cluster string, err error) {
	err = p.ask(ctx, urls, func(_ context.Context, s *service.Service) error {
		server, cluster, _ = s.Versions()
		return nil
	})
	return server, cluster, err
}

// Connected implements service.Peers.
func (p peers) Connected(id uint64) (time.Duration, bool) {
	n, to := p.m.w.network, p.m.w.byID[id]
	if to == nil || !n.connected(p.m.host, to) {
		return 0, false
	}
	since := max(p.m.started, to.member.started, n.link(p.m.host.index, to.index).since, n.link(to.index, p.m.host.index).since)
	return time.Duration(n.w.engine.Now() - since), true
}
