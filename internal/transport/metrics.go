package transport

import "time"

// Metrics are called when there is something to count. Each may be nil. They are called from many goroutines and must not block.
type Metrics struct {
	// Known and Active say that a peer has become one, and whether streams with it stand. Nothing is said of this member itself.
	Known, Active func(id uint64, yes bool)
	// Sent and Received count the bytes of messages, before TLS. Signs of life of connections are received from 0.
	Sent, Received func(id uint64, bytes int)
	// SendFailed counts messages that were dropped or failed, and connections that broke while something was written.
	SendFailed func(to uint64)
	// ReceiveFailed counts connections that broke while messages were read.
	ReceiveFailed func(from uint64)
	// RoundTrip is the time that a probe took.
	RoundTrip func(to uint64, d time.Duration)
	// ClockDifference is how far the peer's clock is ahead of ours, give or take half a round trip.
	ClockDifference func(to uint64, d time.Duration)
	// SnapshotSend and SnapshotReceive follow the transfer of snapshots.
	SnapshotSend, SnapshotReceive TransferMetrics
}

// TransferMetrics follow transfers of snapshots in one direction. Each may be nil.
type TransferMetrics struct {
	// Started says that a transfer with a peer has begun; Ended is called once for each.
	Started func(id uint64)
	// Bytes counts bytes of the database file as they go.
	Bytes func(id uint64, n int)
	// Ended says how long the transfer took and why it failed, if it did.
	Ended func(id uint64, took time.Duration, err error)
}

func report[T any](f func(uint64, T), id uint64, v T) {
	if f != nil {
		f(id, v)
	}
}

func reportOne(f func(uint64), id uint64) {
	if f != nil {
		f(id)
	}
}

func (m TransferMetrics) ended(id uint64, took time.Duration, err error) {
	if m.Ended != nil {
		m.Ended(id, took, err)
	}
}
