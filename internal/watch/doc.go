// Package watch delivers the store's events to watchers.
//
// The applier hands every batch of events to one [Hub]. The hub keeps the most recent revisions in a ring, finds the watchers
// whose ranges the batch touches, and wakes their streams; it never waits for any of them. A [Stream] is what one client
// connection sees: many watchers, whose responses are pulled one at a time with [Stream.Next]. A watcher is a range, a filter
// and a cursor. As long as its cursor lies in the ring it reads from there; if it starts in the past or has been too slow, it
// reads the history of its range from a [View] of the store in bounded batches until it has come back to the ring. So a slow
// watcher costs a cursor and some reading, never a queue and never the applier's time.
//
// Event bytes are encoded once, when the first watcher needs them, and shared by everybody after that.
//
// The room starts no goroutine. Publish runs on the applier; Create, Cancel and Progress on the goroutine that receives a
// connection's requests; Next on the one that sends its responses. docs/watch.md tells the whole story.
package watch
