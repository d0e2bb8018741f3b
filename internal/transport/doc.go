// Package transport is how members of a cluster talk to each other: peer sessions in etcd's peer protocol.
//
// A session with a peer consists of
//
//   - two streams for what we say: the peer opens GET /raft/stream/message/<its id> and GET /raft/stream/msgapp/<its id> at our
//     handler, and we write messages into the endless answers;
//   - two streams for what it says: we open the same two at its URLs and read, for ever again when one breaks;
//   - the pipeline, one POST /raft for each message, for the time when a stream does not stand;
//   - POST /raft/snapshot, for a snapshot's message with the database file behind it;
//   - GET /raft/probing every few seconds, which measures the round trip, compares the clocks, and says whether room on the disk is short.
//
// MsgApp goes over the msgapp stream, whose codec leaves out what the receiver can compute; everything else over the message
// stream. Order holds within a stream, not between them. Nothing is acknowledged or repeated: that is raft's business. What
// cannot be queued or was being written when a connection broke is lost, and Local.Unreachable says so.
//
// # Bounds
//
// Each peer has a queue for each stream (4096 messages), one for the pipeline (64), and one budget of memory for all of
// them (64 MiB). When a bound is reached the message is dropped. So a slow or dead peer costs its own queues and nothing else:
// Send takes a peer's locks only for as long as it takes to append to a list, and no lock is held during I/O.
// Incoming messages are bounded too, 512 MiB in a stream or the pipeline and 64 MiB for a snapshot's message, and memory for them
// grows as their bytes arrive. Senders that no SetPeers has named are remembered, 64 of them, so that a member that is behind can
// answer one that has just joined.
//
// # Goroutines
//
// Per peer: two readers, one prober, up to four pipeline workers that exist while the pipeline has messages, and, inside
// the HTTP server's own goroutines, one writer for each stream that the peer has opened. A call of SendSnapshot has one goroutine
// that produces the body. All end when their peer leaves or with Close, which waits for them.
package transport
