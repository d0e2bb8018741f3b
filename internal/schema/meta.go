package schema

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// Keys of the Meta bucket.
const (
	MetaConsistentIndex  = "consistent_index"    // AppendUint64: index of the last log entry whose effects are in the file
	MetaTerm             = "term"                // AppendUint64: that entry's term
	MetaConfState        = "confState"           // ConfState as JSON
	MetaStorageVersion   = "storageVersion"      // text "3.7.0"; absent in files of 3.5 and before
	MetaScheduledCompact = "scheduledCompactRev" // AppendRev: compaction that was begun
	MetaFinishedCompact  = "finishedCompactRev"  // AppendRev: compaction that is done
)

// Applied says how far the log has been applied. It is stored with the data in
// one transaction.
type Applied struct {
	Index, Term uint64
	ConfState   []byte // value for MetaConfState; nil = unchanged
}

// AppendUint64 appends v as 8 bytes big endian.
func AppendUint64(b []byte, v uint64) []byte {
	return binary.BigEndian.AppendUint64(b, v)
}

// ParseUint64 reverses AppendUint64.
func ParseUint64(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, malformed("8-byte number", b)
	}
	return binary.BigEndian.Uint64(b), nil
}

// ConfState is the value of MetaConfState: the consensus group's members as of
// the last applied configuration change.
type ConfState struct {
	Voters         []uint64 `json:"voters,omitempty"`
	Learners       []uint64 `json:"learners,omitempty"`
	VotersOutgoing []uint64 `json:"voters_outgoing,omitempty"`
	LearnersNext   []uint64 `json:"learners_next,omitempty"`
	AutoLeave      bool     `json:"auto_leave"`
}

// Append appends the JSON form: `{"voters":[1,2],"auto_leave":false}`.
func (cs *ConfState) Append(b []byte) []byte { return appendJSON(b, cs) }

// Unmarshal sets cs to the JSON in b; it keeps no reference to b.
func (cs *ConfState) Unmarshal(b []byte) error {
	*cs = ConfState{}
	return parseJSON("confState", b, cs)
}

func appendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("schema: expected a value that JSON can hold, found %v", err))
	}
	return append(b, text...)
}

func parseJSON(what string, b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", malformed(what, b), err)
	}
	return nil
}
