package datadir

import (
	"crypto/sha1" // the ids are defined by it; nothing is protected with it
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
)

// MemberID derives the id of a member that is there from a cluster's beginning: the first eight bytes of the SHA-1 of its
// peer URLs, sorted and joined without a separator, and the token of the cluster.
func MemberID(peerURLs []string, token string) uint64 {
	urls := slices.Sorted(slices.Values(peerURLs))
	return idOf([]byte(strings.Join(urls, "") + token))
}

// AddedMemberID derives the id of a member that is added to a running cluster at that time. There is no token then, and
// the same URLs within one second give the same id.
func AddedMemberID(peerURLs []string, unixSeconds int64) uint64 {
	return MemberID(peerURLs, strconv.FormatInt(unixSeconds, 10))
}

// ClusterID derives the id of a cluster from the ids of its first members, in any order. It stays when members change.
func ClusterID(members []uint64) uint64 {
	var b []byte
	for _, id := range slices.Sorted(slices.Values(members)) {
		b = binary.BigEndian.AppendUint64(b, id)
	}
	return idOf(b)
}

func idOf(b []byte) uint64 {
	sum := sha1.Sum(b)
	return binary.BigEndian.Uint64(sum[:])
}
