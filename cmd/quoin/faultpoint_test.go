package main

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/internal/faultpoint"
)

// TestNoFaultPointsShipped looks for the points in this program, which is quoin: a build without their tag must not even have their names.
// The name it looks for is written backwards, so that this file does not bring it along.
func TestNoFaultPointsShipped(t *testing.T) {
	name := []byte("evaSerofeBtfar")
	slices.Reverse(name)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if found := bytes.Contains(program, name); found != faultpoint.Enabled {
		t.Errorf("fault points in the program: %v, in this build: %v", found, faultpoint.Enabled)
	}
}
