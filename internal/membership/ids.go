package membership

import (
	"crypto/sha1"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/quoin-kv/quoin/internal/schema"
)

// MemberID computes a member's id from its peer URLs, in any order, and the
// initial cluster token. For a member that is added at run time the token is
// empty and unixSeconds the time of the addition; for an initial member
// unixSeconds is nil.
func MemberID(peerURLs []string, token string, unixSeconds *int64) uint64 {
	var text []byte
	for _, u := range slices.Sorted(slices.Values(peerURLs)) {
		text = append(text, u...)
	}
	text = append(text, token...)
	if unixSeconds != nil {
		text = strconv.AppendInt(text, *unixSeconds, 10)
	}
	return firstEight(text)
}

// ClusterID computes a cluster's id from the ids of its initial members, in
// any order.
func ClusterID(memberIDs []uint64) uint64 {
	var text []byte
	for _, id := range slices.Sorted(slices.Values(memberIDs)) {
		text = binary.BigEndian.AppendUint64(text, id)
	}
	return firstEight(text)
}

func firstEight(text []byte) uint64 {
	sum := sha1.Sum(text)
	return binary.BigEndian.Uint64(sum[:8])
}

// FormatID returns an id as people see it: hexadecimal without leading zeros.
func FormatID(id uint64) string { return strconv.FormatUint(id, 16) }

// ids returns the ids of members, in their order.
func ids(members []schema.Member) []uint64 {
	list := make([]uint64, len(members))
	for i := range members {
		list[i] = members[i].ID
	}
	return list
}
