package embed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"

	"github.com/quoin-kv/quoin/internal/config"
)

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
