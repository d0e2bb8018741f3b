package main

import (
	"context"
	"errors"
	"testing"
)

// TestBeside: what goes on beside a load ends with it, and must not end before.
func TestBeside(t *testing.T) {
	waits := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	load := func(context.Context) (tally, error) { return tally{ops: 7}, nil }
	if got, err := beside(t.Context(), waits, load); err != nil || got.ops != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	broken := errors.New("broken")
	if _, err := beside(t.Context(), func(context.Context) error { return broken }, load); !errors.Is(err, errOver) || !errors.Is(err, broken) {
		t.Errorf("what goes on beside it breaks: %v", err)
	}
	if _, err := beside(t.Context(), func(context.Context) error { return nil }, load); !errors.Is(err, errOver) {
		t.Errorf("what goes on beside it ends too early: %v", err)
	}
	if _, err := beside(t.Context(), waits, func(context.Context) (tally, error) { return tally{}, broken }); !errors.Is(err, broken) {
		t.Errorf("the load breaks: %v", err)
	}
}
