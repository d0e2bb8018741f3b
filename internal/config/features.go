package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Names of the feature gates.
const (
	StopGRPCServiceOnDefrag      = "StopGRPCServiceOnDefrag"
	InitialCorruptCheck          = "InitialCorruptCheck"
	CompactHashCheck             = "CompactHashCheck"
	LeaseCheckpoint              = "LeaseCheckpoint"
	LeaseCheckpointPersist       = "LeaseCheckpointPersist"
	SetMemberLocalAddr           = "SetMemberLocalAddr"
	PriorityRequest              = "PriorityRequest"
	TxnModeWriteWithSharedBuffer = "TxnModeWriteWithSharedBuffer"
	FastLeaseKeepAlive           = "FastLeaseKeepAlive"
	allAlpha                     = "AllAlpha"
	allBeta                      = "AllBeta"
)

// Gate is a feature that can be switched on and off.
type Gate struct {
	Name    string
	Stage   string // "ALPHA" or "BETA"
	Default bool
	Usage   string
	Idle    string // why switching it changes nothing; empty if it does
}

// Gates lists the feature gates. Those of stage ALPHA are off unless asked for, but for one that costs nothing; those of stage BETA on.
func Gates() []Gate {
	return []Gate{
		{CompactHashCheck, stageAlpha, true, "the leader compares the hashes of compactions with those of the others", ""},
		{FastLeaseKeepAlive, stageBeta, true, "keep-alives wait for no log entry", "they never do"},
		{InitialCorruptCheck, stageAlpha, false, "compare the data with the others' before serving", ""},
		{LeaseCheckpoint, stageAlpha, false, "the remaining time of long leases goes into the log, so that a new leader does not start them anew", ""},
		{LeaseCheckpointPersist, stageAlpha, false, "it goes into the database file too, with LeaseCheckpoint", "it always does"},
		{PriorityRequest, stageAlpha, false, "requests that keep the cluster alive go before others", "they always do"},
		{SetMemberLocalAddr, stageAlpha, false, "connect to other members from the address of initial-advertise-peer-urls", ""},
		{StopGRPCServiceOnDefrag, stageAlpha, false, "the health service sends clients elsewhere while an operator has the database file rewritten", ""},
		{TxnModeWriteWithSharedBuffer, stageBeta, true, "reads inside write transactions copy nothing", "they never do"},
	}
}

const (
	stageAlpha = "ALPHA"
	stageBeta  = "BETA"
)

// Features says which feature gates are switched. The zero value leaves all at their defaults.
type Features struct {
	given map[string]bool // never changed once set
}

// Enabled tells whether the gate is on: as it was switched itself, else as all of its stage were, else by default. An unknown gate is off.
func (f *Features) Enabled(name string) bool {
	if on, ok := f.given[name]; ok {
		return on
	}
	for _, g := range Gates() {
		if g.Name != name {
			continue
		}
		all := allAlpha
		if g.Stage == stageBeta {
			all = allBeta
		}
		if on, ok := f.given[all]; ok {
			return on
		}
		return g.Default
	}
	return false
}

// String writes what was switched, sorted by name.
func (f *Features) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(f.given)) {
		parts = append(parts, name+"="+strconv.FormatBool(f.given[name]))
	}
	return strings.Join(parts, ",")
}

// Set switches the gates named in s, as name=true,name=false; a later call adds to an earlier one.
func (f *Features) Set(s string) error {
	given := maps.Clone(f.given)
	if given == nil {
		given = map[string]bool{}
	}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !found {
			return fmt.Errorf("missing bool value for %s", name)
		}
		on, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("invalid value of %s=%s, err: %w", name, value, err)
		}
		if !known(name) {
			return fmt.Errorf("unrecognized feature gate: %s", name)
		}
		given[name] = on
	}
	f.given = given
	return nil
}

func known(name string) bool {
	return name == allAlpha || name == allBeta || slices.ContainsFunc(Gates(), func(g Gate) bool { return g.Name == name })
}

// meaning is what help and documentation say.
func (g *Gate) meaning() string {
	if g.Idle != "" {
		return g.Usage + " (no effect: " + g.Idle + ")"
	}
	return g.Usage
}

// check refuses gates that need another one.
func (f *Features) check() error {
	if f.Enabled(LeaseCheckpointPersist) && !f.Enabled(LeaseCheckpoint) {
		return errors.New("enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint")
	}
	return nil
}
