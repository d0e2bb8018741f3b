// Package lease keeps leases in two halves.
//
// [Book] is what the log decides: which leases exist and which keys hang on
// them. It is part of the replicated state; every replica has the same one.
//
// [Deadlines] is what only the leader's clock decides: when a lease has run
// out. It is not replicated. A member feeds it with the grants and revocations
// it applies, makes it count with Promote when it becomes leader and stops it
// with Demote. It never ends a lease by itself: it names the leases that ran
// out, and the leader proposes their revocation through the log.
//
// Both are plain values with a single owner: no lock, goroutine or clock.
// Times are nanoseconds of one monotonic clock, given by the caller; TTLs are
// whole seconds, as the API has them.
package lease
