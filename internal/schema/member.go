package schema

import "strconv"

// Member is a value of the Members bucket, stored as JSON.
type Member struct {
	ID         uint64   `json:"id"`
	PeerURLs   []string `json:"peerURLs"`
	IsLearner  bool     `json:"isLearner,omitempty"`
	Name       string   `json:"name,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
}

// RemovedMember is the value of every key in the MembersRemoved bucket.
const RemovedMember = "removed"

// Append appends the JSON form.
func (m *Member) Append(b []byte) []byte { return appendJSON(b, m) }

// Unmarshal sets m to the JSON in b; it keeps no reference to b.
func (m *Member) Unmarshal(b []byte) error {
	*m = Member{}
	return parseJSON("member", b, m)
}

// MemberKey returns the key of a member in the Members and MembersRemoved
// buckets: its id in lower-case hexadecimal without leading zeros.
func MemberKey(id uint64) []byte { return strconv.AppendUint(nil, id, 16) }

// ParseMemberKey reverses MemberKey. Only the form that MemberKey writes is
// accepted.
func ParseMemberKey(key []byte) (uint64, error) {
	id, err := strconv.ParseUint(string(key), 16, 64)
	if err != nil || string(MemberKey(id)) != string(key) {
		return 0, malformed("member key", key)
	}
	return id, nil
}
