package interop

import (
	"path/filepath"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/quoin-kv/quoin/interop/process"
)

// wantKnownRequests stops the members and reads the logs of Quoin's with etcd's code: nothing stands in there that is not a request of etcd's,
// in all its parts. (What one member has is what all have.)
func (m *mixed) wantKnownRequests() {
	m.t.Helper()
	kinds := map[protoreflect.Name]int{}
	for _, s := range m.members {
		s.Stop()
		if s.Program().Name != process.Quoin().Name {
			continue
		}
		for _, e := range m.logOf(s) {
			if e.GetType() != raftpb.EntryNormal {
				if e.GetType() != raftpb.EntryConfChange {
					m.t.Errorf("entry %d is of type %v", e.GetIndex(), e.GetType())
				}
				continue
			}
			r := &pb.InternalRaftRequest{}
			check(m.t, proto.Unmarshal(e.GetData(), r))
			if unknown := unknownIn(r.ProtoReflect()); len(unknown) > 0 {
				m.t.Errorf("entry %d has fields that etcd does not know: %x in %v", e.GetIndex(), unknown, r)
			}
			r.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
				kinds[f.Name()]++
				return true
			})
		}
	}
	m.t.Logf("requests in the logs: %v", kinds)
	if len(kinds) < 20 {
		m.t.Errorf("only %d kinds of requests are in the logs", len(kinds))
	}
}

// logOf returns the entries in a member's log that its database file does not hold.
func (m *mixed) logOf(s *process.Server) []*raftpb.Entry {
	m.t.Helper()
	dir := filepath.Join(s.DataDir(), "member", "wal")
	marks, err := wal.ValidSnapshotEntries(zap.NewNop(), dir)
	check(m.t, err)
	log, err := wal.OpenForRead(zap.NewNop(), dir, marks[0])
	check(m.t, err)
	defer log.Close()
	_, _, entries, err := log.ReadAll()
	check(m.t, err)
	return entries
}

// unknownIn returns the bytes of fields that a message, or one inside it, does not have.
func unknownIn(r protoreflect.Message) (unknown []byte) {
	unknown = r.GetUnknown()
	r.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				unknown = append(unknown, unknownIn(v.List().Get(i).Message())...)
			}
		default:
			unknown = append(unknown, unknownIn(v.Message())...)
		}
		return true
	})
	return unknown
}
