package model

import "time"

// A History is what the clients of one cluster recorded, and what its judge has
// to know about the recording. It encodes to JSON and back without loss.
type History struct {
	// Start is the state before the first operation.
	Start Snapshot `json:"start,omitzero"`
	// Limits are the tolerances of the judgement.
	Limits Limits `json:"limits,omitzero"`
	// Ops are the operations of all clients, in any order.
	Ops []Op `json:"ops,omitempty"`
	// Watches are the watchers of all clients.
	Watches []WatchLog `json:"watches,omitempty"`
	// Leases are the leases whose timing was recorded.
	Leases []LeaseLog `json:"leases,omitempty"`
}

// A Snapshot is the state in which a history begins. The zero value is a fresh
// store, at revision 1.
type Snapshot struct {
	// Revision is the store's revision; 0 means 1. What was before it counts as compacted.
	Revision int64 `json:"revision,omitempty"`
	// KVs are the live keys that the operations of the history may touch.
	KVs []KV `json:"kvs,omitempty"`
	// Leases are the leases that exist.
	Leases []int64 `json:"leases,omitempty"`
}

// Limits are the tolerances of a judgement.
type Limits struct {
	// ClockDrift is the part of a time to live that a lease may end early, because the
	// clocks of recorder and leader run differently: 0.01 is one percent.
	ClockDrift float64 `json:"clock_drift,omitempty"`
	// LeaseGrace is how long a lease may stay beyond its time to live, in nanoseconds;
	// 0: for ever. It has to cover the expiry's rounds and the changes of leader,
	// each of which gives a lease its whole time anew.
	LeaseGrace time.Duration `json:"lease_grace,omitempty"`
}

// Kind says what an operation does.
type Kind uint8

// The kinds of operations. Grant and Revoke are about leases; Expire never
// stands in a history: it is what the cluster does by itself.
const (
	Put Kind = iota + 1
	Delete
	Range
	Txn
	Compact
	Grant
	Revoke
	Expire
)

// A Failure is a definite answer that something could not be done. It had no effect.
type Failure string

// The failures that the specification knows. FailureRefused stands for every
// refusal that says nothing about the state (too many requests, no leader, a
// malformed request); nothing is concluded from it.
const (
	FailureNone          Failure = ""
	FailureCompacted     Failure = "compacted"
	FailureFuture        Failure = "future revision"
	FailureLeaseNotFound Failure = "lease not found"
	FailureLeaseExists   Failure = "lease exists"
	FailureKeyNotFound   Failure = "key not found"
	FailureRefused       Failure = "refused"
)

// A Request is one operation as a client asked for it, or one operation inside
// a transaction.
type Request struct {
	Kind Kind `json:"kind"`
	// Key and End give a key or a range as the API does: End empty is one key, a
	// single zero byte everything from Key on, otherwise it is the first key beyond.
	Key Bytes `json:"key,omitempty"`
	End Bytes `json:"end,omitempty"`

	// Value, Lease, IgnoreValue and IgnoreLease belong to a put. Lease is also the lease
	// of a grant or a revocation.
	Value       Bytes `json:"value,omitempty"`
	Lease       int64 `json:"lease,omitempty"`
	IgnoreValue bool  `json:"ignore_value,omitempty"`
	IgnoreLease bool  `json:"ignore_lease,omitempty"`
	// PrevKV asks a put or a delete for what was there before.
	PrevKV bool `json:"prev_kv,omitempty"`

	// AtRevision is the revision to read, 0 for the present, or the revision to compact.
	AtRevision int64 `json:"at_revision,omitempty"`
	// Limit, CountOnly and KeysOnly belong to a range.
	Limit     int64 `json:"limit,omitempty"`
	CountOnly bool  `json:"count_only,omitempty"`
	KeysOnly  bool  `json:"keys_only,omitempty"`
	// Serializable asks for an answer from the member alone. It counts on a whole range
	// or on a transaction of which every operation is such a range.
	Serializable bool `json:"serializable,omitempty"`

	// Compares, Then and Else make a transaction.
	Compares []Compare `json:"compares,omitempty"`
	Then     []Request `json:"then,omitempty"`
	Else     []Request `json:"else,omitempty"`
}

// Target says which part of a key a comparison looks at.
type Target uint8

// The targets of comparisons.
const (
	TargetVersion Target = iota + 1
	TargetCreate
	TargetMod
	TargetValue
	TargetLease
)

// Relation is the relation that a comparison demands, the stored value on its left.
type Relation uint8

// The relations.
const (
	Equal Relation = iota + 1
	NotEqual
	Less
	Greater
)

// A Compare is one condition of a transaction.
type Compare struct {
	Key      Bytes    `json:"key"`
	End      Bytes    `json:"end,omitempty"`
	Target   Target   `json:"target"`
	Relation Relation `json:"relation"`
	// Number is compared with versions, revisions and leases, Value with values.
	Number int64 `json:"number,omitempty"`
	Value  Bytes `json:"value,omitempty"`
}

