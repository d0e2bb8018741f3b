// Package raft is the consensus core: it makes the logs of several members agree, as a value.
//
// A Core has no goroutine, lock, clock, file, socket or random source. Its driver feeds it what happens (Tick, Step,
// Propose, ReadIndex, Persisted, Applied) and takes out what follows from it with Effects: entries to store, messages to
// send, entries to apply, reads that may be served. The driver may have any number of effects in the works at the same
// time; what must wait for what is said at Effects and in docs/raft.md.
//
// The algorithm is that of the Raft paper (Ongaro, Ousterhout 2014) and Ongaro's thesis: elections with pre-vote (thesis
// 9.6) and leader stickiness (4.2.3), a leader that steps down without a quorum (6.2) and writes to its disk in parallel
// with its followers (10.2.1), leadership transfer (3.10), reads without log entries (6.4), and membership changes one at
// a time (4.1) with learners (4.2.1). It speaks to etcd's members, so it follows their habits where the paper leaves a
// choice: membership changes count from when they are applied.
//
// The files are split by reason to change: log.go keeps the entries, effects.go what leaves the core, election.go
// terms, votes and roles, replication.go the way of entries to followers, snapshot.go what replaces them, readindex.go
// reads, proposals.go what clients want, confchange.go membership, transfer.go handing over, stall.go a disk that does not
// answer.
package raft
