package request_test

import (
	"encoding/hex"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/quoin-kv/quoin/internal/request"
)

// versionEntry is what a member of etcd 3.5 logged to say that the cluster's version is 3.5.
const versionEntry = "0882f6d4e8e5bfe8863912035055541a0a2f302f76657273696f6e2205332e352e302800320038004800500058006000680070007800800100"

func TestParseV2(t *testing.T) {
	bare, err := hex.DecodeString(versionEntry)
	if err != nil {
		t.Fatal(err)
	}
	inside := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), bare)
	header := protowire.AppendTag(inside, 100, protowire.BytesType)
	header = protowire.AppendBytes(header, []byte{8, 1})
	for name, entry := range map[string][]byte{"bare": bare, "inside": inside, "with a header": header} {
		r, ok := request.ParseV2(entry)
		if !ok || r.Method != "PUT" || r.Path != "/0/version" || r.Value != "3.5.0" || r.ID == 0 {
			t.Errorf("%s: %+v, %t", name, r, ok)
		}
		if _, err := request.ParseInternal(entry); err == nil {
			t.Errorf("%s is a request of today as well", name)
		}
	}
	put := request.AppendInternal(nil, request.Header{ID: 1}, request.FieldPut, (&request.Put{Key: []byte("PUT")}).Append(nil))
	for name, entry := range map[string][]byte{"nothing": nil, "a put": put, "torn": bare[:20], "no method": {8, 1}, "an unknown request": {0x12, 2, 8, 1}} {
		if r, ok := request.ParseV2(entry); ok {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func FuzzParseV2(f *testing.F) {
	bare, err := hex.DecodeString(versionEntry)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bare)
	f.Add(protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), bare))
	f.Fuzz(func(t *testing.T, entry []byte) {
		if r, ok := request.ParseV2(entry); ok && r.Method == "" {
			t.Errorf("%+v", r)
		}
	})
}
