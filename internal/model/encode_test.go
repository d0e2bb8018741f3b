package model

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestEncoding: a history survives JSON, binary keys included.
func TestEncoding(t *testing.T) {
	h := good()
	h.Start = Snapshot{Revision: 1, KVs: nil, Leases: nil}
	h.Ops[3].Value = "\xff\x00 not text"
	h.Ops[4].Value = "base64: but text"
	text, err := json.MarshalIndent(h, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"kind": "txn"`, `"target": "mod"`, `"relation": "="`, `"key": "a"`, `"base64:/wAgbm90IHRleHQ="`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s is not in the encoding", part)
		}
	}
	var back History
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*h, back) {
		t.Errorf("%+v\ncame back as\n%+v", *h, back)
	}
}

func TestEncodingErrors(t *testing.T) {
	for _, text := range []string{
		`{"ops":[{"kind":"pot"}]}`,
		`{"ops":[{"kind":7}]}`,
		`{"ops":[{"kind":""}]}`,
		`{"ops":[{"kind":"put","key":"base64:?"}]}`,
		`{"ops":[{"kind":"txn","compares":[{"target":"weight","relation":"="}]}]}`,
		`{"ops":[{"kind":"txn","compares":[{"target":"mod","relation":"~"}]}]}`,
	} {
		if err := json.Unmarshal([]byte(text), new(History)); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
	if _, err := json.Marshal(History{Ops: []Op{{}}}); err == nil {
		t.Error("an operation without a kind was encoded")
	}
}

// FuzzHistory: no text makes the decoder or the judges panic, and what was
// decoded encodes to itself.
func FuzzHistory(f *testing.F) {
	text, err := json.Marshal(good())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"ops":[{"kind":"txn","succeeded":true,"revision":9223372036854775807,"responses":[{}]}]}`))
	f.Add([]byte(`{"start":{"revision":-5,"leases":[1,1]},"ops":[{"kind":"compact","at_revision":-1,"revision":1}]}`))
	f.Add([]byte(`{"watches":[{"key":"","responses":[{"time":1,"revision":3,"events":[{"kv":{"key":"a","mod":-3}}]}],"until":9223372036854775807}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var h History
		if json.Unmarshal(text, &h) != nil {
			return
		}
		if len(h.Ops) > 64 {
			return
		}
		_ = h.Check(100 * time.Millisecond)
		again, err := json.Marshal(&h)
		if err != nil {
			return // an operation without a kind
		}
		var back History
		if err := json.Unmarshal(again, &back); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		twice, err := json.Marshal(&back)
		if err != nil || string(twice) != string(again) {
			t.Errorf("%s\nbecame\n%s (%v)", again, twice, err)
		}
	})
}