// A KV is a key with what is stored for it.
type KV struct {
	Key     Bytes `json:"key"`
	Value   Bytes `json:"value,omitempty"`
	Create  int64 `json:"create,omitempty"`
	Mod     int64 `json:"mod,omitempty"`
	Version int64 `json:"version,omitempty"`
	Lease   int64 `json:"lease,omitempty"`
}

// A Response is the answer to a Request. Which fields count depends on the kind.
type Response struct {
	// Failure is empty when the request was carried out; otherwise no other field counts.
	Failure Failure `json:"failure,omitempty"`
	// Revision is the revision in the answer's header. Inside a transaction it is what the
	// header of the inner answer says, which for a transaction is 0.
	Revision int64 `json:"revision,omitempty"`
	// KVs are what a range found, or what a put or a delete replaced when it was asked.
	KVs []KV `json:"kvs,omitempty"`
	// Count is the number of keys in a range, or of keys deleted.
	Count int64 `json:"count,omitempty"`
	// More says that a range's limit cut something off.
	More bool `json:"more,omitempty"`
	// Succeeded says which branch of a transaction ran, Responses what its operations answered.
	Succeeded bool       `json:"succeeded,omitempty"`
	Responses []Response `json:"responses,omitempty"`
}

// An Op is one call of a client.
type Op struct {
	// Client tells clients apart. What one client does is not ordered by it: only times order.
	Client int `json:"client"`
	// Member is the member that the client asked; 0 when that is not known.
	Member uint64 `json:"member,omitempty"`
	Request
	Response
	// Call and Return are the times around the call, in nanoseconds since any fixed moment. One
	// operation precedes another if it returned before, not at, the other's call.
	Call   int64 `json:"call"`
	Return int64 `json:"return,omitempty"`
	// Unknown says that there was no definite answer: the operation took effect at some
	// time after Call, perhaps after Return, or never. The response does not count.
	Unknown bool `json:"unknown,omitempty"`
}

// A WatchLog is what one watcher asked for and received, over all the streams
// that carried it.
type WatchLog struct {
	Client int    `json:"client"`
	Member uint64 `json:"member,omitempty"`
	Key    Bytes  `json:"key"`
	End    Bytes  `json:"end,omitempty"`
	// Start is the revision that was asked for; 0: from the revision after Created.
	Start int64 `json:"start,omitempty"`
	// Created is the revision in the header of the answer to the creation. With Start 0
	// and Created 0 nothing is known about the beginning: the first response sets it.
	Created int64 `json:"created,omitempty"`
	// PrevKV, NoPut and NoDelete are the watcher's options.
	PrevKV   bool `json:"prev_kv,omitempty"`
	NoPut    bool `json:"no_put,omitempty"`
	NoDelete bool `json:"no_delete,omitempty"`
	// Responses are what came, in order.
	Responses []WatchResponse `json:"responses,omitempty"`
	// Until is the revision up to which the recorder gave the watcher time to see
	// everything: what it lacks up to there is lost. 0 claims nothing.
	Until int64 `json:"until,omitempty"`
}

// A WatchResponse is one message to a watcher. Without events and unless
// canceled it is a notice of progress.
type WatchResponse struct {
	// Time is when it was received.
	Time int64 `json:"time"`
	// Revision is the revision in the header.
	Revision int64   `json:"revision,omitempty"`
	Events   []Event `json:"events,omitempty"`
	// Canceled ends the log. CompactRevision says that the watcher's next revision was
	// compacted; 0 means another reason, from which nothing is concluded.
	Canceled        bool  `json:"canceled,omitempty"`
	CompactRevision int64 `json:"compact_revision,omitempty"`
}

// An Event is a put or the deletion of one key. The KV of a deletion holds key
// and Mod only.
type Event struct {
	Delete bool `json:"delete,omitempty"`
	KV     KV   `json:"kv"`
	// Prev is what was there before, if the watcher asked and something was.
	Prev *KV `json:"prev,omitempty"`
}

// A Span is the time of one call, in nanoseconds.
type Span struct {
	Call   int64 `json:"call"`
	Return int64 `json:"return"`
	// Unknown says that there was no answer: the call may have had its effect or not.
	Unknown bool `json:"unknown,omitempty"`
}

// A LeaseLog is the life of one lease, as far as it was seen. Its grant and its
// revocation also stand among the operations of the history.
type LeaseLog struct {
	ID int64 `json:"id"`
	// TTL is the granted time to live in seconds.
	TTL int64 `json:"ttl"`
	// Granted is the time of the grant, which was acknowledged.
	Granted Span `json:"granted"`
	// Renewed are the renewals that were answered with a time to live, or not at all.
	Renewed []Span `json:"renewed,omitempty"`
	// Revoked is a client's revocation, if there was one.
	Revoked *Span `json:"revoked,omitempty"`
	// Seen is the call of the last look that found the lease's keys (or the lease) present.
	Seen int64 `json:"seen,omitempty"`
	// Gone is the return of the first look that found them gone; 0: never found gone.
	Gone int64 `json:"gone,omitempty"`
	// Until is when the recorder stopped looking.
	Until int64 `json:"until,omitempty"`
}
