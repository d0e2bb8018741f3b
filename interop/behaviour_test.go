package interop

import (
	"testing"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/test/behaviour"
)

// TestBehaviour runs the behaviour suite on each server.
func TestBehaviour(t *testing.T) {
	eachProgram(t, func(t *testing.T, program process.Program) {
		start := func(t *testing.T, flags ...string) behaviour.Target {
			s := process.Start(t, process.Config{Program: program, Builder: builder, Volatile: true, Flags: flags})
			return behaviour.Target{Endpoint: s.Endpoint(), HTTP: s.URL()}
		}
		target := start(t)
		target.Fresh = start
		behaviour.Run(t, target)
	})
}
