package schema

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Each line of testdata/golden.txt is "name: hex"; text forms stand in quotes.
func golden(t *testing.T) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "golden.txt"))
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("line %q", line)
		}
		lines[name] = goldenBytes(t, value)
	}
	return lines
}

func goldenBytes(t *testing.T, value string) []byte {
	t.Helper()
	if text, ok := strings.CutPrefix(value, "text "); ok {
		return []byte(text)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(value, " ", ""))
	if err != nil {
		t.Fatalf("%q: %v", value, err)
	}
	return b
}

type message interface {
	Append(b []byte) []byte
	Unmarshal(b []byte) error
}

func TestGoldenValues(t *testing.T) {
	lines := golden(t)
	for name, want := range map[string]message{
		"kv put":          &KeyValue{Key: []byte("foo"), CreateRevision: 2, ModRevision: 300, Version: 2, Value: []byte("bar"), Lease: 7587848390000000000},
		"kv empty value":  &KeyValue{Key: []byte("a"), CreateRevision: 2, ModRevision: 2, Version: 1},
		"kv tombstone":    &KeyValue{Key: []byte("foo")},
		"kv negative":     &KeyValue{Lease: -1},
		"lease":           &LeaseRecord{ID: 0x694d9f2c3b1a0001, TTL: 60},
		"lease remaining": &LeaseRecord{ID: 1, TTL: 60, RemainingTTL: 17},
		"confState":       &ConfState{Voters: []uint64{10276657743932975437, 1}},
		"confState joint": &ConfState{Voters: []uint64{1}, Learners: []uint64{2}, VotersOutgoing: []uint64{3}, LearnersNext: []uint64{4}, AutoLeave: true},
		"member":          &Member{ID: 10276657743932975437, PeerURLs: []string{"http://localhost:2380"}, Name: "default", ClientURLs: []string{"http://localhost:2379"}},
		"member learner":  &Member{ID: 1, PeerURLs: []string{"http://a:1"}, IsLearner: true},
	} {
		line, ok := lines[name]
		if !ok {
			t.Errorf("no golden line %q", name)
			continue
		}
		if got := want.Append([]byte("prefix")); !bytes.Equal(got[len("prefix"):], line) {
			t.Errorf("%s: encoded %x\nwant %x (%q)", name, got[len("prefix"):], line, line)
		}
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(message)
		if err := got.Unmarshal(line); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: decoded %+v, %v\nwant %+v", name, got, err, want)
		}
		if kv, ok := want.(*KeyValue); ok && kv.Size() != len(line) {
			t.Errorf("%s: Size %d, want %d", name, kv.Size(), len(line))
		}
	}
}

func TestGoldenKeys(t *testing.T) {
	lines := golden(t)
	check := func(name string, got []byte) {
		t.Helper()
		if want, ok := lines[name]; !ok || !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
	check("rev", AppendRev(nil, Rev{2, 0}, false))
	check("rev tombstone", AppendRev(nil, Rev{1<<32 + 5, 258}, true))
	check("lease key", AppendLeaseKey(nil, 0x694d9f2c3b1a0001))
	check("uint64", AppendUint64(nil, 1<<63|7))
	check("alarm nospace", AlarmKey(10276657743932975437, 1))
	check("member key", MemberKey(0x0e9e05c52164694d))

	if r, tomb, err := ParseRev(lines["rev"]); r != (Rev{2, 0}) || tomb || err != nil {
		t.Errorf("rev: %v %v %v", r, tomb, err)
	}
	if r, tomb, err := ParseRev(lines["rev tombstone"]); r != (Rev{1<<32 + 5, 258}) || !tomb || err != nil {
		t.Errorf("rev tombstone: %v %v %v", r, tomb, err)
	}
	if key := AppendLeaseKey(nil, 0x694d9f2c3b1a0001); !bytes.Equal(key, lines["lease key"]) {
		t.Errorf("lease key: %x", key)
	}
	if v, err := ParseUint64(lines["uint64"]); v != 1<<63|7 || err != nil {
		t.Errorf("uint64: %x %v", v, err)
	}
	if id, alarm, err := ParseAlarmKey(lines["alarm nospace"]); id != 10276657743932975437 || alarm != 1 || err != nil {
		t.Errorf("alarm: %d %d %v", id, alarm, err)
	}
	if id, err := ParseMemberKey(lines["member key"]); id != 0x0e9e05c52164694d || err != nil {
		t.Errorf("member key: %x %v", id, err)
	}
}
