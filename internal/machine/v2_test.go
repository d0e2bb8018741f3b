package machine_test

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/quoin-kv/quoin/internal/machine"
)

// v2Entry is a request of the old API as members of etcd 3.5 log it.
func v2Entry(method, path, value string) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)
	for i, text := range []string{method, path, value} {
		b = protowire.AppendString(protowire.AppendTag(b, protowire.Number(i)+2, protowire.BytesType), text)
	}
	return b
}

// TestOldRequests: what members of etcd 3.5 said of themselves by the old API counts; what users did by it does not.
func TestOldRequests(t *testing.T) {
	s := newScript(t)
	s.conf([]string{"add", "a", "http://a:1"})
	for _, entry := range [][]byte{
		v2Entry("PUT", "/0/members/a/attributes", `{"name":"ann","clientURLs":["http://a:2"]}`),
		v2Entry("PUT", "/0/version", "3.5.0"),
		v2Entry("PUT", "/1/key", "value"),
		v2Entry("PUT", "/0/members/a/attributes", "no JSON"),
		v2Entry("PUT", "/0/members/xyz/attributes", "{}"),
		v2Entry("DELETE", "/0/version", ""),
		v2Entry("SYNC", "", ""),
	} {
		s.index++
		s.machine.Apply(machine.Command{Index: s.index, Term: 1, Data: entry, Wanted: func(uint64) bool { return false }})
		s.commit()
	}
	m, ok := s.machine.Members().Member(0xa)
	if !ok || m.Name != "ann" || len(m.ClientURLs) != 1 || m.ClientURLs[0] != "http://a:2" {
		t.Errorf("member %+v, %t", m, ok)
	}
	if v := s.machine.Members().Version(); v != "3.5.0" {
		t.Errorf("version %q", v)
	}
	if rev := s.machine.Rev(); rev != 1 {
		t.Errorf("revision %d", rev)
	}
}
