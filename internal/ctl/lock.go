package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// releaseTimeout bounds the giving up of a lock, or of a leadership, at the end.
const releaseTimeout = 5 * time.Second

// errSessionExpired is the end of a lease that was not renewed in time.
var errSessionExpired = errors.New("session expired")

func (g *globals) lockCommand() *cobra.Command {
	var ttl int
	cmd := &cobra.Command{
		Use: "lock <lockname> [exec-command arg1 arg2 ...]", Short: "Hold a lock until interrupted, or while a command runs",
		Long: "Hold a lock until interrupted, or while a command runs. The command finds the lock in ETCD_LOCK_KEY and ETCD_LOCK_REV, and its exit code\n" +
			"becomes that of this one. Put -- before a command with flags of its own.",
	}
	cmd.Flags().IntVar(&ttl, "ttl", 10, "seconds after which the lock is free if nobody renews it any more")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fail(ExitBadArguments, "lock takes a lock name argument and an optional command to execute")
		}
		return g.withSession(cmd, ttl, func(ctx context.Context, s *concurrency.Session) error {
			m := concurrency.NewMutex(s, args[0])
			if err := m.Lock(ctx); err != nil {
				return notHeldError{err}
			}
			err := g.whileLocked(ctx, cmd, s, m, args[1:])
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
			defer cancel()
			if released := m.Unlock(ctx); err == nil {
				err = released
			}
			return err
		})
	}
	return cmd
}

// whileLocked runs the command, or shows the lock and waits.
func (g *globals) whileLocked(ctx context.Context, cmd *cobra.Command, s *concurrency.Session, m *concurrency.Mutex, command []string) error {
	if len(command) > 0 {
		child := exec.CommandContext(ctx, command[0], command[1:]...)
		child.Env = append(os.Environ(), "ETCD_LOCK_KEY="+m.Key(), fmt.Sprintf("ETCD_LOCK_REV=%d", m.Header().Revision))
		child.Stdin, child.Stdout, child.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
		err := child.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return &ExitError{Code: exit.ExitCode(), Err: exit}
		}
		return err
	}
	if err := g.showKey(ctx, cmd.OutOrStdout(), s.Client(), m.Key()); err != nil {
		return err
	}
	return untilEnd(ctx, s)
}

// notHeldError is why a lock was not got, be it that nobody wants it any more.
type notHeldError struct{ error }

// withSession runs do with a lease that is renewed meanwhile. That the command's context ends is a failure for who still waits for a lock only.
func (g *globals) withSession(cmd *cobra.Command, ttl int, do func(context.Context, *concurrency.Session) error) error {
	client, err := g.dial(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	s, err := concurrency.NewSession(client, concurrency.WithTTL(ttl), concurrency.WithContext(context.WithoutCancel(cmd.Context())))
	if err != nil {
		return serverError(err)
	}
	defer s.Close()
	return sessionError(cmd.Context(), do(cmd.Context(), s))
}

// sessionError is what is left of an error to be told, once ctx may have ended.
func sessionError(ctx context.Context, err error) error {
	var notHeld notHeldError
	switch {
	case errors.As(err, &notHeld):
		return fail(ExitFailure, "%s", describe(notHeld.error))
	case err != nil && ctx.Err() == nil:
		return serverError(err)
	}
	return nil
}

// untilEnd waits for the end of ctx, or of the session.
func untilEnd(ctx context.Context, s *concurrency.Session) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.Done():
		return errSessionExpired
	}
}

// showKey prints a key and its value as get does.
func (g *globals) showKey(ctx context.Context, w io.Writer, c *clientv3.Client, key string) error {
	r, err := c.Get(ctx, key)
	if err != nil {
		return err
	}
	if len(r.Kvs) == 0 {
		return errors.New("no response when getting the key")
	}
	return g.showPairs(w, r)
}

func (g *globals) showPairs(w io.Writer, r *clientv3.GetResponse) error {
	return g.show(w, answer{
		json: r, proto: (*etcdserverpb.RangeResponse)(r),
		simple: func(w io.Writer) error { return g.writePairs(w, r.Kvs) },
		fields: func(f *fieldWriter) { f.rangeResponse((*etcdserverpb.RangeResponse)(r)) },
	})
}

// electionTTL is the time to live of a candidate, in seconds.
const electionTTL = 60

func (g *globals) electCommand() *cobra.Command {
	var listen bool
	cmd := &cobra.Command{Use: "elect <election-name> [proposal]", Short: "Become the leader of an election, or watch who is"}
	cmd.Flags().BoolVarP(&listen, "listen", "l", false, "print each leader")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) != 1 && len(args) != 2:
			return fail(ExitBadArguments, "elect takes one election name argument and an optional proposal argument")
		case listen && len(args) != 1:
			return fail(ExitBadArguments, "no arguments allowed with --listen")
		case !listen && len(args) != 2:
			return fail(ExitBadArguments, "no proposal argument but -l not set")
		}
		return g.withSession(cmd, electionTTL, func(ctx context.Context, s *concurrency.Session) error {
			e := concurrency.NewElection(s, args[0])
			if listen {
				return g.listen(ctx, cmd.OutOrStdout(), e)
			}
			return g.campaign(ctx, cmd.OutOrStdout(), s, e, args[1])
		})
	}
	return cmd
}

// listen prints each leader until ctx ends.
func (g *globals) listen(ctx context.Context, w io.Writer, e *concurrency.Election) error {
	for r := range e.Observe(ctx) {
		if err := g.showPairs(w, r); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return errors.New("elect: observer lost")
}

// campaign waits to be elected, shows it, and leads until ctx ends.
func (g *globals) campaign(ctx context.Context, w io.Writer, s *concurrency.Session, e *concurrency.Election, proposal string) error {
	if err := e.Campaign(ctx, proposal); err != nil {
		return err
	}
	err := g.showKey(ctx, w, s.Client(), e.Key())
	if err == nil {
		err = untilEnd(ctx, s)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	return errors.Join(err, e.Resign(ctx))
}
