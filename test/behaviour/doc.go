// Package behaviour is one suite of named cases that says what a client of
// the v3 API can observe. It knows its server only by address, so the same
// cases judge a member in process, a process, a member behind a proxy, and a
// real etcd. What etcd answers is the expectation: every case holds on etcd
// 3.7.
//
// The cases use the generated gRPC stubs, not the official client, because
// the client hides what is asserted here: raw codes, texts, headers, and the
// order of messages on a stream.
//
// A case works under a key prefix of its own and expects to be the only
// writer while it runs: revisions are compared relative to the one at its
// start. Cases run one after the other. A case that needs revision 1, a
// compaction, an alarm or other flags asks Target.Fresh for a server of its own.
package behaviour
