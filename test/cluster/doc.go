// Package cluster tests clusters of real processes: members of a given binary
// that are killed, paused, cut off, slowed down, run out of disk, are wiped and
// replaced while clients work.
//
// The clients record what they asked and were answered, and internal/model
// judges it: linearizable to the last revision, watchers complete, leases
// neither early nor for ever, nothing acknowledged lost. How long writes stop is
// measured and bounded. At the end all members have the same hash.
//
// Any binary that takes etcd's flags will do; -against names it. docs/testing.md
// says how to run the suites.
//
// The package holds tests only; this file carries its comment.
package cluster
