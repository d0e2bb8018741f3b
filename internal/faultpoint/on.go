//go:build faultpoints

package faultpoint

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// Enabled reports whether this is a test build with fault points.
const Enabled = true

// points is the state of the process's points: a point must be reachable from anywhere without being handed around, and this is no
// shipped code.
var points = newBoard()

// Hit does at a point what it is set to.
func Hit(name Name) { points.hit(name) }

// Value is Hit for a point whose step can return early: ok tells that it is to do so, with this value.
func Value(name Name) (value string, ok bool) { return points.hit(name) }

// Serve sets the points that GOFAIL_FAILPOINTS names and serves all at the address in GOFAIL_HTTP, if it is set, until stop is called.
func Serve() (stop func() error, err error) {
	if err := points.setAll(os.Getenv("GOFAIL_FAILPOINTS")); err != nil {
		return nil, fmt.Errorf("GOFAIL_FAILPOINTS: %w", err)
	}
	addr := os.Getenv("GOFAIL_HTTP")
	if addr == "" {
		return func() error { return nil }, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("GOFAIL_HTTP: %w", err)
	}
	server := &http.Server{Handler: points, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	return func() error {
		err := server.Close()
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = cmp.Or(err, served)
		}
		return err
	}, nil
}
