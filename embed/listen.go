package embed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/quoin-kv/quoin/internal/config"
)

// door is a listening socket for clients, and what is served on it. URLs that differ in nothing but TLS share one.
type door struct {
	net.Listener
	url           string // as the configuration says it first
	plain, secure bool
	grpc, http    bool
}

// doors are the sockets for clients and those for metrics alone.
type doors struct {
	clients []door
	metrics []door
}

// openDoors opens the sockets that cfg names, or none.
func openDoors(ctx context.Context, cfg *config.Config) (d doors, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	alone := len(cfg.ListenClientHTTPURLs) == 0
	if err := d.open(ctx, cfg, &d.clients, cfg.ListenClientURLs, door{grpc: true, http: alone}); err != nil {
		return d, err
	}
	if err := d.open(ctx, cfg, &d.clients, cfg.ListenClientHTTPURLs, door{http: true}); err != nil {
		return d, err
	}
	return d, d.open(ctx, cfg, &d.metrics, cfg.ListenMetricsURLs, door{http: true})
}

// open adds to list a door for each address in urls that serves what kind says.
func (d *doors) open(ctx context.Context, cfg *config.Config, list *[]door, urls config.URLs, kind door) error {
	how := cfg.ListenConfig()
	before := len(*list)
	open := map[string]int{}
	for i := range urls {
		u := &urls[i]
		at, there := open[address(u)]
		if !there {
			l, err := listenOne(ctx, &how, u)
			if err != nil {
				return fmt.Errorf("listening on %s: %w", u, err)
			}
			at = before + len(open)
			open[address(u)] = at
			kind.Listener, kind.url = l, u.String()
			*list = append(*list, kind)
		}
		one := &(*list)[at]
		one.secure = one.secure || config.UsesTLS(*u)
		one.plain = one.plain || !config.UsesTLS(*u)
	}
	return nil
}

// address is where a URL listens, whether with TLS or without.
func address(u *url.URL) string { return strings.TrimSuffix(u.Scheme, "s") + "://" + u.Host + u.Path }

// close closes all sockets.
func (d *doors) close() error { return errors.Join(closeAll(d.clients), closeAll(d.metrics)) }

// addrs are the addresses of some doors.
func addrs(list []door) (all []net.Addr) {
	for _, d := range list {
		all = append(all, d.Addr())
	}
	return all
}

// traffic names what is served on the door.
func (d *door) traffic() string {
	switch {
	case d.grpc && d.http:
		return "grpc+http"
	case d.grpc:
		return "grpc"
	}
	return "http"
}

// listen opens every address, or none.
func listen(ctx context.Context, cfg *config.Config, urls config.URLs) ([]net.Listener, error) {
	how := cfg.ListenConfig()
	var open []net.Listener
	for i := range urls {
		l, err := listenOne(ctx, &how, &urls[i])
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listening on %s: %w", urls[i].String(), err), closeAll(open))
		}
		open = append(open, l)
	}
	return open, nil
}

func listenOne(ctx context.Context, how *net.ListenConfig, u *url.URL) (net.Listener, error) {
	if u.Scheme != "unix" && u.Scheme != "unixs" {
		return how.Listen(ctx, "tcp", u.Host)
	}
	path := u.Host + u.Path
	if err := removeStaleSocket(path); err != nil {
		return nil, err
	}
	return how.Listen(ctx, "unix", path)
}

// removeStaleSocket removes what a member that was killed left behind: a socket that nobody answers on.
func removeStaleSocket(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return err
	}
	if conn, err := net.Dial("unix", path); err == nil {
		return errors.Join(fmt.Errorf("socket %s is in use", path), conn.Close())
	}
	return os.Remove(path)
}

func closeAll[C interface{ Close() error }](list []C) error {
	var errs []error
	for _, c := range list {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
