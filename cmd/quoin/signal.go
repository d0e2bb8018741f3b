package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// signalled is the cause of a context that a signal ended.
type signalled struct{ sig syscall.Signal }

func (s signalled) Error() string { return "signal: " + s.sig.String() }

// untilSignal returns a context that SIGINT or SIGTERM ends. From then on the next signal ends the process at once.
func untilSignal(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer signal.Stop(caught)
		select {
		case sig := <-caught:
			if s, ok := sig.(syscall.Signal); ok {
				cancel(signalled{s})
			}
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// killTimeout is the time that the system gets to end the process after it sent itself a signal; only a signal that is ignored takes so long.
const killTimeout = time.Second

// endLike ends the process by the signal that ended ctx, so that whoever started it sees that it was told to end. The first process of a
// container is not ended by signals: there, and if there was no signal, it returns.
func endLike(ctx context.Context) {
	var s signalled
	if !errors.As(context.Cause(ctx), &s) || os.Getpid() == 1 {
		return
	}
	signal.Reset(s.sig)
	if syscall.Kill(os.Getpid(), s.sig) == nil {
		<-time.After(killTimeout)
	}
}
