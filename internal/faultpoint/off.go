//go:build !faultpoints

package faultpoint

// Enabled reports whether this is a test build with fault points.
const Enabled = false

// Hit does nothing in this build.
func Hit(Name) {}

// Value returns nothing in this build.
func Value(Name) (value string, ok bool) { return "", false }

// Serve does nothing in this build.
func Serve() (stop func() error, err error) { return func() error { return nil }, nil }
