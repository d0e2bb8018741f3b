package schema

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBucketNames(t *testing.T) {
	want := []string{"key", "meta", "lease", "alarm", "cluster", "members", "members_removed", "auth", "authUsers", "authRoles"}
	if len(want) != int(NumBuckets) {
		t.Fatalf("%d buckets, want %d", NumBuckets, len(want))
	}
	for b := range NumBuckets {
		if b.Name() != want[b] || b.String() != want[b] {
			t.Errorf("bucket %d is %q / %q, want %q", uint8(b), b.Name(), b, want[b])
		}
	}
	if got := NumBuckets.String(); got != "bucket(10)" {
		t.Errorf("String of no bucket = %q", got)
	}
}

func TestBucketNamePanicsOutsideTheTable(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_ = NumBuckets.Name()
}

func TestRevOrderIsKeyOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func() int64 { return []int64{0, 1, 2, 255, 256, 1 << 33, math.MaxInt64}[r.IntN(7)] }
	for range 500 {
		a, b := Rev{pick(), pick()}, Rev{pick(), pick()}
		byKey := slices.Compare(AppendRev(nil, a, false), AppendRev(nil, b, false))
		if a.Compare(b) != byKey {
			t.Fatalf("Compare(%v, %v) = %d, keys say %d", a, b, a.Compare(b), byKey)
		}
		mark, plain := AppendRev(nil, a, true), AppendRev(nil, b, false)
		if a.Compare(b) < 0 && slices.Compare(mark, plain) >= 0 {
			t.Fatalf("tombstone of %v does not sort before %v", a, b)
		}
	}
}

func TestMalformedKeysAreRefused(t *testing.T) {
	negative := AppendRev(nil, Rev{Main: -1}, false)
	for name, key := range map[string]string{
		"empty":             "",
		"short":             "0123456789012345",
		"long":              "0123456789012345678",
		"no separator":      "\x00\x00\x00\x00\x00\x00\x00\x01 \x00\x00\x00\x00\x00\x00\x00\x00",
		"wrong mark":        string(AppendRev(nil, Rev{1, 0}, false)) + "x",
		"negative main":     string(negative),
		"negative sub":      string(AppendRev(nil, Rev{1, -1}, false)),
		"negative with end": string(negative) + "t",
	} {
		if r, _, err := ParseRev([]byte(key)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: ParseRev = %v, %v", name, r, err)
		}
	}
	for _, key := range []string{"", "1234567", "123456789"} {
		if _, err := ParseUint64([]byte(key)); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseUint64(%q) = %v", key, err)
		}
	}
	for _, key := range []string{"", "0x1", "01", "AB", "g", "10000000000000000", "-1", "+1"} {
		if _, err := ParseMemberKey([]byte(key)); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseMemberKey(%q) = %v", key, err)
		}
	}
}

func TestMalformedValuesAreRefused(t *testing.T) {
	for name, b := range map[string]string{
		"tag only":         "\x0a",
		"length past end":  "\x0a\x05ab",
		"huge length":      "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
		"endless varint":   "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"field number 0":   "\x00\x01",
		"stray end group":  "\x0c",
		"open group":       "\x53\x08\x01",
		"reserved kind":    "\x0f",
		"short fixed64":    "\x39\x01",
		"number too large": "\x82\x80\x80\x80\x40\x00",
	} {
		var kv KeyValue
		var l LeaseRecord
		if err := kv.Unmarshal([]byte(b)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: key-value %v", name, err)
		}
		if err := l.Unmarshal([]byte(b)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: lease %v", name, err)
		}
		if _, _, err := ParseAlarmKey([]byte(b)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: alarm %v", name, err)
		}
	}
	var m Member
	var cs ConfState
	for _, text := range []string{"", "{", `{"id":-1,"voters":[-1]}`, `[]`} {
		if err := m.Unmarshal([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("member %q: %v", text, err)
		}
		if err := cs.Unmarshal([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("conf state %q: %v", text, err)
		}
	}
}

func TestUnmarshalForgetsTheOldValue(t *testing.T) {
	kv := KeyValue{Key: []byte("old"), Value: []byte("old"), Lease: 9, Version: 9}
	if err := kv.Unmarshal(nil); err != nil || kv.Key != nil || kv.Value != nil || kv.Lease != 0 || kv.Version != 0 {
		t.Errorf("after empty message: %+v, %v", kv, err)
	}
}

func TestUnmarshalAliasesItsInput(t *testing.T) {
	kv := KeyValue{Key: []byte("k"), Value: []byte("v")}
	b := kv.Append(nil)
	var got KeyValue
	if err := got.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] = 'w'
	if string(got.Value) != "w" {
		t.Error("Value is a copy")
	}
}
