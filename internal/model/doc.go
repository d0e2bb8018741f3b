// Package model is the judge of histories: a sequential specification of the
// key-value store, and checkers that say whether what clients saw of a cluster
// is what that specification allows.
//
// It knows nothing of how Quoin works. A History holds what clients asked, what
// they were answered and when; whoever records it (a simulation in its own
// time, clients of real processes) gives it to [History.Check], which names the
// first property that does not hold:
//
//   - operations are linearizable, with every revision, version and lease
//     exactly as the specification says; an operation of unknown outcome took
//     effect once at some time after its call, or never;
//   - a serializable read answers from a state that existed, and no client sees
//     a member go back;
//   - a watcher sees every event of its range once, in order, all events of a
//     revision together, and progress only after what came before;
//   - a lease's keys stay for the time to live that was last acknowledged, and
//     go soon after.
//
// Judging linearizability is hard in general and easy here, because answers
// carry revisions: they order the acknowledged writes, and tell what each read
// saw. The search that uses this builds an order and replays it, so what it
// accepts has a witness; [History.CheckSlowly] asks porcupine the same question
// and is there to keep the search honest.
//
// [Store] is the specification itself. It can stand in for a member in tests of
// clients.
package model
