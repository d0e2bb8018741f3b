// Package schema is the vocabulary of the storage file: the names of its
// buckets, the layout of their keys and the encoding of their values. It holds
// no state and does no I/O; everything that reads or writes the file agrees
// through this package alone.
//
// The layouts are etcd's, byte for byte, so that a data directory can change
// hands in both directions. docs/format/db.md describes the file in prose.
//
// Encoders append to a caller's slice and return it. Decoders never panic on
// bad input; byte slices in decoded values alias the input and are valid for
// as long as the input is.
package schema

import (
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by every error that a decoder of this package
// returns.
var ErrMalformed = errors.New("schema: malformed")

// Bucket is one of the file's top-level buckets. The numbers are in-process
// only; the file knows the names.
type Bucket uint8

// The buckets of the file, all created when it is opened.
const (
	Key            Bucket = iota // revision → KeyValue: the whole history
	Meta                         // applied index and other facts about the file itself
	Lease                        // lease id → LeaseRecord
	Alarm                        // AlarmKey → empty
	Cluster                      // cluster version and downgrade state
	Members                      // MemberKey → Member as JSON
	MembersRemoved               // MemberKey → RemovedMember
	Auth                         // auth switch and auth revision
	AuthUsers                    // user name → user
	AuthRoles                    // role name → role
	NumBuckets                   // how many there are; not a bucket
)

// Name returns the bucket's name in the file. A value that is not a bucket is
// a programming error and panics.
func (b Bucket) Name() string {
	switch b {
	case Key:
		return "key"
	case Meta:
		return "meta"
	case Lease:
		return "lease"
	case Alarm:
		return "alarm"
	case Cluster:
		return "cluster"
	case Members:
		return "members"
	case MembersRemoved:
		return "members_removed"
	case Auth:
		return "auth"
	case AuthUsers:
		return "authUsers"
	case AuthRoles:
		return "authRoles"
	default:
		panic(fmt.Sprintf("schema: expected a bucket below %d, found %d", NumBuckets, uint8(b)))
	}
}

// String is Name for a bucket and a number for anything else.
func (b Bucket) String() string {
	if b >= NumBuckets {
		return fmt.Sprintf("bucket(%d)", uint8(b))
	}
	return b.Name()
}

// Fixed keys of the small buckets.
const (
	ClusterVersionKey   = "clusterVersion" // Cluster: text "3.7.0"
	ClusterDowngradeKey = "downgrade"      // Cluster: JSON
	AuthEnabledKey      = "authEnabled"    // Auth: one byte, 1 or 0
	AuthRevisionKey     = "authRevision"   // Auth: 8 bytes big endian
)

func malformed(what string, b []byte) error {
	const shown = 32
	if len(b) > shown {
		return fmt.Errorf("%w %s: %d bytes starting %x", ErrMalformed, what, len(b), b[:shown])
	}
	return fmt.Errorf("%w %s: %x", ErrMalformed, what, b)
}
