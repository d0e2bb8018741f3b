package main

import (
	"slices"
	"testing"
)

func TestChoose(t *testing.T) {
	names := func(o options) []string {
		chosen, err := o.choose()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, w := range chosen {
			names = append(names, w.name)
		}
		return names
	}
	if got := names(options{works: "put|get(-serializable)?"}); !slices.Equal(got, []string{"put", "get", "get-serializable"}) {
		t.Errorf("chose %v", got)
	}
	all := names(options{})
	for _, want := range []string{"put", "put-one", "get", "range", "count-20000", "count-200000", "page-200000", "watch-1000", "keep-alive", "restart", "restart-1000000", "memory-200000", "lease-grant", "lease-expire", "put-3", "get-3-spread", "leader-kill", "catch-up"} {
		if !slices.Contains(all, want) {
			t.Errorf("%s is not among %v", want, all)
		}
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != len(names(options{})) {
		t.Error("two works have one name")
	}
	for _, bad := range []string{"nothing", "("} {
		if _, err := (options{works: bad}).choose(); err == nil {
			t.Errorf("-works %q chose something", bad)
		}
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-short"})
	if err != nil || o.rounds != 1 {
		t.Errorf("rounds %d, error %v", o.rounds, err)
	}
	for _, bad := range []string{"stray", "-keys=0", "-clients=-1"} {
		if _, err := parse([]string{bad}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// TestGrown: more keys or clients, and each operation as large as before.
func TestGrown(t *testing.T) {
	n := fullScale()
	keys, clients := n.grown(10, 1), n.grown(1, 10)
	if keys.keys != 10*n.keys || keys.rangeKeys != n.rangeKeys || keys.rangeKeys+keys.otherKeys != 10*n.rangeKeys || keys.inFlight != n.inFlight {
		t.Errorf("ten times the keys: %+v", keys)
	}
	if clients.keys != n.keys || clients.otherKeys != 0 || clients.connections != 10*n.connections || clients.inFlight != 10*n.inFlight {
		t.Errorf("ten times the clients: %+v", clients)
	}
}
