package wire

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

// codec is what all messages have in common.
type codec interface {
	Size() int
	Append(b []byte) []byte
	Unmarshal(b []byte) error
}

// goldenCase is a message beside its canonical encoding.
type goldenCase struct {
	name string
	msg  codec
	hex  string
}

// golden lists every message; the bytes of the first ones are those seen in directories written by etcd 3.7.1.
func golden() []goldenCase {
	return []goldenCase{
		{"normal entry omits its type", &Entry{Term: 2, Index: 5, Data: []byte("ab")}, "1002 1805 2202 6162"},
		{"conf entry", &Entry{Type: EntryConfChange, Term: 1, Index: 1, Data: []byte{9}}, "0801 1001 1801 2201 09"},
		{"no-op entry", &Entry{Term: 2, Index: 2}, "1002 1802"},
		{"hard state writes all", &HardState{Term: 1, Commit: 1}, "0801 1000 1801"},
		{"zero hard state", &HardState{}, "0800 1000 1800"},
		{"conf state", &ConfState{Voters: []uint64{1, 300}}, "0801 08ac02 2800"},
		{"joint conf state", &ConfState{Voters: []uint64{1}, Learners: []uint64{2}, VotersOutgoing: []uint64{3}, LearnersNext: []uint64{4}, AutoLeave: true}, "0801 1002 1803 2004 2801"},
		{"bootstrap change", &ConfChange{NodeID: 7, Context: []byte("{}")}, "1000 1807 2202 7b7d"},
		{"remove", &ConfChange{ID: 3, Type: ConfChangeRemoveNode, NodeID: 7}, "0803 1001 1807"},
		{"refused change", &ConfChange{ID: 3}, "0803 1000"},
		{"single change", &ConfChangeSingle{Type: ConfChangeAddLearnerNode, NodeID: 4}, "0803 1004"},
		{"change set", &ConfChangeV2{Transition: TransitionJointExplicit, Changes: []ConfChangeSingle{{NodeID: 1}, {Type: 1, NodeID: 2}}, Context: []byte{5}}, "0802 1204 08001001 1204 08011002 1a01 05"},
		{"snapshot meta", &SnapshotMeta{Index: 9, Term: 2}, "0a02 2800 1009 1802"},
		{"snapshot", &Snapshot{Data: []byte{1}, Meta: SnapshotMeta{Index: 9, Term: 2}}, "0a01 01 1208 0a0228001009 1802"},
		{"link heartbeat", &Message{Type: MsgHeartbeat}, "0808"},
		{"append", &Message{Type: MsgApp, To: 1, From: 2, Term: 3, LogTerm: 2, Index: 4, Entries: []Entry{{Term: 3, Index: 5}}, Commit: 4}, "0803 1001 1802 2003 2802 3004 3a04 10031805 4004"},
		{"reject", &Message{Type: MsgAppResp, To: 1, From: 2, Term: 3, LogTerm: 2, Index: 4, Reject: true, RejectHint: 3}, "0804 1001 1802 2003 2802 3004 5001 5803"},
		{"context and vote", &Message{Type: MsgVote, Context: []byte("x"), Vote: 2}, "0805 6201 78 6802"},
		{"snap", &Message{Type: MsgSnap, Snapshot: &Snapshot{Meta: SnapshotMeta{Index: 1}}}, "0807 4a08 1206 0a0228001001"},
		{"unknown negative type", &Message{Type: -1}, "08ffffffffffffffffff01"},
	}
}

func TestGolden(t *testing.T) {
	for _, tc := range golden() {
		t.Run(tc.name, func(t *testing.T) {
			want, err := hex.DecodeString(strings.ReplaceAll(tc.hex, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			got := tc.msg.Append([]byte("prefix"))
			if !bytes.Equal(got, append([]byte("prefix"), want...)) {
				t.Fatalf("encoded %x, want %x", got[6:], want)
			}
			if tc.msg.Size() != len(want) {
				t.Fatalf("size %d, want %d", tc.msg.Size(), len(want))
			}
			back := reflect.New(reflect.TypeOf(tc.msg).Elem()).Interface().(codec)
			if err := back.Unmarshal(want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(back, tc.msg) {
				t.Fatalf("decoded %+v, want %+v", back, tc.msg)
			}
		})
	}
}

// TestUnmarshalReplaces: what a message held before does not show through.
func TestUnmarshalReplaces(t *testing.T) {
	for _, tc := range golden() {
		if err := tc.msg.Unmarshal(nil); err != nil {
			t.Fatal(err)
		}
		fresh := reflect.New(reflect.TypeOf(tc.msg).Elem()).Interface()
		if !reflect.DeepEqual(tc.msg, fresh) {
			t.Errorf("%s: %+v left after decoding nothing", tc.name, tc.msg)
		}
	}
}
