// Package peer holds the HTTP requests that members make to each other besides consensus, both sides of them: what the membership is,
// which versions run, whether a downgrade is under way, what the key space hashes to, and what only the leader can answer: renewing a
// lease, telling its remaining time, promoting a learner.
//
// Handler serves them to others, of this server and of etcd; Client asks others. Paths, bodies and status codes are etcd's. Between the
// two sides an error travels as a status code and a text; the client turns them back into the error that the handler was given, so that
// a request that was forwarded fails as it would have failed at the leader itself.
//
// Nothing here runs beside its caller, and nothing is kept between two requests.
package peer

// Paths below a peer URL.
const (
	pathMembers   = "/members"
	pathPromote   = "/members/promote/" // and the id in decimal
	pathHashKV    = "/members/hashkv"
	pathLeases    = "/leases"
	pathInternal  = "/leases/internal"
	pathDowngrade = "/downgrade/enabled"
	pathVersion   = "/version"
)

// Headers.
const (
	headerClusterID = "X-Etcd-Cluster-ID"
	headerFrom      = "X-Server-From"
	typeProtobuf    = "application/protobuf"
	typeJSON        = "application/json"
)

// Texts by which the sides recognise errors.
const (
	textNotReady         = "etcdserver: can only promote a learner member which is in sync with leader"
	textNotLearner       = "membership: can only promote a learner member"
	textMemberNotFound   = "membership: ID not found"
	textLeaseNotFound    = "lease not found"
	textApplyTimeout     = "apply timeout"
	textClusterMismatch  = "cluster ID mismatch"
	textCompacted        = "mvcc: required revision has been compacted"
	textFutureRev        = "mvcc: required revision is a future revision"
	textBadRequest       = "error unmarshalling request"
	textBadBody          = "error reading body"
	textBodyTooLarge     = "request body too large"
	textMethodNotAllowed = "Method Not Allowed"
)

// versionUndecided stands for a cluster version that the cluster has not agreed on yet.
const versionUndecided = "not_decided"

// Limits in bytes of what is read from others.
const (
	maxRequestBytes = 64 << 10
	maxAnswerBytes  = 64 << 10 // of answers of fixed size, and of errors
	maxMembersBytes = 4 << 20
	maxLeaseBytes   = 64 << 20 // a lease's remaining time is told with the keys attached to it
)

type versions struct {
	Server  string `json:"etcdserver"`
	Cluster string `json:"etcdcluster"`
	Storage string `json:"storage"`
}

type hashRequest struct {
	Revision int64 `json:"revision"`
}

type hashHeader struct {
	Revision int64 `json:"revision,omitempty"`
}

type hashResponse struct {
	Header          hashHeader `json:"header"`
	Hash            uint32     `json:"hash"`
	CompactRevision int64      `json:"compact_revision"`
	HashRevision    int64      `json:"hash_revision"`
}
